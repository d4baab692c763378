"""The demo clip is what its script says: every case at its time, and no frame twice."""

import contextlib
import importlib.util
import itertools
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mask_gate.gate.camera.camera import open_camera
from mask_gate.gate.camera.frame_check import FrameCheck, FrameCheckConfig
from mask_gate.gate.domain import Frame
from mask_gate.models.labels import CLASS_NAMES

pytest.importorskip("skimage", reason="scikit-image, which brings a portrait, is not installed")

ASSETS = Path(__file__).resolve().parents[2] / "assets"
CLIP = ASSETS / "demo.mp4"


def frames_of(source: str) -> list[Frame]:
    """Every frame of a clip, as the gate reads it."""
    with contextlib.closing(open_camera(source, realtime=False)) as camera:
        return list(iter(lambda: camera.read(5.0), None))


@pytest.fixture(scope="module")
def demo():
    spec = importlib.util.spec_from_file_location("make_demo", ASSETS / "make_demo.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_demo"] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    yield module
    del sys.modules["make_demo"]


@pytest.fixture(scope="module")
def frames():
    """Every frame of the clip as shipped."""
    return frames_of("demo")


def difference(first, second):
    return np.abs(first.astype(int) - second.astype(int)).max(axis=2)


class TestTheTimeline:
    def test_shows_every_case_alone_and_a_mixed_group(self, demo):
        assert [visit.class_names for visit in demo.TIMELINE] == [
            ("without_mask",),
            ("mask_weared_incorrect",),
            ("with_mask",),
            ("with_mask",),
            ("with_mask", "without_mask"),
        ]
        assert {name for visit in demo.TIMELINE for name in visit.class_names} == set(CLASS_NAMES)

    def test_leaves_the_lobby_empty_between_visits(self, demo):
        assert demo.TIMELINE[0].start_s >= 0.5
        for earlier, later in itertools.pairwise(demo.TIMELINE):
            assert later.start_s - earlier.end_s >= 0.5
        assert demo.TIMELINE[-1].end_s < demo.DURATION_S

    def test_everybody_stands_at_the_door_for_three_seconds(self, demo):
        for visit in demo.TIMELINE:
            arrive_s, depart_s = visit.at_door_s
            assert visit.start_s < arrive_s < depart_s < visit.end_s
            assert depart_s - arrive_s == pytest.approx(3.0)


class TestTheClipAsShipped:
    def test_has_the_size_the_speed_and_the_length_of_the_timeline(self, demo, frames):
        assert len(frames) == demo.FRAME_COUNT
        assert frames[0].image.shape == (*demo.SIZE_HW, 3)
        assert frames[-1].time_s == pytest.approx(demo.DURATION_S - 1 / demo.FPS)
        assert CLIP.stat().st_size < 3_000_000

    def test_has_no_two_frames_alike(self, frames):
        assert len({frame.image.tobytes() for frame in frames}) == len(frames)

    def test_is_a_picture_that_the_gate_trusts_from_start_to_end(self, frames):
        guard = FrameCheck(FrameCheckConfig())
        assert [guard.inspect(frame) for frame in frames] == [None] * len(frames)

    def test_was_drawn_by_this_script(self, demo, frames):
        moments = [0, *(round(visit.at_door_s[0] * demo.FPS) + 10 for visit in demo.TIMELINE)]
        for index in moments:
            drawn, shown = demo.render_frame(index), frames[index].image
            assert np.abs(drawn.astype(int) - shown).mean() < 6  # the codec is lossy

    def test_is_empty_between_visits(self, demo, frames):
        gaps = [visit.end_s + 0.5 for visit in demo.TIMELINE]
        for time_s in gaps:
            index = round(time_s * demo.FPS)
            assert np.abs(frames[index].image.astype(int) - frames[0].image).mean() < 4


