"""DetectorProcess: the detector in a process of its own, where it can hang, die or lie safely."""

from __future__ import annotations

from collections.abc import Sequence

from mask_gate.gate.detector.exchange import Exchange
from mask_gate.gate.detector.lifecycle import ProcessLifecycle, SelfTest
from mask_gate.gate.detector.limits import ProcessLimits
from mask_gate.gate.detector.wire import Introduction
from mask_gate.gate.domain import Frame
from mask_gate.gate.system.processes import RestartBudget
from mask_gate.gate.system.threads import DoorThread
from mask_gate.models.detections import Detections
from mask_gate.models.operating_point import OperatingPoint


class DetectorProcess:
    """Callable like a `Detector`; a thread starts, watches and replaces the process.

    Each camera asks about one frame at a time, by number. An answer to anything but the oldest
    question is the end of the process. Each process passes the self-test before a camera may ask
    it, and each answer is held against what is possible at all. A process that ends, hangs, grows
    too large, breaks the protocol or fails several frames in a row of every camera is replaced,
    after too many deaths only now and then (`RestartBudget` has the rule). While there is none,
    calls raise at once.

    Args:
        command: starts it; see `gate.detector.child.worker_command`.
        selftest: what each process must pass.
        limits: what it may take.
        budget: how often it may die.
        cameras: how many ask it.

    Raises:
        ModelError: the weights cannot be used, the device is not there, the self-test was not
            passed, or the process was not ready in `start_s`.
    """

    def __init__(
        self,
        command: Sequence[str],
        selftest: SelfTest,
        limits: ProcessLimits,
        budget: RestartBudget | None = None,
        cameras: int = 1,
    ) -> None:
        self._limits = limits
        self._exchange = Exchange(cameras)
        self._lifecycle = ProcessLifecycle(
            command, selftest, limits, budget or RestartBudget(), self._exchange
        )
        self._thread = DoorThread(target=self._lifecycle.run, name="detector")
        self._thread.start()
        try:
            self._exchange.wait_for_service()
        except BaseException:
            self.close()
            raise

    @property
    def model_id(self) -> str:
        """Identity of the weights; a process that has loaded others is not used."""
        return self._introduction.model_id

    @property
    def engine_name(self) -> str:
        """What runs the network and where, for people."""
        return self._introduction.engine_name

    @property
    def operating_point(self) -> OperatingPoint | None:
        """What the weights bring; it belongs to them as `model_id` does."""
        return self._introduction.operating_point

    @property
    def pid(self) -> int | None:
        """Of the process in service, if there is one."""
        child = self._exchange.child
        return None if child is None else child.pid

    def __call__(self, frame: Frame, camera: int = 0) -> Detections:
        """Faces in pixels of the frame, best first, one label each.

        Args:
            frame: of that camera.
            camera: its number; each has one thread that asks.

        Raises:
            ModelError: there is no sound answer about this very frame in time.
        """
        return self._exchange.ask(frame, camera, self._limits.result_s)

    def close(self) -> None:
        """End the process; calls raise from then on. May be called twice."""
        self._lifecycle.close()
        self._thread.join(self._limits.close_s)

    @property
    def _introduction(self) -> Introduction:
        introduction = self._lifecycle.introduction
        assert introduction is not None  # construction waited for it
        return introduction
