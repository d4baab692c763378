"""Pictures over HTTP from a camera that misbehaves: whole and newest ones, or none."""

import time
from contextlib import closing

import numpy as np
import pytest

from mask_gate.gate.camera import http_stream
from mask_gate.gate.camera.capture_word import Word
from mask_gate.gate.camera.http_camera import open_http
from mask_gate.gate.camera.http_stream import StreamError
from mask_gate.gate.camera.mjpeg import StampReader

PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def machines_that_test_are_slow(monkeypatch):
    """Nobody looks at a stream while the machine does other things: `test_http_stream.py`."""
    monkeypatch.setattr(http_stream, "MAX_AWAY_S", PATIENCE_S)


def pictures(capture, count, seconds=PATIENCE_S):
    """What comes in the next grabs, until `count` of them or the end of the connection."""
    found, end_s = [], time.monotonic() + seconds
    while len(found) < count and time.monotonic() < end_s:
        if capture.grab() is None:
            break
        found.append(capture.retrieve())
    return found


class TestAStream:
    @pytest.mark.parametrize("chunked", [False, True])
    @pytest.mark.parametrize("with_length", [False, True])
    def test_gives_whole_pictures_in_order(self, fake_camera, fake_cameras, chunked, with_length):
        fake_camera.chunked, fake_camera.with_length = chunked, with_length
        with closing(Closing(open_http(fake_camera.url))) as capture:
            numbers = [fake_cameras.number_in(image) for image in pictures(capture, 5)]
        assert len(numbers) == 5
        assert numbers == sorted(set(numbers))

    def test_is_read_up_to_its_newest_picture(self, fake_camera, fake_cameras):
        fake_camera.fps = 100
        with closing(Closing(open_http(fake_camera.url))) as capture:
            assert capture.grab()
            seen = 1 + capture.passed_over
            assert seen > 1  # the first one is not given
            for _ in range(3):
                time.sleep(0.3)  # as if decoding took so long
                sent = len(fake_camera.sent_s)
                waiting = sent - seen
                assert capture.grab()
                seen += 1 + capture.passed_over
                number = fake_cameras.number_in(capture.retrieve())
                assert sent - number < max(10, waiting / 2)  # some may be on their way
                assert number == seen - 1  # none of them is uncounted
        assert seen > 10

    def test_says_the_time_that_the_camera_says(self, fake_camera):
        with closing(Closing(open_http(fake_camera.url))) as capture:
            capture.grab()
            assert capture.stamp_s() is None
            fake_camera.stamps = True
            while capture.stamp_s() is None:
                arrival_s = capture.grab()
            assert capture.stamp_s() == pytest.approx(arrival_s + 1e9, abs=5.0)


class TestOneThatMisbehaves:
    @pytest.mark.parametrize("mode", ["cut", "one pixel", "bomb"])
    def test_gives_no_picture_that_is_damaged_or_too_large(self, fake_camera, mode):
        fake_camera.mode = mode
        with closing(Closing(open_http(fake_camera.url))) as capture:
            assert pictures(capture, 9) == [None] * 9
            fake_camera.mode = "ok"
            assert any(image is not None for image in pictures(capture, 9))

    def test_may_change_its_size(self, fake_camera):
        fake_camera.mode = "sizes"
        with closing(Closing(open_http(fake_camera.url))) as capture:
            assert {image.shape[0] for image in pictures(capture, 12)} == {64, 96, 128}

    def test_may_be_grey(self, fake_camera):
        fake_camera.mode = "grey"
        with closing(Closing(open_http(fake_camera.url))) as capture:
            (image,) = pictures(capture, 1)
        assert image.shape == (64, 256, 3)
        assert np.ptp(image.astype(int), axis=2).max() == 0

    @pytest.mark.parametrize("mode", ["wrong boundary", "huge length"])
    def test_announces_other_lengths_and_boundaries_gives_its_pictures(self, fake_camera, mode):
        fake_camera.mode = mode
        with closing(Closing(open_http(fake_camera.url))) as capture:
            assert all(image is not None for image in pictures(capture, 5))

    @pytest.mark.parametrize("mode", ["huge part", "endless field", "trickle", "stall"])
    def test_that_sends_no_picture_is_given_up(self, fake_camera, mode):
        fake_camera.mode = mode
        with closing(Closing(open_http(fake_camera.url))) as capture:
            with pytest.raises(StreamError) as told:
                capture.grab()
            assert told.value.word in (Word.NO_PICTURE, Word.DAMAGED)

    @pytest.mark.parametrize("mode", ["close", "reset"])
    def test_that_ends_the_connection_is_noticed(self, fake_camera, mode):
        with closing(Closing(open_http(fake_camera.url))) as capture:
            assert capture.grab()
            fake_camera.mode = mode
            while capture.grab() is not None:
                pass

    @pytest.mark.parametrize("mode", ["endless head", "silent"])
    def test_that_gives_no_answer_is_given_up(self, fake_camera, mode):
        fake_camera.mode = mode
        with pytest.raises(StreamError):
            open_http(fake_camera.url)


class Closing:
    """A capture that can be closed by `closing`."""

    def __init__(self, capture):
        self._capture = capture

    def __getattr__(self, name):
        return getattr(self._capture, name)

    def close(self):
        self._capture.release()


class TestStamps:
    def read(self, *texts):
        reader = StampReader()
        found = [reader.read(b"--x\r\nX-Timestamp: %b\r\n\r\n" % text) for text in texts]
        return found, reader.is_clock

    def test_are_seconds_of_the_cameras_own(self):
        assert self.read(b"12.250000", b"12.500000") == ([12.25, 12.5], True)
        assert self.read(b"1764000000.25") == ([1764000000.25], True)
        assert self.read(b"1764000000250") == ([1764000000.25], True)
        assert self.read(b"1764000000250000") == ([1764000000.25], True)

    def test_whose_zeros_are_missing_are_no_clock(self):
        assert not self.read(b"12.950000", b"13.5000")[1]
        assert not self.read(b"12.95", b"13.5")[1]

    def test_of_whole_seconds_are_no_clock(self):
        assert not self.read(b"12", b"13")[1]
        assert not self.read(b"1764000000", b"1764000001")[1]

    def test_that_are_none_are_no_clock(self):
        for text in (b"", b"now", b"-1.50", b"1.2.3", b"9" * 40, b"nan"):
            assert self.read(text) == ([None], False)
