"""Doors: several doors in one process, each with a loop in a thread of its own.

They share the detector's process, the terminal and the supervisor, and nothing else: each has its
own camera, policy, door, record, relays and guardians, and what fails of these is one door's. A
door that cannot be had, or whose loop breaks, is locked and tried again while the others go on.
Without the detector all of them are locked.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from mask_gate.gate.camera.camera import Camera
from mask_gate.gate.config.schema import GateConfig
from mask_gate.gate.console.feed import ConsoleFeed
from mask_gate.gate.detector.detector_process import DetectorProcess
from mask_gate.gate.domain import Reason
from mask_gate.gate.door.controller import DoorController
from mask_gate.gate.errors import (
    AuditError,
    CameraError,
    ConfigError,
    GateError,
    ModelError,
    OutputError,
)
from mask_gate.gate.events import Scene
from mask_gate.gate.runtime.entrance import (
    Act,
    Entrance,
    RunMode,
    build_gate,
    greeting,
    keep_in_view,
    open_console,
    open_detector,
    open_entrance,
    open_picture,
    open_source,
    views_of,
)
from mask_gate.gate.runtime.loop import Summary
from mask_gate.gate.system.shutdown import Shutdown
from mask_gate.gate.system.systemd import Supervisor, status_words
from mask_gate.gate.system.terminal import Terminal
from mask_gate.gate.system.threads import DOOR, DoorThread

log = logging.getLogger(__name__)

RETRY_S = 5.0
"""A door that could not be had is tried again after so long, then after twice that, and so on."""

LONGEST_RETRY_S = 60.0

_LOOK_S = 0.5

_REASONS: Mapping[type[GateError] | type[None], Reason] = {
    type(None): Reason.STOPPING,  # its clip is over
    CameraError: Reason.CAMERA_LOST,
    ModelError: Reason.MODEL_FAULT,
    AuditError: Reason.AUDIT_UNAVAILABLE,
}
"""What the guard is told of a door that nobody watches; of others, that its relay fails."""


@dataclass(slots=True)
class _Lane:
    """One door and the thread that holds it.

    Attributes:
        number: of its camera at the detector.
        ever_watched: whether its loop has begun once.
        view: what the guard's console may know of it, where there is one.
        fault: why it is not held just now, or how it ended.
    """

    name: str
    number: int
    config: GateConfig
    view: ConsoleFeed | None
    ever_watched: bool = False
    fault: GateError | None = None
    thread: threading.Thread = field(default_factory=threading.Thread)


class _Held(NamedTuple):
    """A door that is ours now, and what a signal does to it."""

    door: str
    lock: Act
    abandon: Act


class Doors:
    """Several doors, from their first lock to their last.

    Args:
        config: has `doors`.
        mode: how they are held.
        terminal: takes lines.
        supervisor: hears of progress when every loop has turned.
        headless: whether there is no window for each door.
        heeds_hangup: see `gate.system.shutdown.Shutdown`.
        retry_s: first pause before a door is tried again.

    Attributes:
        summaries: what the newest run of each door came to, by its name, once it has ended.
    """

    def __init__(
        self,
        config: GateConfig,
        mode: RunMode,
        terminal: Terminal,
        supervisor: Supervisor,
        *,
        headless: bool,
        heeds_hangup: Callable[[], bool] = lambda: True,
        retry_s: float = RETRY_S,
    ) -> None:
        self._config = config
        self._mode = mode
        self._terminal = terminal
        self._supervisor = supervisor
        self._headless = headless
        self._retry_s = retry_s
        self._views = views_of(config)
        self._lanes = [
            _Lane(name, number, door, None if self._views is None else self._views[number])
            for number, (name, door) in enumerate(config.each_door().items())
        ]
        self.summaries: dict[str, Summary] = {}
        self._shutdown = Shutdown(self._lock_all, self._abandon_all, heeds_hangup=heeds_hangup)
        self._ending = threading.Event()
        self._detector: Future[DetectorProcess] = Future()
        self._guarding = threading.Lock()  # what follows
        self._held: list[_Held] = []  # doors that are ours now
        self._busy: set[str] = set()  # doors whose loop has yet to end
        self._watching: set[str] = set()  # doors whose loop turns
        self._turned: set[str] = set()
        self._words = {lane.name: "starting" for lane in self._lanes}

    def watch(self, seconds: float | None = None) -> int:
        """Hold the doors until all clips are over or somebody wants an end, for `seconds` at most.

        Returns:
            The exit code.

        Raises:
            ConfigError: a door cannot ever be had as it is configured.
            ModelError: the detector cannot be used.
            OutputError: a last lock did not work.
        """
        with self._shutdown:
            try:
                for lane in self._lanes:
                    lane.thread = DoorThread(self._hold, (lane,), f"door {lane.name}")
                    lane.thread.start()
                with self._open_console(), self._open_detector():
                    self._supervisor.ready()
                    self._wait(seconds)
                    self._end_loops()  # while there is a detector: the last frames are no fault
            finally:
                self._end_loops()
                self._shutdown.loop_ended()
                self._supervisor.stopping()
        self._raise_what_remains()
        return self._shutdown.exit_code

    def _end_loops(self) -> None:
        self._ending.set()
        for lane in self._lanes:
            lane.thread.join()

    def _raise_what_remains(self) -> None:
        """Tell of locks that did not work; a door that had no camera ends as it was, locked."""
        for lane in self._lanes:
            if isinstance(lane.fault, ConfigError):
                raise ConfigError(f"door {lane.name}: {lane.fault}")
        unlocked = [
            f"door {lane.name}: {lane.fault}"
            for lane in self._lanes
            if isinstance(lane.fault, OutputError)
        ]
        if unlocked:
            raise OutputError("; ".join(unlocked))

    @contextlib.contextmanager
    def _open_console(self) -> Iterator[None]:
        """The console of all; each door is being locked by now, whatever becomes of it."""
        try:
            with open_console(self._config, self._views, self._terminal.say):
                yield
        except BaseException as error:
            self._end_without_detector(error)
            raise

    @contextlib.contextmanager
    def _open_detector(self) -> Iterator[None]:
        """The detector of all; its end comes after that of the last loop."""
        try:
            configs = [lane.config for lane in self._lanes]
            detector = open_detector(self._config, self._mode, configs)
        except BaseException as error:
            self._end_without_detector(error)
            raise
        self._detector.set_result(detector)
        with contextlib.closing(detector):
            yield

    def _end_without_detector(self, error: BaseException) -> None:
        self._ending.set()
        if not self._detector.done():
            self._detector.set_exception(error)

    def _wait(self, seconds: float | None) -> None:
        """Until no door is held any more; a gate none of whose doors can be had does not hang."""
        until_s = math.inf if seconds is None else time.monotonic() + seconds
        while alive := [lane.thread for lane in self._lanes if lane.thread.is_alive()]:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return
            alive[0].join(min(_LOOK_S, left_s))
            if not self._watching:
                self._supervisor.progress()

    # ------------------------------------------------------------------ in the thread of a door

    def _hold(self, lane: _Lane) -> None:
        """Have the door as long as the gate runs, or until its clip is over."""
        DOOR.set(lane.name)
        told, pause_s = "", self._retry_s
        while True:  # once at least: whatever else may be wrong, the door is locked
            lane.fault = self._try_to_watch(lane)
            _tell_guard(lane, _REASONS.get(type(lane.fault), Reason.OUTPUT_FAULT))
            if lane.fault is None or self._ending.is_set():
                return
            if isinstance(lane.fault, ConfigError) and not lane.ever_watched:
                self._ending.set()
                return
            if str(lane.fault) != told:
                told, pause_s = str(lane.fault), self._retry_s
                log.error("out of service: %s", told)
            self._say_of(lane, "out of service")
            if self._ending.wait(pause_s):
                return
            pause_s = min(2 * pause_s, LONGEST_RETRY_S)

    def _try_to_watch(self, lane: _Lane) -> GateError | None:
        """One life of a door; what ended it before its time."""
        with self._guarding:
            self._busy.add(lane.name)
        try:
            self._watch_one(lane)
        except GateError as error:
            return error
        except Exception as error:  # whatever breaks one door, the others go on
            log.exception("the door's loop broke down")
            return OutputError(f"its loop broke down ({error!r})")
        finally:
            self._loop_ended(lane)
        return None

    def _watch_one(self, lane: _Lane) -> None:
        """Lock a door, watch it, lock it again."""
        say, tell = self._terminal.say, partial(self._tell, lane)
        with open_entrance(lane.config, self._mode, say, tell, self._join) as entrance:
            keep_in_view(entrance, lane.view)
            try:
                self._run(lane, entrance)
            finally:
                self._loop_ended(lane)  # before the door is let go of, which may take a while

    def _run(self, lane: _Lane, entrance: Entrance) -> None:
        """Build what a locked door needs to be watched, run, undo it in reverse."""
        config, say = lane.config, self._terminal.say
        with contextlib.ExitStack() as stack:
            camera = stack.enter_context(self._camera(lane, entrance.controller))
            detector = self._detector.result()
            entrance.name_model(detector.model_id)
            title = f"mask-gate {config.gate}"
            picture = stack.enter_context(
                open_picture(config, self._headless, None, watcher=lane.view, title=title)
            )
            gate = build_gate(
                config,
                entrance,
                camera,
                partial(detector, camera=lane.number),
                detector.operating_point,
                picture,
                partial(self._turn, lane),
            )
            say(greeting(config, detector))
            with self._watched(lane):
                summary = gate.run(lambda: self._ending.is_set() or picture.quit_asked)
            self.summaries[lane.name] = summary
            if picture.quit_asked:
                self._ending.set()
            say(f"{summary}; {entrance.controller.reporter}")

    @contextlib.contextmanager
    def _camera(self, lane: _Lane, controller: DoorController) -> Iterator[Camera]:
        """The camera of a door, as soon as there is a picture; until then the door tells of it.

        Raises:
            CameraError: there is none, and the gate ends.
        """
        told = ""
        while True:
            with contextlib.ExitStack() as stack:
                try:
                    camera = stack.enter_context(open_source(lane.config, self._mode))
                except CameraError as error:
                    if str(error) != told:
                        told = str(error)
                        log.error("%s", told)
                    _tell_guard(lane, Reason.CAMERA_LOST)
                    controller.act(
                        Scene(controller.policy.fault(Reason.CAMERA_LOST, controller.clock()))
                    )
                    if self._ending.wait(self._retry_s):
                        raise
                else:
                    yield camera
                    return

    @contextlib.contextmanager
    def _join(self, lock: Act, abandon: Act) -> Iterator[Shutdown]:
        """A signal locks this door too, from now on until it is let go of."""
        held = _Held(DOOR.get(), lock, abandon)
        with self._guarding:
            self._held.append(held)
        if self._ending.is_set():  # perhaps it came a moment ago
            lock()
        try:
            yield self._shutdown
        finally:
            with self._guarding:
                self._held.remove(held)

    @contextlib.contextmanager
    def _watched(self, lane: _Lane) -> Iterator[None]:
        """The loop of a door, which must turn from now on."""
        lane.ever_watched = True
        with self._guarding:
            self._watching.add(lane.name)
        try:
            yield
        finally:
            with self._guarding:
                self._watching.discard(lane.name)
                self._turned.discard(lane.name)
            self._loop_ended(lane)

    def _loop_ended(self, lane: _Lane) -> None:
        """The thread of a door is not stuck; when none is, a signal leaves the rest to them."""
        with self._guarding:
            self._busy.discard(lane.name)
            nobody = not self._busy
        if nobody and self._ending.is_set():
            self._shutdown.loop_ended()

    def _turn(self, lane: _Lane) -> None:
        """A loop has done its work once more; the watchdog hears of it when all have."""
        if lane.view is not None:
            lane.view.turn()
        with self._guarding:
            self._turned.add(lane.name)
            have_all = self._turned >= self._watching
            if have_all:
                self._turned.clear()
        if have_all:
            self._supervisor.progress()

    def _tell(self, lane: _Lane, scene: Scene, is_open: bool) -> None:
        self._terminal.status(scene, is_open)
        self._say_of(lane, status_words(scene, is_open))

    def _say_of(self, lane: _Lane, words: str) -> None:
        """The supervisor's line, with this door's part of it anew."""
        with self._guarding:
            self._words[lane.name] = words
            line = "; ".join(f"{name} {said}" for name, said in self._words.items())
        self._supervisor.status(line)

    # ------------------------------------------------------------------ in the thread of signals

    def _lock_all(self) -> None:
        self._ending.set()
        with self._guarding:
            locks = [(held.door, held.lock) for held in self._held]
        _all_at_once(locks)

    def _abandon_all(self) -> None:
        with self._guarding:
            acts = [(held.door, held.abandon) for held in self._held]
        if faults := _all_at_once(acts):
            raise OutputError("; ".join(faults))


def _tell_guard(lane: _Lane, reason: Reason) -> None:
    if lane.view is not None:
        lane.view.out_of_service(reason)


def _all_at_once(acts: Sequence[tuple[str, Act]]) -> list[str]:
    """Do something for all doors, so that none waits for another; what did not work at which."""
    faults: list[str] = []

    def do(door: str, act: Act) -> None:
        DOOR.set(door)
        try:
            act()
        except OutputError as error:
            faults.append(f"door {door}: {error}")

    threads = [DoorThread(do, act) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return faults
