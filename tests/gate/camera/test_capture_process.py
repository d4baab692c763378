"""The capture process: what gets into the buffer, what it says, and how it ends."""

import itertools
import math
import os
import resource
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from mask_gate.gate.camera.capture_process import (
    BACK_OFF_S,
    FIRST_PATIENCE_S,
    PATIENCE_S,
    REFUSAL_PAUSES_S,
    STOOD_STILL_S,
    Capturer,
    order,
)
from mask_gate.gate.camera.capture_word import REFUSALS, Word
from mask_gate.gate.camera.frame_buffer import FrameBuffer
from mask_gate.gate.camera.http_stream import StreamError
from mask_gate.gate.camera.source import Source, SourceKind

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[3]
PATIENT_S = 60.0
PICTURE = np.full((48, 64, 3), 90, np.uint8)


class FakeCapture:
    """Gives what is in `pictures`, `period_s` apart, and ends; the clock is the test's."""

    def __init__(self, clock, *pictures, period_s=0.04, stamps=None, inter_coded=False):
        self._clock = clock
        self._pictures = list(pictures)
        self._period_s = period_s
        self._stamps = list(stamps or [])
        self._stamp_s = None
        self.is_inter_coded = inter_coded
        self.has_clock = True
        self.key_frames = set()
        self.passed_over = 0
        self.count = 0
        self.released = False

    def grab(self):
        if self.count == len(self._pictures):
            return None
        self._clock.advance(self._period_s)
        self._picture = self._pictures[self.count]
        self._stamp_s = self._stamps[self.count] if self._stamps else None
        self.count += 1
        return self._clock()

    def retrieve(self):
        if isinstance(self._picture, Exception):
            raise self._picture
        return self._picture

    def stamp_s(self):
        return self._stamp_s

    def is_key_frame(self):
        return self.count in self.key_frames

    def release(self):
        self.released = True


@pytest.fixture
def buffer():
    with closing(FrameBuffer.allocate(640 * 480)) as buffer:
        yield buffer


@pytest.fixture
def capturer(buffer, clock):
    """Makes a capturer of captures that are opened one after the other; `said` is what it says."""

    def make(*captures, damaged=lambda: False):
        left = list(captures)

        def opener():
            capture = left.pop(0) if left else None
            if isinstance(capture, Exception):
                raise capture
            return capture

        make.said = []
        return Capturer(opener, buffer, make.said.append, damaged, max_age_s=0.5, clock=clock)

    return make


class TestAPicture:
    def test_gets_into_the_buffer_with_its_arrival(self, capturer, buffer, clock):
        capture = FakeCapture(clock, PICTURE)
        assert capturer(capture).attempt() is Word.CLOSED
        assert capturer.said == [Word.OPENING, Word.OPENED, Word.FRAME]
        found = buffer.newest(0)
        assert np.array_equal(found.image, PICTURE)
        assert (found.time_s, found.index) == (clock(), 1)
        assert capture.released

    @pytest.mark.parametrize(
        "image",
        [
            None,
            np.zeros((1, 1, 3), np.uint8),
            np.zeros((8, 640, 3), np.uint8),
            np.zeros((48, 64, 3), np.uint16),
            np.zeros(64, np.uint8),
            np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (20_000, 20_000, 3)),
            np.zeros((481, 640, 3), np.uint8),
        ],
        ids=["nothing", "one pixel", "a line", "16 bit", "flat", "huge", "more than the buffer"],
    )
    def test_that_cannot_be_one_is_dropped(self, capturer, buffer, clock, image):
        capturer(FakeCapture(clock, image, PICTURE)).attempt()
        assert capturer.said[2:] == [Word.DROPPED, Word.FRAME]
        assert buffer.newest(0).index == 2  # the drop shows

    @pytest.mark.parametrize("shape", [(48, 64), (48, 64, 1), (48, 64, 4)])
    def test_grey_or_with_four_channels_becomes_bgr(self, capturer, buffer, clock, shape):
        capturer(FakeCapture(clock, np.full(shape, 90, np.uint8))).attempt()
        assert np.array_equal(buffer.newest(0).image, PICTURE)

    def test_passed_over_counts(self, capturer, buffer, clock):
        capture = FakeCapture(clock, PICTURE, PICTURE)
        capture.passed_over = 4
        capturer(capture).attempt()
        assert buffer.newest(0).index == 10

    def test_never_has_the_time_of_the_one_before(self, capturer, buffer, clock):
        capturer(FakeCapture(clock, PICTURE, period_s=0.0)).attempt()
        first_s = buffer.newest(0).time_s
        looped = capturer(FakeCapture(clock, PICTURE, PICTURE, period_s=0.0))
        looped.attempt()
        assert first_s < buffer.newest(1).time_s < first_s + 1e-4


