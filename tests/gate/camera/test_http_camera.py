"""What people's cameras and servers answer: the picture, or one sentence that says what it is."""

import contextlib
import socket
import threading
import time

import cv2
import numpy as np
import pytest

from mask_gate.gate.camera import http_stream, mjpeg
from mask_gate.gate.camera.capture_word import LOSSES, Word
from mask_gate.gate.camera.http_camera import boundary_of, open_http
from mask_gate.gate.camera.http_stream import StreamError

pytestmark = pytest.mark.process

PATIENCE_S = 60.0
LEFT = cv2.ROTATE_90_COUNTERCLOCKWISE
CRLF = b"\r\n"
STREAM = b"Content-Type: multipart/x-mixed-replace; boundary=frame"
BARE = b"Content-Type: video/x-motion-jpeg"


@pytest.fixture(autouse=True)
def machines_that_test_are_slow(monkeypatch):
    monkeypatch.setattr(http_stream, "MAX_AWAY_S", PATIENCE_S)


@pytest.fixture(scope="module")
def picture():
    """A face-like picture, wider than high, and its JPEG."""
    image = np.full((96, 160, 3), 60, np.uint8)
    cv2.circle(image, (50, 40), 25, (90, 140, 200), -1)
    return image


@pytest.fixture
def serve():
    """Starts a camera that answers everybody with these bytes, the second ones for ever."""
    listeners = []

    def start(head, part=b"", pause_s=0.01, status=b"HTTP/1.0 200 OK"):
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def talk(connection):
            with contextlib.suppress(OSError), connection:
                connection.recv(65536)
                connection.sendall(status + CRLF + head + CRLF)
                while part:
                    connection.sendall(part)
                    time.sleep(pause_s)

        def run():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=talk, args=(connection,), daemon=True).start()

        threading.Thread(target=run, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/video"

    yield start
    for listener in listeners:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        listener.close()


def jpeg(image, *flags):
    return cv2.imencode(".jpg", image, flags)[1].tobytes()


def part(data, head=b"Content-Type: image/jpeg", boundary=b"--frame", length=None):
    length = len(data) if length is None else length
    size = b"Content-Length: %d\r\n" % length if length >= 0 else b""
    return boundary + CRLF + head + CRLF + size + CRLF + data + CRLF


def without_huffman_tables(data):
    out, at = data[:2], 2
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        out += b"" if data[at + 1] == 0xC4 else data[at:end]
        at = end
    return out + data[at:]


STORED = {
    1: lambda image: image,
    2: lambda image: cv2.flip(image, 1),
    3: lambda image: cv2.rotate(image, cv2.ROTATE_180),
    4: lambda image: cv2.flip(image, 0),
    5: cv2.transpose,
    6: lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
    7: lambda image: cv2.transpose(cv2.rotate(image, cv2.ROTATE_180)),
    8: lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
}
"""How an upright picture is stored under each EXIF orientation (JEITA CP-3451, tag 274)."""


def with_orientation(data, orientation):
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([orientation]) + bytes(7)
    return (
        data[:2] + b"\xff\xe1" + (len(tiff) + 8).to_bytes(2, "big") + b"Exif\0\0" + tiff + data[2:]
    )


def shown(url, count=3):
    """The next pictures of a camera."""
    capture = open_http(url)
    try:
        found = []
        while len(found) < count and capture.grab() is not None:
            found.append(capture.retrieve())
        return found
    finally:
        capture.release()


def looks_like(found, image):
    return len(found) == 3 and all(
        one is not None and one.shape == image.shape and cv2.absdiff(one, image).mean() < 4
        for one in found
    )


SOUND = b"--frame\r\nContent-Type: audio/basic\r\nContent-Length: 320\r\n\r\n" + bytes(320) + CRLF
LOUD = SOUND.replace(bytes(320), b"\xff\xd8\xff\xe0" * 80)
XML = b"--frame\r\nContent-Type: text/xml\r\nContent-Length: 8\r\n\r\n<a></a>\n" + CRLF


class TestPictures:
    @pytest.mark.parametrize(
        "junk",
        [b" ", b"\xff", b"\0", b"\0" * 60, b"\0" * 63, b"\0" * 128, b"\0" * 512, b" " * 8,
         b"\xff" * 16, bytes(range(1, 200)), b"\r\n\r\n", b"\0" * 5000],
        ids=len,
    )  # fmt: skip
    @pytest.mark.parametrize("with_length", [True, False])
    def test_with_something_behind_their_end(self, serve, picture, junk, with_length):
        data = jpeg(picture) + junk
        url = serve(STREAM + CRLF, part(data, length=None if with_length else -1))
        assert looks_like(shown(url), picture)

    @pytest.mark.parametrize("wrong", [-2, -400, 2, 5, 300], ids=lambda by: f"{by:+d}")
    def test_whose_length_is_not_as_said(self, serve, picture, wrong):
        data = jpeg(picture)
        url = serve(STREAM + CRLF, part(data, length=len(data) + wrong))
        assert looks_like(shown(url), picture)

    @pytest.mark.parametrize("length", [0, -1, 4_000_000_000])
    def test_without_a_length_that_makes_sense(self, serve, picture, length):
        assert looks_like(shown(serve(STREAM + CRLF, part(jpeg(picture), length=length))), picture)

    @pytest.mark.parametrize("between", [SOUND, LOUD, XML, XML + SOUND], ids=len)
    def test_with_other_parts_between_them(self, serve, picture, between):
        assert looks_like(shown(serve(STREAM + CRLF, part(jpeg(picture)) + between)), picture)

    @pytest.mark.parametrize(
        "head",
        [
            STREAM, STREAM + b"\r\nContent-Length: 0", b"", b"Server: x",
            b'content-type:multipart/x-mixed-replace ; Boundary="frame"; charset=utf-8',
            STREAM.replace(b"frame", b"other"), STREAM.replace(b"; boundary=frame", b""),
            STREAM.replace(b"x-mixed-replace", b"mixed"), STREAM.replace(b"=frame", b"=--frame"),
            b"Content-Type: image/jpeg", b"Content-Type: text/plain", b"Content-Type: text/html",
            b"Content-Type: application/octet-stream",
        ],
    )  # fmt: skip
    def test_however_they_are_announced(self, serve, picture, head):
        head += CRLF if head else b""
        assert looks_like(shown(serve(head, part(jpeg(picture)))), picture)

    @pytest.mark.parametrize(
        "head", [BARE, b"Content-Type: image/jpeg", b"Server: x", b"", b"Content-Type: video/mjpeg"]
    )
    def test_one_behind_the_other(self, serve, picture, head):
        assert looks_like(shown(serve(head + CRLF if head else b"", jpeg(picture))), picture)

    @pytest.mark.parametrize("length", [True, False])
    def test_with_their_boundary_behind_them(self, serve, picture, length):
        data = jpeg(picture)
        head = b"Content-Type: image/jpeg\r\n"
        head += b"Content-Length: %d\r\n" % len(data) if length else b""
        url = serve(STREAM + CRLF, head + CRLF + data + b"\r\n--frame\r\n")
        assert looks_like(shown(url), picture)

    @pytest.mark.parametrize(
        "status",
        [b"ICY 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK"],
    )
    def test_behind_another_status_line(self, serve, picture, status):
        url = serve(STREAM + CRLF, part(jpeg(picture)), status=status)
        assert looks_like(shown(url), picture)

    def test_of_many_kinds_of_jpeg(self, serve, picture):
        grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        for data, image in [
            (without_huffman_tables(jpeg(picture)), picture),
            (jpeg(picture, cv2.IMWRITE_JPEG_PROGRESSIVE, 1), picture),
            (jpeg(picture, cv2.IMWRITE_JPEG_RST_INTERVAL, 3), picture),
            (jpeg(grey[:, :, 0]), grey),
        ]:
            assert looks_like(shown(serve(STREAM + CRLF, part(data))), image)

    @pytest.mark.parametrize("orientation", STORED)
    def test_that_is_stored_turned_or_mirrored(self, serve, picture, orientation):
        """As a telephone stores what it took on its side, with a note how to turn it."""
        data = with_orientation(jpeg(STORED[orientation](picture)), orientation)
        assert looks_like(shown(serve(STREAM + CRLF, part(data))), picture)

    def test_whose_size_changes(self, serve, picture):
        both = part(jpeg(picture)) + part(jpeg(picture[:64, :80]))
        sizes = {image.shape for image in shown(serve(STREAM + CRLF, both, pause_s=0.05), 8)}
        assert sizes <= {(96, 160, 3), (64, 80, 3)}

    def test_only_two_in_three_seconds_are_enough(self, serve, picture):
        url = serve(STREAM + CRLF, part(jpeg(picture)), pause_s=mjpeg.FRAME_S * 0.6)
        assert len(shown(url, 1)) == 1


def page(kind, body, length=True):
    head = b"Content-Type: " + kind + CRLF if kind else b""
    return head + (b"Content-Length: %d\r\n" % len(body) if length else b"") + CRLF + body


class TestASentence:
    def told(self, url):
        with pytest.raises(StreamError) as told:
            shown(url, 1)
        return told.value.word

    @pytest.mark.parametrize(
        ("answer", "word"),
        [
            (page(b"text/html", b"<html><img src=/video></html>"), Word.PAGE),
            (page(b"text/html; charset=utf-8", b"<p>Login"), Word.PAGE),
            (page(b"", b"\xef\xbb\xbf\n<!DOCTYPE html><title>"), Word.PAGE),
            (page(b"application/json", b'{"error": "no such stream"}'), Word.DATA),
            (page(b"text/xml", b"<?xml version='1.0'?><a/>"), Word.DATA),
            (page(b"application/sdp", b"v=0\r\no=- 1 1 IN IP4 0.0.0.0"), Word.DATA),
            (page(b"text/plain", b"stream is disabled"), Word.DATA),
            (page(b"audio/basic", bytes(400)), Word.SOUND),
            (page(b"image/png", b"\x89PNG\r\n\x1a\n" + bytes(300)), Word.OTHER_PICTURES),
            (page(b"image/webp", b"RIFF" + bytes(300)), Word.OTHER_PICTURES),
            (page(b"text/html", b""), Word.NO_PICTURE),
            (page(b"", b"", length=False), Word.NO_PICTURE),
            (page(b"multipart/x-mixed-replace; boundary=a", b"", length=False), Word.NO_PICTURE),
            (page(b"multipart/x-mixed-replace; boundary=a", b"--a\r\n\r\n"), Word.NO_PICTURE),
        ],
    )  # fmt: skip
    def test_says_what_it_is(self, serve, answer, word):
        assert self.told(serve(answer.removesuffix(CRLF) if answer == CRLF else answer)) is word

    def test_says_that_it_is_a_single_picture(self, serve, picture):
        data = jpeg(picture)
        for head in (
            b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n" % len(data),
            b"Content-Type: image/jpeg\r\n",
            b"",
            STREAM + CRLF + CRLF + b"--frame",
        ):
            assert self.told(serve(head + CRLF + data)) is Word.SNAPSHOT

    @pytest.mark.parametrize(
        ("status", "word"),
        [
            (b"404 Not Found", Word.MISSING), (b"410 Gone", Word.MISSING), (b"503 X", Word.BUSY),
            (b"429 X", Word.BUSY), (b"401 X", Word.LOGIN_WANTED), (b"403 X", Word.REFUSED),
            (b"500 X", Word.FAULTY), (b"400 X", Word.FAULTY), (b"204", Word.NO_PICTURE),
            (b"302 X\r\nLocation: /video", Word.ASTRAY), (b"302 X", Word.FAULTY),
        ],
    )  # fmt: skip
    def test_says_what_the_status_means(self, serve, status, word):
        assert self.told(serve(b"", status=b"HTTP/1.1 " + status)) is word

    def test_says_that_it_is_no_http(self, serve):
        assert self.told(serve(b"", status=b"RTSP/1.0 200 OK")) is Word.NOT_HTTP
        https = serve(b"").replace("http:", "https:")
        assert self.told(https) is Word.NOT_ENCRYPTED

    def test_is_there_for_every_word(self):
        silent = {Word.OPENING, Word.OPENED, Word.FRAME, Word.DROPPED, Word.WAITING, Word.BROKEN}
        assert set(LOSSES) == set(Word) - silent


def test_the_boundary_is_what_the_camera_announces():
    for said, is_ in [
        ("multipart/x-mixed-replace; boundary=frame", b"frame"),
        ("multipart/x-mixed-replace;boundary=--frame", b"frame"),
        ('Multipart/Mixed; charset=x; BOUNDARY="my frame"', b"my frame"),
        ("multipart/x-mixed-replace", b""),
        ("multipart/x-mixed-replace; boundary=--", b""),
        ("", b""),
    ]:
        assert boundary_of(said) == is_
