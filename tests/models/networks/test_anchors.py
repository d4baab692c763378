"""Anchors: decode and encode are inverses, sizes stay finite, k-means finds what is there."""

import numpy as np
import torch

from mask_gate.models.networks.anchors import Scale, decode, encode

SCALE = Scale(16, ((10.0, 14.0), (37.0, 58.0)))


def test_decode_worked_by_hand():
    raw = torch.zeros(1, 2, 1, 2, 8)
    raw[0, 1, 0, 1, :5] = torch.tensor([0.0, np.log(3.0), np.log(2.0), 0.0, np.log(4.0)])
    row = decode(raw, SCALE)[0, 3]
    # centre x (0.5 + 1) * 16 = 24, y 0.75 * 16 = 12; 37 * 2 wide, 58 high; objectness 0.8
    torch.testing.assert_close(row[:5], torch.tensor([24 - 37, 12 - 29, 24 + 37, 12 + 29, 0.8]))
    torch.testing.assert_close(row[5:], torch.full((3,), 0.5))


def test_encode_is_the_inverse_of_decode():
    torch.manual_seed(0)
    raw = torch.randn(1, 2, 5, 7, 8)
    boxes = decode(raw, SCALE)[0, :, :4]
    anchor, row, column = (
        grid.reshape(-1) for grid in torch.meshgrid(*map(torch.arange, (2, 5, 7)), indexing="ij")
    )
    anchors = torch.tensor(SCALE.anchors_wh)[anchor]
    cells_xy = torch.stack((column, row), 1).float()
    logits = encode(boxes, cells_xy, anchors, SCALE.stride)
    torch.testing.assert_close(logits, raw.reshape(-1, 8)[:, :4], atol=1e-3, rtol=1e-3)


def test_a_huge_size_logit_gives_a_finite_box():
    raw = torch.full((1, 2, 1, 1, 8), 1e4)
    assert torch.isfinite(decode(raw, SCALE)).all()


def test_half_precision_maps_give_finite_boxes_too():
    raw = torch.full((1, 2, 2, 2, 8), 6.9, dtype=torch.float16)
    assert torch.isfinite(decode(raw, Scale(32, ((344.0, 319.0), (116.0, 90.0))))).all()


def test_encode_of_no_boxes():
    none = torch.zeros(0, 4)
    assert encode(none, none[:, :2], none[:, :2], 16).shape == (0, 4)
