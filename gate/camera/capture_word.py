"""Word: what a capture process says to the camera that started it, one byte each."""

from __future__ import annotations

from enum import IntEnum


class Word(IntEnum):
    """What is said. Nothing that a camera sent is ever part of it."""

    OPENING = ord("o")
    OPENED = ord("r")
    FRAME = ord("f")
    DROPPED = ord("d")
    WAITING = ord("w")
    """It waits before it asks a camera again that has refused it."""

    UNREACHED = ord("u")
    REFUSED = ord("a")
    LOGIN_WANTED = ord("p")
    LOGIN_UNKNOWN = ord("q")
    MISSING = ord("m")
    BUSY = ord("b")
    FAULTY = ord("e")
    ASTRAY = ord("g")
    NOT_HTTP = ord("h")
    NOT_ENCRYPTED = ord("k")
    PAGE = ord("t")
    DATA = ord("j")
    SOUND = ord("n")
    OTHER_PICTURES = ord("v")
    SNAPSHOT = ord("1")
    NO_PICTURE = ord("0")
    CLOSED = ord("c")
    LATE = ord("l")
    DAMAGED = ord("x")
    STOOD_STILL = ord("s")

    BROKEN = ord("!")
    """The process ends; a sentence for developers follows."""


_LATER = "asked again only after 30 s and more, for cameras lock an account that is tried often"

LOSSES = {
    Word.UNREACHED: "it does not answer",
    Word.REFUSED: f"it refuses user or password; {_LATER}",
    Word.LOGIN_WANTED: "it asks for user and password: give them in the URL, or as camera.user "
    f"and camera.password_file; {_LATER}",
    Word.LOGIN_UNKNOWN: "it asks for a password in a way that is not known here; set it to Digest "
    f"or Basic; {_LATER}",
    Word.MISSING: "it answers that there is nothing at this address (404); check the path",
    Word.BUSY: "it answers that it is busy (503); it may have as many viewers as it can serve",
    Word.FAULTY: "it answers with an error instead of pictures",
    Word.ASTRAY: "it redirects in a circle, or to something that is not http",
    Word.NOT_HTTP: "what answers there does not speak HTTP; check the port",
    Word.NOT_ENCRYPTED: "no encrypted connection with it can be made; check the port, or try http",
    Word.PAGE: "it answers with a web page; give the address of the stream itself",
    Word.DATA: "it answers with text, not with pictures; give the address of the stream",
    Word.SOUND: "it answers with sound, not with pictures; give the address of the video",
    Word.OTHER_PICTURES: "it sends pictures of another kind than JPEG; set it to MJPEG or H.264",
    Word.SNAPSHOT: "it answers with a single picture, of which nobody knows how old it is; give "
    "the address of its stream (MJPEG or RTSP)",
    Word.NO_PICTURE: "it answers, but no picture is in what it sends",
    Word.CLOSED: "it sends no more pictures",
    Word.LATE: "its pictures come too late",
    Word.DAMAGED: "its pictures are damaged or too large",
    Word.STOOD_STILL: "its capture process stood still",
}
"""Why there is no picture, by the word that says so."""

REFUSALS = frozenset({Word.REFUSED, Word.LOGIN_WANTED, Word.LOGIN_UNKNOWN})
"""After these the camera is left alone for a while."""

_STATUSES = {
    401: Word.REFUSED, 403: Word.REFUSED, 404: Word.MISSING, 410: Word.MISSING,
    429: Word.BUSY, 453: Word.BUSY, 503: Word.BUSY,
}  # fmt: skip


def word_of_status(status: int) -> Word:
    """What a status of HTTP or RTSP says that means no stream."""
    return _STATUSES.get(status, Word.FAULTY)
