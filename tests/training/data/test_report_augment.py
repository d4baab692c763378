"""The report's two augmentations: boxes stay on their pixels."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mask_gate.training.data.report_augment import MAX_NOISE_SIGMA, gaussian_noise, scale_rotate
from mask_gate.training.data.samples import Sample


def painted(shape, size_wh, box):
    """A white shape on black, with the box that encloses its pixels."""
    image = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    x1, y1, x2, y2 = box
    if shape == "corners":
        image[y1:y2, x1:x2] = 255
    else:
        v, u = np.mgrid[: size_wh[1], : size_wh[0]] + 0.5
        a, b = (x2 - x1) / 2, (y2 - y1) / 2
        image[((u - x1 - a) / a) ** 2 + ((v - y1 - b) / b) ** 2 <= 1] = 255
    return Sample(image, np.array([box], np.float32), np.array([2], np.int64), shape)


def seen_box(image):
    rows, columns = np.nonzero(image[..., 0] > 127)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("shape", ["ellipse", "corners"])
@pytest.mark.parametrize(
    ("scale", "rotation_deg"), [(0.7, 15), (0.7, -15), (1, 0), (1, 90), (0.5, 40), (1, 180)]
)
@pytest.mark.parametrize("size_wh", [(200, 160), (161, 199)])
def test_the_box_encloses_the_turned_pixels(shape, scale, rotation_deg, size_wh):
    sample = painted(shape, size_wh, (60, 55, 110, 120))
    turned = scale_rotate(sample, scale, rotation_deg, shape)
    assert turned.size_hw == sample.size_hw
    assert turned.boxes_xyxy[0] == pytest.approx(seen_box(turned.image), abs=1.01)
    assert turned.labels.tolist() == [2]


def test_the_turn_is_clockwise_about_the_centre():
    turned = scale_rotate(painted("corners", (100, 100), (45, 0, 55, 10)), 1, 90)
    assert turned.boxes_xyxy.tolist() == [[90, 45, 100, 55]]


def test_standing_still_changes_nothing():
    sample = painted("corners", (80, 60), (5, 6, 33, 44))
    same = scale_rotate(sample, 1, 0)
    np.testing.assert_array_equal(same.image, sample.image)
    np.testing.assert_array_equal(same.boxes_xyxy, sample.boxes_xyxy)


def test_the_given_sample_is_left_as_it_is():
    sample = painted("ellipse", (80, 60), (5, 6, 33, 44))
    image, boxes = sample.image.copy(), sample.boxes_xyxy.copy()
    scale_rotate(sample)
    gaussian_noise(sample, np.random.default_rng(0))
    np.testing.assert_array_equal(sample.image, image)
    np.testing.assert_array_equal(sample.boxes_xyxy, boxes)


def test_no_faces_stay_no_faces():
    empty = Sample(
        np.zeros((20, 30, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64), "a"
    )
    assert scale_rotate(empty).boxes_xyxy.shape == (0, 4)
    assert gaussian_noise(empty, np.random.default_rng(0)).labels.shape == (0,)


def test_a_face_that_leaves_the_picture_is_dropped_and_a_cut_one_is_clipped():
    boxes = np.array([[0, 0, 20, 20], [35, 90, 55, 110], [90, 90, 110, 110]], np.float32)
    sample = Sample(
        np.zeros((200, 200, 3), np.uint8), boxes, np.array([0, 1, 2], np.int64), "corner"
    )
    turned = scale_rotate(sample, 2, 0)
    assert turned.labels.tolist() == [2]  # the others end left of -60, and at -30 to 10
    half = scale_rotate(sample, 1.8, 0)
    assert half.labels.tolist() == [1, 2]
    assert half.boxes_xyxy[0].tolist() == [0, 82, 19, 118]


@given(
    st.tuples(st.integers(0, 150), st.integers(0, 100), st.integers(2, 49), st.integers(2, 49)),
    st.floats(0.3, 1.5),
    st.floats(-180, 180),
)
@settings(max_examples=60, deadline=None)
def test_boxes_stay_inside_and_ellipses_inside_corners(box, scale, rotation_deg):
    x, y, width, height = box
    sample = painted("corners", (200, 150), (x, y, x + width, y + height))
    tight, loose = (
        scale_rotate(sample, scale, rotation_deg, outline) for outline in ("ellipse", "corners")
    )
    for turned in (tight, loose):
        boxes = turned.boxes_xyxy
        assert np.all(boxes >= 0)
        assert np.all(boxes <= [200, 150, 200, 150])
        assert np.all(boxes[:, 2:] - boxes[:, :2] >= 0.99)
    if len(tight.labels) and len(loose.labels):
        assert np.all(tight.boxes_xyxy[:, :2] >= loose.boxes_xyxy[:, :2] - 0.02)
        assert np.all(tight.boxes_xyxy[:, 2:] <= loose.boxes_xyxy[:, 2:] + 0.02)


def test_noise_is_grey_centred_and_within_the_reports_strength():
    grey = np.full((120, 160, 3), 128, np.uint8)
    sample = Sample(grey, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), "grey")
    rng = np.random.default_rng(0)
    noises = [gaussian_noise(sample, rng).image.astype(float) - 128 for _ in range(40)]
    sigmas = [noise.std() for noise in noises]
    assert all(np.array_equal(noise[..., 0], noise[..., 2]) for noise in noises)
    assert max(abs(noise.mean()) for noise in noises) < 1.5
    assert max(sigmas) <= MAX_NOISE_SIGMA + 0.5
    assert np.mean(sigmas) == pytest.approx(MAX_NOISE_SIGMA / 2, rel=0.25)


def test_the_same_generator_gives_the_same_noise():
    sample = painted("ellipse", (80, 60), (5, 6, 33, 44))
    images = [gaussian_noise(sample, np.random.default_rng(seed)).image for seed in (3, 3, 4)]
    np.testing.assert_array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])
    assert cv2.PSNR(images[0], sample.image) > 10
