"""Parts: opens what a locked door needs to be watched, each from the gate's configuration."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mask_gate.gate.camera.camera import Camera, open_camera
from mask_gate.gate.camera.frame_check import FrameCheck
from mask_gate.gate.camera.source import SourceKind, parse_source
from mask_gate.gate.config.masking import masked
from mask_gate.gate.config.schema import GateConfig
from mask_gate.gate.console.feed import ConsoleFeed
from mask_gate.gate.console.login import new_password
from mask_gate.gate.console.process import Console
from mask_gate.gate.console.wire import DoorSettings, ServerSettings
from mask_gate.gate.decision.policy import Policy
from mask_gate.gate.decision.tracker import Tracker
from mask_gate.gate.decision.vote_thresholds import VoteThresholds
from mask_gate.gate.detector.child import worker_command
from mask_gate.gate.detector.detector_process import DetectorProcess
from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.detector.engine_choice import EngineChoice, choice_file
from mask_gate.gate.detector.engine_trials import EngineTrials
from mask_gate.gate.detector.engines import engine_options
from mask_gate.gate.detector.input_size import fitting_size
from mask_gate.gate.detector.lifecycle import SelfTest as SelfTesting
from mask_gate.gate.detector.limits import ProcessLimits
from mask_gate.gate.detector.second_look import SecondLook
from mask_gate.gate.detector.selftest import SelfTest
from mask_gate.gate.display.aim import AimLimits
from mask_gate.gate.display.presenter import Presenter
from mask_gate.gate.display.sound import Sound, check_sounds
from mask_gate.gate.display.texts import check_languages, language_folders, load_texts
from mask_gate.gate.display.video_recorder import VideoRecorder
from mask_gate.gate.display.window import Window
from mask_gate.gate.domain import Frame
from mask_gate.gate.door.controller import DoorController
from mask_gate.gate.door.guard_desk import GuardDesk
from mask_gate.gate.errors import ConfigError, OutputError
from mask_gate.gate.events import Scene
from mask_gate.gate.guard_order import GuardAct
from mask_gate.gate.notify.notifier import Notifier, check_notify
from mask_gate.gate.runtime.entrance import SayLine
from mask_gate.gate.runtime.loop import Gate, Limits
from mask_gate.gate.runtime.paths import sounds_folder
from mask_gate.gate.runtime.run_mode import RunMode
from mask_gate.models.detections import Detections
from mask_gate.models.files.fingerprint import shortened
from mask_gate.models.operating_point import OperatingPoint
from mask_gate.models.shipped import ASSETS, BUNDLED_INPUT_SIZES, BUNDLED_WEIGHTS

log = logging.getLogger(__name__)

CONSOLE_NEEDS = ("jinja2", "prometheus_client", "starlette", "uvicorn")
"""What the extra `console` brings."""

_REPLAY_HANG_S = 30.0  # nobody waits at a recording, and any machine may judge one


class Detector(Protocol):
    """The detector of all doors, whose cameras have a number each."""

    @property
    def model_id(self) -> str:
        """Fingerprint of the model."""

    @property
    def engine_name(self) -> str:
        """What runs it."""

    @property
    def operating_point(self) -> OperatingPoint | None:
        """The thresholds that the model brings, if it does."""

    def __call__(self, frame: Frame, camera: int = 0) -> Detections:
        """The faces in a frame of the camera of this number."""


@contextlib.contextmanager
def open_source(config: GateConfig, mode: RunMode) -> Iterator[Camera]:
    """The camera; a replay asks for one that has an end, and the demo may have none.

    Raises:
        ConfigError: it has none, or the words name no camera.
        CameraError: there is no picture to be had.
    """
    camera = open_camera(
        config.camera.opened_as(),
        realtime=not mode.replay,
        loop=demo_loops(config, mode),
        folder_fps=config.camera.folder_fps,
        folder_is_numbered=config.camera.folder_is_numbered,
    )
    with contextlib.closing(camera):
        if mode.replay and camera.is_live:
            raise ConfigError("--fast is for clips: give a video file, a folder, or demo")
        yield camera


def demo_loops(config: GateConfig, mode: RunMode) -> bool:
    """Whether the camera is the demo, and plays over and over."""
    return mode.loops_demo and parse_source(config.camera.source).kind is SourceKind.DEMO


@contextlib.contextmanager
def open_detector(config: GateConfig, mode: RunMode) -> Iterator[Detector]:
    """The detector, in a process of its own, once it has passed the self-test.

    It must be good enough for each door.

    Raises:
        ModelError: the weights cannot be used, or must not be.
    """
    wanted, doors = config.detector, tuple(config.each_door().values())
    limits = ProcessLimits(
        result_s=None if mode.replay else max(door.door.decision_max_age_s for door in doors),
        hang_s=max(wanted.hang_s, _REPLAY_HANG_S) if mode.replay else wanted.hang_s,
        start_s=wanted.start_s,
        max_faces=max(door.tracker.max_faces for door in doors),
        max_pixels=max(door.quality.max_pixels for door in doors),
        max_memory_mb=wanted.max_memory_mb,
    )
    weights = Path(wanted.weights or BUNDLED_WEIGHTS)
    options = engine_options(weights, wanted.device, EngineKind(wanted.engine))
    choice = EngineChoice(choice_file())
    # Chosen once: no process that takes the place of another may run another engine.
    kind = choice.known(options.identity, options.kinds)
    input_size = wanted.input_size
    if input_size is None and weights == BUNDLED_WEIGHTS and options.exported and not mode.replay:
        picture_ms = choice.times_ms(options.identity, options.kinds).get(kind)
        input_size = fitting_size(BUNDLED_INPUT_SIZES, picture_ms, cameras=len(doors))
    command = worker_command(weights, wanted.device, kind, input_size)
    with contextlib.ExitStack() as stack:
        detector = DetectorProcess(command, _selftest(doors), limits, cameras=len(doors))
        stack.enter_context(contextlib.closing(detector))
        if mode.moves:
            stack.enter_context(contextlib.closing(EngineTrials(weights, options, choice)))
        yield detector


@dataclass(frozen=True, slots=True)
class Parts:
    """What a gate opens that a benchmark may want to put another in the place of.

    Attributes:
        open_source: opens the camera of one door.
        open_detector: opens the detector of all doors.
    """

    open_source: Callable[[GateConfig, RunMode], AbstractContextManager[Camera]] = open_source
    open_detector: Callable[[GateConfig, RunMode], AbstractContextManager[Detector]] = open_detector


REAL_PARTS = Parts()


def _selftest(doors: Sequence[GateConfig]) -> SelfTesting:
    """The self-test by the thresholds of each door."""

    def test(detect: Callable[[Frame], Detections], point: OperatingPoint | None) -> list[str]:
        said: list[str] = []
        tried: list[tuple[float, VoteThresholds, float | None]] = []
        for door in doors:
            policy = door.policy
            high_score, _ = door.tracker.scores(point)
            doubt = policy.second_look_score if policy.second_looks else None
            thresholds = high_score, policy.votes(point), doubt
            if thresholds not in tried:
                tried.append(thresholds)
                test_by = SelfTest(
                    ASSETS / "selftest",
                    high_score=high_score,
                    votes=thresholds[1],
                    second_look_score=doubt,
                )
                said += test_by(detect)
        return list(dict.fromkeys(said))

    return test


def build_gate(
    config: GateConfig,
    controller: DoorController,
    camera: Camera,
    detector: Callable[[Frame], Detections],
    point: OperatingPoint | None,
    show: Callable[[Frame, Scene], None],
    on_turn: Callable[[], None],
    *,
    clip_loops: bool = False,
) -> Gate:
    """One door's loop, by the operating point that its model brings.

    Where a clip plays over and over on purpose, its second round is no replay.
    """
    quality = config.quality
    if clip_loops:
        quality = quality.model_copy(update={"loop_window_s": 0.0})
    return Gate(
        camera=camera,
        frame_check=FrameCheck(quality),
        detector=detector,
        tracker=Tracker(config.tracker, point),
        policy=Policy(config.policy, config.policy.votes(point), config.policy.looks()),
        controller=controller,
        limits=Limits(
            camera_s=config.camera.timeout_s,
            result_s=config.door.decision_max_age_s,
            fault_frames=config.detector.fault_frames,
            answers_per_s=config.policy.answers_needed_per_s,
        ),
        second_look=SecondLook(detector, config.policy.compliant, config.policy.second_look_score),
        show=show,
        on_turn=on_turn,
    )


def start_message(config: GateConfig, detector: Detector, mode: RunMode) -> str:
    """What a gate watches, and with which model."""
    source = parse_source(config.camera.source)
    shown = "demo" if source.kind is SourceKind.DEMO else str(source)
    if demo_loops(config, mode):
        shown += ", over and over until it is stopped (--once: one round),"
    model = f"{detector.engine_name} ({shortened(detector.model_id)})"
    votes = config.policy.votes(detector.operating_point)
    return f"gate {config.gate}: watching {shown} with {model}; votes from {votes}"


@contextlib.contextmanager
def open_presenter(
    config: GateConfig, mode: RunMode, title: str, view: ConsoleFeed | None
) -> Iterator[Presenter]:
    """The window, where one can be opened, and the recording, where one is wanted.

    Raises:
        OutputError: the recording cannot be written.
    """
    with contextlib.ExitStack() as stack:
        window, recorder = None, None
        if mode.record is not None:
            recorder = stack.enter_context(contextlib.closing(VideoRecorder(mode.record)))
        if not mode.headless:
            try:
                found = Window(title, full_screen=mode.kiosk)
                window = stack.enter_context(contextlib.closing(found))
            except OutputError as error:
                log.warning("%s; going on without", error)
        yield Presenter(
            window,
            recorder,
            load_texts(config.language, *language_folders(config.languages)),
            config.privacy,
            visitor_screen=mode.kiosk,
            listener=view,
        )


def views_of(config: GateConfig) -> list[ConsoleFeed] | None:
    """What the console may know of each door; None where no console is wanted."""
    if not config.console.enabled:
        return None
    return [ConsoleFeed(number) for number in range(len(config.each_door()))]


def desks_of(config: GateConfig) -> list[GuardDesk]:
    """Where the console hands guards' orders in, for each door; what it may hand in is ours."""
    console = config.console
    guards = frozenset(console.guard_password_files)
    acts = console.guard_acts if console.enabled else frozenset[GuardAct]()
    return [GuardDesk(name, acts, guards, console.let_in_per_h) for name in config.each_door()]


