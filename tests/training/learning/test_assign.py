"""Assignment: which cells answer for which face, rule by rule."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.models.networks.anchors import Scale
from mask_gate.training.config import AssignConfig
from mask_gate.training.learning.anchor_rules import free_of_overlap
from mask_gate.training.learning.assign import assign, map_shapes
from mask_gate.training.learning.targets import Truth

COARSE = Scale(32, ((60.0, 80.0), (120.0, 150.0)))
FINE = Scale(16, ((12.0, 16.0), (30.0, 34.0)))
ONE = Scale(4, ((4.0, 4.0),))
SIZE = 128


def truth_of(boxes, images=None):
    boxes = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
    images = torch.tensor(images if images is not None else [0] * len(boxes), dtype=torch.long)
    return Truth(images, boxes, torch.zeros(len(boxes), dtype=torch.long))


def targets_of(truth, rule, scales=(COARSE, FINE), batch=1, **config):
    shapes = map_shapes(batch, SIZE, scales)
    return assign(shapes, scales, truth, AssignConfig(rule=rule, **config))


def test_best_of_all_takes_one_anchor_of_one_scale():
    coarse, fine = targets_of(truth_of([(50, 34, 80, 68)]), "best_of_all")
    assert len(coarse.cells) == 0
    assert fine.cells.tolist() == [[0, 1, 3, 4]]  # anchor 30 x 34; centre (65, 51) / 16


def test_best_per_scale_takes_one_anchor_of_each():
    coarse, fine = targets_of(truth_of([(50, 34, 80, 68)]), "best_per_scale")
    assert coarse.cells.tolist() == [[0, 0, 1, 2]]
    assert fine.cells.tolist() == [[0, 1, 3, 4]]


def test_several_cells_adds_the_neighbours_the_centre_leans_to():
    _, fine = targets_of(truth_of([(50, 34, 80, 68)]), "several_cells", max_side_ratio=1.5)
    # centre (4.06, 3.19) in cells: leans left and up
    assert sorted(fine.cells.tolist()) == [[0, 1, 2, 4], [0, 1, 3, 3], [0, 1, 3, 4]]


def free_in_fine_map(truth, batch=1):
    """With logits 0 every cell says its anchor at its middle."""
    raw = torch.zeros(batch, 2, SIZE // 16, SIZE // 16, 8)
    counts = [int((truth.image == index).sum()) for index in range(batch)]
    return free_of_overlap(raw, FINE, truth, counts, ignore_iou=0.3)


def test_decoded_boxes_that_overlap_a_face_are_left_alone():
    free = free_in_fine_map(truth_of([(50, 34, 80, 68)]))[0, 1]
    assert free[3, 4] == 0
    assert free[3, 3] == 0  # 30 x 34 about (56, 56) overlaps by half
    assert free[0, 0] == 1


def test_overlap_counts_with_faces_of_the_same_image_only():
    free = free_in_fine_map(truth_of([(50, 34, 80, 68)], images=[1]), batch=3)
    assert (free[[0, 2]] == 1).all()
    assert (free[1] == 0).any()


def test_centre_rule_has_one_object_and_a_soft_ring():
    (target,) = targets_of(truth_of([(40, 40, 88, 88)]), "centre", scales=(ONE,))
    objects = target.cells[target.is_object]
    assert objects.tolist() == [[0, 0, 16, 16]]
    weight = target.negative_weight[0, 0]
    assert weight[16, 16] == 0
    assert 0 < weight[16, 17] < weight[16, 18] < weight[16, 19] <= 1
    assert weight[0, 0] == 1
    assert target.box_weight.sum().item() == pytest.approx(1)
    assert target.class_weight.sum().item() == pytest.approx(1)
    assert len(target.cells) > 5


def test_targets_stay_with_their_image():
    truth = truth_of([(10, 10, 22, 26), (60, 60, 90, 94)], images=[2, 0])
    for rule in ("best_of_all", "best_per_scale", "several_cells"):
        for target in targets_of(truth, rule, batch=3):
            for cell, face in zip(target.cells.tolist(), target.truth.tolist(), strict=True):
                assert cell[0] == [2, 0][face]


def test_two_faces_in_one_cell_keep_one_box_and_one_class():
    truth = truth_of([(50, 34, 80, 68), (51, 34, 79, 66)])
    _, fine = targets_of(truth, "best_of_all")
    assert len(fine.cells) == 1
    assert fine.truth.tolist() == [1]  # the smaller face


def test_a_centre_on_the_far_border_is_in_the_last_cell():
    corner = truth_of([(SIZE, SIZE, SIZE, SIZE)])
    for rule in ("best_of_all", "best_per_scale"):
        assert [t.cells.tolist() for t in targets_of(corner, rule)][1] == [[0, 0, 7, 7]]
    assert targets_of(corner, "centre", (ONE,))[0].cells.tolist() == [[0, 0, 31, 31]]


RULES = st.sampled_from(["best_of_all", "best_per_scale", "several_cells", "centre"])
points = st.floats(0, SIZE, allow_nan=False, width=32)


@given(RULES, st.lists(st.tuples(points, points, points, points), max_size=6), st.integers(1, 3))
def test_any_boxes_give_usable_targets(rule, corners, batch):
    """Also boxes without area, on the border, all the same, or none at all."""
    boxes = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in corners]
    truth = truth_of(boxes, images=[i % batch for i in range(len(boxes))])
    scales = (ONE,) if rule == "centre" else (COARSE, FINE)
    for scale, target in zip(scales, targets_of(truth, rule, scales, batch), strict=True):
        grid = SIZE // scale.stride
        cells = target.cells
        assert (cells >= 0).all()
        assert (cells[:, 2:] < grid).all()
        assert len(torch.unique(cells, dim=0)) == len(cells)
        assert ((target.negative_weight >= 0) & (target.negative_weight <= 1)).all()
        objects = target.negative_weight[tuple(cells[target.is_object].T)]
        assert (objects == 0).all()
        assert torch.isfinite(target.box_weight).all()
        assert torch.isfinite(target.class_weight).all()


@given(st.integers(1, 8), st.integers(0, 1000))
def test_every_face_is_answered_for_under_best_of_all_unless_cells_collide(count, seed):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 90
    side = 6 + torch.rand(count, 2, generator=generator) * 30
    truth = truth_of(torch.cat((corner, corner + side), 1).tolist())
    answered = sum(len(t.cells) for t in targets_of(truth, "best_of_all"))
    assert 1 <= answered <= count