class TestAnOldPicture:
    def stamped(self, clock, count, delays, **more):
        """`count` pictures 40 ms apart; from picture i on, stamps are delays[i] behind."""
        stamps, delay_s = [], 0.0
        for number in range(count):
            delay_s = delays.get(number, delay_s)
            stamps.append(number * 0.04 - delay_s)
        return FakeCapture(clock, *[PICTURE] * count, stamps=stamps, **more)

    def test_is_dropped_until_the_stream_has_caught_up(self, capturer, buffer, clock):
        stamps = [number * 0.04 for number in range(50)]
        stamps[30:] = [stamps[29] + 0.001 * number for number in range(1, 21)]  # held up from here
        capturer(FakeCapture(clock, *[PICTURE] * 50, stamps=stamps)).attempt()
        words = capturer.said[2:]
        assert words[:7] == [Word.DROPPED] * 7  # nothing is believed at once
        assert words[10:40] == [Word.FRAME] * 30
        assert words[45:] == [Word.DROPPED] * 5  # by now half a second behind

    def test_has_the_time_it_was_taken(self, capturer, buffer, clock):
        stamps = [number * 0.04 for number in range(20)]
        stamps[19] -= 0.03
        capturer(FakeCapture(clock, *[PICTURE] * 20, stamps=stamps)).attempt()
        assert clock() - buffer.newest(0).time_s == pytest.approx(0.03, abs=1e-3)

    @pytest.mark.parametrize("fps", [10, 15, 20, 30])
    def test_is_not_known_by_stamps_that_are_made_up(self, capturer, buffer, clock, fps):
        """FFmpeg says 25 pictures a second of a stream that carries no times."""
        stamps = [number / 25 for number in range(300)]
        capture = FakeCapture(clock, *[PICTURE] * 300, stamps=stamps, period_s=1 / fps)
        capture.has_clock = False
        assert capturer(capture).attempt() is Word.CLOSED
        assert capturer.said[2:] == [Word.FRAME] * 300
        assert buffer.newest(0).time_s == clock()

    def test_without_a_clock_that_tells_changes_was_taken_before_the_one_before(
        self, capturer, buffer, clock
    ):
        capture = FakeCapture(clock, *[PICTURE] * 3, inter_coded=True)
        capture.has_clock, capture.key_frames = False, {1}
        capturer(capture).attempt()
        assert capturer.said[2:] == [Word.DROPPED, Word.FRAME, Word.FRAME]
        assert buffer.newest(0).time_s == pytest.approx(clock() - 0.04)

    def test_and_nothing_else_for_too_long_ends_the_connection(self, capturer, clock):
        stamps = [number * 0.04 for number in range(20)] + [0.8 + n * 1e-4 for n in range(500)]
        begin_s = clock()
        assert capturer(
            FakeCapture(clock, *[PICTURE] * 520, stamps=stamps)
        ).attempt() is Word.LATE  # fmt: skip
        assert clock() - begin_s == pytest.approx(0.8 + 0.5 + PATIENCE_S, abs=0.2)

    def test_from_an_opening_on_is_borne_a_little_longer(self, capturer, clock):
        stamps = [number * 0.05 for number in range(500)]  # a kept stream that never ends
        begin_s = clock()
        assert capturer(
            FakeCapture(clock, *[PICTURE] * 500, stamps=stamps, period_s=0.02)
        ).attempt() is Word.LATE  # fmt: skip
        assert clock() - begin_s == pytest.approx(FIRST_PATIENCE_S, abs=0.1)

    def test_comes_from_a_grab_that_took_too_long_whatever_its_stamp(self, capturer, clock):
        capture = FakeCapture(clock, PICTURE, PICTURE, period_s=STOOD_STILL_S + 0.1)
        assert capturer(capture).attempt() is Word.STOOD_STILL
        assert Word.FRAME not in capturer.said


class TestDamage:
    def test_to_a_picture_that_stands_for_itself_costs_it_alone(self, capturer, clock):
        heard = iter([False, True, False, False, False, False, False, False])
        capturer(FakeCapture(clock, *[PICTURE] * 3), damaged=lambda: next(heard)).attempt()
        assert capturer.said[2:] == [Word.DROPPED, Word.FRAME, Word.FRAME]

    def test_heard_while_it_is_decoded_counts_as_well(self, capturer, clock):
        heard = iter([False, False, True, False, False])
        capturer(FakeCapture(clock, *[PICTURE] * 2), damaged=lambda: next(heard)).attempt()
        assert capturer.said[2:] == [Word.DROPPED, Word.FRAME]

    def test_lasts_to_the_next_key_frame_where_pictures_tell_changes(self, capturer, clock):
        capture = FakeCapture(clock, *[PICTURE] * 6, inter_coded=True)
        capture.key_frames = {1, 5}
        calls = iter([False, False, False, True, *[False] * 20])  # at the second picture
        capturer(capture, damaged=lambda: next(calls)).attempt()
        assert capturer.said[2:] == [Word.FRAME, *[Word.DROPPED] * 3, Word.FRAME, Word.FRAME]

    def test_that_lasts_too_long_ends_the_connection(self, capturer, clock):
        begin_s = clock()
        capture = FakeCapture(clock, PICTURE, *[None] * 900)
        assert capturer(capture).attempt() is Word.DAMAGED
        assert clock() - begin_s == pytest.approx(PATIENCE_S, abs=0.2)
        assert capture.released


