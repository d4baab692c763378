"""Console: the gate's end of the guard's console, which is served by a process of its own.

The loop and the door only leave here what is newest; a thread hands it on. That process may be
flooded, stuck or dead: it has the lowest rank of the two, and the gate never waits for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np

from gate.console_config import ConsoleConfig
from gate.console_wire import Kind, pack, pack_picture
from gate.domain import Frame
from gate.events import Event, Scene
from gate.privacy_config import PrivacyConfig
from gate.restart_budget import RestartBudget

log = logging.getLogger(__name__)

EVENTS_KEPT = 2000
PICTURE_S = 0.1
"""Pictures are handed on no faster than this."""

HANG_S = 20.0
"""A server that has not said a word for so long is killed and replaced."""

_TICK_S = 0.05
_STATUS_S = 0.2
_LATENCIES_KEPT = 1000
_WIDEST_PX = 960
_PIPE_BYTES = 1024 * 1024


def hello(
    gate: str,
    language: str,
    console: ConsoleConfig,
    privacy: PrivacyConfig,
    shown: object,
    password: str | None,
    record: Path | None = None,
) -> dict[str, object]:
    """What the server is told first.

    `shown` is the configuration without secrets, `password` the guard's where there is no file,
    `record` the audit, which knows what was today before.
    """
    return {
        "gate": gate,
        "language": language,
        "console": console.model_dump(mode="json"),
        "privacy": privacy.model_dump(),
        "config": shown,
        "password": password,
        "record": None if record is None else str(record.absolute()),
        "process": os.getpid(),
    }


class Console:
    """Takes events and scenes, returns at once, and serves them to browsers.

    Args:
        told: what the server is told first: see `hello`.
        say: tells people where it is, and when it is gone.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        told: Mapping[str, object],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hello = told
        self._say = say
        self._clock = clock
        self._lock = threading.Lock()  # guards what loop and door leave
        self._kept: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._unsent: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._latencies_s: deque[float] = deque(maxlen=_LATENCIES_KEPT)
        self._newest: tuple[Frame, Scene] | None = None
        self._frames = 0
        self._turn_s = clock()
        self._told_frame: Frame | None = None
        self._closing = threading.Event()
        self._answered = threading.Event()
        self._watched = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self.address: str | None = None
        self._thread = threading.Thread(target=self._keep, name="console", daemon=True)
        self._thread.start()

    def write(self, event: Event) -> None:
        """Take an event; returns at once."""
        with self._lock:
            self._kept.append(event)
            self._unsent.append(event)

    def show(self, frame: Frame, scene: Scene) -> None:
        """Take a scene and its frame; returns at once."""
        with self._lock:
            if self._newest is None or frame is not self._newest[0]:
                self._frames += 1
                self._latencies_s.append(scene.latency_s)
            self._newest = frame, scene

    def turn(self) -> None:
        """The loop has done its work once more; what it shows is not old."""
        self._turn_s = self._clock()

    def wait_until_served(self, timeout_s: float) -> bool:
        """Whether it can be reached; for tests and scripts."""
        return self._answered.wait(timeout_s)

    def close(self) -> None:
        """End the server; may be called twice."""
        self._closing.set()
        if (child := self._child) is not None:
            child.kill()
        self._thread.join(5.0)

    # ------------------------------------------------------------------------ in the thread

    def _keep(self) -> None:
        """Keep a server running, within its budget."""
        budget = RestartBudget()
        while not self._closing.is_set():
            began_s = self._clock()
            self._child = child = _start()
            listener = threading.Thread(target=self._listen, args=(child,), daemon=True)
            listener.start()
            if self._closing.is_set():
                child.kill()
            with contextlib.suppress(OSError):
                self._serve(child)
            child.kill()
            code = child.wait()
            listener.join()
            self._watched.clear()
            if self._closing.is_set():
                return
            now_s = self._clock()
            pause_s = budget.died(now_s, now_s - began_s)
            log.warning("the console ended (%s); starts again in %.1f s", code, pause_s)
            self._closing.wait(pause_s)

    def _serve(self, child: subprocess.Popen[bytes]) -> None:
        """Hand on what there is, until the server is gone."""
        assert child.stdin is not None
        with contextlib.suppress(AttributeError, OSError):  # a picture at once, where there is room
            fcntl.fcntl(child.stdin, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        with child.stdin as pipe:
            pipe.write(pack(Kind.HELLO, self._hello))
            with self._lock:
                self._unsent = deque(self._kept, EVENTS_KEPT)
            status_s = picture_s = 0.0
            while not self._closing.wait(_TICK_S):
                with self._lock:
                    events, self._unsent = self._unsent, deque(maxlen=EVENTS_KEPT)
                for event in events:
                    pipe.write(pack(Kind.EVENT, dict(event)))
                now_s = self._clock()
                if now_s - status_s >= _STATUS_S:
                    status_s = now_s
                    pipe.write(pack(Kind.STATUS, self._status(now_s)))
                if self._watched.is_set() and now_s - picture_s >= PICTURE_S:
                    picture_s = now_s
                    for part in self._picture():
                        pipe.write(part)
                pipe.flush()

    def _status(self, now_s: float) -> dict[str, object]:
        with self._lock:
            latencies_s = list(self._latencies_s)
            self._latencies_s.clear()
            newest = self._newest
        decision = None if newest is None else newest[1].decision
        return {
            "frames": self._frames,
            "latencies_s": latencies_s,
            "age_s": now_s - self._turn_s,
            "state": None if decision is None else decision.state,
            "reason": None if decision is None else decision.reason,
            "faces": 0 if newest is None else newest[1].faces,
        }

    def _picture(self) -> tuple[bytes | memoryview, ...]:
        """The newest picture, unless it has been handed on."""
        with self._lock:
            newest = self._newest
        if newest is None:
            return ()
        frame, scene = newest
        if frame is self._told_frame:
            return ()
        self._told_frame = frame
        image = frame.image
        scale = min(_WIDEST_PX / image.shape[1], 1.0)
        if scale < 1.0:
            size = _WIDEST_PX, max(round(image.shape[0] * scale), 1)
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        return pack_picture(np.ascontiguousarray(image), scene, scale)

    def _listen(self, child: subprocess.Popen[bytes]) -> None:
        """Hear the server's words; kill it when it says none any more."""
        assert child.stdout is not None
        with child.stdout as words:
            while select.select([words], [], [], HANG_S)[0]:
                line = words.readline()
                if not line:
                    return
                self._hear(line.decode("utf-8", "replace").split())
        log.warning("the console does not answer; it is replaced")
        child.kill()

    def _hear(self, words: list[str]) -> None:
        match words:
            case ["at", address]:
                if self.address != address:
                    self._say(f"console: {address}")
                self.address = address
                self._answered.set()
            case ["watched"]:
                self._told_frame = None
                self._watched.set()
            case ["unwatched"]:
                self._watched.clear()
            case ["forgets", *why]:
                log.warning("the console shows nothing of earlier today: %s", " ".join(why))
            case ["cannot", *why]:
                log.warning("the console cannot be served: %s", " ".join(why))


def _start() -> subprocess.Popen[bytes]:
    """The server; it ends with its pipe, so none is left behind."""
    root = str(Path(__file__).resolve().parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "HOME", "TZ") if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-m", "gate.console_server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**kept, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        start_new_session=True,  # Ctrl-C in the terminal is for the gate alone
    )