@contextlib.contextmanager
def open_console(
    config: GateConfig,
    views: Sequence[ConsoleFeed] | None,
    desks: Sequence[GuardDesk],
    say: SayLine,
) -> Iterator[None]:
    """The guard's console, one for all doors, where one is wanted; the gate goes on without it.

    Raises:
        ConfigError: what it needs is not installed.
    """
    if views is None:
        yield
        return
    check_console(config)
    password = None if config.console.password_file is not None else new_password()
    if password is not None:
        say(f"console: the password of this run is {password}")
    doors = {
        name: DoorSettings(
            gate=door.gate,
            config=masked(door.model_dump(mode="json")),
            aim=aim_limits(door),
        )
        for name, door in config.each_door().items()
    }
    settings = ServerSettings(
        gate=config.gate,
        language=config.language,
        languages=config.languages,
        console=config.console,
        privacy=config.privacy,
        doors=doors,
        password=password,
    )
    take_orders = [desk.take for desk in desks]
    with contextlib.closing(Console(settings, views, say, take_orders=take_orders)):
        yield


def aim_limits(config: GateConfig) -> AimLimits:
    """What a camera of this door is to be aimed at."""
    return AimLimits(
        zone=config.policy.zone,
        min_face=config.policy.min_face,
        near_face=config.policy.near_face,
        min_sharpness=config.quality.min_sharpness,
    )


