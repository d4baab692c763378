"""Assembly: puts a gate together from its configuration, and takes it apart in reverse.

First the door is owned, then its relays are locked, and only then comes what may fail: the relay
of a run that was killed may still be on.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from mask_gate.gate.audit.config import default_audit_path
from mask_gate.gate.audit.event_log import EventLog
from mask_gate.gate.audit.writer import Audit
from mask_gate.gate.camera.camera import Camera, open_camera
from mask_gate.gate.camera.frame_check import FrameCheck
from mask_gate.gate.camera.source import SourceKind, parse_source
from mask_gate.gate.clock import uptime_s
from mask_gate.gate.config.masking import masked
from mask_gate.gate.config.schema import GateConfig
from mask_gate.gate.console.feed import View
from mask_gate.gate.console.login import new_password
from mask_gate.gate.console.process import Console, Watched, hello
from mask_gate.gate.decision.policy import Policy
from mask_gate.gate.decision.tracker import Tracker
from mask_gate.gate.decision.vote_thresholds import NO_VOTES, VoteThresholds
from mask_gate.gate.detector.child import worker_command
from mask_gate.gate.detector.detector_process import DetectorProcess, ProcessLimits
from mask_gate.gate.detector.detector_process import SelfTest as SelfTesting
from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.detector.selftest import SelfTest
from mask_gate.gate.display.presenter import Presenter, Watcher
from mask_gate.gate.display.sound import SoundOutput, find_player
from mask_gate.gate.display.texts import load_texts
from mask_gate.gate.display.video_recorder import VideoRecorder
from mask_gate.gate.display.window import Window
from mask_gate.gate.domain import Frame, Reason, Signal, SignalKind
from mask_gate.gate.door.controller import DoorController
from mask_gate.gate.door.lease import Door
from mask_gate.gate.door.output import Output, PrintedRelay
from mask_gate.gate.door.ownership import WAIT_S, Ownership, runtime_folder
from mask_gate.gate.door.reporter import Reporter
from mask_gate.gate.errors import ConfigError, GateError, OutputError, OwnedError
from mask_gate.gate.events import EventMaker, Scene
from mask_gate.gate.mqtt.state_publisher import StatePublisher
from mask_gate.gate.relays.config import CommandRelayConfig, RelayConfig
from mask_gate.gate.relays.guarded_relay import GuardedRelay
from mask_gate.gate.relays.guardian import STUCK_S, GuardianSettings
from mask_gate.gate.runtime.loop import Clock, Gate, Limits, ReplayClock
from mask_gate.gate.system.shutdown import Shutdown
from mask_gate.models.detections import Detections
from mask_gate.models.operating_point import OperatingPoint
from mask_gate.models.shipped import ASSETS, BUNDLED_WEIGHTS

log = logging.getLogger(__name__)

Act = Callable[[], None]
Say = Callable[[str], None]
Tell = Callable[[Scene, bool], None]


CONSOLE_NEEDS = ("jinja2", "prometheus_client", "starlette", "uvicorn")
"""What the extra `console` brings."""

AUDIT_START_S = 5.0
"""How long the first row of the audit may take; a cold disk is slow."""

_REPLAY_HANG_S = 30.0  # nobody waits at a recording, and any machine may judge one
_OUTCOMES = {SignalKind.ALLOW: "unlocked", SignalKind.DENY: "locked"}


@dataclass(frozen=True, slots=True)
class RunMode:
    """How a gate is run, besides what its configuration says.

    Attributes:
        replay: judge every frame of a clip by the clip's own time.
        dry: say what the relays would be told.
    """

    replay: bool = False
    dry: bool = False

    @property
    def moves(self) -> bool:
        """Whether a door is moved; only then it is owned, recorded, and told of to others."""
        return not (self.replay or self.dry)


@dataclass(frozen=True, slots=True)
class Entrance:
    """A door with everything that reacts to it, locked and ready to be told decisions.

    Attributes:
        audit: None where nothing is moved.
    """

    controller: DoorController
    maker: EventMaker
    shutdown: Shutdown
    audit: Audit | None

    def name_model(self, model_id: str) -> None:
        """From now on, events and audit name this detector."""
        self.maker.model = model_id
        if self.audit is not None:
            self.audit.model = model_id


@contextlib.contextmanager
def open_entrance(
    config: GateConfig,
    mode: RunMode,
    say: Say,
    tell: Tell,
    end_well: Callable[[Act, Act], AbstractContextManager[Shutdown]] = Shutdown,
) -> Iterator[Entrance]:
    """The door: owned and locked from now on, and locked once more at the end.

    Args:
        config: of this door.
        mode: how it is run.
        say: takes a line for people.
        tell: takes scene and door whenever state, reason or door have changed.
        end_well: sees to it that a signal locks the door; see `Shutdown`.

    Raises:
        OutputError: another process keeps the door, a relay cannot be had, or a required record
            cannot be written.
        ConfigError: nobody said where the record is, and there is no home folder.
    """
    clock: Clock = ReplayClock() if mode.replay else uptime_s
    maker = EventMaker(config.gate)
    reporter = Reporter(maker, tell)
    relays: list[GuardedRelay] = []
    door = Door(config.door, clock, reporter.signal, on_tick=lambda: _beat(relays))
    records, outputs = contextlib.ExitStack(), contextlib.ExitStack()
    missing: list[GateError] = []  # what the gate cannot be without, told once the door is locked

    def abandon() -> None:
        with records:
            outputs.close()

    with contextlib.ExitStack() as stack:
        owner = stack.enter_context(_ownership(config, mode, missing))
        shutdown = stack.enter_context(end_well(door.close, abandon))
        stack.enter_context(records)  # closed last: it hears of the last lock too
        stack.enter_context(outputs)
        stack.callback(door.close)
        audit = _open_audit(config, mode, records, missing)
        controller = _controller(config, door, reporter, clock, audit)
        for output in _outputs(config, mode, say, controller, audit, owner, missing):
            outputs.callback(output.close)
            reporter.add(output)
            if isinstance(output, GuardedRelay):
                relays.append(output)
        outputs.callback(_let_go, relays)  # closed first: one that hangs keeps no other waiting
        _keep_records(config, mode, reporter, audit, records)
        door.start(timer=not mode.replay)
        if missing:
            raise _all_in_one(missing)
        if audit is not None and config.audit.required:
            audit.check(AUDIT_START_S)
        yield Entrance(controller, maker, shutdown, audit)


def _let_go(relays: Iterable[GuardedRelay]) -> None:
    for relay in relays:
        relay.let_go()


def lock_relays(config: GateConfig) -> None:
    """Lock every relay: after a crash, or by hand. What keeps the door has the time to lock it.

    Raises:
        OutputError: another process keeps the door and goes on, or a lock did not work.
    """
    signal = Signal(SignalKind.DENY, Reason.STOPPING, uptime_s(), uuid4().hex)
    with contextlib.ExitStack() as stack:
        owner: int | None = None
        try:
            found = Ownership(config.gate, runtime_folder(os.environ), wait_s=STUCK_S + WAIT_S)
            owner = stack.enter_context(contextlib.closing(found)).fileno()
        except OwnedError:
            raise
        except OutputError as error:  # what matters is the lock
            log.warning("%s", error)
        faults = []
        for relay in config.all_relays:
            try:
                settings = _guardian_settings(_for_locking(relay), config)
                output = GuardedRelay(settings, on_fault=log.error, owner=owner)
                with contextlib.closing(output):
                    output.send(signal, {"signal": "deny", "reason": signal.reason.value})
            except OutputError as error:  # the others are locked all the same
                faults.append(error)
        if faults:
            raise OutputError("; ".join(str(error) for error in faults))


def _for_locking(relay: RelayConfig) -> RelayConfig:
    """A relay that need not open: a command that unlocks may be missing where another one locks."""
    if isinstance(relay, CommandRelayConfig) and relay.on_deny is not None:
        return relay.model_copy(update={"on_allow": None})
    return relay


@contextlib.contextmanager
def open_source(config: GateConfig, mode: RunMode) -> Iterator[Camera]:
    """The camera; a replay asks for one that has an end.

    Raises:
        ConfigError: it has none, or the words name no camera.
        CameraError: there is no picture to be had.
    """
    camera = open_camera(
        config.camera.source, realtime=not mode.replay, folder_fps=config.camera.folder_fps
    )
    with contextlib.closing(camera):
        if mode.replay and camera.is_live:
            raise ConfigError("--fast is for clips: give a video file, a folder, or demo")
        yield camera


def open_detector(
    config: GateConfig, mode: RunMode, doors: Sequence[GateConfig] = ()
) -> DetectorProcess:
    """The detector, in a process of its own, once it has passed the self-test.

    It must be good enough for each of `doors`, which have a seat each; without them, for `config`.

    Raises:
        ModelError: the weights cannot be used, or must not be.
    """
    wanted, asking = config.detector, doors or (config,)
    limits = ProcessLimits(
        result_s=None if mode.replay else max(door.door.max_age_s for door in asking),
        hang_s=max(wanted.hang_s, _REPLAY_HANG_S) if mode.replay else wanted.hang_s,
        start_s=wanted.start_s,
        max_faces=max(door.tracker.max_faces for door in asking),
        max_pixels=max(door.quality.max_pixels for door in asking),
        max_memory_mb=wanted.max_memory_mb,
    )
    weights = Path(wanted.weights or BUNDLED_WEIGHTS)
    return DetectorProcess(
        worker_command(weights, wanted.device, EngineKind(wanted.engine)),
        _selftest(asking),
        limits,
        seats=len(asking),
    )


def _selftest(doors: Sequence[GateConfig]) -> SelfTesting:
    """The self-test by the thresholds of each door."""

    def test(detect: Callable[[Frame], Detections], point: OperatingPoint | None) -> list[str]:
        said: list[str] = []
        tried: list[tuple[float, VoteThresholds]] = []
        for door in doors:
            high_score, _ = door.tracker.scores(point)
            thresholds = high_score, door.policy.votes(point)
            if thresholds not in tried:
                tried.append(thresholds)
                said += SelfTest(ASSETS / "selftest", high_score=high_score, votes=thresholds[1])(
                    detect
                )
        return list(dict.fromkeys(said))

    return test


def build_gate(
    config: GateConfig,
    entrance: Entrance,
    camera: Camera,
    detector: Callable[[Frame], Detections],
    point: OperatingPoint | None,
    show: Callable[[Frame, Scene], None],
    on_turn: Callable[[], None],
) -> Gate:
    """One door's loop; from now on, what is sure of a model with this operating point counts."""
    entrance.controller.policy.votes = config.policy.votes(point)
    return Gate(
        camera=camera,
        frame_check=FrameCheck(config.quality),
        detector=detector,
        tracker=Tracker(config.tracker, point),
        controller=entrance.controller,
        limits=Limits(
            camera_s=config.camera.timeout_s,
            result_s=config.door.max_age_s,
            fault_frames=config.detector.fault_frames,
        ),
        show=show,
        on_turn=on_turn,
    )


