"""Schedule: rates over steps, groups, freezes, and the average that gets saved."""

import pytest
import torch
from torch import nn

from mask_gate.models.networks.zoo import build
from mask_gate.training.config import Freeze, OptimConfig
from mask_gate.training.errors import UsageError
from mask_gate.training.learning.schedule import (
    Average,
    apply_freezes,
    lr_factor,
    make_optimizer,
)


def test_warm_up_rises_evenly_to_the_full_rate():
    config = OptimConfig(warmup_steps=4)
    assert [lr_factor(s, 100, config) for s in range(4)] == [0.25, 0.5, 0.75, 1.0]


def test_cosine_ends_at_the_final_fraction_and_stays_there():
    config = OptimConfig(warmup_steps=10, final_lr_fraction=0.02)
    assert lr_factor(10, 110, config) == pytest.approx(1)
    assert lr_factor(60, 110, config) == pytest.approx(0.51)
    assert lr_factor(110, 110, config) == pytest.approx(0.02)
    assert lr_factor(500, 110, config) == pytest.approx(0.02)


def test_constant_stays():
    assert lr_factor(77, 100, OptimConfig(schedule="constant")) == 1


def test_transferred_weights_move_slower_and_biases_do_not_decay():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    config = OptimConfig(lr=0.1, trunk_lr_factor=0.5, weight_decay=0.01)
    groups = make_optimizer(model, config, frozenset({"0.weight", "0.bias"})).param_groups
    found = {(round(g["lr"], 3), g["weight_decay"]) for g in groups}
    assert found == {(0.05, 0.01), (0.05, 0.0), (0.1, 0.01), (0.1, 0.0)}


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_every_optimizer_makes_a_step(name):
    model = nn.Linear(2, 1)
    before = model.weight.detach().clone()
    optimizer = make_optimizer(model, OptimConfig(name=name, lr=0.1), frozenset())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert not torch.equal(model.weight, before)


@pytest.mark.parametrize(
    ("name", "known"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_a_run_from_before_steps_were_fused_goes_on_as_it_would_have(name, known):
    def stepped(optimizer, model):
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        return model.weight.detach().clone()

    torch.manual_seed(0)
    old, new = nn.Linear(2, 1), nn.Linear(2, 1)
    before = known([{"params": [old.weight]}, {"params": [old.bias]}], 0.1, weight_decay=0.0)
    stepped(before, old)
    new.load_state_dict(old.state_dict())
    now = make_optimizer(new, OptimConfig(name=name, lr=0.1), frozenset())
    now.load_state_dict(before.state_dict())
    torch.testing.assert_close(stepped(now, new), stepped(before, old))


def test_freezes_hold_weights_and_norms_until_their_epoch():
    network = build("yolov3_tiny")
    freezes = (Freeze(modules=("fine",), until_epoch=2), Freeze(modules=("coarse.1",)))

    def state(epoch):
        network.train()
        apply_freezes(network, freezes, epoch)
        by_name = dict(network.named_parameters())
        return (
            by_name["fine.0.0.weight"].requires_grad,
            by_name["coarse.1.0.weight"].requires_grad,
            by_name["coarse.3.0.weight"].requires_grad,
            network.get_submodule("fine.0.1").training,
            network.get_submodule("coarse.3.1").training,
        )

    assert state(0) == (False, False, True, False, True)
    assert state(2) == (True, False, True, True, True)


def test_a_freeze_that_names_nothing_is_refused_with_what_there_is():
    with pytest.raises(UsageError, match="'trunk' names nothing in the network, which has fine"):
        apply_freezes(build("yolov3_tiny"), (Freeze(modules=("trunk",)),), 0)


def test_the_average_follows_by_its_decay():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = Average(model, 0.5)
    nn.init.ones_(model.weight)
    average.update(model)  # the first step forgets faster: min(0.5, 2 / 11)
    assert average.weights["weight"].item() == pytest.approx(9 / 11)
    for _ in range(100):
        average.update(model)
    assert average.weights["weight"].item() == pytest.approx(1)


def test_the_average_takes_counters_as_they_are():
    norm = nn.BatchNorm2d(1)
    average = Average(norm, 0.9)
    norm.num_batches_tracked += 5
    average.update(norm)
    assert average.weights["num_batches_tracked"].item() == 5