@contextlib.contextmanager
def open_notifier(config: GateConfig) -> Iterator[Notifier | None]:
    """What tells people of all doors, where somebody is to be told.

    Raises:
        ConfigError: what it needs is not installed, or an address is none.
    """
    if config.notify is None:
        yield None
        return
    check_notify(config.notify)
    texts = load_texts(config.language, *language_folders(config.languages))
    words = {
        "fault": texts.page["problem"],
        "recovery": texts.page["ok"],
        "denial": texts.page["all_denials"],
        "opening": texts.page["all_openings"],
        **{reason.value: words for reason, words in texts.reasons.items()},
    }
    with contextlib.closing(Notifier(config.notify, f"mask-gate {config.gate}", words)) as notifier:
        yield notifier


def check_console(config: GateConfig) -> None:
    """See that what a console needs is installed, where one is wanted.

    Raises:
        ConfigError: it is not.
    """
    missing = [name for name in CONSOLE_NEEDS if importlib.util.find_spec(name) is None]
    if config.console.enabled and missing:
        raise ConfigError(
            f"console.enabled: needs {', '.join(missing)}; pip install 'mask-gate[console]'"
        )


def check_assets(config: GateConfig) -> None:
    """See that the sounds and words that the configuration asks for are all there.

    Raises:
        ConfigError: one is not.
    """
    check_sounds(sounds_folder(config), Sound(config.outputs.sound))
    check_languages(config.languages)
    load_texts(config.language, *language_folders(config.languages))