def greeting(config: GateConfig, detector: DetectorProcess) -> str:
    """What a gate watches, and with which model."""
    source = parse_source(config.camera.source)
    shown = "demo" if source.kind is SourceKind.DEMO else source
    model = f"{detector.engine_name} ({detector.model_id[:19]})"
    votes = config.policy.votes(detector.operating_point)
    return f"gate {config.gate}: watching {shown} with {model}; votes from {votes}"


@contextlib.contextmanager
def open_picture(
    config: GateConfig,
    headless: bool,
    record: Path | None,
    *,
    kiosk: bool = False,
    watcher: Watcher | None = None,
    title: str = "mask-gate",
) -> Iterator[Presenter]:
    """The window, where one can be opened, and the recording, where one is wanted.

    With `kiosk` the window is the visitor's screen; `watcher` gets each scene too.

    Raises:
        OutputError: the recording cannot be written.
    """
    with contextlib.ExitStack() as stack:
        screen, recorder = None, None
        if record is not None:
            recorder = stack.enter_context(contextlib.closing(VideoRecorder(record)))
        if not headless:
            try:
                screen = stack.enter_context(contextlib.closing(Window(title, full_screen=kiosk)))
            except OutputError as error:
                log.warning("%s; going on without", error)
        words = load_texts(config.language)
        yield Presenter(screen, recorder, words, config.privacy, kiosk=kiosk, watcher=watcher)


