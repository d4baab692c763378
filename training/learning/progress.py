"""The terminal of a training run: its progress line, and the requests to stop it hears."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

from tqdm import tqdm

from mask_gate.training.learning.trainer import LOSS_NAMES, Trainer


class StepLine:
    """The progress line of one epoch: loss parts, images per second, time left.

    Args:
        trainer: whose progress is shown.
        shown: False in processes that do not speak.
    """

    def __init__(self, trainer: Trainer, shown: bool = True) -> None:
        self._trainer = trainer
        self._images = len(trainer.source.order(trainer.progress.epoch))
        self._line = tqdm(
            total=self._images,
            initial=self._done(),
            desc=f"epoch {trainer.progress.epoch + 1}/{trainer.config.epochs}",
            unit="image",
            mininterval=0.5 if sys.stderr.isatty() else 30,
            disable=not shown,
        )

    def __enter__(self) -> StepLine:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()

    def __call__(self) -> None:
        """Move on to where the trainer is now."""
        progress = self._trainer.progress
        means = (total / progress.step for total in progress.sums)
        told = {name: f"{mean:.3f}" for name, mean in zip(LOSS_NAMES, means, strict=True)}
        self._line.set_postfix(told, refresh=False)
        self._line.update(self._done() - self._line.n)

    def _done(self) -> int:
        return min(self._images, self._trainer.progress.step * self._trainer.config.batch_size)


class StopRequest:
    """Ctrl-C or SIGTERM once asks for a stop after the step; Ctrl-C twice stops at once."""

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        """Whether a stop was asked for."""
        return self._asked

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        if self._asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = True
        sys.stderr.write("stopping after this step\n")
