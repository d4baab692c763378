"""Capture: the process that owns a live camera, which can be killed when a driver hangs.

    python -m mask_gate.gate.camera.capture_process DESCRIPTOR

It reads the source as one line of JSON, opens it, and keeps its newest sound frame in the
`FrameBuffer` behind the descriptor. What it does it says on standard output, one byte each
(`Word`); silence means that it hangs. It opens a camera that goes away again and again, and ends
when its standard input ends. Pictures that are damaged, too large, or older than they look never
get into the buffer.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import NoReturn, Protocol

import cv2

from mask_gate.gate.camera.capture_word import REFUSALS, Word
from mask_gate.gate.camera.clip import as_bgr, is_usable
from mask_gate.gate.camera.decoder_errors import DecoderErrors
from mask_gate.gate.camera.frame_buffer import FrameBuffer
from mask_gate.gate.camera.http_camera import open_http
from mask_gate.gate.camera.http_stream import StreamError
from mask_gate.gate.camera.opencv_capture import (
    open_device,
    open_pipeline,
    open_stream,
    prepare_capture,
    why_not_opened,
)
from mask_gate.gate.camera.plugin_camera import open_plugin
from mask_gate.gate.camera.source import Source, SourceKind
from mask_gate.gate.camera.stream_clock import StreamClock
from mask_gate.gate.clock import Clock, uptime_s
from mask_gate.gate.domain import Image

BACK_OFF_S = (0.1, 0.2, 0.4, 0.8)
"""From one try to the next, after so many that brought no frame."""

REFUSAL_PAUSES_S = (30.0, 60.0, 120.0, 300.0)
"""The same after so many refusals in a row: many cameras lock an account after five."""

_SIGN_OF_LIFE_S = 1.0  # while it waits so long

STOOD_STILL_S = 2.5
"""A driver that took longer for one picture than all its time-outs was not running: what comes
from it has waited."""

FIRST_PATIENCE_S = 5.0
PATIENCE_S = 2.0
"""A camera whose pictures are all late or damaged for so long is opened again; at its beginning it
may take longer, until it has caught up with what was kept for it."""

_MAX_DATA = 2 << 30  # bytes of memory of this process; a picture as large as allowed takes 50 MB


class Capture(Protocol):
    """A camera that is open.

    Attributes:
        is_inter_coded: whether a picture tells only what changed since the one before.
        passed_over: so many pictures came since the last grab beside the one it took.
    """

    is_inter_coded: bool
    passed_over: int

    @property
    def has_clock(self) -> bool:
        """Whether stamps tell when pictures were taken; made up or erratic ones do not."""

    def grab(self) -> float | None:
        """Wait for the next picture; when it came, or None when there are no more."""

    def retrieve(self) -> Image | None:
        """Decode it, if that can be done."""

    def stamp_s(self) -> float | None:
        """Its time by a clock of the camera's own, if it has one."""

    def is_key_frame(self) -> bool:
        """Whether it shows nothing of the pictures before it."""

    def release(self) -> None:
        """Let go of the camera."""


Opener = Callable[[], Capture | None]


