"""Checkpoint: a trained detector as one file of plain tensors and values, checked when read."""

from __future__ import annotations

import operator
import os
import pickle
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mask_gate.models.errors import ModelFileError
from mask_gate.models.files.foreign_file import refuse_foreign
from mask_gate.models.labels import CLASS_NAMES
from mask_gate.models.letterbox import INPUT_STEP, MAX_INPUT
from mask_gate.models.networks.anchors import Scale
from mask_gate.models.networks.network import DetectionNetwork
from mask_gate.models.networks.zoo import ARCHITECTURES, build
from mask_gate.models.operating_point import OperatingPoint, OperatingPointError

FORMAT = "mask-gate checkpoint 1"


class CheckpointError(ModelFileError):
    """The file is not a checkpoint that can be trusted; the message says why and what to do."""


@dataclass(slots=True)
class Checkpoint:
    """A detector and everything needed to use it without asking anyone.

    Attributes:
        architecture: a name of `models.networks.zoo.ARCHITECTURES`.
        weights: the network's state dict.
        scales: strides and anchors of its raw maps.
        input_size: side of the square it was trained for, in pixels; RGB in 0..1.
        classes: class names in the order of its outputs.
        operating_point: from which scores on it is believed; None where nobody measured that.
        metrics: what was measured, with which protocol.
        training: the configuration it was trained with, and the data's fingerprint.
        progress: optimizer, EMA, schedule and random state; only in `last.pth`.
    """

    architecture: str
    weights: dict[str, Tensor]
    scales: tuple[Scale, ...]
    input_size: int
    classes: tuple[str, ...] = CLASS_NAMES
    operating_point: OperatingPoint | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    progress: dict[str, Any] | None = None

    def network(self) -> DetectionNetwork:
        """The network with these weights, in evaluation mode.

        Raises:
            CheckpointError: the weights are of another network.
        """
        try:
            network = build(self.architecture, len(self.classes), self.scales)
            network.load_state_dict(self.weights)
        except (RuntimeError, IndexError, ValueError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise CheckpointError(
                f"the weights or scales do not fit {self.architecture}: {reason}"
            ) from error
        return network.eval()


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` so that `path` holds either the old file or the whole new one.

    Raises:
        CheckpointError: a weight is not finite; nothing was written.
        OSError: the disk refused; the old file is untouched.
    """
    for name, tensor in checkpoint.weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{name} holds values that are not finite; {path} was not written"
            )
    point = checkpoint.operating_point
    content = {
        "format": FORMAT,
        "architecture": checkpoint.architecture,
        "weights": checkpoint.weights,
        "scales": [
            {"stride": s.stride, "anchors_wh": [list(pair) for pair in s.anchors_wh]}
            for s in checkpoint.scales
        ],
        "input_size": checkpoint.input_size,
        "classes": list(checkpoint.classes),
        "operating_point": None if point is None else point.to_plain(),
        "metrics": checkpoint.metrics,
        "training": checkpoint.training,
        "progress": checkpoint.progress,
    }
    _write_atomically(path, content)


def _write_atomically(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        read_plain(Path(name))  # what cannot be read back must not replace what can
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and check a checkpoint; nothing in the file is ever executed.

    Raises:
        CheckpointError: missing, damaged, pickled code, another format, a field that is missing or
            of another kind, other classes, or weights that are not finite.
    """
    content = read_plain(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a checkpoint, got a {type(content).__name__}")
    if content.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: expected a file of format {FORMAT!r}, got {content.get('format')!r}; "
            "convert it with mask-gate-train --config ... --set start=FILE"
        )
    try:
        checkpoint = _from_plain(content)
    except OperatingPointError as error:
        raise CheckpointError(f"{path}: {error}; run mask-gate-calibrate again") from error
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: lacks or garbles a field ({type(error).__name__}: {error}); copy it again"
        ) from error
    if checkpoint.architecture not in ARCHITECTURES:
        raise CheckpointError(
            f"{path}: expected an architecture of {', '.join(ARCHITECTURES)}; "
            f"got {checkpoint.architecture!r}"
        )
    if checkpoint.classes != CLASS_NAMES:
        # A swapped order would open the door to the wrong people.
        missing = [name for name in CLASS_NAMES if name not in checkpoint.classes]
        lacks = f"; it lacks {', '.join(missing)}: train with those faces too" if missing else ""
        raise CheckpointError(
            f"{path}: expected the classes {CLASS_NAMES} in this order, got "
            f"{checkpoint.classes}{lacks}"
        )
    if checkpoint.input_size not in range(INPUT_STEP, MAX_INPUT + 1, INPUT_STEP):
        raise CheckpointError(
            f"{path}: expected as input size a multiple of {INPUT_STEP} up to {MAX_INPUT}, "
            f"got {checkpoint.input_size}"
        )
    for name, tensor in checkpoint.weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path}: {name} holds values that are not finite")
    return checkpoint


def _from_plain(content: dict[str, Any]) -> Checkpoint:
    """The checkpoint in a file's plain values; raises what Python raises where they are not so."""
    weights = dict(content["weights"])
    for name, tensor in weights.items():
        if not (isinstance(name, str) and isinstance(tensor, Tensor)):
            raise TypeError(f"weights: expected a tensor for each name, got {name!r}")
    return Checkpoint(
        architecture=str(content["architecture"]),
        weights=weights,
        scales=tuple(
            Scale(int(s["stride"]), tuple((float(w), float(h)) for w, h in s["anchors_wh"]))
            for s in content["scales"]
        ),
        input_size=operator.index(content["input_size"]),
        classes=tuple(content["classes"]),
        operating_point=OperatingPoint.from_plain(content.get("operating_point")),
        metrics=dict(content["metrics"]),
        training=dict(content["training"]),
        progress=None if content["progress"] is None else dict(content["progress"]),
    )


def read_plain(path: Path) -> object:
    """What a file written by torch.save holds, if that is tensors and plain values only.

    Raises:
        CheckpointError: missing, damaged, or holding anything that would have to be executed.
    """
    if os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"):
        raise CheckpointError(
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD is set, which lets a weights file run code; unset it"
        )
    if not path.exists():
        raise CheckpointError(f"{path}: no such file; give a checkpoint written by mask-gate-train")
    try:
        refuse_foreign(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except ModelFileError as error:
        raise CheckpointError(str(error)) from None
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path}: {_why_refused(path, str(error))}") from error
    except Exception as error:  # random bytes make the reader fail in any way there is
        raise CheckpointError(
            f"{path}: damaged or not a checkpoint ({type(error).__name__}); copy it again"
        ) from error


def _why_refused(path: Path, said: str) -> str:
    """What a file holds besides tensors, and how to save the tensors alone."""
    code = re.search(r"GLOBAL (\S+)", said)
    if code is None:
        return "damaged or not a checkpoint; copy it again"
    tensors = "model.state_dict()" if ".nn." in code[1] or "Model" in code[1] else "the tensors"
    return (
        f"holds a pickled {code[1]}, not only tensors and plain values; reading it could run code, "
        f"and it is refused. Where it was made, save its tensors alone: "
        f'torch.save({tensors}, "{path.stem}-tensors.pth")'
    )
