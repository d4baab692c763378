"""DoorRun: one door from its first lock to its last, in a thread of its own."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from mask_gate.gate.camera.camera import Camera
from mask_gate.gate.config.schema import GateConfig
from mask_gate.gate.console.feed import ConsoleFeed
from mask_gate.gate.domain import Decision, Reason, State
from mask_gate.gate.door.controller import DoorController
from mask_gate.gate.door.guard_desk import GuardDesk
from mask_gate.gate.errors import (
    AuditError,
    CameraError,
    ConfigError,
    GateError,
    ModelError,
    OutputError,
    OwnedError,
)
from mask_gate.gate.events import Scene
from mask_gate.gate.notify.notifier import Notifier
from mask_gate.gate.relays.worker import CHECK_BY_HAND
from mask_gate.gate.runtime.doors_status import DoorsStatus
from mask_gate.gate.runtime.entrance import open_entrance
from mask_gate.gate.runtime.loop import Gate, Summary
from mask_gate.gate.runtime.open_once import OpenOnce
from mask_gate.gate.runtime.parts import (
    Detector,
    Parts,
    build_gate,
    demo_loops,
    open_presenter,
    start_message,
)
from mask_gate.gate.runtime.preflight import check_door, check_parts
from mask_gate.gate.runtime.run_mode import AfterFault, RunMode
from mask_gate.gate.runtime.signals import Signals
from mask_gate.gate.system.systemd import status_words
from mask_gate.gate.system.terminal import Terminal
from mask_gate.gate.system.threads import DOOR, DoorThread

log = logging.getLogger(__name__)

LONGEST_RETRY_S = 60.0

_REASONS: Mapping[type[Exception], Reason] = {
    CameraError: Reason.CAMERA_LOST,
    ModelError: Reason.MODEL_FAULT,
    AuditError: Reason.AUDIT_UNAVAILABLE,
}
"""What the console is told after such an error; after any other, that the relay fails."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What all doors of a gate have in common.

    Attributes:
        ending: set when the gate is to end.
        retry_s: first pause before a door is tried again.
    """

    mode: RunMode
    parts: Parts
    terminal: Terminal
    status: DoorsStatus
    signals: Signals
    console: OpenOnce[None]
    notifier: OpenOnce[Notifier | None]
    detector: OpenOnce[Detector]
    ending: threading.Event
    retry_s: float


class DoorRun:
    """One door and the thread that holds it.

    Args:
        name: of the door; empty where it is the only one.
        number: of its seat at the detector.
        config: of this door.
        view: what the console may know of it, where there is one.
        desk: where guards' orders for it come.
        shared: what it has in common with the others.

    Attributes:
        fault: why it is not held just now, or how it ended.
        summary: what its newest loop came to, once that has ended.
    """

    def __init__(
        self,
        name: str,
        number: int,
        config: GateConfig,
        view: ConsoleFeed | None,
        desk: GuardDesk,
        shared: Shared,
    ) -> None:
        self.name = name
        self.fault: Exception | None = None
        self.summary: Summary | None = None
        self._number = number
        self._config = config
        self._view = view
        self._desk = desk
        self._shared = shared
        self._retries = shared.mode.after_fault is AfterFault.RETRY
        self._ever_watched = False
        self._thread = DoorThread(self._hold, name=f"door {name}".strip())

    def start(self) -> None:
        """Lock the door, and hold it until the gate ends or its clip is over."""
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait until it is not held any more."""
        self._thread.join(timeout_s)

    @property
    def is_held(self) -> bool:
        """Whether its thread has yet to end."""
        return self._thread.is_alive()

    # ------------------------------------------------------------------ in the thread of the door

    def _hold(self) -> None:
        """Have the door until the gate ends, its clip is over, or a fault ends the gate."""
        DOOR.set(self.name)
        ending, told, pause_s = self._shared.ending, "", self._shared.retry_s
        while True:  # once at least: whatever else may be wrong, the door is locked
            self.fault = self._try_once()
            self._out_of_service(_reason_of(self.fault))
            if self.fault is None or ending.is_set():
                return
            if isinstance(self.fault, ConfigError) and not self._ever_watched:
                ending.set()
                return
            if str(self.fault) != told:
                told, pause_s = str(self.fault), self._shared.retry_s
                log.error("out of service: %s", told)
            self._shared.status.say(self.name, "out of service")
            if ending.wait(pause_s):
                return
            pause_s = min(2 * pause_s, LONGEST_RETRY_S)

    def _try_once(self) -> Exception | None:
        """One life of the door; what ended it before its time."""
        self._shared.signals.wait_for(self.name)
        try:
            self._watch()
        except GateError as error:
            return error
        except Exception as error:
            if not self._retries:
                return error  # raised where the gate ends, with its traceback
            log.exception("the door's loop broke down")
            return OutputError(f"its loop broke down ({error!r})")
        finally:
            self._loop_ended()
        return None

    def _watch(self) -> None:
        """Lock the door, open what it needs to be watched, run its loop, undo it in reverse."""
        config, shared, view = self._config, self._shared, self._view
        mode, say = shared.mode, shared.terminal.say
        title = f"mask-gate {config.gate}" if self.name else "mask-gate"
        with contextlib.ExitStack() as stack:
            try:
                entrance = stack.enter_context(
                    open_entrance(
                        config,
                        mode,
                        say=say,
                        on_status=self._on_status,
                        on_signal=shared.signals.holding,
                        view=view,
                        desk=self._desk,
                    )
                )
            except OwnedError:
                raise
            except GateError as error:
                if CHECK_BY_HAND not in str(error):
                    check_parts(config, mode)  # which says it as `--validate-config` does
                raise
            stack.callback(self._loop_ended)  # before the door is let go of, which may take a while
            check_door(config)
            if mode.moves and (notifier := shared.notifier.get()) is not None:
                entrance.controller.reporter.add_event_sink(notifier)
            camera = stack.enter_context(self._open_camera(entrance.controller))
            detector = shared.detector.get()
            entrance.name_model(detector.model_id)
            shared.console.get()
            presenter = stack.enter_context(open_presenter(config, mode, title, view))
            gate = build_gate(
                config,
                entrance.controller,
                camera,
                partial(detector, camera=self._number),
                detector.operating_point,
                presenter,
                self._on_turn,
                clip_loops=demo_loops(config, mode),
            )
            say(start_message(config, detector, mode))
            if mode.moves and config.all_relays and demo_loops(config, mode):
                log.warning("the demo moves the relay: the door opens though nobody stands there")
            self.summary = self._run(gate, lambda: shared.ending.is_set() or presenter.quit_asked)
            if presenter.quit_asked:
                shared.ending.set()
            say(f"{self.summary}; {entrance.controller.reporter}")

    @contextlib.contextmanager
    def _open_camera(self, controller: DoorController) -> Iterator[Camera]:
        """The camera; where the gate goes on without, as soon as there is a picture.

        Raises:
            CameraError: there is none, and the gate ends.
        """
        mode, told = self._shared.mode, ""
        while True:
            with contextlib.ExitStack() as stack:
                try:
                    camera = stack.enter_context(self._shared.parts.open_source(self._config, mode))
                except CameraError as error:
                    if not self._retries:
                        raise
                    if str(error) != told:
                        told = str(error)
                        log.error("%s", told)
                    self._out_of_service(Reason.CAMERA_LOST)
                    lost = Decision(State.FAULT, Reason.CAMERA_LOST, controller.clock())
                    controller.act(Scene(lost))
                    if self._shared.ending.wait(self._shared.retry_s):
                        raise
                else:
                    yield camera
                    return

    def _run(self, gate: Gate, stop: Callable[[], bool]) -> Summary:
        """Run the loop, which must turn from now on."""
        self._ever_watched = True
        try:
            with self._shared.status.watching(self.name):
                self._shared.status.ready()
                return gate.run(stop, self._shared.mode.seconds)
        finally:
            self._loop_ended()

    def _loop_ended(self) -> None:
        """The thread is not stuck; where there is no other door, the gate ends."""
        if not self._retries:
            self._shared.ending.set()
            self._shared.status.stopping()
        self._shared.signals.loop_ended(self.name)

    def _on_turn(self) -> None:
        """The loop has done its work once more: the console and a watchdog may know."""
        if self._view is not None:
            self._view.turn()
        self._shared.status.turned(self.name)

    def _on_status(self, scene: Scene, is_open: bool) -> None:
        self._shared.terminal.status(scene, is_open)
        self._shared.status.say(self.name, status_words(scene, is_open))

    def _out_of_service(self, reason: Reason) -> None:
        if self._view is not None:
            self._view.out_of_service(reason)


def _reason_of(fault: Exception | None) -> Reason:
    """What the console is told of a door that nobody watches."""
    if fault is None:
        return Reason.STOPPING  # its clip is over
    return _REASONS.get(type(fault), Reason.OUTPUT_FAULT)
