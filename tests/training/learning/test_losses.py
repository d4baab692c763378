"""Losses: every formula against values worked by hand; finite and useful in every case."""

import math
from dataclasses import replace

import pytest
import torch

from mask_gate.models.networks.anchors import Scale, encode
from mask_gate.training.config import AssignConfig, Focal, LossConfig
from mask_gate.training.errors import UsageError
from mask_gate.training.learning.assign import assign, map_shapes
from mask_gate.training.learning.losses import DetectionLoss, complete_iou, cross_entropy
from mask_gate.training.learning.targets import Truth

SCALES = (Scale(32, ((60.0, 80.0), (120.0, 150.0))), Scale(16, ((12.0, 16.0), (30.0, 34.0))))
RULES = ("best_per_scale", "best_of_all", "several_cells")
NO_FACES = Truth(
    torch.zeros(0, dtype=torch.long), torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)
)


def faces(*boxes, labels=None, images=None):
    count = len(boxes)
    return Truth(
        torch.tensor(images or [0] * count),
        torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        torch.tensor(labels or [0] * count),
    )


def raw_maps(batch=2, size=96, seed=0):
    torch.manual_seed(seed)
    return [
        torch.randn(
            batch, len(s.anchors_wh), size // s.stride, size // s.stride, 8
        ).requires_grad_()
        for s in SCALES
    ]


def loss(rule="best_of_all", **config):
    return DetectionLoss(SCALES, 3, LossConfig(**config), AssignConfig(rule=rule))


LOGITS = torch.tensor([-3.0, -0.5, 0.0, 1.0, 4.0])
ONES, ZEROS = torch.ones(5), torch.zeros(5)


@pytest.mark.parametrize("targets", [ONES, ZEROS])
def test_focal_with_gamma_0_is_cross_entropy(targets):
    plain = cross_entropy(LOGITS, targets, None)
    torch.testing.assert_close(cross_entropy(LOGITS, targets, Focal(gamma=0)), plain)
    if targets is ONES:
        torch.testing.assert_close(cross_entropy(LOGITS, ONES, Focal(gamma=0, alpha=1)), plain)


def test_focal_worked_by_hand():
    """With p = 0.9: on a face 0.25 * 0.1^2 * -ln 0.9; on nothing: 0.75 * 0.9^2 * -ln 0.1."""
    logit = torch.logit(torch.tensor([0.9]))
    focal = Focal(gamma=2, alpha=0.25)
    on_face = cross_entropy(logit, torch.ones(1), focal).item()
    on_nothing = cross_entropy(logit, torch.zeros(1), focal).item()
    assert on_face == pytest.approx(0.25 * 0.01 * -math.log(0.9), rel=1e-4)
    assert on_nothing == pytest.approx(0.75 * 0.81 * -math.log(0.1), rel=1e-4)


def test_focal_loss_spares_easy_negatives():
    """An easy negative (p = 0.01) costs under a ten-thousandth of what cross-entropy asks."""
    logit = torch.logit(torch.tensor([0.01]))
    plain = cross_entropy(logit, torch.zeros(1), None)
    assert cross_entropy(logit, torch.zeros(1), Focal(gamma=2)).item() < 1.1e-4 * plain.item()


def test_the_reports_focal_leaves_negatives_alone():
    focal = Focal(gamma=2, alpha=0.25, positives_only=True)
    torch.testing.assert_close(
        cross_entropy(LOGITS, ZEROS, focal), cross_entropy(LOGITS, ZEROS, None)
    )
    expected = 0.25 * (1 - torch.sigmoid(LOGITS)) ** 2 * cross_entropy(LOGITS, ONES, None)
    torch.testing.assert_close(cross_entropy(LOGITS, ONES, focal), expected)


def test_focal_of_extreme_logits_is_finite():
    logits = torch.tensor([-1e4, 1e4], requires_grad=True)
    for targets in (torch.zeros(2), torch.ones(2)):
        value = cross_entropy(logits, targets, Focal(gamma=2, alpha=0.25)).sum()
        assert torch.isfinite(value)
        assert torch.isfinite(torch.autograd.grad(value, logits)[0]).all()


def test_complete_iou_worked_by_hand():
    """Two 10 x 10 boxes 5 apart: IoU 1/3, less (5 / diagonal of 15 x 10)^2; shapes agree."""
    a, b = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[5.0, 0, 15, 10]])
    assert complete_iou(a, b).item() == pytest.approx(1 / 3 - 25 / 325, rel=1e-5)
    assert complete_iou(a, a).item() == pytest.approx(1)


def test_complete_iou_minds_the_shape():
    """Same centre and area, sides swapped: IoU 1/3, distance 0, and the shape term bites."""
    a, b = torch.tensor([[-10.0, -5, 10, 5]]), torch.tensor([[-5.0, -10, 5, 10]])
    v = 4 / math.pi**2 * (math.atan(2) - math.atan(0.5)) ** 2
    assert complete_iou(a, b).item() == pytest.approx(1 / 3 - v * v / (2 / 3 + v), rel=1e-4)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("average", ["per_face", "per_cell"])
@pytest.mark.parametrize("box", ["mse", "ciou"])
def test_no_faces_gives_finite_loss(rule, average, box):
    maps = raw_maps()
    parts = loss(rule, average=average, box=box)(maps, NO_FACES)
    assert parts.box.item() == 0
    assert parts.classes.item() == 0
    assert 0 < parts.objectness.item() < math.inf
    parts.total.backward()
    assert all(torch.isfinite(m.grad).all() for m in maps)


