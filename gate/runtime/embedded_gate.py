"""Gate: a whole gate inside another program, from frames to that program's own outputs."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from mask_gate.gate.camera.camera import Camera
from mask_gate.gate.config.schema import GateConfig
from mask_gate.gate.decision.policy import PolicyConfig
from mask_gate.gate.domain import Frame, Image, Reason, State, Track
from mask_gate.gate.door.lease import DoorConfig
from mask_gate.gate.door.output import Output
from mask_gate.gate.events import Scene
from mask_gate.gate.runtime.entrance import Entrance, open_entrance
from mask_gate.gate.runtime.parts import build_gate
from mask_gate.gate.runtime.run_mode import RunMode
from mask_gate.models.detections import Detections
from mask_gate.models.operating_point import OperatingPoint


class FaceDetector(Protocol):
    """What a gate wants of a detector, such as `mask_gate.Detector`."""

    @property
    def model_id(self) -> str:
        """Fingerprint of the model, for the record."""

    @property
    def operating_point(self) -> OperatingPoint | None:
        """The thresholds that the model brings, if it does."""

    def detect(self, frame: Frame) -> Detections:
        """The faces in a frame."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What the gate made of one frame.

    Attributes:
        image: [H, W, 3] uint8 BGR; it must not be written to.
        time_s: monotonic seconds at which it was taken.
        state: what is said to the people in front of the door.
        reason: why.
        is_open: whether the door is open now.
        tracks: the people in the frame.
    """

    image: Image
    time_s: float
    state: State
    reason: Reason
    is_open: bool
    tracks: tuple[Track, ...]


class Gate:
    """One door held by a program of your own: the rules and the record are those of `mask-gate`.

    The door is locked when the `with` begins and when it ends, whatever ends it; every opening is a
    lease with a hard cap, recorded in the audit before any output hears of it. Iterating judges
    frame after frame; a body that takes long, or stops iterating, lets the lease run out.

    An output here lives in your process: it must lock by itself when that is killed, as a relay
    with a timer does. The relays of gate.yaml have a process of their own for that.

    Args:
        camera: closed at the end.
        detector: finds faces.
        policy: who may pass; the defaults of gate.yaml without.
        outputs: told every unlock and lock, in order; closed at the end.
        name: of the door in events and record; one program at a time holds a door of this name.
        door: how long it may be open; the defaults of gate.yaml without.
        audit: the record, an .sqlite file; where `mask-gate` keeps its own without.

    Raises:
        OutputError: raised by `with`: another process keeps the door, or nothing can be recorded.
    """

    def __init__(
        self,
        camera: Camera,
        detector: FaceDetector,
        policy: PolicyConfig | None = None,
        outputs: Iterable[Output] = (),
        *,
        name: str = "door",
        door: DoorConfig | None = None,
        audit: Path | None = None,
    ) -> None:
        sections: dict[str, object] = {"gate": name, "outputs": {"sound": "off"}}
        if policy is not None:
            sections["policy"] = policy
        if door is not None:
            sections["door"] = door
        if audit is not None:
            sections["audit"] = {"path": str(audit)}
        self._config = GateConfig.model_validate(sections)
        self._camera, self._detector = camera, detector
        self._outputs = tuple(outputs)
        self._stack = contextlib.ExitStack()
        self._entrance: Entrance | None = None
        self._stopped = False

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.callback(self._camera.close)
            entrance = stack.enter_context(
                open_entrance(
                    self._config,
                    RunMode(headless=True),
                    say=lambda line: None,
                    on_status=lambda scene, is_open: None,
                    on_signal=lambda lock, let_go: contextlib.nullcontext(),
                    more_outputs=self._outputs,
                )
            )
            entrance.name_model(self._detector.model_id)
            self._entrance, self._stack = entrance, stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped = True
        self._stack.close()

    def stop(self) -> None:
        """End the iteration with the next frame; from any thread."""
        self._stopped = True

    def __iter__(self) -> Iterator[Moment]:
        """Judge one frame after the other, until the camera's end or `stop`.

        Raises:
            RuntimeError: outside of `with`.
        """
        if self._entrance is None:
            raise RuntimeError("a gate is used as a context: with Gate(...) as gate")
        return self._moments(self._entrance)

    def _moments(self, entrance: Entrance) -> Generator[Moment]:
        controller = entrance.controller
        loop = build_gate(
            self._config,
            controller,
            self._camera,
            self._detector.detect,
            self._detector.operating_point,
            _show_nothing,
            lambda: None,
        )
        with contextlib.closing(loop.scenes(lambda: self._stopped)) as scenes:
            for frame, scene in scenes:
                decision, is_open = scene.decision, controller.door.is_open
                yield Moment(
                    frame.image,
                    frame.time_s,
                    decision.state,
                    decision.reason,
                    is_open,
                    scene.tracks,
                )


def _show_nothing(frame: Frame, scene: Scene) -> None:
    """What is seen is given to whoever iterates."""
