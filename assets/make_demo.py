"""Draws the demo clip: two public-domain portraits walk up to a door, with and without masks.

    python assets/make_demo.py --out assets/demo.mp4 --selftest assets/selftest

The portraits come with matplotlib (Grace Hopper, US Navy) and scikit-image (Eileen Collins, NASA);
lobby and masks are drawn here, so that nothing is downloaded and the clip may be shipped. The gate
knows nothing of this file: the detector has to see the masks as it sees real ones.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Plane = NDArray[np.float32]
Points = tuple[tuple[float, float], ...]

SIZE_HW = (480, 640)
FPS = 15
HORIZON_Y = 196.0
VANISHING_X = 320.0


def _plane(values: object) -> Plane:
    """The same numbers as float32, the one type all pictures have while they are drawn."""
    return np.asarray(values, np.float32)


# ---------------------------------------------------------------------------------- timeline

APPROACH_S, AT_DOOR_S, LEAVE_S, EMPTY_S = 1.9, 3.0, 0.7, 1.0
FACE_FAR_PX, LEAD_IN_S = 25.0, 1.0


class Visit(NamedTuple):
    """What the clip shows between two times; outside of all visits the lobby is empty.

    Attributes:
        start_s, end_s: when the first person comes in sight and the last one has gone.
        class_names: one per person, left to right, as in `models.labels.CLASS_NAMES`.
        at_door_s: from when until when they stand still, as near as they come.
    """

    start_s: float
    end_s: float
    class_names: tuple[str, ...]
    at_door_s: tuple[float, float]


class Role(NamedTuple):
    """One person in one visit."""

    portrait: str
    class_name: str
    face_px: float
    centre_x: float
    exit_x: float


VISITS: tuple[tuple[Role, ...], ...] = (
    (Role("hopper", "without_mask", 176, 318, -260),),
    (Role("hopper", "mask_weared_incorrect", 178, 326, -260),),
    (Role("hopper", "with_mask", 176, 320, 900),),
    (Role("collins", "with_mask", 166, 322, 900),),
    (
        Role("hopper", "with_mask", 136, 196, -300),
        Role("collins", "without_mask", 132, 446, 930),
    ),
)


def _timeline() -> list[Visit]:
    """Every visit at its time, one after the other."""
    visits: list[Visit] = []
    start_s = LEAD_IN_S
    for roles in VISITS:
        stand_s = round(start_s + APPROACH_S, 3)
        end_s = round(stand_s + AT_DOOR_S + LEAVE_S, 3)
        names = tuple(role.class_name for role in roles)
        visits.append(Visit(start_s, end_s, names, (stand_s, stand_s + AT_DOOR_S)))
        start_s = round(end_s + EMPTY_S, 3)
    return visits


TIMELINE: list[Visit] = _timeline()
DURATION_S = TIMELINE[-1].end_s + EMPTY_S
FRAME_COUNT = round(DURATION_S * FPS)


# ---------------------------------------------------------------------------------- portraits


@dataclass(frozen=True)
class Landmarks:
    """Where a mask touches a face, in pixels (x, y); left and right are the viewer's.

    Attributes:
        bridge: on the nose, where the upper edge of a well worn mask lies.
        lip: just under the nostrils, where the upper edge lies when the mask has slipped.
        cheeks: left and right upper corner of a well worn mask.
        slipped: left and right upper corner of a slipped mask.
        jaws: left and right lower corner.
        chin: where the lower edge lies, under the chin.
        ears: left upper, left lower, right upper, right lower end of the ear loops.
    """

    bridge: tuple[float, float]
    lip: tuple[float, float]
    cheeks: Points
    slipped: Points
    jaws: Points
    chin: tuple[float, float]
    ears: Points

    def moved(self, scale: float, dx: float = 0.0, dy: float = 0.0) -> Landmarks:
        """The same landmarks after the picture was scaled and then shifted."""

        def point(p: tuple[float, float]) -> tuple[float, float]:
            return (p[0] * scale + dx, p[1] * scale + dy)

        def points(ps: Points) -> Points:
            return tuple(point(p) for p in ps)

        return Landmarks(
            point(self.bridge), point(self.lip), points(self.cheeks), points(self.slipped),
            points(self.jaws), point(self.chin), points(self.ears),
        )  # fmt: skip


@dataclass(frozen=True)
class Portrait:
    """One photograph and what was measured on it by hand, in its own pixels.

    Attributes:
        outline: polygon around the person.
        face_centre: middle of the face; `face_px` is its height from forehead to chin.
        feet_y: row at which the feet would stand were the photograph long enough.
        body: polygons with their colours, back to front, of what lies below the photograph.
        gain_bgr: the photograph is multiplied by it, to stand in the light of the lobby.
        paleness: how much of its colour it loses there, 0..1.
    """

    image: Image
    landmarks: Landmarks
    outline: Points
    face_centre: tuple[float, float]
    face_px: float
    feet_y: float
    body: tuple[tuple[Points, tuple[float, float, float]], ...]
    gain_bgr: tuple[float, float, float]
    paleness: float


HOPPER_OUTLINE: Points = (
    (191, 49), (213, 43), (219, 31), (234, 25), (262, 23), (275, 25), (290, 32), (299, 41),
    (313, 44), (324, 50), (340, 55), (351, 78), (355, 88), (366, 92), (370, 129), (371, 182),
    (375, 192), (373, 214), (368, 240), (362, 262), (354, 275), (346, 290), (331, 302),
    (331, 314), (343, 324), (376, 345), (422, 366), (464, 377), (492, 393), (504, 430),
    (509, 480), (510, 600), (14, 600), (18, 526), (23, 501), (28, 459), (30, 425), (42, 402),
    (50, 387), (62, 381), (88, 367), (121, 360), (155, 347), (187, 330), (199, 318), (203, 310),
    (196, 294), (186, 281), (176, 270), (166, 256), (160, 236), (154, 212), (152, 192),
    (155, 182), (153, 170), (150, 146), (150, 112), (156, 98), (167, 84), (174, 70), (180, 56),
)  # fmt: skip

COLLINS_OUTLINE: Points = (
    (201, 23), (185, 38), (174, 43), (163, 51), (156, 58), (153, 68), (155, 98), (157, 104),
    (167, 115), (171, 119), (174, 128), (181, 133), (183, 146), (184, 150), (161, 150),
    (149, 153), (140, 158), (131, 167), (121, 183), (117, 200), (110, 210), (59, 256),
    (40, 294), (39, 306), (34, 315), (26, 342), (25, 375), (20, 394), (20, 410), (24, 432),
    (23, 460), (26, 484), (34, 505), (40, 512), (400, 512), (440, 509), (470, 498), (488, 480),
    (494, 455), (493, 421), (486, 400), (478, 384), (455, 361), (427, 348), (413, 359),
    (389, 353), (364, 352), (360, 328), (357, 310), (353, 303), (343, 268), (319, 243),
    (303, 233), (299, 219), (289, 203), (276, 189), (258, 174), (260, 159), (265, 146),
    (268, 137), (276, 133), (290, 117), (296, 107), (300, 92), (299, 72), (296, 58), (288, 43),
    (276, 31), (248, 18), (227, 16), (214, 21),
)  # fmt: skip


_NAVY, _SUIT, _DARK = (30.0, 21.0, 20.0), (46.0, 74.0, 160.0), (30.0, 28.0, 28.0)

HOPPER_BODY = (
    (((150, 1980), (238, 1975), (246, 2022), (226, 2034), (136, 2030)), _DARK),
    (((284, 1975), (372, 1980), (386, 2030), (296, 2034), (276, 2022)), _DARK),
    (((102, 1010), (270, 1010), (250, 1500), (240, 1996), (148, 1996), (120, 1500)), _NAVY),
    (((254, 1010), (422, 1010), (404, 1500), (374, 1996), (282, 1996), (274, 1500)), _NAVY),
    (((92, 560), (432, 560), (424, 820), (440, 1090), (86, 1090), (102, 820)), _NAVY),
    (((16, 540), (112, 540), (104, 800), (84, 1090), (30, 1090), (14, 800)), _NAVY),
    (((414, 540), (510, 540), (510, 800), (494, 1090), (440, 1090), (420, 800)), _NAVY),
    (((36, 1080), (80, 1080), (76, 1165), (46, 1165)), (124.0, 146.0, 196.0)),
    (((446, 1080), (490, 1080), (480, 1165), (450, 1165)), (124.0, 146.0, 196.0)),
)

COLLINS_BODY = (
    (((66, 1020), (160, 1020), (172, 1062), (150, 1076), (56, 1072)), _DARK),
    (((236, 1020), (330, 1020), (342, 1072), (246, 1076), (226, 1062)), _DARK),
    (((48, 540), (204, 540), (190, 800), (168, 1040), (64, 1040), (44, 800)), _SUIT),
    (((194, 540), (352, 540), (352, 800), (332, 1040), (228, 1040), (208, 800)), _SUIT),
    (((40, 470), (352, 470), (356, 540), (352, 610), (204, 640), (50, 610)), _SUIT),
)


@lru_cache(maxsize=1)
def portraits() -> dict[str, Portrait]:
    """Both people, from the files that the two libraries carry in their wheels."""
    from skimage import data  # a development extra: needed to draw the clip, not to play it

    folder = Path(matplotlib.get_data_path()) / "sample_data"
    hopper = cv2.imread(str(folder / "grace_hopper.jpg"))
    if hopper is None:
        raise SystemExit(f"make_demo: {folder} has no readable grace_hopper.jpg")
    collins = np.ascontiguousarray(data.astronaut()[:, :, ::-1])  # type: ignore[no-untyped-call]
    return {
        "hopper": Portrait(
            image=np.asarray(hopper, np.uint8),
            landmarks=Landmarks(
                bridge=(264, 207), lip=(264, 264),
                cheeks=((186, 239), (346, 235)), slipped=((191, 270), (342, 266)),
                jaws=((207, 302), (329, 300)), chin=(263, 341),
                ears=((172, 206), (178, 262), (360, 202), (356, 260)),
            ),
            outline=HOPPER_OUTLINE, face_centre=(264, 234), face_px=196, feet_y=2020,
            body=HOPPER_BODY, gain_bgr=(0.88, 0.88, 0.88), paleness=0.20,
        ),
        "collins": Portrait(
            image=collins,
            landmarks=Landmarks(
                bridge=(227, 110), lip=(225, 137),
                cheeks=((181, 124), (270, 127)), slipped=((183, 140.5), (267, 143.5)),
                jaws=((190, 161), (260, 164)), chin=(226, 184),
                ears=((175, 115), (176, 130), (274, 119), (273, 134)),
            ),
            outline=COLLINS_OUTLINE, face_centre=(225, 130), face_px=97, feet_y=1060,
            body=COLLINS_BODY, gain_bgr=(0.74, 0.79, 0.85), paleness=0.0,
        ),
    }  # fmt: skip


# ---------------------------------------------------------------------------------- masks


@dataclass(frozen=True)
class MaskStyle:
    """How a mask looks and sits.

    Attributes:
        cloth_bgr: reflectance of the cloth per channel, 1.0 as bright as bright skin.
        under_nose: the upper edge lies on the upper lip instead of the nose bridge.
    """

    cloth_bgr: tuple[float, float, float]
    under_nose: bool = False


SURGICAL_BLUE = (1.07, 1.0, 0.79)
SURGICAL_WHITE = (1.10, 1.09, 1.06)
STYLES: dict[str, MaskStyle | None] = {
    "without_mask": None,
    "with_mask": MaskStyle(SURGICAL_BLUE),
    "mask_weared_incorrect": MaskStyle(SURGICAL_BLUE, under_nose=True),
}

_WORK_PX = 420.0  # a mask is drawn this wide, then shrunk to its face: smooth edges at any size


def draw_mask(image: Image, landmarks: Landmarks, style: MaskStyle) -> Image:
    """Put a pleated surgical mask on one face.

    Args:
        image: [H, W, 3] uint8 BGR; it is not changed.
        landmarks: of the face, in pixels of `image`.
        style: colour and fit.

    Returns:
        [H, W, 3] uint8 BGR, a new picture.
    """
    corners = np.array([*landmarks.ears, *landmarks.jaws, landmarks.bridge, landmarks.chin])
    reach = 0.25 * float(np.ptp(corners[:, 0]))
    low = np.maximum(np.floor(corners.min(0) - reach), 0).astype(int)
    high = np.minimum(np.ceil(corners.max(0) + reach), image.shape[1::-1]).astype(int)
    window = (slice(low[1], high[1]), slice(low[0], high[0]))
    scale = _WORK_PX / (landmarks.cheeks[1][0] - landmarks.cheeks[0][0])
    face = cv2.resize(image[window], None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    placed = landmarks.moved(scale, -low[0] * scale, -low[1] * scale)
    masked, changed = _masked_face(face.astype(np.float32), placed, style)
    back = (int(high[0] - low[0]), int(high[1] - low[1]))
    small = cv2.resize(masked, back, interpolation=cv2.INTER_AREA)
    alpha = cv2.resize(changed, back, interpolation=cv2.INTER_AREA)[..., None]
    result = image.copy()
    mixed = image[window] * (1 - alpha) + small * alpha
    result[window] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return result


def _masked_face(face: Plane, marks: Landmarks, style: MaskStyle) -> tuple[Plane, Plane]:
    """The face at working size with mask, shadow and loops, and [H, W] where it was changed."""
    u, v, alpha = _mask_coordinates(face.shape[:2], marks, style)
    light = _light_on_face(face, alpha)
    cloth = _cloth(u, v, style) * light[..., None]
    shadow = cv2.GaussianBlur(alpha, (0, 0), 0.035 * _WORK_PX)
    shadow = np.roll(shadow, int(0.02 * _WORK_PX), axis=0)
    shaded = face * (1 - 0.42 * shadow * (1 - alpha))[..., None]
    loops = _ear_loops(face.shape[:2], marks, style)
    loop_shadow = np.roll(cv2.GaussianBlur(loops, (0, 0), 4.0), 5, axis=0)
    shaded *= (1 - 0.35 * loop_shadow)[..., None]
    string = np.array([214, 216, 218], np.float32) * np.clip(light, 0.5, 1.05)[..., None]
    shaded = shaded * (1 - loops[..., None]) + string * loops[..., None]
    masked = shaded * (1 - alpha[..., None]) + cloth * alpha[..., None]
    changed = np.clip((shadow + loop_shadow) * 6 + alpha + loops, 0, 1)
    return _plane(masked), _plane(changed)


def _mask_coordinates(
    size_hw: tuple[int, ...], marks: Landmarks, style: MaskStyle
) -> tuple[Plane, Plane, Plane]:
    """Per pixel: u across (0..1), v down (0..1) on the cloth, and the soft cover alpha."""
    upper = marks.slipped if style.under_nose else marks.cheeks
    middle = marks.lip if style.under_nose else marks.bridge
    x, y = np.meshgrid(
        np.arange(size_hw[1], dtype=np.float32), np.arange(size_hw[0], dtype=np.float32)
    )
    u = np.full_like(x, 0.5)
    v = np.full_like(x, 0.5)
    nose_u = (middle[0] - upper[0][0]) / (upper[1][0] - upper[0][0])
    for _ in range(6):  # u needs v and v needs u; the outline is gentle enough to converge
        top = _edge(
            u, upper[0][1], middle[1], upper[1][1], nose_u, 0.9 if style.under_nose else 1.5
        )
        bottom = _edge(u, marks.jaws[0][1], marks.chin[1], marks.jaws[1][1], 0.5, 1.9)
        v = (y - top) / np.maximum(bottom - top, 1.0)
        held = np.clip(v, -0.1, 1.1)
        bow = 0.022 * _WORK_PX * np.sin(np.pi * np.clip(v, 0, 1))
        left = upper[0][0] * (1 - held) + marks.jaws[0][0] * held - bow
        right = upper[1][0] * (1 - held) + marks.jaws[1][0] * held + bow
        u = (x - left) / (right - left)
    width, height = right - left, bottom - top
    inside = np.minimum(np.minimum(u, 1 - u) * width, np.minimum(v, 1 - v) * height)
    alpha = np.clip(inside / 3.0 + 0.5, 0, 1)
    alpha = cv2.GaussianBlur(alpha, (0, 0), 1.5)
    return u.astype(np.float32), v.astype(np.float32), alpha.astype(np.float32)


def _edge(
    u: Plane, left_y: float, middle_y: float, right_y: float, middle_u: float, power: float
) -> Plane:
    """Height of an edge that runs from left over the middle to the right, rounded there."""
    inside = np.clip(u, 0, 1)
    side = np.where(inside < middle_u, 1 - inside / middle_u, (inside - middle_u) / (1 - middle_u))
    ends = np.where(inside < middle_u, left_y, right_y)
    rounded = np.sqrt(side**2 + 0.012) - np.sqrt(0.012)
    rise = rounded / (np.sqrt(1.012) - np.sqrt(0.012))
    return _plane(middle_y + (ends - middle_y) * rise**power)


def _light_on_face(face: Plane, alpha: Plane) -> Plane:
    """[H, W] brightness that cloth gets here: that of the skin below, without its features."""
    luma = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY)
    weight = cv2.GaussianBlur(alpha, (0, 0), 0.11 * _WORK_PX) + 1e-3
    smooth = cv2.GaussianBlur(luma * alpha, (0, 0), 0.11 * _WORK_PX) / weight
    mean = float((luma * alpha).sum() / max(float(alpha.sum()), 1.0))
    relative = np.clip(smooth / max(mean, 1.0), 0.72, 1.22)
    level = np.clip(mean * 1.4, 70.0, 205.0)
    return _plane(relative**0.85 * level / 200.0)


def _cloth(u: Plane, v: Plane, style: MaskStyle) -> Plane:
    """[H, W, 3] colour of the cloth under even light of 200: folds, bulge, hems, weave."""
    across = 2 * u - 1
    round_off = 1 - 0.26 * np.abs(np.clip(across, -1, 1)) ** 2.6
    lower = 1 - 0.30 * np.clip((v - 0.62) / 0.38, 0, 1) ** 1.6
    bulge = 1 + 0.07 * np.exp(-((across / 0.42) ** 2) - ((v - 0.34) / 0.22) ** 2)
    shade = round_off * lower * bulge * _folds(across, v)
    if not style.under_nose:
        shade = shade * _nose_ridge(across, v)
    hem = np.maximum(
        _band(v, 0.0, 0.07), np.maximum(_band(v, 0.945, 1.0), 0.5 * _band(u, 0, 0.035))
    )
    hem = np.maximum(hem, 0.5 * _band(u, 0.965, 1.0))
    seam = np.exp(-(((v - 0.078) / 0.007) ** 2)) + np.exp(-(((v - 0.938) / 0.007) ** 2))
    shade = shade * (1 - 0.10 * seam)
    rng = np.random.default_rng(7)
    weave = cv2.GaussianBlur(rng.normal(0, 1, u.shape).astype(np.float32), (0, 0), 1.6)
    crumple = cv2.GaussianBlur(rng.normal(0, 1, u.shape).astype(np.float32), (0, 0), 16.0)
    shade = shade * (1 + 0.035 * weave + 0.75 * crumple)
    cloth = np.array(style.cloth_bgr, np.float32)
    paler = cloth + (np.float32(1.06) - cloth) * 0.42
    colour = cloth + (paler - cloth) * hem[..., None]
    return _plane(colour * shade[..., None] * 200.0)


def _band(t: Plane, low: float, high: float) -> Plane:
    """1 between low and high, 0 elsewhere, with a soft step."""
    return _plane(np.clip((t - low) / 0.01 + 0.5, 0, 1) * np.clip((high - t) / 0.01 + 0.5, 0, 1))


def _folds(across: Plane, v: Plane) -> Plane:
    """Light and shade of the three pleats and of the creases that the ear loops pull."""
    shade = np.ones_like(v)
    opened = 1 - np.clip(across, -1, 1) ** 2
    for at, depth in ((0.34, 0.20), (0.53, 0.23), (0.71, 0.20)):
        d = v - (at + 0.035 * opened * (at - 0.45) + 0.006 * np.sin(3 * across + 9 * at))
        depth_here = depth * (0.72 + 0.28 * np.abs(across))
        shade -= depth_here * np.exp(-np.abs(d) / 0.008) * (d < 0)
        shade -= depth_here * np.exp(-np.maximum(d, 0) / 0.030) * (d >= 0)
        shade += 0.45 * depth * np.exp(-(((d + 0.035) / 0.022) ** 2))
    pulled = np.clip(np.abs(across) - 0.55, 0, 1) / 0.45
    creases = np.sin(44 * (v - 0.5) * (1.5 - np.abs(across)) + 2 * across)
    return _plane(shade * (1 + 0.075 * creases * pulled**1.3))


def _nose_ridge(across: Plane, v: Plane) -> Plane:
    """The bump of the nose under the cloth and the bent wire along the upper hem."""
    down = np.exp(-((np.clip(v - 0.10, 0, 1) / 0.20) ** 2))
    ridge = np.exp(-((across / 0.13) ** 2))
    flanks = np.exp(-(((np.abs(across) - 0.27) / 0.11) ** 2))
    wire = np.exp(-(((v - 0.045) / 0.012) ** 2)) * (np.abs(across) < 0.40)
    return _plane(1 + down * (0.10 * ridge - 0.17 * flanks) + 0.06 * wire)


def _ear_loops(size_hw: tuple[int, ...], marks: Landmarks, style: MaskStyle) -> Plane:
    """[H, W] cover of the four elastic strings from the corners to the ears."""
    upper = marks.slipped if style.under_nose else marks.cheeks
    canvas = np.zeros(size_hw[:2], np.uint8)
    ends = zip(
        (upper[0], marks.jaws[0], upper[1], marks.jaws[1]), marks.ears, (1, -1, 1, -1), strict=True
    )
    for start, ear, bend in ends:
        t = np.linspace(0, 1, 24)[:, None]
        sag = np.array([0.0, 0.02 * bend * _WORK_PX])
        curve = np.array(start) * (1 - t) + np.array(ear) * t + sag * np.sin(np.pi * t)
        points = np.rint(curve * 16).astype(np.int32)[:, None]
        cv2.polylines(canvas, [points], False, 255, 6, cv2.LINE_AA, shift=4)
    return _plane(cv2.GaussianBlur(canvas.astype(np.float32) / 255, (0, 0), 1.2))


# ---------------------------------------------------------------------------------- people

_SPRITE_FACE_PX = 200.0
_MARGIN = 8  # pixels around a sprite, so that its edges stay soft


@dataclass(frozen=True)
class Sprite:
    """A person cut out, ready to be placed at any size.

    Attributes:
        levels: premultiplied [H, W, 4] float32 pictures, each half the size of the one before.
        anchor: middle of the face in the first level.
        face_px: height of the face in the first level.
        feet_y: row of the feet in the first level.
    """

    levels: tuple[Plane, ...]
    anchor: tuple[float, float]
    face_px: float
    feet_y: float


@lru_cache(maxsize=8)
def sprite(name: str, class_name: str) -> Sprite:
    """The person called `name` wearing what `class_name` says, from head to feet."""
    person = portraits()[name]
    style = STYLES[class_name]
    photo = person.image
    if style is not None:
        photo = draw_mask(photo, person.landmarks, style)
    scale = _SPRITE_FACE_PX / person.face_px  # both people in the same resolution
    size = (int(photo.shape[1] * scale) + 2 * _MARGIN, int(person.feet_y * scale) + 2 * _MARGIN)
    place = np.array([[scale, 0, _MARGIN], [0, scale, _MARGIN]], np.float32)
    upper = cv2.warpAffine(
        _graded(photo, person.gain_bgr, person.paleness), place, size, flags=cv2.INTER_CUBIC
    )
    cover = _outline_cover(person, place, size)
    body, body_cover = _body(person, place, size)
    alpha = cover + body_cover * (1 - cover)
    colour = upper * cover[..., None] + body * (body_cover * (1 - cover))[..., None]
    levels = [np.dstack([colour, alpha]).astype(np.float32)]
    while min(levels[-1].shape[:2]) > 40:
        half = (levels[-1].shape[1] // 2, levels[-1].shape[0] // 2)
        levels.append(cv2.resize(levels[-1], half, interpolation=cv2.INTER_AREA).astype(np.float32))
    anchor = (person.face_centre[0] * scale + _MARGIN, person.face_centre[1] * scale + _MARGIN)
    return Sprite(tuple(levels), anchor, _SPRITE_FACE_PX, person.feet_y * scale + _MARGIN)


def _graded(photo: Image, gain_bgr: tuple[float, float, float], paleness: float) -> Plane:
    """A studio photograph in the flat light of a lobby: paler, darker, with lifted shadows."""
    grey = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY).astype(np.float32)[..., None]
    pale = photo.astype(np.float32) * (1 - paleness) + grey * paleness
    return _plane(np.clip(pale * np.array(gain_bgr) + 9, 0, 255))


def _outline_cover(person: Portrait, place: Plane, size: tuple[int, int]) -> Plane:
    """[H, W] soft cover of the person's outline, a little inside of it: no fringe is left."""
    soft = cv2.GaussianBlur(_polygon(person.outline, place, size), (0, 0), 2.0)
    inside = np.clip((soft - 0.5) / 0.5, 0, 1)
    end_y = person.image.shape[0] * place[1, 1] + place[1, 2]
    rows = np.arange(size[1], dtype=np.float32)[:, None]
    fade = np.clip((end_y - rows) / (0.12 * _SPRITE_FACE_PX), 0, 1)  # into the body drawn below
    return _plane(inside * fade)


