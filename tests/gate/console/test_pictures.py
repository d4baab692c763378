"""LivePictures: what is judged of the camera's place while somebody watches for it."""

import asyncio

import numpy as np

from mask_gate.gate.console.feed import PictureDemand
from mask_gate.gate.console.pictures import (
    OLD_REPORT_S,
    LivePictures,
    PictureKind,
    View,
    ViewerLimit,
)
from mask_gate.gate.console.wire import DoorPicture
from mask_gate.gate.display.aim import AimLimits
from mask_gate.gate.display.config import PrivacyConfig
from mask_gate.gate.display.texts import load_texts
from mask_gate.gate.domain import Decision, Reason, State, Track

LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
AIM = AimLimits(zone=LEFT_HALF, min_face=0.10, near_face=0.07, min_sharpness=5.0)
ENGLISH = load_texts("en")


def pictures(clock, **privacy):
    demands = []
    languages = {"en": ENGLISH}
    made = LivePictures(
        languages, PrivacyConfig(**privacy), AIM, ViewerLimit(4), demands.append, clock
    )
    return made, demands


def picture():
    """Noise with a face that is seen now and one that is not; 480 rows of what had 960."""
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    seen = Track(1, (100.0, 100.0, 180.0, 220.0), (), 0.0, 5.0)
    gone = Track(2, (300.0, 100.0, 380.0, 220.0), (), 0.0, 4.0)
    return DoorPicture(0, image, 960, (seen, gone), Decision(State.IDLE, Reason.NO_FACE, 5.0))


def test_faces_are_measured_as_the_camera_sent_them_while_somebody_watches(clock):
    async def watch():
        live, demands = pictures(clock)
        live.take(picture())
        assert live.aim_report() is None  # nobody asked for it
        view = View(PictureKind.AIM, "en")
        assert live.admit(view)
        assert demands == [PictureDemand.LIVE]
        live.take(picture())
        (face,) = live.aim_report().faces
        assert (face.height_px, face.is_in_zone) == (240, True)
        _, jpeg = await live.next_after(0, view)
        assert jpeg.startswith(b"\xff\xd8")
        clock.advance(OLD_REPORT_S + 0.1)
        assert live.aim_report() is None  # what was seen then is no news

    asyncio.run(watch())


def test_the_picture_is_judged_as_it_is_even_where_faces_are_blurred(clock):
    async def watch():
        reports = []
        for is_blurred in (False, True):
            live, _ = pictures(clock, blur_guard=is_blurred)
            live.admit(View(PictureKind.AIM, "en"))
            live.take(picture())
            reports.append(live.aim_report())
        assert reports[0] == reports[1]

    asyncio.run(watch())