@pytest.mark.parametrize("rule", RULES)
def test_a_perfect_answer_costs_almost_nothing(rule):
    """Logits encoded from the truth, sure of everything: every part is near zero."""
    truth = faces((20, 20, 32, 36), (40, 30, 70, 64), labels=[0, 2])
    maps = [torch.zeros(1, 2, 96 // s.stride, 96 // s.stride, 8) for s in SCALES]
    targets = assign(map_shapes(1, 96, SCALES), SCALES, truth, AssignConfig(rule=rule))
    for raw, scale, target in zip(maps, SCALES, targets, strict=True):
        raw[..., 4:] = -15
        anchors = torch.tensor(scale.anchors_wh)[target.cells[:, 1]]
        cells_xy = target.cells[:, [3, 2]].float()
        answer = torch.full((len(target.cells), 8), -15.0)
        answer[:, :4] = encode(truth.boxes_xyxy[target.truth], cells_xy, anchors, scale.stride)
        answer[:, 4] = 15
        answer[torch.arange(len(answer)), 5 + truth.labels[target.truth]] = 15
        raw[tuple(target.cells.T)] = answer
    parts = loss(rule, box="ciou")(maps, truth)
    assert parts.objectness.item() < 1e-3
    assert parts.classes.item() < 1e-3
    if rule != "several_cells":  # a neighbour cell cannot say a centre outside itself
        assert parts.box.item() < 1e-3


def test_the_reports_averages_worked_by_hand():
    """One face, all logits 0: per scale 1 object at ln 2, the rest at ln 2 times 100."""
    maps = [torch.zeros(1, 2, 96 // s.stride, 96 // s.stride, 8) for s in SCALES]
    parts = loss("best_per_scale", average="per_cell", box="mse", no_object_gain=100)(
        maps, faces((40, 40, 56, 56))
    )
    assert parts.objectness.item() == pytest.approx(2 * (math.log(2) + 100 * math.log(2)), rel=1e-5)
    assert parts.classes.item() == pytest.approx(2 * math.log(2), rel=1e-5)


def test_class_weights_weigh_the_true_class():
    truth = faces((20, 20, 32, 36), labels=[2])
    plain = loss(no_object_gain=0)(raw_maps(), truth).classes.item()
    heavy = loss(no_object_gain=0, class_weights=(1, 1, 3))(raw_maps(), truth).classes.item()
    assert heavy == pytest.approx(3 * plain, rel=1e-5)


def test_class_weights_need_one_value_a_class():
    with pytest.raises(UsageError, match="expected 3 values, one a class, got 2"):
        loss(class_weights=(1, 2))


def test_the_loss_does_not_depend_on_how_faces_are_ordered():
    boxes, labels = [(20, 20, 32, 36), (22, 21, 60, 70), (5, 50, 30, 80)], [0, 1, 2]
    one = loss()(raw_maps(), faces(*boxes, labels=labels)).total.item()
    other = loss()(raw_maps(), faces(*boxes[::-1], labels=labels[::-1])).total.item()
    assert one == pytest.approx(other, rel=1e-5)


@pytest.mark.parametrize("classes", ["bce", Focal(gamma=2, alpha=0.25)])
def test_a_class_of_which_no_label_says_anything_is_left_out(classes):
    """Two classes: the third one's logits cost nothing and are moved by nothing."""
    told = DetectionLoss(SCALES, 3, LossConfig(classes=classes), AssignConfig())
    all_told = faces((8, 8, 40, 50), (50, 20, 90, 80), labels=[0, 1])
    truth = replace(all_told, unknown=torch.tensor([[False, False, True]] * 2))
    maps = raw_maps()
    parts = told(maps, truth)
    parts.total.backward()
    for raw in maps:
        assert torch.count_nonzero(raw.grad[..., 7]) == 0
    assert any(torch.count_nonzero(raw.grad[..., 5:7]) for raw in maps)
    other = [raw.detach().clone() for raw in maps]
    for raw in other:
        raw[..., 7] += 3
    assert torch.equal(told(other, truth).total, parts.total.detach())
    assert told(maps, all_told).classes > parts.classes


def test_a_class_is_left_out_for_the_faces_of_which_it_is_unknown_and_for_no_others():
    """One face of a set of two classes, one of a set of three, far apart: only one has a say."""
    truth = faces((8, 8, 40, 50), (62, 60, 92, 94), labels=[0, 1])
    unknown = torch.tensor([[False, False, True], [False, False, False]])
    maps = raw_maps()
    loss()(maps, replace(truth, unknown=unknown)).classes.backward()
    of_second = raw_maps()
    loss()(of_second, faces((62, 60, 92, 94), labels=[1])).classes.backward()
    for raw, alone in zip(maps, of_second, strict=True):
        assert torch.equal(raw.grad[..., 7] != 0, alone.grad[..., 7] != 0)
        assert torch.count_nonzero(raw.grad[..., 5]) >= torch.count_nonzero(raw.grad[..., 7])
    moved = sum(int(torch.count_nonzero(raw.grad[..., 5])) for raw in maps)
    assert moved > sum(int(torch.count_nonzero(raw.grad[..., 7])) for raw in maps) > 0