class TestDrawing:
    def test_the_same_seed_gives_the_same_clip_and_another_one_other_noise(self, demo):
        first, again = (list(itertools.islice(demo.render(3), 2)) for _ in range(2))
        assert np.array_equal(first, again)
        other = demo.render_frame(0, seed=4)
        assert not np.array_equal(first[0], other)
        assert difference(first[0], other).mean() < 12

    def test_people_come_nearer_until_they_stand(self, demo):
        visit = demo.TIMELINE[3]
        empty = demo.render_frame(0)

        def size_at(time_s):
            return (difference(demo.render_frame(round(time_s * demo.FPS)), empty) > 40).mean()

        start_s, stand_s = visit.start_s, visit.at_door_s[0]
        sizes = [size_at(start_s + share * (stand_s - start_s)) for share in (0.1, 0.6, 0.8, 1.0)]
        assert sizes == sorted(sizes)
        assert sizes[0] < 0.1 < 0.3 < sizes[-1]

    @pytest.mark.parametrize("name", ["hopper", "collins"])
    def test_a_proper_mask_covers_nose_and_mouth_and_a_slipped_one_only_the_mouth(self, demo, name):
        portrait = demo.portraits()[name]
        marks = portrait.landmarks
        before = portrait.image.copy()
        proper, slipped = (
            demo.draw_mask(portrait.image, marks, demo.STYLES[style])
            for style in ("with_mask", "mask_weared_incorrect")
        )
        nose = (round(marks.bridge[0]), round((marks.bridge[1] + marks.lip[1]) / 2 + 4))
        mouth = (round(marks.lip[0]), round(0.75 * marks.lip[1] + 0.25 * marks.chin[1]))
        eyes = (round(marks.bridge[0]), round(marks.bridge[1] - 0.16 * portrait.face_px))

        def changed(image, at):
            return int(difference(image, before)[at[1], at[0]])

        assert np.array_equal(portrait.image, before)
        assert changed(proper, nose) > 25
        assert changed(proper, mouth) > 25
        assert changed(slipped, mouth) > 25
        assert changed(slipped, nose) < 12
        assert changed(proper, eyes) == changed(slipped, eyes) == 0

    def test_a_mask_is_blue_where_the_light_falls_and_darker_at_its_sides(self, demo):
        portrait = demo.portraits()["collins"]
        masked = demo.draw_mask(portrait.image, portrait.landmarks, demo.STYLES["with_mask"])
        (left, right), y = portrait.landmarks.cheeks, 138
        middle = masked[y, 225].astype(int)
        assert middle[0] > middle[2] + 15  # more blue than red
        assert masked[y, round(left[0]) + 6].sum() < middle.sum()
        assert masked[y, round(right[0]) - 6].sum() < middle.sum()


class TestTheCommandLine:
    def test_writes_the_selftest_pictures_that_are_shipped(self, demo, tmp_path):
        assert demo.main(["--selftest", str(tmp_path / "new")]) == 0
        names = {path.name for path in (tmp_path / "new").iterdir()}
        assert names == {f"{name}.jpg" for name in (*CLASS_NAMES, "empty")}
        for name in sorted(names):
            drawn = cv2.imread(str(tmp_path / "new" / name))
            shipped = cv2.imread(str(ASSETS / "selftest" / name))
            assert drawn.shape == shipped.shape == (416, 416, 3)
            assert np.abs(drawn.astype(int) - shipped).mean() < 2

    def test_writes_a_clip(self, demo, tmp_path, monkeypatch):
        frames = [demo.render_frame(index) for index in range(3)]
        monkeypatch.setattr(demo, "render", lambda seed: iter(frames))
        assert demo.main(["--out", str(tmp_path / "new" / "clip.mp4")]) == 0
        assert len(frames_of(str(tmp_path / "new" / "clip.mp4"))) == 3

    def test_asks_what_to_write(self, demo, capsys):
        with pytest.raises(SystemExit) as ended:
            demo.main([])
        assert ended.value.code == 2
        assert "--out" in capsys.readouterr().err

    def test_says_when_it_cannot_write(self, demo, tmp_path):
        (tmp_path / "clip.mp4").mkdir()
        with pytest.raises(SystemExit, match="cannot write"):
            demo.main(["--out", str(tmp_path / "clip.mp4")])
