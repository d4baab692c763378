"""Console: keeps the process that serves the guard's console, and sends it what the doors do.

The loops of all doors leave what is newest in their feeds; a thread here sends it on, and another
reads what the process says: lines, bounded in length and in number, some of them orders of guards,
which are judged by the gate's own rules. The process may be flooded, stuck, forged or dead: it has
the lower rank of the two, and no door ever waits for it.
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
from collections import deque
from collections.abc import Callable, Sequence
from typing import IO

from mask_gate.gate.console.feed import ConsoleFeed, PictureDemand
from mask_gate.gate.console.line_reader import LineReader
from mask_gate.gate.console.wire import MessageKind, ServerSettings, pack
from mask_gate.gate.guard_order import MOST_ORDER_BYTES, GuardOrder, Verdict, order_of
from mask_gate.gate.system.processes import RestartBudget, module_command, start
from mask_gate.gate.system.threads import DoorThread

log = logging.getLogger(__name__)

HANG_S = 60.0
"""A process that has not said a word for so long is killed and replaced. One that is flooded beside
a busy gate is slow, and to start another would cost the gate more."""

START_S = 90.0
"""The same before its first word: on a machine that has much to do, a start takes long."""

_TICK_S = 0.05
_STATUS_S = 0.2
_PIPE_BYTES = 1024 * 1024
_READ_BYTES = 4096
_READ_PAUSE_S = 0.01  # a process that floods us waits in its own pipe
_ORDER_PAUSE_S = 0.05
_MOST_ORDERS = 4  # for one door at once; people give one now and then
_ANSWERS_KEPT = 100

_ORDER = b"order "

MOST_LINE_BYTES = len(_ORDER) + MOST_ORDER_BYTES
"""What the process says is shorter, whatever it is."""

TakeOrder = Callable[[GuardOrder], Verdict]
"""Judges a guard's order for one door and has it done; may take a while."""


class Console:
    """Sends on what the feeds of all doors hold, and keeps the process running.

    Args:
        settings: what the process needs to know.
        feeds: one of each door, in the order of `settings.doors`.
        say: tells people where the console is.
        clock: monotonic seconds.
        take_orders: one of each door; without, there is nothing that guards may order.

    Attributes:
        address: where it is served, once it is.
    """

    def __init__(
        self,
        settings: ServerSettings,
        feeds: Sequence[ConsoleFeed],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        take_orders: Sequence[TakeOrder] = (),
    ) -> None:
        self._settings = settings
        self._take_orders = take_orders
        self._orders_left = [threading.BoundedSemaphore(_MOST_ORDERS) for _ in take_orders]
        self._answers: deque[tuple[str, Verdict]] = deque(maxlen=_ANSWERS_KEPT)
        self._feeds = feeds
        self._say = say
        self._clock = clock
        self._closing = threading.Event()
        self._served = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self.address: str | None = None
        self._thread = DoorThread(target=self._keep, name="console")
        self._thread.start()

    def wait_until_served(self, timeout_s: float) -> bool:
        """Whether it can be reached; for tests and scripts."""
        return self._served.wait(timeout_s)

    def close(self) -> None:
        """End the process; may be called twice."""
        self._closing.set()
        if (child := self._child) is not None:
            child.kill()
        self._thread.join(5.0)

    # ------------------------------------------------------------------------ in the thread

    def _keep(self) -> None:
        """Keep a process running, within its budget."""
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
        """Send on what there is, until the process is gone."""
        assert child.stdin is not None
        with contextlib.suppress(AttributeError, OSError):  # room for a whole picture
            fcntl.fcntl(child.stdin, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        with child.stdin as pipe:
            pipe.write(pack(MessageKind.SETTINGS, self._settings.model_dump(mode="json")))
            for feed in self._feeds:
                feed.start_over()
            status_s = 0.0
            while not self._closing.wait(_TICK_S):
                while self._answers:
                    order_id, verdict = self._answers.popleft()
                    answer = {"id": order_id, "verdict": verdict.value}
                    pipe.write(pack(MessageKind.ANSWER, answer))
                for feed in self._feeds:
                    _send_events(feed, pipe)
                now_s = self._clock()
                if now_s - status_s >= _STATUS_S:
                    status_s = now_s
                    statuses = [feed.status(now_s) for feed in self._feeds]
                    pipe.write(pack(MessageKind.STATUS, statuses))
                for feed in self._feeds:
                    for part in feed.take_picture(now_s):
                        pipe.write(part)
                pipe.flush()

    def _listen(self, child: subprocess.Popen[bytes]) -> None:
        """Read the lines of the process; kill it when no more come."""
        assert child.stdout is not None
        with child.stdout as pipe:
            patience_s, reader = START_S, LineReader(MOST_LINE_BYTES)
            while select.select([pipe], [], [], patience_s)[0]:
                data = os.read(pipe.fileno(), _READ_BYTES)
                if not data:
                    return
                patience_s = HANG_S
                for line in reader.take(data):
                    if line is None or line.startswith(_ORDER):
                        self._take_order((line or b"").removeprefix(_ORDER))
                        self._closing.wait(_ORDER_PAUSE_S)
                    else:
                        self._take_line(line.decode("utf-8", "replace").split())
                self._closing.wait(_READ_PAUSE_S)
        log.warning("the console does not answer; it is replaced")
        child.kill()

    def _take_order(self, text: bytes) -> None:
        """Have an order judged beside this, so that a slow disk of one door keeps no other."""
        order = order_of(text)
        if order is None or order.door >= len(self._take_orders):
            log.warning("the console sent what is no order; it is refused")
        elif self._orders_left[order.door].acquire(blocking=False):
            DoorThread(target=self._answer, args=(order,), name="guard's order").start()
        else:
            self._answers.append((order.id, Verdict.BUSY))

    def _answer(self, order: GuardOrder) -> None:
        try:
            self._answers.append((order.id, self._take_orders[order.door](order)))
        finally:
            self._orders_left[order.door].release()

    def _take_line(self, words: list[str]) -> None:
        match words:
            case ["served", address]:
                if self.address != address:
                    self._say(f"console: {address}")
                self.address = address
                self._served.set()
            case ["pictures", number, demand]:
                with contextlib.suppress(ValueError, IndexError):  # no such door or demand
                    self._feeds[int(number)].set_demand(PictureDemand(demand))
            case ["no-history", *why]:
                log.warning("the console shows nothing of earlier today: %s", " ".join(why))
            case ["failed", *why]:
                log.warning("the console cannot be served: %s", " ".join(why))


def _send_events(feed: ConsoleFeed, pipe: IO[bytes]) -> None:
    if (audit := feed.take_audit()) is not None:
        pipe.write(pack(MessageKind.AUDIT, {"door": feed.number, "path": str(audit)}))
    for event in feed.take_events():
        pipe.write(pack(MessageKind.EVENT, {"door": feed.number, "event": dict(event)}))


def _start() -> subprocess.Popen[bytes]:
    """Start the process; it ends with its pipe, so none is left behind."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "HOME", "TZ") if name in os.environ}
    return start(module_command("gate.console.server"), {**kept, "OMP_NUM_THREADS": "1"})
