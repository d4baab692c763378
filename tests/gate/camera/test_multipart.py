"""Streams of parts, cut into pieces anywhere, and what a camera may not send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.gate.camera.http_stream import StreamError
from mask_gate.gate.camera.multipart import MAX_BODY, MAX_FIELDS, Multipart, boundary_of

JPEG_LIKE = st.binary(max_size=300).map(lambda data: b"\xff\xd8" + data + b"\xff\xd9")


def part(body, boundary=b"--frame", length=True, more=b""):
    head = b"Content-Length: %d\r\n" % len(body) if length else b""
    return b"%b\r\nContent-Type: image/jpeg\r\n%b%b\r\n%b\r\n" % (boundary, head, more, body)


def fed(stream, data, size):
    """All parts, fed `size` bytes at a time; the time is the count of bytes."""
    parts = []
    for at in range(0, len(data), size):
        parts += stream.feed(data[at : at + size], float(at + size))
    return parts


class TestTheBoundary:
    def test_is_what_the_camera_announces(self):
        for said, is_ in [
            ("multipart/x-mixed-replace; boundary=frame", b"frame"),
            ("multipart/x-mixed-replace;boundary=--frame", b"frame"),
            ('Multipart/Mixed; charset=x; BOUNDARY="my frame"', b"my frame"),
            ("multipart/x-mixed-replace", None),
            ("multipart/x-mixed-replace; boundary=--", b""),
            ("image/jpeg; boundary=frame", None),
            ("text/html", None),
            ("", None),
        ]:
            assert boundary_of(said) == is_

    def test_must_be_something(self):
        with pytest.raises(StreamError, match="boundary"):
            Multipart(b"")

    @pytest.mark.parametrize("written", [b"--frame", b"frame", b"----frame", b"--frame "])
    def test_may_be_written_with_dashes_or_without(self, written):
        stream = Multipart(b"frame")
        data = part(b"one", written) + part(b"two", written)
        assert [p.body for p in fed(stream, data, 7)] == [b"one", b"two"]

    def test_another_than_announced_gives_no_part(self):
        with pytest.raises(StreamError, match="another boundary"):
            fed(Multipart(b"frame"), part(b"one", b"--other"), 10)


class TestParts:
    @given(st.lists(JPEG_LIKE, min_size=1, max_size=6), st.integers(1, 400), st.booleans())
    def test_come_out_whole_however_the_stream_was_cut(self, bodies, size, length):
        data = b"".join(part(body, length=length) for body in bodies) + b"--frame"
        parts = fed(Multipart(b"frame"), data, size)
        assert [p.body for p in parts] == bodies
        assert {p.fields["content-type"] for p in parts} == {"image/jpeg"}

    def test_have_their_own_headers(self):
        stream = Multipart(b"frame")
        (one,) = stream.feed(part(b"one", more=b"X-TimeStamp:  12.5 \r\n"), 1.0)
        (two,) = stream.feed(part(b"two"), 2.0)
        assert one.fields["x-timestamp"] == "12.5"
        assert "x-timestamp" not in two.fields

    def test_begin_when_the_first_bytes_of_their_body_come(self):
        stream = Multipart(b"frame")
        early = b"--frame\r\nContent-Length: 4\r\n\r\n"  # many servers announce the next one early
        assert stream.feed(early, 1.0) == []
        assert stream.feed(b"on", 2.0) == []
        (one,) = stream.feed(b"e!\r\n" + early, 3.0)
        (two,) = stream.feed(b"two!\r\n", 9.0)
        assert (one.began_s, two.began_s) == (2.0, 9.0)

    def test_without_a_length_end_at_the_next_boundary(self):
        stream = Multipart(b"frame")
        assert fed(stream, part(b"one", length=False), 5) == []
        assert [p.body for p in stream.feed(b"--frame\r\n", 1.0)] == [b"one"]

    def test_lines_for_old_browsers_before_them_are_passed_over(self):
        data = b"\r\n\r\nYour browser is old.\r\n" + part(b"one")
        assert [p.body for p in fed(Multipart(b"frame"), data, 3)] == [b"one"]


class TestBounds:
    def test_a_length_that_cannot_be_is_refused_before_it_is_waited_for(self):
        for length in [b"4000000000", b"8388609", b"-1", b"many", b"1e3", b"9" * 99]:
            with pytest.raises(StreamError, match="larger than"):
                Multipart(b"frame").feed(b"--frame\r\nContent-Length: " + length + b"\r\n\r\n", 0.0)

    def test_headers_without_end_are_refused(self):
        stream = Multipart(b"frame")
        stream.feed(b"--frame\r\nX: ", 0.0)
        with pytest.raises(StreamError, match="headers of a part"):
            fed(stream, b"more" * 25 * (MAX_FIELDS // 100 + 1), 100)

    def test_empty_lines_without_end_are_refused(self):
        with pytest.raises(StreamError, match="headers of a part"):
            fed(Multipart(b"frame"), b"\r\n" * MAX_FIELDS, 100)

    def test_a_part_without_end_is_refused(self):
        stream = Multipart(b"frame")
        stream.feed(b"--frame\r\nX: 1\r\n\r\n", 0.0)
        with pytest.raises(StreamError, match="larger than"):
            fed(stream, b"\x55" * (MAX_BODY + 2 * 65536), 65536)

    @given(st.lists(st.binary(max_size=200) | st.just(b"\r\n\r\n") | st.just(part(b"x"))))
    def test_whatever_comes_is_parts_or_refused(self, pieces):
        stream = Multipart(b"frame")
        try:
            for piece in pieces:
                for found in stream.feed(piece, 1.0):
                    assert len(found.body) <= MAX_BODY
        except StreamError:
            pass
