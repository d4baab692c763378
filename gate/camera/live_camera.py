"""LiveCamera: a device or stream as a camera, drained by a process that can be killed.

A driver may hang where nothing in the same process can help. So a child captures
(`gate.camera.capture_process`) and a thread watches it: a child that shows no sign of life, or is
gone, is killed and another one started, for ever. Only frames that are read are copied, and only
while they are fresh.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from mask_gate.gate.camera.capture_process import BACK_OFF_S, order
from mask_gate.gate.camera.capture_word import LOSSES, REFUSALS, Word
from mask_gate.gate.camera.frame_buffer import FrameBuffer
from mask_gate.gate.camera.source import Source, SourceKind
from mask_gate.gate.clock import Clock, uptime_s
from mask_gate.gate.domain import Frame
from mask_gate.gate.errors import CameraError
from mask_gate.gate.system.processes import module_command, start
from mask_gate.gate.system.threads import DoorThread

MAX_FRAME_AGE_S = 0.5


@dataclass(frozen=True, slots=True)
class CaptureLimits:
    """How long a capture process may be silent, and how long its end is waited for.

    Attributes:
        start_s: one that says nothing for so long after its start hangs; a cold disk is slow.
        silence_s: one that says nothing for so long hangs: each of its steps has a shorter limit.
        device_opening_s: the same while it opens a device: some need seconds until they send.
        kill_s: how long one that was killed is waited for before the next one is started.
        close_s: how long `LiveCamera.close` waits for the end.
        max_unkillable: so many may be kept from dying by a driver; more are not started.
        unkillable_retry_s: how often these are looked at.
    """

    start_s: float = 15.0
    silence_s: float = 2.5
    device_opening_s: float = 6.0
    kill_s: float = 1.0
    close_s: float = 2.0
    max_unkillable: int = 4
    unkillable_retry_s: float = 0.5


_WORDS = frozenset(int(word) for word in Word)

_log = logging.getLogger(__name__)


class LiveCamera:
    """A device or stream: always drained, only its newest frame given, reopened when it goes away.

    Losing it and having it back are logged once each.

    Args:
        source: a device or URL.
        name: for messages, without credentials.
        advice: what to check when there is no picture.
        max_age_s: an older frame is never given.
        clock: of its frames; its capture process has `gate.clock`.
        command: starts the child; the descriptor of the buffer is added to it.
        limits: of the child.

    Attributes:
        restarts: so many times a child hung or died and was replaced.
    """

    is_live = True

    def __init__(
        self,
        source: Source,
        name: str,
        advice: str = "that it sends pictures",
        *,
        max_age_s: float = MAX_FRAME_AGE_S,
        clock: Clock = uptime_s,
        command: Sequence[str] = tuple(module_command("gate.camera.capture_process")),
        limits: CaptureLimits | None = None,
    ) -> None:
        self.name = name
        self.restarts = 0
        self._source = source
        self._advice = advice
        self._max_age_s = max_age_s
        self._clock = clock
        self._command = command
        self._limits = limits or CaptureLimits()
        self._stop = threading.Event()
        self._changed = threading.Condition()  # guards what follows
        self._child: _Child | None = None
        self._error: CameraError | None = None
        self._tries = 0
        self._why = self._told_why = ""
        self._told_lost: bool | None = None  # None until it was there, or was missed, once
        self._base_index = self._index = 0  # of the child's first frame, less one; of the last read
        self._time_s = -float("inf")  # of the last read
        self._thread = DoorThread(target=self._run, name="camera")
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether it was closed."""
        return self._stop.is_set()

    @property
    def pid(self) -> int | None:
        """Of the child, if there is one."""
        child = self._child
        return None if child is None else child.pid

    def read(self, timeout_s: float) -> Frame | None:
        """The newest frame not yet read, or None if none comes within `timeout_s`.

        Raises:
            CameraError: the thread that watches the child broke down, by a fault of ours.
        """
        until_s = time.monotonic() + timeout_s
        with self._changed:
            while not self._stop.is_set():
                if self._error is not None:
                    raise self._error
                if (frame := self._take()) is not None:
                    return frame
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    return None
                self._changed.wait(left_s)
        return None

    def wait_for_first_frame(self, timeout_s: float) -> str | None:
        """Wait until there is a picture, which stays there to be read.

        Returns:
            In one sentence why there is none yet, or None when there is. The camera is tried on,
            for ever, and its first picture is logged like that of one that is back.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._told_lost is not None, timeout_s)
            if self._told_lost is not None:
                return None
            self._told_lost, self._told_why = True, self._why
            tries, why = max(self._tries, 1), self._why
        often = "1 try" if tries == 1 else f"{tries} tries"
        said = f"no picture from {self.name} after {often} in {timeout_s:g} s"
        if ";" in why:  # it says itself what to do
            return f"{said}: {why}"
        known = f" ({why})" if why else ""
        return (
            f"{said}{known}; check that it is on, that nothing else uses it and {self._advice}, or "
            "try --camera demo"
        )

    def close(self) -> None:
        """Kill the child; may be called twice."""
        self._stop.set()
        with self._changed:
            if self._child is not None:
                self._child.kill()
            self._changed.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(self._limits.close_s)

    def _take(self) -> Frame | None:
        """The newest frame in the buffer, if it is fresh and was not read before."""
        if self._child is None:
            return None
        found = self._child.buffer.newest(self._index - self._base_index)
        if found is None:
            return None
        self._index = self._base_index + found.index
        age_s = self._clock() - found.time_s
        if not 0 <= age_s <= self._max_age_s or found.time_s <= self._time_s:
            return None
        self._time_s = found.time_s
        return Frame(found.image, found.time_s, self._index)

    def _run(self) -> None:
        """Keep a child; this thread never ends in silence."""
        try:
            self._keep()
        finally:
            with self._changed:
                if not self._stop.is_set():
                    self._error = CameraError(
                        f"the thread that reads {self.name} broke down; start the gate again"
                    )
                self._changed.notify_all()

    def _keep(self) -> None:
        """Keep a child until told to stop."""
        failures, unkillable = 0, list[_Child]()
        while not self._stop.is_set():
            unkillable = [child for child in unkillable if not child.reap(0.0)]
            if len(unkillable) >= self._limits.max_unkillable:
                self._stop.wait(self._limits.unkillable_retry_s)
                continue
            had_frames, child = self._live_once()
            if child is not None and not child.reap(self._limits.kill_s):
                unkillable.append(child)
            failures = 0 if had_frames else failures + 1
            self._stop.wait(BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)])

    def _live_once(self) -> tuple[bool, _Child | None]:
        """Start a child and watch it until it is to be replaced; whether it gave any frame."""
        try:
            child = _Child(self._command, order(self._source, self._max_age_s))
        except OSError as error:
            self._lose(f"no process can be started: {error.strerror}")
            return False, None
        with self._changed:
            self._child = child
            self._base_index = self._index
        try:
            if self._stop.is_set():
                return False, child
            why = self._watch(child)
        finally:
            with self._changed:
                self._child = None
                child.kill()
                child.close()
        if not self._stop.is_set():
            self.restarts += 1
            self._lose(why)
        return child.had_frames, child

    def _watch(self, child: _Child) -> str:
        """Hear what the child says until it is silent for too long, or for ever; which of them."""
        limit_s = self._limits.start_s
        while not self._stop.is_set():
            heard = child.hear(limit_s)
            if heard is None:
                return f"its capture process gave no sign of life for {limit_s:g} s"
            words, broken, account = heard.partition(bytes([Word.BROKEN]))
            if not set(words) <= _WORDS:
                return "its capture process broke the protocol"
            for byte in words:
                self._understand(child, byte)
            if broken:
                _log.error("the capture process of %s broke down: %s", self.name, _shown(account))
            if broken or not heard:
                return "its capture process ended"
            opening = words[-1] == Word.OPENING and self._source.kind is not SourceKind.URL
            limit_s = self._limits.device_opening_s if opening else self._limits.silence_s
        return ""

    def _understand(self, child: _Child, byte: int) -> None:
        if byte == Word.FRAME:
            child.had_frames = True
            self._found()
        elif byte == Word.OPENING:
            with self._changed:
                self._tries += 1
        elif byte in LOSSES:
            self._lose(LOSSES[Word(byte)], is_refusal=byte in REFUSALS)

    def _found(self) -> None:
        with self._changed:
            back, self._told_lost = self._told_lost is True, False
            self._told_why = ""
            self._changed.notify_all()
        if back:
            _log.warning("%s is back", self.name)

    def _lose(self, why: str, *, is_refusal: bool = False) -> None:
        with self._changed:
            self._why = why
            lost = self._told_lost is False
            is_news = is_refusal and self._told_lost is True and self._told_why != why
            if lost:
                self._told_lost = True
            if lost or is_news:
                self._told_why = why
        if self._stop.is_set():
            return
        if lost:
            _log.warning("%s is lost; trying to reopen it (%s)", self.name, why)
        elif is_news:
            _log.warning("no picture from %s: %s", self.name, why)


class _Child:
    """One capture process and the buffer it writes to.

    Attributes:
        had_frames: whether it ever said so; for its owner.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, command: Sequence[str], order: bytes) -> None:
        self.had_frames = False
        self.buffer = FrameBuffer.allocate()
        try:
            self._process = start(
                [*command, str(self.buffer.descriptor)],
                bufsize=0,
                stderr=subprocess.DEVNULL,
                pass_fds=[self.buffer.descriptor],
            )
        except BaseException:
            self.buffer.close()
            raise
        self.pid = self._process.pid
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._poll = select.poll()
        self._poll.register(self._stdout, select.POLLIN)
        with contextlib.suppress(OSError):  # it is gone already: that will be heard
            self._stdin.write(order)

    def hear(self, limit_s: float) -> bytes | None:
        """What it says, as soon as it says something; None if it does not, empty if it is gone."""
        if not self._poll.poll(limit_s * 1000):
            return None
        return os.read(self._stdout.fileno(), 4096)

    def kill(self) -> None:
        """End it, whatever it does; a driver may still keep it from dying."""
        self._process.kill()

    def close(self) -> None:
        """Let go of pipes and buffer."""
        self._stdin.close()
        self._stdout.close()
        self.buffer.close()

    def reap(self, patience_s: float) -> bool:
        """Whether it is dead, or dies within `patience_s`; then nothing of it is left."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_s)
        return self._process.returncode is not None


def _shown(account: bytes) -> str:
    return account.decode("ascii", "backslashreplace")
