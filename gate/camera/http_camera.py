"""HttpCamera: finds out what an address of http answers with, and opens the reader for it."""

from __future__ import annotations

import re

from mask_gate.gate.camera.capture_word import Word
from mask_gate.gate.camera.http_stream import HttpStream, StreamError
from mask_gate.gate.camera.mjpeg import MjpegCapture
from mask_gate.gate.camera.opencv_capture import OpencvCapture, open_stream
from mask_gate.gate.clock import uptime_s

ANSWER_S = 1.5

_JPEG = b"\xff\xd8\xff"
_PART = re.compile(rb"\s*(--|content-(type|length) *:)", re.IGNORECASE)
_JPEG_KINDS = frozenset({"image/jpeg", "image/jpg", "image/pjpeg"})
_MJPEG_KINDS = re.compile("video/(x-)?(motion-)?m?jpe?g|image/x-motion-jpe?g|image/mjpe?g")
_CONTAINERS = (
    (b"\x47", 0),  # MPEG transport stream
    (b"FLV", 0),
    (b"\x1a\x45\xdf\xa3", 0),  # Matroska, WebM
    (b"ftyp", 4),  # MP4
    (b"OggS", 0),
    (b"#EXTM3U", 0),
)
"""Where a stream carries the time of each picture: its first bytes, and where they stand."""

_PICTURES = (b"\x89PNG", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")
_DATA_KINDS = re.compile("text/|application/(.*[+])?(json|xml|javascript|sdp)")


def open_http(url: str) -> MjpegCapture | OpencvCapture | None:
    """A camera behind http or https; None if FFmpeg finds no pictures in what it sends.

    Raises:
        StreamError: it does not answer, refuses, or answers with something else than a stream.
    """
    stream = HttpStream(url, ANSWER_S, uptime_s)
    try:
        capture, has_clock = _recognised(stream)
    except BaseException:
        stream.close()
        raise
    if capture is not None:
        return capture
    stream.close()
    return open_stream(url, has_clock=has_clock)


def _recognised(stream: HttpStream) -> tuple[MjpegCapture | None, bool]:
    """The reader of JPEGs; or None for a stream of FFmpeg's, and whether its stamps are real.

    Raises:
        StreamError: it is no stream.
    """
    announced = stream.headers.get("content-type", "")
    kind = announced.partition(";")[0].strip().lower()
    if kind.startswith("multipart/"):
        return MjpegCapture(stream, boundary_of(announced)), False
    length = stream.headers.get("content-length", "")
    if kind in _JPEG_KINDS and length.isdecimal() and int(length) > 0:
        raise StreamError(f"one picture of {length[:20]} bytes", Word.SNAPSHOT)
    begin = _first_bytes(stream)
    if _JPEG in begin or _PART.match(begin) or kind in _JPEG_KINDS or _MJPEG_KINDS.fullmatch(kind):
        return MjpegCapture(stream, begin=begin), False
    if any(begin[at:].startswith(mark) for mark, at in _CONTAINERS):
        return None, True
    text = begin.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if "html" in kind or text.startswith((b"<!doctype html", b"<html", b"<head", b"<script")):
        raise StreamError("a web page", Word.PAGE)
    if _DATA_KINDS.match(kind) or text.startswith((b"<?xml", b"{", b"v=0")):
        raise StreamError("text", Word.DATA)
    if kind.startswith("audio/"):
        raise StreamError("sound", Word.SOUND)
    if kind.startswith("image/") or begin.startswith(_PICTURES):
        raise StreamError("a picture that is no JPEG", Word.OTHER_PICTURES)
    return None, False


def _first_bytes(stream: HttpStream) -> bytes:
    """Enough of the body to know what it is.

    Raises:
        StreamError: nothing comes.
    """
    until_s, begin = uptime_s() + ANSWER_S, b""
    try:
        while len(begin.lstrip()) < 16:
            begin += stream.receive(until_s)
    except OSError as error:
        if not begin.strip():
            raise StreamError("nothing comes after the headers", Word.NO_PICTURE) from error
    return begin


def boundary_of(content_type: str) -> bytes:
    """The boundary that a Content-Type announces; empty if it announces none.

    Cameras write it with dashes and without; they are no part of it here.
    """
    words = content_type.partition(";")[2]
    found = re.search(r'(?:^|;)\s*boundary\s*=\s*("[^"]*"|[^;\s]+)', words, re.IGNORECASE)
    return found[1].strip('"').strip().encode("latin-1").lstrip(b"-") if found else b""
