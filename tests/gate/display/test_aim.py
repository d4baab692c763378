"""What an installer is told of a picture, and that it is all in the picture."""

import cv2
import numpy as np
import pytest

from mask_gate.gate.display.aim import AimLimits, aim_report, draw_aim, draw_faces
from mask_gate.gate.display.texts import AIM_FIELDS, language_codes, load_texts

LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
LIMITS = AimLimits(zone=LEFT_HALF, min_face=0.10, near_face=0.07, min_sharpness=5.0)
PX = 480
ENGLISH = load_texts("en")


@pytest.fixture(scope="module")
def picture(repo_root):
    image = cv2.imread(str(repo_root / "assets/selftest/with_mask.jpg"))
    return cv2.resize(image, (640, PX))


def face(part, x=100.0):
    return (x, 50.0, x + 0.7 * part * PX, 50.0 + part * PX)


def advice(image, *faces):
    return " ".join(aim_report(image, faces, LIMITS).advice_in(ENGLISH))


def test_a_well_placed_camera_needs_no_change(picture):
    report = aim_report(picture, [face(0.25)], LIMITS)
    assert report.advice == ()
    light, seen = report.facts_in(ENGLISH)
    assert light.startswith("light ")
    assert seen == "face 120 px, 25% of the picture's height"


def test_pixels_are_those_of_the_cameras_picture(picture):
    (seen,) = aim_report(picture, [face(0.25)], LIMITS, 1080).faces
    assert (seen.height_px, seen.part, seen.is_in_zone) == (270, pytest.approx(0.25), True)


@pytest.mark.parametrize(
    ("faces", "told"),
    [
        ([], "no face is seen"),
        ([face(0.25, x=500.0)], "no face is in the zone"),
        ([face(0.05)], "near_face (7%)"),
        ([face(0.11)], "min_face (10%)"),
        ([face(0.8, x=50.0)], "move the camera back"),
    ],
)
def test_faces_that_are_not_well_placed_are_told(picture, faces, told):
    assert told in advice(picture, *faces)


def test_light_contrast_and_sharpness_are_told(picture):
    assert "too dark" in advice((picture * 0.15).astype(np.uint8), face(0.25))
    assert "too bright" in advice(np.maximum(picture, 240), face(0.25))
    assert "contrast" in advice((picture // 20 + 120).astype(np.uint8), face(0.25))
    assert "not sharp" in advice(cv2.GaussianBlur(picture, (0, 0), 12), face(0.25))


@pytest.mark.parametrize("code", language_codes())
def test_every_language_says_the_same_values(picture, code):
    report = aim_report(picture, [face(0.11), face(0.25, x=500.0)], LIMITS)
    texts = load_texts(code)
    light, inside, outside = report.facts_in(texts)
    assert f"{report.light:.0f}" in light
    assert "53" in inside
    assert "11%" in inside
    assert "25%" in outside
    assert "10%" in report.advice_in(texts)[0]
    assert {key for key, fields in AIM_FIELDS.items() if "limit" in fields} == {
        "below_near_face", "about_min_face",
    }  # fmt: skip


def test_zone_and_report_are_in_the_picture_whatever_its_size(picture):
    for size in [(640, PX), (160, 120), (1920, 1080), (64, 64)]:
        image = cv2.resize(picture, size)
        before = image.copy()
        faces = [(5.0, 5.0, 40.0, 60.0), (-10.0, -20.0, 1e4, 1e4)]
        drawn = draw_aim(image, LIMITS, aim_report(image, faces, LIMITS), ENGLISH)
        assert drawn.shape == image.shape
        assert np.array_equal(image, before)
        middle = drawn[-size[1] // 8 :, size[0] // 2 - 2 : size[0] // 2 + 2]
        assert not np.array_equal(
            middle, image[-size[1] // 8 :, size[0] // 2 - 2 : size[0] // 2 + 2]
        )


def test_faces_are_drawn_with_their_size_alone(picture):
    report = aim_report(picture, [face(0.25)], LIMITS)
    changed = (draw_faces(picture, report, ENGLISH.typeface) != picture).any(axis=2)
    assert changed.any()
    assert not changed[:45].any()  # nothing above the face
    assert not changed[:, 320:].any()
