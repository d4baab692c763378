"""ProcessLifecycle: starts, tests, watches and replaces the detector's process."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from mask_gate.gate.detector.child import ChildEndedError, DetectorChild
from mask_gate.gate.detector.exchange import Exchange
from mask_gate.gate.detector.health import StartLimit
from mask_gate.gate.detector.limits import ProcessLimits
from mask_gate.gate.detector.process_run import ProcessRun
from mask_gate.gate.detector.wire import Introduction, WireError
from mask_gate.gate.domain import Frame
from mask_gate.gate.errors import ModelError
from mask_gate.gate.system.processes import RestartBudget
from mask_gate.models.detections import Detections
from mask_gate.models.files.fingerprint import shortened
from mask_gate.models.operating_point import OperatingPoint

log = logging.getLogger(__name__)

SelfTest = Callable[[Callable[[Frame], Detections], OperatingPoint | None], list[str]]
"""Asks about pictures with known answers; remarks, or a ModelError (`gate.detector.selftest`)."""


class ProcessLifecycle:
    """One process after the other, as long as the gate runs; one thread does all of it.

    Args:
        command: starts a process.
        selftest: what each process must pass.
        limits: what it may take.
        budget: how often it may die.
        exchange: where the process in service is asked.

    Attributes:
        introduction: what the first process said of itself; None until it is in service.
    """

    def __init__(
        self,
        command: Sequence[str],
        selftest: SelfTest,
        limits: ProcessLimits,
        budget: RestartBudget,
        exchange: Exchange,
    ) -> None:
        self.introduction: Introduction | None = None
        self._command = command
        self._selftest = selftest
        self._limits = limits
        self._budget = budget
        self._exchange = exchange
        self._start_limit = StartLimit(limits)
        self._closing = threading.Event()

    def close(self) -> None:
        """Have `run` end the process and return."""
        self._closing.set()

    def run(self) -> None:
        """Have a process until `close`, or until the first one turns out to be none."""
        reason = ""
        while not self._closing.is_set():
            reason, served_s = self._run_once()
            if self._closing.is_set() or self.introduction is None:
                break
            was_out = self._budget.out_of_service
            pause_s = self._budget.died(time.monotonic(), served_s)
            why = self._why_none(reason)
            self._exchange.take_out_of_service(why, wait=not self._budget.out_of_service)
            if served_s > 0 or self._budget.out_of_service > was_out:
                log.error("%s", why)
            self._closing.wait(pause_s)
        self._exchange.take_out_of_service(self._why_none(reason), wait=False)

    def _why_none(self, reason: str) -> str:
        """A sentence for those who ask while there is no process in service."""
        if self.introduction is None:
            return reason
        if self._closing.is_set():
            return "the detector is closed"
        budget = self._budget
        if not budget.out_of_service:
            return f"{reason}; the detector is being started again"
        return (
            f"{reason}; the detector is out of service, for it ended more than {budget.most} times "
            f"in {budget.window_s:g} s, and is tried again every {budget.retry_s:g} s"
        )

    def _run_once(self) -> tuple[str, float]:
        """One process from its start to its end: why it ended, and for how long it had served."""
        child: DetectorChild | None = None
        served_from_s, has_hung_up = None, False
        try:
            child = DetectorChild(self._command, self._limits.max_pixels, self._exchange.cameras)
            run = ProcessRun(child, self._exchange, self._limits, self._start_limit, self._closing)
            self._make_ready(run)
            served_from_s = time.monotonic()
            run.serve()
            reason = "the detector is closed"
        except ChildEndedError:
            reason, has_hung_up = "the detector's process ended", True
        except ModelError as error:
            reason = str(error)
        except WireError as error:
            reason = f"the detector's process broke the protocol: {error}"
        except OSError as error:
            reason = f"the detector's process cannot be started ({error.strerror or error})"
        except Exception as error:  # this thread must not die of anything
            log.exception("the detector's process is given up")
            reason = f"the detector's process cannot be watched ({error!r})"
        wait = self.introduction is None or not self._budget.out_of_service
        self._exchange.take_out_of_service(self._why_none(reason), wait=wait)
        if child is not None:
            how = child.end(linger=has_hung_up)
            reason = f"the detector's process {how}" if has_hung_up else reason
        if has_hung_up and self.introduction is None:
            reason += " before it was ready; give another checkpoint or device"
        return reason, 0.0 if served_from_s is None else time.monotonic() - served_from_s

    def _make_ready(self, run: ProcessRun) -> None:
        """Hear the process introduce itself, put it to the test, and then into service.

        Raises:
            ModelError: it says that it cannot work, does not pass, or takes too long.
            WireError: it says something else.
            ChildEndedError: it has ended, or the gate ends.
        """
        began_s = time.monotonic()
        introduction = run.introduction()
        if self.introduction is not None:
            _check_unchanged(introduction, self.introduction)
        remarks = self._selftest(run.detect, introduction.operating_point)
        for size_hw in self._exchange.sizes_hw():
            # The first frame of a size may take long: better now than when a camera waits for it.
            run.detect(Frame(np.zeros((*size_hw, 3), np.uint8), 0.0, 0))
        took_s = time.monotonic() - began_s
        if self.introduction is not None:
            name = introduction.engine_name
            log.warning("the detector is back after a start of %.1f s: %s", took_s, name)
        else:
            self._start_limit.learn(took_s)
            for remark in remarks:
                log.warning("%s", remark)
        self.introduction = introduction
        self._exchange.put_in_service(run.child)


def _check_unchanged(introduction: Introduction, before: Introduction) -> None:
    """Let a process serve that has loaded the same weights as those before it.

    Raises:
        ModelError: it has loaded others.
    """
    if introduction.model_id != before.model_id:
        raise ModelError(
            f"the weights are others than at the start ({shortened(introduction.model_id)} for "
            f"{shortened(before.model_id)}); put them back, or start the gate again"
        )
    if introduction.operating_point != before.operating_point:
        raise ModelError(
            "the weights bring another operating point than at the start; put them back, or "
            "start the gate again"
        )