def _polygon(points: Points, place: Plane, size: tuple[int, int]) -> Plane:
    """[H, W] cover (0..1) of a polygon given in the photograph's pixels."""
    corners = np.rint((np.array(points) @ place[:, :2].T + place[:, 2]) * 16).astype(np.int32)
    canvas = np.zeros(size[::-1], np.uint8)
    cv2.fillPoly(canvas, [corners], 255, cv2.LINE_AA, shift=4)
    return _plane(canvas / 255)


def _body(person: Portrait, place: Plane, size: tuple[int, int]) -> tuple[Plane, Plane]:
    """What the photograph does not show and is seen from afar: colour, and [H, W] cover."""
    small, place = (size[0] // 4, size[1] // 4), _plane(place / 4)
    colour = np.zeros((small[1], small[0], 3), np.float32)
    cover = np.zeros(small[::-1], np.float32)
    grain = _plane(np.random.default_rng(2).normal(0, 1, small[::-1]))
    wrinkles = cv2.GaussianBlur(grain, (0, 0), sigmaX=2.3, sigmaY=6.5)
    for points, bgr in person.body:
        part = cv2.GaussianBlur(_polygon(points, place, small), (0, 0), 0.6)
        core = cv2.GaussianBlur(part, (0, 0), 0.023 * _SPRITE_FACE_PX)
        shade = (0.52 + 0.48 * core**1.5) * (1 + 0.55 * wrinkles)
        tone = np.array(bgr, np.float32) * shade[..., None]
        colour = colour * (1 - part[..., None]) + tone * part[..., None]
        cover = np.maximum(cover, part)
    return _plane(cv2.resize(colour, size)), _plane(cv2.resize(cover, size))


def place_person(scene: Plane, person: Sprite, face_px: float, at: tuple[float, float]) -> None:
    """Draw a person into `scene` [H, W, 3], face `face_px` high with its middle `at` (x, y)."""
    scale = face_px / person.face_px
    level = 0
    while level + 1 < len(person.levels) and scale * 2 ** (level + 1) <= 1.0:
        level += 1
    picture = person.levels[level]
    sx = scale * person.levels[0].shape[1] / picture.shape[1]
    sy = scale * person.levels[0].shape[0] / picture.shape[0]
    shift = (at[0] - person.anchor[0] * scale, at[1] - person.anchor[1] * scale)
    matrix = np.array([[sx, 0, shift[0]], [0, sy, shift[1]]], np.float32)
    _floor_shadow(scene, at[0], at[1] + (person.feet_y - person.anchor[1]) * scale, face_px)
    warped = cv2.warpAffine(picture, matrix, scene.shape[1::-1], flags=cv2.INTER_LINEAR)
    alpha = warped[..., 3:]
    scene *= 1 - alpha
    scene += warped[..., :3]


def _floor_shadow(scene: Plane, x: float, feet_y: float, face_px: float) -> None:
    """Darken the floor softly where somebody stands on it."""
    if feet_y > scene.shape[0] + face_px:
        return
    canvas = np.zeros(scene.shape[:2], np.float32)
    axes = (max(int(1.15 * face_px), 1), max(int(0.26 * face_px), 1))
    cv2.ellipse(canvas, (int(x), int(feet_y)), axes, 0, 0, 360, 1.0, -1)
    scene *= (1 - 0.45 * cv2.GaussianBlur(canvas, (0, 0), 0.16 * face_px + 1))[..., None]


# ---------------------------------------------------------------------------------- the lobby


@lru_cache(maxsize=1)
def lobby() -> Plane:
    """[H, W, 3] float32: an entrance hall with daylight behind it, a little out of focus."""
    height, width = SIZE_HW
    scene = np.zeros((height, width, 3), np.float32)
    _draw_walls(scene)
    _draw_floor(scene)
    _draw_daylight(scene)
    _draw_furniture(scene)
    scene[...] = cv2.GaussianBlur(scene, (0, 0), 0.8)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    corner = ((x - width / 2) / width) ** 2 + ((y - height / 2) / height) ** 2
    rng = np.random.default_rng(3)
    plaster = cv2.GaussianBlur(rng.normal(0, 1, (height, width)).astype(np.float32), (0, 0), 3)
    scene *= (1.04 - 0.42 * corner + 0.10 * plaster)[..., None]
    return _plane(scene)


# The far wall; everything else runs from its corners towards the viewer.
_FAR = (196, 116, 444, 300)  # left, top, right, bottom


def _out(x: float, y: float, k: float) -> tuple[float, float]:
    """The point k times as far from the vanishing point: nearer to the viewer along a line."""
    return (VANISHING_X + (x - VANISHING_X) * k, HORIZON_Y + (y - HORIZON_Y) * k)


def _fill(scene: Plane, points: Points, bgr: tuple[float, float, float]) -> None:
    """One polygon in one colour, with smooth edges."""
    corners = np.rint(np.array(points) * 16).astype(np.int32)
    canvas = np.zeros(scene.shape[:2], np.uint8)
    cv2.fillPoly(canvas, [corners], 255, cv2.LINE_AA, shift=4)
    cover = canvas.astype(np.float32)[..., None] / 255
    scene *= 1 - cover
    scene += np.array(bgr, np.float32) * cover


def _strip(
    scene: Plane,
    a: tuple[float, float],
    b: tuple[float, float],
    k: tuple[float, float],
    bgr: tuple[float, float, float],
) -> None:
    """The edge from a to b, drawn out towards the viewer from k[0] to k[1] times as near."""
    _fill(scene, (_out(*a, k[0]), _out(*b, k[0]), _out(*b, k[1]), _out(*a, k[1])), bgr)


def _draw_walls(scene: Plane) -> None:
    """Ceiling with light panels, side walls with panelling, the far wall."""
    left, top, right, bottom = _FAR
    steps = [1.0 + 0.16 * i for i in range(16)]
    for near, far in zip(steps[:0:-1], steps[-2::-1], strict=True):  # bands: light falls off
        glow = 1.0 / (1 + 0.16 * (near - 1))
        for x, shade in ((left, 0.92), (right, 0.84)):
            tone = shade * (0.78 + 0.22 * glow)
            wall = (176 * tone, 190 * tone, 200 * tone)
            _strip(scene, (x, top), (x, bottom), (far, near), wall)
        ceiling = (206 * glow + 20, 208 * glow + 20, 210 * glow + 18)
        _strip(scene, (left, top), (right, top), (far, near), ceiling)
    for k in (1.12, 1.55, 2.25):
        for a, b in ((0.22, 0.42), (0.58, 0.78)):
            xa, xb = left + a * (right - left), left + b * (right - left)
            _strip(scene, (xa, top), (xb, top), (k, k * 1.2), (250, 254, 255))
    for k in (1.25, 1.75, 2.4, 3.2):  # seams between the wall panels
        for x in (left, right):
            _strip(scene, (x, top), (x, bottom), (k, k * 1.012), (128, 140, 150))
    _fill(scene, ((left, top), (right, top), (right, bottom), (left, bottom)), (178, 190, 198))


def _draw_floor(scene: Plane) -> None:
    """Stone tiles in perspective with a sheen of the daylight."""
    left, _, right, bottom = _FAR
    y, x = np.mgrid[0 : scene.shape[0], 0 : scene.shape[1]].astype(np.float32)
    depth = np.maximum(y - HORIZON_Y, 1.0) / (bottom - HORIZON_Y)
    ground = (y >= bottom) & (np.abs(x - VANISHING_X) <= (right - left) / 2 * depth + 1)
    across = (x - VANISHING_X) / depth
    along = 5.2 / depth
    tile = (np.floor(across / 41) + np.floor(along * 2.2)) % 2
    grout = (np.abs((across / 41) % 1 - 0.5) > 0.485) | (np.abs((along * 2.2) % 1 - 0.5) > 0.475)
    tone = 0.80 + 0.06 * tile - 0.20 * grout
    sheen = np.exp(-((across / 66) ** 2)) * (0.10 + 0.30 * np.exp(-(depth - 1) / 0.55))
    stone = np.stack([150 * tone, 160 * tone, 166 * tone], -1) * (0.94 + sheen)[..., None]
    np.copyto(scene, stone.astype(np.float32), where=ground[..., None])
    for x_wall in (left, right):
        _strip(scene, (x_wall, bottom), (x_wall, bottom - 7), (1, 4.2), (92, 100, 108))


def _draw_daylight(scene: Plane) -> None:
    """Glass doors in the far wall with a street full of light and green behind them."""
    left, top, right, bottom = 244, 142, 396, 300
    _fill(scene, ((left, top), (right, top), (right, bottom), (left, bottom)), (88, 92, 96))
    rng = np.random.default_rng(5)
    y, _ = np.mgrid[top + 5 : bottom, left + 5 : right - 5].astype(np.float32)
    t = ((y - top) / (bottom - top))[..., None]
    outside = np.array([246, 240, 230]) * (1 - t) + np.array([176, 196, 196]) * t
    leaves = cv2.GaussianBlur(rng.normal(0, 1, y.shape).astype(np.float32), (0, 0), 7) * 17
    tree = np.clip(leaves * np.exp(-(((y - 205) / 42) ** 2)), 0, 1)[..., None]
    outside = outside * (1 - 0.62 * tree) + np.array([112, 158, 128]) * 0.62 * tree
    path = np.clip((y - 262) / 16, 0, 1)[..., None]
    outside = outside * (1 - path) + np.array([196, 204, 208]) * path
    scene[top + 5 : bottom, left + 5 : right - 5] = cv2.GaussianBlur(outside, (0, 0), 2.2)
    for bar in (left + 35, (left + right) // 2 - 3, right - 41):
        _fill(scene, ((bar, top), (bar + 6, top), (bar + 6, bottom), (bar, bottom)), (86, 90, 94))
    _fill(scene, ((left, 228), (right, 228), (right, 232), (left, 232)), (104, 108, 112))
    halo = np.zeros(scene.shape[:2], np.float32)
    halo[top:bottom, left:right] = 1
    scene += cv2.GaussianBlur(halo, (0, 0), 26)[..., None] * np.array([30, 28, 24], np.float32)


def _draw_furniture(scene: Plane) -> None:
    """A plant, a bench and pictures on the walls: a place, not a studio."""
    left = _FAR[0]
    for k, hue in ((1.35, (150, 128, 96)), (1.95, (104, 132, 168))):
        _strip(scene, (left, 154), (left, 222), (k, k * 1.2), (64, 70, 78))
        _strip(scene, (left, 158), (left, 218), (k * 1.02, k * 1.18), hue)
    bench = ((500, 318), (590, 352), (590, 376), (500, 338))
    _fill(scene, bench, (74, 96, 124))
    _fill(scene, ((486, 318), (500, 318), (590, 352), (560, 352)), (96, 122, 152))
    _fill(scene, ((108, 330), (150, 330), (144, 378), (114, 378)), (96, 104, 116))
    rng = np.random.default_rng(11)
    for _ in range(70):
        angle = rng.uniform(-1.25, 1.25)
        length = rng.uniform(34, 84)
        root = (129 + rng.uniform(-9, 9), 332)
        tip = (root[0] + length * np.sin(angle) * 0.75, root[1] - length * np.cos(angle))
        side = (0.5 * (root[0] + tip[0]) + rng.uniform(-9, 9), 0.5 * (root[1] + tip[1]))
        green = rng.uniform(0.7, 1.25)
        leaf = (root, side, tip, (side[0] + 6, side[1] + 5))
        _fill(scene, leaf, (62 * green, 112 * green, 74 * green))


# ---------------------------------------------------------------------------------- the clip


def render(seed: int = 0) -> Iterator[Image]:
    """Yield the frames of the clip, [480, 640, 3] uint8 BGR at 15 fps, no two of them alike.

    Args:
        seed: of the camera's noise and sway; the story stays the same.
    """
    for index in range(FRAME_COUNT):
        yield render_frame(index, seed)


def render_frame(index: int, seed: int = 0) -> Image:
    """Frame number `index` of the clip alone, the same as `render` yields there."""
    time_s = index / FPS
    scene = lobby().copy()
    for visit, roles in zip(TIMELINE, VISITS, strict=True):
        if visit.start_s <= time_s < visit.end_s:
            for number, role in enumerate(roles):
                _draw_role(scene, role, visit, time_s, phase=1.7 * number)
    sway = _plane(np.random.default_rng(seed).uniform(0, 2 * np.pi, 6))
    return _through_the_lens(scene, time_s, sway, np.random.default_rng((seed, index)))


def _draw_role(scene: Plane, role: Role, visit: Visit, time_s: float, phase: float) -> None:
    """One person at one moment: walking up, standing, or stepping aside."""
    person = sprite(role.portrait, role.class_name)
    arrive_s, depart_s = visit.at_door_s
    come = float(np.clip((time_s - visit.start_s) / (arrive_s - visit.start_s), 0, 1))
    come = come * come * (3 - 2 * come)  # starts and stops gently
    go = float(np.clip((time_s - depart_s) / (visit.end_s - depart_s), 0, 1)) ** 1.8
    # Walking at a steady speed shrinks the distance, which is one over the size, evenly.
    face_px = 1 / ((1 - come) / FACE_FAR_PX + come / role.face_px) * (1 + 0.18 * go)
    nearness = (face_px - FACE_FAR_PX) / (role.face_px - FACE_FAR_PX)
    start_x = VANISHING_X + (role.centre_x - VANISHING_X) * 0.35
    x = start_x + (role.centre_x - start_x) * min(nearness, 1.0)
    x += (role.exit_x - role.centre_x) * go
    step = np.sin(2 * np.pi * 1.9 * time_s + phase) * (0.016 if come < 1 or go > 0 else 0.0)
    breath = 0.006 * np.sin(2 * np.pi * 0.31 * time_s + phase)
    lean = 0.016 * np.sin(2 * np.pi * 0.23 * time_s + 2 * phase)
    y = HORIZON_Y + 0.10 * face_px + face_px * (step + breath)
    place_person(scene, person, face_px * (1 + 0.4 * breath), (x + face_px * lean, y))


def _through_the_lens(scene: Plane, time_s: float, sway: Plane, rng: np.random.Generator) -> Image:
    """What a small camera makes of the scene: sway, soft focus, flicker and sensor noise."""
    waves = np.sin(2 * np.pi * time_s * np.array([0.37, 0.83, 0.29, 0.71, 0.5, 1.3]) + sway)
    shift = (0.45 * (waves[0] + waves[1]), 0.35 * (waves[2] + waves[3]))
    matrix = np.array([[1.006, 0, shift[0] - 2], [0, 1.006, shift[1] - 1.5]], np.float32)
    seen = cv2.warpAffine(scene, matrix, scene.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
    seen = cv2.GaussianBlur(seen, (0, 0), 0.55) * (1 + 0.004 * waves[4] + 0.002 * waves[5])
    noise = rng.standard_normal(seen.shape[:2], dtype=np.float32)[..., None] * 1.4
    return np.asarray(np.clip(seen + noise, 0, 255), np.uint8)


def write_clip(path: Path, seed: int = 0) -> None:
    """Encode the clip as MPEG-4 in an MP4 container, which every OpenCV wheel writes and reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), FPS, SIZE_HW[::-1]
    )
    if not writer.isOpened():
        raise SystemExit(f"make_demo: cannot write {path}; give another path after --out")
    try:
        for frame in render(seed):
            writer.write(frame)
    finally:
        writer.release()


def selftest_stills(size: int = 416) -> dict[str, Image]:
    """One square picture per class name, and `empty`: what the gate tests its detector on."""
    scene = _plane(cv2.resize(lobby()[:, 80:560], (size, size), interpolation=cv2.INTER_AREA))
    people = {"with_mask": "collins", "without_mask": "hopper", "mask_weared_incorrect": "hopper"}
    stills = {"empty": scene.copy()}
    for class_name, name in people.items():
        picture = scene.copy()
        place_person(picture, sprite(name, class_name), 0.36 * size, (0.5 * size, 0.45 * size))
        stills[class_name] = picture
    rng = np.random.default_rng(1)
    return {
        name: np.clip(still + rng.normal(0, 1.5, still.shape), 0, 255).astype(np.uint8)
        for name, still in stills.items()
    }


def write_stills(folder: Path) -> None:
    """Write the self-test pictures as JPEG files, each named for what it shows."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, still in selftest_stills().items():
        path = folder / f"{name}.jpg"
        if not cv2.imwrite(str(path), still, [cv2.IMWRITE_JPEG_QUALITY, 92]):
            raise SystemExit(f"make_demo: cannot write {path}; give another folder")


def main(argv: list[str] | None = None) -> int:
    """Command line: write the clip, the self-test pictures, or both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, help="where to write the clip (.mp4)")
    parser.add_argument("--selftest", type=Path, help="folder for the self-test pictures")
    parser.add_argument("--seed", type=int, default=0, help="of the camera's noise (default 0)")
    args = parser.parse_args(argv)
    if args.out is None and args.selftest is None:
        parser.error("give --out, --selftest, or both")
    if args.out is not None:
        write_clip(args.out, args.seed)
    if args.selftest is not None:
        write_stills(args.selftest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
