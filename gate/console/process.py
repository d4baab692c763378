"""Console: the gate's end of the guard's console, which is served by a process of its own.

The loops of all doors leave what is newest in their views; a thread here hands it on. That process
may be flooded, stuck or dead: it has the lower rank of the two, and the gate never waits for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from mask_gate.gate.clock import Clock
from mask_gate.gate.console.config import ConsoleConfig
from mask_gate.gate.console.feed import Look, View
from mask_gate.gate.console.wire import Kind, pack
from mask_gate.gate.display.config import PrivacyConfig
from mask_gate.gate.system.processes import RestartBudget, module_command, start
from mask_gate.gate.system.threads import DoorThread

log = logging.getLogger(__name__)

HANG_S = 60.0
"""A server that has not said a word for so long is killed and replaced. One that is flooded beside
a busy gate is slow, and to start another would cost the gate more."""

START_S = 90.0
"""The same before its first word: on a machine that has much to do, a start takes long."""

_TICK_S = 0.05
_STATUS_S = 0.2
_PIPE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Watched:
    """A door as the console knows it.

    Attributes:
        gate: what it is called in events, record and topics.
        shown: its configuration without secrets.
    """

    gate: str
    shown: object


def hello(
    gate: str,
    language: str,
    console: ConsoleConfig,
    privacy: PrivacyConfig,
    doors: Mapping[str, Watched],
    password: str | None,
) -> dict[str, object]:
    """What the server is told first.

    `doors` are by name, the one that has none alone; `password` is the guard's where there is no
    file.
    """
    return {
        "gate": gate,
        "language": language,
        "console": console.model_dump(mode="json"),
        "privacy": privacy.model_dump(),
        "doors": {name: asdict(door) for name, door in doors.items()},
        "password": password,
        "process": os.getpid(),
    }


class Console:
    """Hands on what the views of all doors hold, and keeps the server running.

    Args:
        told: what the server is told first: see `hello`.
        views: one of each door, in the order in which `told` has them.
        say: tells people where it is, and when it is gone.
        clock: monotonic seconds.

    Attributes:
        address: where it is served, once it is.
    """

    def __init__(
        self,
        told: Mapping[str, object],
        views: Sequence[View],
        say: Callable[[str], None],
        clock: Clock = time.monotonic,
    ) -> None:
        self._hello = told
        self._say = say
        self._clock = clock
        self._views = views
        self._closing = threading.Event()
        self._answered = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self.address: str | None = None
        self._thread = DoorThread(target=self._keep, name="console")
        self._thread.start()

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
            listener = DoorThread(target=self._listen, args=(child,))
            listener.start()
            if self._closing.is_set():
                child.kill()
            with contextlib.suppress(OSError):
                self._serve(child)
            child.kill()
            code = child.wait()
            listener.join()
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
        views = self._views
        with child.stdin as pipe:
            pipe.write(pack(Kind.HELLO, self._hello))
            for view in views:
                view.tell_again()
            status_s = 0.0
            while not self._closing.wait(_TICK_S):
                for view in views:
                    if (record := view.new_record()) is not None:
                        pipe.write(pack(Kind.RECORD, {"door": view.number, "path": str(record)}))
                    for event in view.new_events():
                        pipe.write(pack(Kind.EVENT, {"door": view.number, "event": dict(event)}))
                now_s = self._clock()
                if now_s - status_s >= _STATUS_S:
                    status_s = now_s
                    pipe.write(pack(Kind.STATUS, [view.status(now_s) for view in views]))
                for view in views:
                    for part in view.picture(now_s):
                        pipe.write(part)
                pipe.flush()

    def _listen(self, child: subprocess.Popen[bytes]) -> None:
        """Hear the server's words; kill it when it says none any more."""
        assert child.stdout is not None
        with child.stdout as words:
            patience_s = START_S
            while select.select([words], [], [], patience_s)[0]:
                line = words.readline()
                if not line:
                    return
                patience_s = HANG_S
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
            case ["looks", number, look]:
                with contextlib.suppress(ValueError, IndexError):  # no word of ours
                    self._views[int(number)].look_as(Look(look))
            case ["forgets", *why]:
                log.warning("the console shows nothing of earlier today: %s", " ".join(why))
            case ["cannot", *why]:
                log.warning("the console cannot be served: %s", " ".join(why))


def _start() -> subprocess.Popen[bytes]:
    """The server; it ends with its pipe, so none is left behind."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "HOME", "TZ") if name in os.environ}
    return start(module_command("gate.console.server"), {**kept, "OMP_NUM_THREADS": "1"})