class TestAnOpening:
    def test_that_fails_is_told(self, capturer):
        assert capturer(None).attempt() is Word.UNREACHED
        assert capturer(StreamError("no")).attempt() is Word.UNREACHED
        assert capturer(StreamError("status 401", Word.REFUSED)).attempt() is Word.REFUSED

    def test_an_error_inside_opencv_is_a_loss(self, capturer, clock):
        capture = FakeCapture(clock, cv2.error("select() failed"))
        assert capturer(capture).attempt() is Word.CLOSED
        assert capture.released
        assert capturer(cv2.error("no")).attempt() is Word.CLOSED

    def test_is_tried_again_for_ever_with_growing_pauses(self, capturer, clock):
        pauses = []

        def sleep(seconds):
            pauses.append(seconds)
            clock.advance(seconds)
            if len(pauses) == 8:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            capturer(FakeCapture(clock, PICTURE), *[None] * 5, FakeCapture(clock, PICTURE)).run(
                sleep
            )
        assert pauses == pytest.approx(
            [BACK_OFF_S[0] - 0.04, *BACK_OFF_S[1:], *BACK_OFF_S[-1:] * 2, BACK_OFF_S[0] - 0.04,
             BACK_OFF_S[1]]
        )  # fmt: skip
        assert max(BACK_OFF_S) < 1.0

    @pytest.mark.parametrize("word", sorted(REFUSALS))
    def test_that_is_refused_is_tried_five_times_in_eight_minutes(self, buffer, clock, word):
        """Cameras lock an account after five wrong passwords or so."""
        tries, said = [], []

        def refused():
            tries.append(clock())
            raise StreamError("no", word)

        def sleep(seconds):
            clock.advance(seconds)
            said.append(Word.WAITING)
            if clock() > 1000.0 + 520.0:
                raise KeyboardInterrupt

        capturer = Capturer(refused, buffer, said.append, lambda: False, max_age_s=1, clock=clock)
        with pytest.raises(KeyboardInterrupt):
            capturer.run(sleep)
        waited_s = [after - before for before, after in itertools.pairwise(tries)]
        assert waited_s == pytest.approx(REFUSAL_PAUSES_S, abs=2.5)
        assert said.count(word) == len(tries) == 5
        assert min(REFUSAL_PAUSES_S) >= 30.0

    def test_is_not_paused_after_one_that_took_long_by_itself(self, capturer, clock, buffer):
        pauses = []

        def slow():
            clock.advance(1.5)

        def sleep(seconds):
            pauses.append(seconds)
            if len(pauses) == 3:
                raise KeyboardInterrupt

        capturer = Capturer(slow, buffer, print, lambda: False, max_age_s=0.5, clock=clock)
        with pytest.raises(KeyboardInterrupt):
            capturer.run(sleep)
        assert pauses == [0.0, 0.0, 0.0]


class TestTheProcess:
    @pytest.fixture
    def start(self, buffer):
        """Starts the process as a camera does."""
        started = []

        def start(line):
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "mask_gate.gate.camera.capture_process",
                    str(buffer.descriptor),
                ],
                pass_fds=[buffer.descriptor],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
            )
            started.append(process)
            process.stdin.write(line)
            return process

        yield start
        for process in started:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                pipe.close()

    ABSENT = order(Source(SourceKind.URL, "rtsp://user:S3cret@127.0.0.1:9/x"), 0.5)

    @pytest.fixture
    def started(self, start):
        process = start(self.ABSENT)
        assert process.stdout.read(1)[0] == Word.OPENING
        return process

    def test_ends_when_its_input_ends(self, started):
        started.stdin.close()
        assert started.wait(PATIENT_S) == 0

    def test_ends_when_nobody_hears_it(self, started):
        started.stdout.close()
        assert started.wait(PATIENT_S) == 0

    def test_keeps_no_memory_for_a_core_dump_and_not_more_than_it_needs(self, started):
        assert resource.prlimit(started.pid, resource.RLIMIT_CORE) == (0, 0)
        assert resource.prlimit(started.pid, resource.RLIMIT_DATA)[0] < math.inf
        used = next(
            line for line in Path(f"/proc/{started.pid}/status").read_text().splitlines()
            if line.startswith("VmData")
        )  # fmt: skip
        assert (
            int(used.split()[1]) * 1024 < resource.prlimit(started.pid, resource.RLIMIT_DATA)[0] / 2
        )

    def test_shows_no_password_to_other_users(self, started):
        for name in ("cmdline", "environ"):
            assert b"S3cret" not in Path(f"/proc/{started.pid}/{name}").read_bytes()

    def test_that_breaks_down_says_why_on_one_line_without_the_password(self, start):
        process = start(order(Source(SourceKind.INDEX, "S3cret"), 0.5))
        assert process.wait(PATIENT_S) == 1
        words, _, account = process.stdout.read().partition(bytes([Word.BROKEN]))
        assert set(words) <= {Word.OPENING}
        assert b"ValueError" in account
        assert b"S3cret" not in account
        assert b"\n" not in account
        assert process.stderr.read() == b""
