"""VideoRecorder: a playable file at the speed of the events, and a loop that never waits."""

import os
import re
import threading

import cv2
import numpy as np
import pytest

from mask_gate.gate.display.video_files import SUFFIXES, open_writer
from mask_gate.gate.display.video_recorder import QUEUE_FRAMES, VideoRecorder
from mask_gate.gate.errors import OutputError

pytestmark = pytest.mark.process

GREY = np.full((64, 96, 3), 120, np.uint8)


def levels_in(path):
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    levels = []
    while True:
        ok, image = capture.read()
        if not ok:
            return levels
        levels.append(round(float(image.mean())))


def shade(level, shape=(64, 96, 3)):
    return np.full(shape, level, np.uint8)


def record(path, items, fps=10.0):
    recorder = VideoRecorder(path, fps=fps, queue_frames=len(items) or 1)  # none is dropped
    for image, time_s in items:
        recorder.write(image, time_s)
    recorder.close()
    return recorder


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_kind_of_file_can_be_played(tmp_path, suffix):
    path = tmp_path / f"입구{suffix}"
    done = record(path, [(shade(40 + 20 * i), i / 10) for i in range(6)])
    assert levels_in(done.path) == pytest.approx([40 + 20 * i for i in range(6)], abs=4)
    assert list(tmp_path.iterdir()) == [done.path]


def test_a_recording_is_not_for_every_user_of_the_machine(tmp_path):
    path = tmp_path / "a.mp4"
    for suffix in SUFFIXES:
        (tmp_path / f"a.part{suffix}").write_bytes(b"left by a gate that was killed")
    before = os.umask(0)
    try:
        done = record(path, [(GREY, 0.0), (GREY, 0.1)])
    finally:
        os.umask(before)
    assert done.path.stat().st_mode & 0o777 == 0o640


def test_the_file_runs_at_the_speed_of_the_events(tmp_path):
    slow = record(tmp_path / "slow.mp4", [(shade(50), 100.0), (shade(150), 100.5)])
    assert levels_in(slow.path) == pytest.approx([50] + [150] * 5, abs=4)
    fast = record(tmp_path / "fast.mp4", [(GREY, i / 100) for i in range(100)])
    assert len(levels_in(fast.path)) == 1 + 10  # the first, then one for each tenth of a second


def test_a_long_gap_is_cut_short(tmp_path):
    gap = record(tmp_path / "gap.mp4", [(shade(50), 0), (shade(150), 3600), (shade(200), 3600.1)])
    levels = levels_in(gap.path)
    assert len(levels) == 1 + 20 + 1
    assert levels[-1] == pytest.approx(200, abs=4)


def test_a_picture_of_another_size_is_fitted(tmp_path):
    items = [(shade(50), 0), (shade(150, (33, 47, 3)), 0.1), (shade(90, (640, 480, 3)), 0.2)]
    recorder = record(tmp_path / "sizes.mp4", items)
    assert levels_in(recorder.path) == pytest.approx([50, 150, 90], abs=4)


def test_odd_sizes_are_recorded_too(tmp_path):
    recorder = record(tmp_path / "odd.mp4", [(shade(50, (61, 97, 3)), i / 10) for i in range(3)])
    assert len(levels_in(recorder.path)) == 3


class BusyWriter:
    """A video writer that writes nothing before it is told to go on."""

    def __init__(self, writer, go_on):
        self.isOpened, self.release = writer.isOpened, writer.release
        self.writer, self.go_on = writer, go_on

    def write(self, image):
        self.go_on.wait(30)
        self.writer.write(image)


def test_a_busy_encoder_drops_pictures_instead_of_delaying_the_loop(tmp_path, caplog):
    go_on = threading.Event()

    def open_busy_writer(*options):
        return BusyWriter(open_writer(*options), go_on)

    recorder = VideoRecorder(tmp_path / "busy.webm", fps=10, open_writer=open_busy_writer)
    for number in range(50):
        recorder.write(GREY, number / 10)  # would hang here if it waited
    go_on.set()
    recorder.close()
    (told,) = caplog.messages
    assert int(re.search(r"lacks (\d+) pictures", told)[1]) >= 50 - QUEUE_FRAMES - 1
    assert len(levels_in(recorder.path)) >= 1


def test_an_earlier_recording_is_replaced_only_by_a_new_one(tmp_path):
    path = tmp_path / "door.webm"
    record(path, [(shade(50), 0)])
    before = path.read_bytes()
    record(path, [])
    assert path.read_bytes() == before
    unfinished = VideoRecorder(path)
    unfinished.write(shade(150), 0)
    assert path.read_bytes() == before
    unfinished.close()
    assert levels_in(path) == pytest.approx([150], abs=4)


def test_nothing_is_left_behind_when_no_picture_came(tmp_path):
    record(tmp_path / "none.mp4", [])
    assert list(tmp_path.iterdir()) == []


def test_writing_after_the_end_is_ignored_and_closing_twice_too(tmp_path):
    recorder = record(tmp_path / "end.mp4", [(GREY, 0)])
    recorder.write(GREY, 1)
    recorder.close()
    assert len(levels_in(recorder.path)) == 1


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("clip.gif", "expected a name ending in .mp4"),
        ("clip", "expected a name ending in .mp4"),
        ("missing/clip.mp4", "make the folder"),
        ("folder.mp4", "it is a folder"),
    ],
)
def test_what_cannot_be_written_is_told_at_the_start(tmp_path, name, told):
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputError, match="--record") as refused:
        VideoRecorder(tmp_path / name)
    assert told in str(refused.value)
    assert refused.value.exit_code == 5
    assert [path.name for path in tmp_path.iterdir()] == ["folder.mp4"]


class BrokenWriter:
    """A video writer that does not open, or opens and fails at the first picture."""

    def __init__(self, opens):
        self.opens = opens

    def isOpened(self):  # noqa: N802 - OpenCV's name
        return self.opens

    def write(self, image):
        raise cv2.error("no space left")

    def release(self):
        pass


@pytest.mark.parametrize("opens", [False, True])
def test_an_encoder_that_fails_is_told_at_the_end_and_stops_nothing(tmp_path, caplog, opens):
    recorder = VideoRecorder(tmp_path / "broken.webm", open_writer=lambda *_: BrokenWriter(opens))
    for number in range(30):
        recorder.write(GREY, number)
    with pytest.raises(OutputError, match=r"broken\.webm"):
        recorder.close()
    assert list(tmp_path.iterdir()) == []
    assert caplog.text.count("stopped") == 1
