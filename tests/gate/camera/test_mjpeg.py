"""Pictures over HTTP from a camera that misbehaves: whole and newest ones, or none."""

import time
from contextlib import closing

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.gate.camera import http_stream
from mask_gate.gate.camera.http_stream import StreamError
from mask_gate.gate.camera.mjpeg import jpeg_size_hw, open_mjpeg

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
        with closing(Closing(open_mjpeg(fake_camera.url))) as capture:
            numbers = [fake_cameras.number_in(image) for image in pictures(capture, 5)]
        assert len(numbers) == 5
        assert numbers == sorted(set(numbers))

    def test_is_read_up_to_its_newest_picture(self, fake_camera, fake_cameras):
        fake_camera.fps = 100
        with closing(Closing(open_mjpeg(fake_camera.url))) as capture:
            assert capture.grab()
            seen = 1 + capture.passed_over
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
        with closing(Closing(open_mjpeg(fake_camera.url))) as capture:
            capture.grab()
            assert capture.stamp_s() is None
            fake_camera.stamps = True
            while capture.stamp_s() is None:
                arrival_s = capture.grab()
            assert capture.stamp_s() == pytest.approx(arrival_s + 1e9, abs=5.0)

    def test_that_is_none_is_left_to_others(self, fake_camera):
        fake_camera.mode = "page"
        assert open_mjpeg(fake_camera.url) is None


class TestOneThatMisbehaves:
    @pytest.mark.parametrize("mode", ["cut", "one pixel", "bomb"])
    def test_gives_no_picture_that_is_damaged_or_too_large(self, fake_camera, mode):
        fake_camera.mode = mode
        with closing(Closing(open_mjpeg(fake_camera.url))) as capture:
            assert pictures(capture, 9) == [None] * 9
            fake_camera.mode = "ok"
            assert any(image is not None for image in pictures(capture, 9))

    def test_may_change_its_size(self, fake_camera):
        fake_camera.mode = "sizes"
        with closing(Closing(open_mjpeg(fake_camera.url))) as capture:
            assert {image.shape[0] for image in pictures(capture, 12)} == {64, 96, 128}

    def test_may_be_grey(self, fake_camera):
        fake_camera.mode = "grey"
        with closing(Closing(open_mjpeg(fake_camera.url))) as capture:
            (image,) = pictures(capture, 1)
        assert image.shape == (64, 256, 3)
        assert np.ptp(image.astype(int), axis=2).max() == 0

    @pytest.mark.parametrize(
        "mode",
        ["wrong boundary", "huge length", "huge part", "endless field", "trickle", "stall"],
    )
    def test_that_sends_no_picture_is_given_up(self, fake_camera, mode):
        fake_camera.mode = mode
        with closing(Closing(open_mjpeg(fake_camera.url))) as capture:
            begin_s = time.monotonic()
            assert pictures(capture, 1, seconds=600) == []
            assert time.monotonic() - begin_s < PATIENCE_S

    @pytest.mark.parametrize("mode", ["close", "reset"])
    def test_that_ends_the_connection_is_noticed(self, fake_camera, mode):
        with closing(Closing(open_mjpeg(fake_camera.url))) as capture:
            assert capture.grab()
            fake_camera.mode = mode
            while capture.grab() is not None:
                pass

    @pytest.mark.parametrize("mode", ["endless head", "silent"])
    def test_that_gives_no_answer_is_given_up(self, fake_camera, mode):
        fake_camera.mode = mode
        with pytest.raises(StreamError):
            open_mjpeg(fake_camera.url)

    def test_without_a_boundary_is_refused(self, fake_camera, monkeypatch):
        monkeypatch.setattr("mask_gate.gate.camera.mjpeg.boundary_of", lambda content_type: b"")
        with pytest.raises(StreamError, match="boundary"):
            open_mjpeg(fake_camera.url)


class Closing:
    """A capture that can be closed by `closing`."""

    def __init__(self, capture):
        self._capture = capture

    def __getattr__(self, name):
        return getattr(self._capture, name)

    def close(self):
        self._capture.release()


def jpeg(height=48, width=64, quality=90, channels=3, *flags):
    rng = np.random.default_rng(5)
    image = cv2.resize(rng.integers(0, 256, (6, 8, channels), np.uint8), (width, height))
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality, *flags])[1].tobytes()


WHOLE = jpeg()


@given(st.integers(1, 300), st.integers(1, 300), st.booleans(), st.booleans())
def test_the_size_is_that_of_the_picture(height, width, grey, progressive):
    flags = (cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive))
    assert jpeg_size_hw(jpeg(height, width, 90, 1 if grey else 3, *flags)) == (height, width)


@given(st.integers(0, len(WHOLE) - 3))
def test_one_cut_off_anywhere_is_none(end):
    assert jpeg_size_hw(WHOLE[:end]) is None


def test_one_that_ends_with_its_pixels_only_is_none():
    assert jpeg_size_hw(WHOLE[:-2]) is None
    assert jpeg_size_hw(WHOLE[2:]) is None


def test_padding_after_its_end_is_no_damage():
    for padding in [b"\0", b"\r\n", b"\n", b"\0" * 30]:
        assert jpeg_size_hw(WHOLE + padding) == (48, 64)


def test_fill_bytes_and_other_segments_before_the_size_are_passed_over():
    comment = b"\xff\xfe" + (2 + 300).to_bytes(2, "big") + b"\xff\xc0" * 150
    assert jpeg_size_hw(WHOLE[:2] + comment + b"\xff\xff\xff" + WHOLE[2:]) == (48, 64)


def test_what_is_no_jpeg_is_none():
    for data in [
        b"",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8" + b"\xff" * 5000 + b"\xff\xd9",
        b"\xff\xd8" + b"\xff\x01" * 5000 + b"\xff\xd9",
        b"\xff\xd8\xff\xc0\0\x08\xff\xd9",
        b"\xff\xd8\xff\xe0\0\0\xff\xd9",
        b"\xff\xd8\xff\xda\0\x08" + b"\0" * 100 + b"\xff\xd9",
        b"\xff\xd8\xff\xc0\0\x11\x08\0\0\0\x10" + b"\0" * 100 + b"\xff\xd9",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 50,
    ]:
        assert jpeg_size_hw(data) is None


@given(st.binary(max_size=2000))
def test_no_bytes_break_it(data):
    for content in (data, b"\xff\xd8" + data + b"\xff\xd9", WHOLE[:100] + data + b"\xff\xd9"):
        size_hw = jpeg_size_hw(content)
        assert size_hw is None or min(size_hw) > 0
