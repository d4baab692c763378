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
def networks():
    """Each network once, with its raw maps of two 64 px images, ready to be asked for gradients."""
    torch.manual_seed(0)
    return {name: build(name).train() for name, _ in USES}


@pytest.fixture(scope="module")
def batch(draw_samples):
    return to_batch(draw_samples(2, size=64))


def step(network, batch, rule, **loss):
    """The loss parts of one batch; its gradients are left in the network."""
    network.zero_grad()
    config, assigner = LossConfig.model_validate(loss), AssignConfig(rule=rule)
    parts = DetectionLoss(network.scales, 3, config, assigner)(network(batch.images), batch.truth)
    parts.total.backward()
    return parts


@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize(("architecture", "rule"), USES, ids=lambda name: name)
def test_a_switch_changes_the_loss_and_every_parameter_learns(
    networks, batch, architecture, rule, switch
):
    network = networks[architecture]
    plain = step(network, batch, rule).total.item()
    parts = step(network, batch, rule, **SWITCHES[switch])
    values = [part.item() for part in (parts.box, parts.objectness, parts.classes)]
    assert torch.isfinite(torch.tensor(values)).all()
    assert min(values) > 0
    assert parts.total.item() != pytest.approx(plain, rel=1e-4)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    # The first layer hears of all that is wrong.
    assert next(network.parameters()).grad.abs().sum() > 0