def views_of(config: GateConfig) -> list[View] | None:
    """What the guard's console may know of each door; None where no console is wanted."""
    return [View(n) for n in range(len(config.each_door()))] if config.console.enabled else None


@contextlib.contextmanager
def open_console(config: GateConfig, views: Sequence[View] | None, say: Say) -> Iterator[None]:
    """The guard's console, one for all doors, where one is wanted; the gate goes on without it.

    Raises:
        ConfigError: what it needs is not installed.
    """
    if views is None:
        yield
        return
    missing = [name for name in CONSOLE_NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"console.enabled: needs {', '.join(missing)}; pip install -e '.[console]'"
        )
    password = None if config.console.password_file is not None else new_password()
    if password is not None:
        say(f"console: the password of this run is {password}")
    doors = {
        name: Watched(door.gate, masked(door.model_dump(mode="json")))
        for name, door in config.each_door().items()
    }
    told = hello(config.gate, config.language, config.console, config.privacy, doors, password)
    with contextlib.closing(Console(told, views, say)):
        yield


def keep_in_view(entrance: Entrance, view: View | None) -> None:
    """From now on, the console hears what happens at this door."""
    if view is not None:
        view.remember(None if entrance.audit is None else entrance.audit.path)
        entrance.controller.reporter.add_event_sink(view)


