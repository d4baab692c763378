"""The buffer between two processes: the newest frame, whole, whatever happens to its writer."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.gate.camera.frame_buffer import MIN_SIDE_PX, FrameBuffer

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 60.0
PIXELS = 640 * 480


@pytest.fixture
def buffer():
    with closing(FrameBuffer.allocate(PIXELS)) as buffer:
        yield buffer


def picture(number, height=48, width=64):
    return np.full((height, width, 3), number % 251, np.uint8)


@pytest.fixture
def in_another_process(buffer):
    """Runs a program that has `buffer`, and `picture`, in a process of its own."""
    started = []

    def run(program):
        head = (
            "import fcntl, os, sys, time\nimport numpy as np\n"
            "from mask_gate.gate.camera.frame_buffer import FrameBuffer\n"
            f"buffer = FrameBuffer({buffer.descriptor})\n"
            "def picture(n, h=48, w=64): return np.full((h, w, 3), n % 251, np.uint8)\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", head + program],
            pass_fds=[buffer.descriptor],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


WRITER = """
import itertools
for n in itertools.count(1):
    size = (480, 640) if n % 2 else (240, 320)
    buffer.write(picture(n, *size), n / 1000, n)
"""


class TestOneFrame:
    def test_comes_out_as_it_went_in(self, buffer):
        image = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
        assert buffer.newest(0) is None
        assert buffer.write(image, 12.5, 7)
        found = buffer.newest(0)
        assert (found.time_s, found.index) == (12.5, 7)
        assert np.array_equal(found.image, image)

    def test_is_given_as_often_as_it_is_newer_than_what_was_seen(self, buffer):
        buffer.write(picture(1), 1.0, 1)
        assert buffer.newest(0).index == buffer.newest(0).index == 1
        assert buffer.newest(1) is None

    def test_a_copy_stays_what_it_is(self, buffer):
        buffer.write(picture(1), 1.0, 1)
        first = buffer.newest(0)
        for number in range(2, 9):
            buffer.write(picture(number), float(number), number)
        assert np.array_equal(first.image, picture(1))
        assert buffer.newest(first.index).index == 8

    @given(st.integers(0, 700), st.integers(0, 700))
    def test_of_any_size_is_taken_whole_or_not_at_all(self, height, width):
        with closing(FrameBuffer.allocate(100_000)) as buffer:
            fits = min(height, width) >= MIN_SIDE_PX and height * width <= 100_000
            image = np.full((height, width, 3), 3, np.uint8)
            if buffer.write(image, 1.0, 1):
                assert np.array_equal(buffer.newest(0).image, image)
            else:
                assert not fits
                assert buffer.newest(0) is None

    def test_may_have_another_size_than_the_one_before(self, buffer):
        for number, size in enumerate([(480, 640), (16, 16), (640, 480), (100, 37)], 1):
            assert buffer.write(picture(number, *size), 1.0, number)
            assert buffer.newest(0).image.shape == (*size, 3)

    def test_too_large_leaves_the_one_before(self, buffer):
        buffer.write(picture(1), 1.0, 1)
        assert not buffer.write(picture(2, 481, 640), 2.0, 2)
        assert buffer.newest(0).index == 1


class TestTwoProcesses:
    def test_no_frame_is_ever_torn(self, buffer, in_another_process):
        in_another_process(WRITER)
        seen, shapes, end_s = 0, set(), time.monotonic() + PATIENCE_S
        for _ in range(60):
            while (found := buffer.newest(seen)) is None:
                assert time.monotonic() < end_s
            assert found.index > seen
            assert found.time_s == found.index / 1000
            assert (found.image == found.index % 251).all()
            seen = found.index
            shapes.add(found.image.shape)
        assert seen > 60  # frames were passed over: reader and writer did run at once
        assert len(shapes) == 2

    def test_a_writer_killed_at_any_moment_leaves_a_whole_frame(self, in_another_process, buffer):
        for _ in range(3):
            process = in_another_process(WRITER)
            assert until(lambda: buffer.newest(0))
            time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            process.wait()
            found = buffer.newest(0)
            assert found is None or (found.image == found.index % 251).all()
            assert buffer.write(picture(1), 1.0, 1)  # nothing stays locked

    def test_a_slot_that_is_being_written_is_not_read(self, buffer, in_another_process):
        buffer.write(picture(1), 1.0, 1)
        process = in_another_process(
            "fcntl.lockf(buffer.descriptor, fcntl.LOCK_EX, 64, 64 * (os.pread("
            "buffer.descriptor, 1, 0)[0]))\nprint('locked', flush=True); time.sleep(600)"
        )
        assert process.stdout.readline() == b"locked\n"
        assert buffer.newest(0) is None
        process.kill()
        process.wait()
        assert buffer.newest(0).index == 1

    def test_a_reader_that_stands_still_does_not_hold_up_the_writer(
        self, buffer, in_another_process
    ):
        buffer.write(picture(1), 1.0, 1)
        process = in_another_process(
            "fcntl.lockf(buffer.descriptor, fcntl.LOCK_SH, 64, 64 * (os.pread("
            "buffer.descriptor, 1, 0)[0]))\nprint('locked', flush=True); time.sleep(600)"
        )
        assert process.stdout.readline() == b"locked\n"
        for number in range(2, 20):
            assert buffer.write(picture(number), 1.0, number)
        assert buffer.newest(0).index == 19

    @pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="seals are of Linux")
    def test_nobody_can_pull_the_memory_away(self, buffer, in_another_process):
        process = in_another_process(
            "try: os.ftruncate(buffer.descriptor, 10)\n"
            "except PermissionError: print('refused', flush=True)"
        )
        assert process.stdout.readline() == b"refused\n"

    @given(st.binary(min_size=256, max_size=256))
    def test_headers_of_a_damaged_writer_never_make_an_impossible_frame(self, junk):
        with closing(FrameBuffer.allocate(1000)) as buffer:
            buffer.write(picture(1, 16, 16), 1.0, 1)
            os.pwrite(buffer.descriptor, junk, 0)
            found = buffer.newest(0)
            assert found is None or found.image.size <= 3 * 4096


def until(condition):
    end_s = time.monotonic() + PATIENCE_S
    while not (met := condition()) and time.monotonic() < end_s:
        time.sleep(0.01)
    return met
