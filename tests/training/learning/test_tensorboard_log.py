"""TensorBoard logs: every figure of every epoch, where the package is there."""

import importlib.util
import math

import pytest

from mask_gate.training.learning.tensorboard_log import TensorBoardLog

needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None,
    reason="needs the tensorboard extra: pip install 'mask-gate[tensorboard]'",
)


def row(epoch, **figures):
    return {"epoch": epoch, "box": 1.0 / epoch, "seconds": 3.0, **figures}


def scalars(folder):
    """What TensorBoard itself reads: tag to [(step, value)]."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    tags = events.Tags()["scalars"]
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags}


@needs_tensorboard
def test_losses_and_figures_are_read_back_by_epoch(tmp_path):
    log = TensorBoardLog(tmp_path, 1)
    log.write(row(1, map50=math.nan))
    log.write(row(2, map50=0.25))
    log.close()
    assert scalars(tmp_path) == {
        "loss/box": [(1, 1.0), (2, 0.5)],
        "accuracy/map50": [(2, 0.25)],
    }


@needs_tensorboard
def test_a_resumed_run_writes_over_what_the_first_said_of_later_epochs(tmp_path):
    for first, epochs in ((1, (1, 2, 3)), (3, (3,))):
        log = TensorBoardLog(tmp_path, first)
        for epoch in epochs:
            log.write(row(epoch))
        log.close()
    assert [step for step, _ in scalars(tmp_path)["loss/box"]] == [1, 2, 3]