class Capturer:
    """Opens a camera for ever, and keeps its newest sound frame in a buffer.

    Args:
        opener: opens the camera, or returns None or raises StreamError when that fails.
        buffer: where frames go.
        say: hears each word; what takes it must not wait.
        damage_heard: whether the decoders have complained since it was last asked.
        max_age_s: a picture that was older when it came is dropped.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        opener: Opener,
        buffer: FrameBuffer,
        say: Callable[[Word], None],
        damage_heard: Callable[[], bool],
        *,
        max_age_s: float,
        clock: Clock = uptime_s,
    ) -> None:
        self._opener = opener
        self._buffer = buffer
        self._say = say
        self._damage_heard = damage_heard
        self._max_age_s = max_age_s
        self._clock = clock
        self._index = 0
        self._newest_s = -float("inf")
        self._smeared = False
        self._had_frames = False

    def run(self, sleep: Callable[[float], None] = time.sleep) -> NoReturn:
        """Try for ever."""
        failures = refusals = 0
        while True:
            began_s = self._clock()
            word = self.attempt()
            self._say(word)
            failures = 0 if self._had_frames else failures + 1
            pause_s = BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)]
            sleep(max(0.0, began_s + pause_s - self._clock()))
            if word in REFUSALS:
                self._leave_alone(REFUSAL_PAUSES_S[min(refusals, len(REFUSAL_PAUSES_S) - 1)], sleep)
            refusals = refusals + 1 if word in REFUSALS else 0

    def _leave_alone(self, pause_s: float, sleep: Callable[[float], None]) -> None:
        until_s = self._clock() + pause_s
        while self._clock() < until_s:
            self._say(Word.WAITING)
            sleep(_SIGN_OF_LIFE_S)

    def attempt(self) -> Word:
        """Open the camera and take its pictures until it is lost; how that came."""
        self._had_frames = False
        self._say(Word.OPENING)
        try:
            capture = self._opener()
            if capture is None:
                return Word.UNREACHED
            self._say(Word.OPENED)
            with contextlib.closing(_Releasing(capture)):
                return self._drain(capture)
        except StreamError as error:
            return error.word
        except cv2.error:
            return Word.CLOSED

    def _drain(self, capture: Capture) -> Word:
        stream = StreamClock(holds_one_back=capture.is_inter_coded)
        self._smeared = False
        self._damage_heard()  # what was said while it was opened
        good_s = self._clock()
        before_s: float | None = None
        while True:
            asked_s = self._clock()
            arrival_s = capture.grab()
            now_s = self._clock()
            if arrival_s is None:
                return Word.CLOSED
            if now_s - asked_s > STOOD_STILL_S:
                return Word.STOOD_STILL
            self._index += 1 + capture.passed_over
            if capture.has_clock:
                taken_s = stream.taken_s(arrival_s, capture.stamp_s())
            else:
                taken_s = before_s if capture.is_inter_coded else arrival_s
            before_s = arrival_s
            word = self._give(capture, arrival_s, taken_s)
            if word is Word.FRAME:
                good_s, self._had_frames = now_s, True
            elif now_s - good_s > (PATIENCE_S if self._had_frames else FIRST_PATIENCE_S):
                return word
            self._say(word if word is Word.FRAME else Word.DROPPED)

    def _give(self, capture: Capture, arrival_s: float, taken_s: float | None) -> Word:
        """Put the picture into the buffer if there is nothing wrong with it."""
        damaged = self._damage_heard()
        if capture.is_inter_coded:
            self._smeared = damaged or (self._smeared and not capture.is_key_frame())
        if taken_s is None or arrival_s - taken_s > self._max_age_s:
            return Word.LATE
        if damaged or self._smeared:
            return Word.DAMAGED
        image = capture.retrieve()
        if image is None or self._damage_heard() or not is_usable(image):
            return Word.DAMAGED
        time_s = max(taken_s, self._newest_s + 1e-6)
        if not self._buffer.write(as_bgr(image), time_s, self._index):
            return Word.DAMAGED
        self._newest_s = time_s
        return Word.FRAME


class _Releasing:
    """Turns the `release` of captures into a `close`."""

    def __init__(self, capture: Capture) -> None:
        self.close = capture.release


def open_capture(source: Source) -> Capture | None:
    """Open a live source; None if that fails.

    Raises:
        StreamError: it does not answer, refuses, or is no stream.
    """
    if source.kind is SourceKind.PIPELINE:
        return open_pipeline(source.address)
    if source.kind is SourceKind.PLUGIN:
        return open_plugin(source)
    if source.kind is not SourceKind.URL:
        return open_device(source)
    if source.address.partition(":")[0].lower() in ("http", "https"):
        return open_http(source.address)
    return open_stream(source.address)


def _open_or_say_why(source: Source, complaints: DecoderErrors) -> Capture | None:
    """Open a live source; None if that fails and nobody said why.

    Raises:
        StreamError: see `open_capture`; or what FFmpeg said of it.
    """
    complaints.heard()
    capture = open_capture(source)
    if capture is not None or source.kind is not SourceKind.URL:
        return capture
    complaints.heard()
    word = why_not_opened(complaints.last)
    if word is Word.REFUSED and not source.has_login:
        word = Word.LOGIN_WANTED
    raise StreamError("FFmpeg finds no stream", word)


def order(source: Source, max_age_s: float) -> bytes:
    """The line that tells this process what to do."""
    words = {"kind": source.kind, "address": source.address, "max_age_s": max_age_s}
    return json.dumps(words).encode() + b"\n"


def main(descriptor: int) -> NoReturn:
    """Capture until standard input ends."""
    mouth = os.dup(1)
    os.set_blocking(mouth, False)
    complaints = DecoderErrors()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # its memory holds pictures of people
    resource.setrlimit(resource.RLIMIT_DATA, (_MAX_DATA, _MAX_DATA))
    words = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, name="end", daemon=True).start()

    def say(word: Word) -> None:
        with contextlib.suppress(BlockingIOError):  # a parent that stands still hears it later
            os.write(mouth, bytes([word]))

    try:
        prepare_capture()
        source = Source(SourceKind(words["kind"]), words["address"])
        buffer, opener = FrameBuffer(descriptor), partial(_open_or_say_why, source, complaints)
        is_plugin = source.kind is SourceKind.PLUGIN

        def heard() -> bool:
            return complaints.heard() and not is_plugin  # whose chatter tells of no damage

        Capturer(opener, buffer, say, heard, max_age_s=words["max_age_s"]).run()
    except BrokenPipeError:
        os._exit(0)
    except Exception as error:  # noqa: BLE001
        account = f"{type(error).__name__}: {error}".replace(words["address"], "***")
        os.write(mouth, bytes([Word.BROKEN]) + account[:1000].encode("ascii", "backslashreplace"))
        os._exit(1)


def _end_with_parent() -> None:
    """End at once when whoever started this process is gone or closes the pipe."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