def sounds_folder(config: GateConfig) -> Path:
    """Where the sounds are."""
    return ASSETS / "sounds" if config.outputs.sounds is None else Path(config.outputs.sounds)


def audit_path(config: GateConfig) -> Path:
    """Where the audit is.

    Raises:
        ConfigError: it is not told, and there is no home folder.
    """
    given = config.audit.path
    return default_audit_path(config.gate) if given is None else Path(given)


@contextlib.contextmanager
def _ownership(config: GateConfig, mode: RunMode, missing: list[GateError]) -> Iterator[int | None]:
    """The descriptor that says that the door is ours, where one is moved; None where none is had.

    Raises:
        OwnedError: another process keeps the door, so it is not ours to lock.
    """
    with contextlib.ExitStack() as stack:
        owner = None
        if mode.moves:
            try:
                found = Ownership(config.gate, runtime_folder(os.environ))
                owner = stack.enter_context(contextlib.closing(found)).fileno()
            except OwnedError:
                raise
            except OutputError as error:
                missing.append(error)
        yield owner


def _open_audit(
    config: GateConfig, mode: RunMode, records: contextlib.ExitStack, missing: list[GateError]
) -> Audit | None:
    if not mode.moves:
        return None
    try:
        path = audit_path(config)
    except ConfigError as error:
        missing.append(error)
        return None
    audit = Audit(
        path,
        config.gate,
        wait_s=config.audit.wait_s,
        keep_days=config.audit.keep_days,
        config=config.identity,
    )
    return records.enter_context(contextlib.closing(audit))


def _controller(
    config: GateConfig, door: Door, reporter: Reporter, clock: Clock, audit: Audit | None
) -> DoorController:
    """The controller of the door; it opens nothing unrecorded, unless that was allowed."""
    needed = audit is not None and config.audit.required
    return DoorController(
        door,
        Policy(config.policy, NO_VOTES),  # until the model is known
        reporter,
        clock,
        fault_hold_s=config.outputs.fault_hold_s,
        audit_fault=lambda: audit.fault if audit is not None and needed else None,
        alarm=lambda what: None if audit is None else audit.alarm(what),
    )


def _outputs(
    config: GateConfig,
    mode: RunMode,
    say: Say,
    controller: DoorController,
    audit: Audit | None,
    owner: int | None,
    missing: list[GateError],
) -> Iterator[Output]:
    """What reacts to the door, the relays first: each that can be had, for it must be locked."""

    def done(signal_id: str, decision: SignalKind, relay: str) -> None:
        if audit is not None:
            audit.result(signal_id, relay, _OUTCOMES[decision])

    for relay in config.all_relays:
        if mode.moves:
            try:
                found = GuardedRelay(
                    _guardian_settings(relay, config),
                    on_fault=controller.output_failed,
                    on_done=done,
                    owner=owner,
                )
            except OutputError as error:
                missing.append(error)
                continue
            yield found
        else:
            yield PrintedRelay(relay.model_dump(), say=say)
    if config.outputs.on_allow is not None and config.outputs.on_deny is None:
        log.warning("nothing locks but the relay's own timer: give --on-deny too")
    if config.outputs.sound and not mode.replay:
        player = find_player()
        if player is None:
            log.warning("no sound: install gstreamer1.0-tools, ffmpeg, or alsa-utils and mpg123")
        else:
            yield SoundOutput(sounds_folder(config), player)


def _keep_records(
    config: GateConfig,
    mode: RunMode,
    reporter: Reporter,
    audit: Audit | None,
    records: contextlib.ExitStack,
) -> None:
    """What is told of everything that happens."""
    if audit is not None:
        reporter.add_event_sink(audit)
        if config.audit.required:
            reporter.require_record(audit)
    if config.outputs.events is not None:
        reporter.add_event_sink(
            records.enter_context(contextlib.closing(EventLog(config.outputs.events)))
        )
    if config.mqtt is not None and mode.moves:
        state = StatePublisher(config.mqtt, config.gate)
        reporter.add_event_sink(records.enter_context(contextlib.closing(state)))


def _all_in_one(missing: list[GateError]) -> GateError:
    """The first error, with the words of all."""
    return type(missing[0])("; ".join(map(str, missing)))


def _guardian_settings(relay: RelayConfig, config: GateConfig) -> GuardianSettings:
    return GuardianSettings(relay.model_dump(), config.outputs.heartbeat_s, relay.refresh_s)


def _beat(relays: Sequence[GuardedRelay]) -> None:
    for relay in relays:
        relay.beat()
