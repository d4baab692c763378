"""Every switch of the loss, with every network and rule: one step that is finite and its own."""

import pytest
import torch

from mask_gate.models.networks.zoo import build
from mask_gate.training.config import AssignConfig, LossConfig
from mask_gate.training.learning.batches import to_batch
from mask_gate.training.learning.losses import DetectionLoss

USES = [
    ("yolov3", "best_per_scale"),
    ("yolov3_tiny", "best_per_scale"),
    ("yolov3_tiny", "best_of_all"),
    ("yolov3_tiny", "several_cells"),
    ("yolov3_lite", "centre"),
]
SWITCHES = {
    "box: mse": {"box": "mse"},
    "objectness: focal": {"objectness": {"gamma": 2.0, "alpha": 0.25}},
    "objectness: focal on faces": {"objectness": {"gamma": 2.0, "positives_only": True}},
    "classes: focal": {"classes": {"gamma": 2.0}},
    "average: per_cell": {"average": "per_cell"},
    "no_object_gain": {"no_object_gain": 100.0},
    "class_weights": {"class_weights": [1.0, 2.0, 3.0]},
    "gains": {"box_gain": 2.0, "objectness_gain": 3.0, "class_gain": 4.0},
}


@pytest.fixture(scope="module")
def batch(draw_samples):
    return to_batch(draw_samples(2, size=64))


def loss_of(network, raw_maps, batch, rule, **loss):
    config, assigner = LossConfig.model_validate(loss), AssignConfig(rule=rule)
    return DetectionLoss(network.scales, 3, config, assigner)(raw_maps, batch.truth)


@pytest.mark.parametrize(("architecture", "rule"), USES, ids=lambda name: name)
def test_each_switch_changes_the_loss_and_every_parameter_learns(batch, architecture, rule):
    torch.manual_seed(0)
    network = build(architecture).train()
    raw_maps = network(batch.images.float() / 255)
    plain = loss_of(network, raw_maps, batch, rule).total.item()
    for switch, change in SWITCHES.items():
        network.zero_grad()
        parts = loss_of(network, raw_maps, batch, rule, **change)
        parts.total.backward(retain_graph=True)
        values = [part.item() for part in (parts.box, parts.objectness, parts.classes)]
        assert torch.isfinite(torch.tensor(values)).all(), switch
        assert min(values) > 0, switch
        assert parts.total.item() != pytest.approx(plain, rel=1e-4), switch
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, (switch, name)
            assert torch.isfinite(parameter.grad).all(), (switch, name)
        # The first layer hears of all that is wrong.
        assert next(network.parameters()).grad.abs().sum() > 0, switch
