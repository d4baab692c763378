"""Pictures found in a stream, cut into pieces anywhere, among whatever cameras put between them."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.gate.camera.http_stream import StreamError
from mask_gate.gate.camera.jpeg_stream import MAX_BODY, MAX_WORDS, JpegStream


def jpeg(height=48, width=64, channels=3, *flags, seed=5):
    rng = np.random.default_rng(seed)
    image = cv2.resize(rng.integers(0, 256, (6, 8, channels), np.uint8), (width, height))
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90, *flags])[1].tobytes()


def with_thumbnail(data, thumbnail):
    exif = b"Exif\0\0" + thumbnail
    return data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]


def decoded(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


ONE, TWO = jpeg(seed=1), jpeg(32, 40, seed=2)
ONE_SHOWN, TWO_SHOWN = decoded(ONE), decoded(TWO)
JUNK = st.binary(max_size=600) | st.sampled_from(
    [b" ", b"\xff", b"\0" * 63, b"\0" * 512, b"\xff" * 16, bytes(range(1, 200)), b"\r\n--frame\r\n"]
)


def fed(stream, data, size=4096):
    """All pictures, fed `size` bytes at a time; the time is the count of bytes."""
    found = []
    for at in range(0, len(data), size):
        found += stream.feed(data[at : at + size], float(at + size))
    return found


class TestAPicture:
    @given(st.integers(1, 90), st.integers(1, 90), st.booleans(), st.booleans())
    def test_says_its_size(self, height, width, grey, progressive):
        flags = (cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive))
        data = jpeg(height, width, 1 if grey else 3, *flags)
        (found,) = fed(JpegStream(), data)
        assert (found.data, found.size_hw) == (data, (height, width))

    @given(JUNK, JUNK, JUNK, st.integers(1, 3000))
    def test_is_found_among_whatever_stands_around_it(self, before, between, after, size):
        data = before + b"\r\n" + ONE + between + b"\r\n" + TWO + after
        assert [found.data for found in fed(JpegStream(b"frame"), data, size)] == [ONE, TWO]

    def test_with_restart_markers_comments_and_fill_bytes_is_whole(self):
        plain = jpeg(200, 200, 3, cv2.IMWRITE_JPEG_RST_INTERVAL, 2)
        comment = b"\xff\xfe" + (2 + 300).to_bytes(2, "big") + b"\xff\xd9" * 150
        data = plain[:2] + comment + b"\xff\xff\xff" + plain[2:]
        assert [found.data for found in fed(JpegStream(), data, 100)] == [data]

    def test_is_not_the_small_one_inside_it(self):
        data = with_thumbnail(ONE, TWO)
        assert [found.data for found in fed(JpegStream(), data + ONE)] == [data, ONE]

    def test_brings_what_stood_before_it_and_when_it_began(self):
        stream = JpegStream()
        assert stream.feed(b"--frame\r\nX-Timestamp: 12.50\r\n\r\n", 1.0) == []
        assert stream.feed(ONE[:50], 2.0) == []
        found, other = stream.feed(ONE[50:] + b"\r\n" + TWO, 3.0)
        assert b"X-Timestamp: 12.50" in found.words
        assert b"X-Timestamp" not in other.words
        assert (found.began_s, other.began_s) == (2.0, 3.0)


class TestOneThatIsCutOff:
    @given(st.integers(1, len(ONE) - 1), st.sampled_from([b"", b"\r\n--frame\r\nX: 1\r\n\r\n"]))
    def test_never_shows_and_the_next_one_is_not_lost(self, end, between):
        more = bytes(70_000)  # what is damaged may claim that much
        found = fed(JpegStream(b"frame"), ONE[:end] + between + TWO + more + ONE, 65536)
        shown = [decoded(jpeg.data) for jpeg in found if jpeg.data]
        assert all(image is None or np.array_equal(image, TWO_SHOWN) for image in shown[:-1])
        assert np.array_equal(shown[-1], ONE_SHOWN)

    def test_in_its_pixels_is_told_as_empty(self):
        first, second = fed(JpegStream(), ONE[:-40] + TWO)
        assert (first.data, second.data) == (b"", TWO)

    def test_whose_small_one_is_whole_gives_not_that_in_its_place(self):
        found = fed(JpegStream(), with_thumbnail(ONE, TWO)[:-40] + ONE)
        assert [jpeg.data for jpeg in found] == [b"", ONE]

    def test_and_has_a_boundary_inside_is_none_though_an_end_comes(self):
        found = fed(JpegStream(b"frame"), ONE[:-40] + b"\r\n--frame\r\n\0\xff\xd9" + TWO)
        assert [jpeg.data for jpeg in found] == [b"", TWO]

    def test_is_waited_for(self):
        assert fed(JpegStream(), ONE[:-1]) == []
        assert fed(JpegStream(), ONE[:-2]) == []


class TestWhatIsNone:
    def test_is_passed_over(self):
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
            assert [jpeg.data for jpeg in fed(JpegStream(), data + ONE)][-1] == ONE

    @given(st.lists(st.binary(max_size=300) | st.just(ONE[:200]) | st.just(b"\xff\xd8\xff\xdb")))
    def test_whatever_it_is_breaks_nothing(self, pieces):
        stream = JpegStream(b"frame")
        for piece in pieces:
            for found in stream.feed(piece, 1.0):
                assert min(found.size_hw) > 0
                assert not found.data or found.data.endswith(b"\xff\xd9")

    def test_without_end_is_not_kept(self):
        stream = JpegStream()
        for _ in range(200):
            assert stream.feed(b"\r\n" * 4096, 1.0) == []
        (found,) = stream.feed(ONE, 2.0)
        assert len(found.words) == MAX_WORDS

    def test_a_picture_without_end_is_refused(self):
        stream = JpegStream()
        stream.feed(ONE[:-2], 0.0)
        with pytest.raises(StreamError, match="larger than"):
            fed(stream, b"\x55" * (MAX_BODY + 2 * 65536), 65536)
