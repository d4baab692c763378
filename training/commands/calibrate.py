"""mask-gate-calibrate: make scores probabilities, and put thresholds and their errors into weights.

Both are fitted on images that the weights were not trained on. A model that was trained on all of
them takes over what was fitted on a run of the same recipe without them (`--fit-on`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path

import numpy as np
import torch

from mask_gate.models.files.checkpoint import Checkpoint, save_checkpoint
from mask_gate.models.files.fingerprint import fingerprint
from mask_gate.models.files.open_weights import open_weights
from mask_gate.models.networks.calibrated_head import fold
from mask_gate.models.networks.device import choose_device
from mask_gate.models.networks.network import DetectionNetwork
from mask_gate.models.shipped import BUNDLED_WEIGHTS
from mask_gate.training.data.class_names import MAP_HELP, ClassMap
from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.data.dataset_writer import write_file
from mask_gate.training.data.preflight import checked_split
from mask_gate.training.data.samples import AnnotatedImage, Sample
from mask_gate.training.errors import UsageError, run_command
from mask_gate.training.evaluation.choose_operating_point import (
    Aims,
    Fit,
    describe,
    fit_operating_point,
)
from mask_gate.training.evaluation.face_matches import FaceMatches
from mask_gate.training.evaluation.inference import input_size_of, predictions_of
from mask_gate.training.evaluation.plots import draw_reliability
from mask_gate.training.evaluation.presentation_run import choose_faces, show_faces
from mask_gate.training.evaluation.presentations import WAYS
from mask_gate.training.progress_bar import progress


def main(argv: Sequence[str] | None = None) -> int:
    """Calibrate one checkpoint; returns the exit code."""
    arguments = parser().parse_args(argv)
    return run_command("mask-gate-calibrate", lambda: _calibrate(arguments))


def parser() -> argparse.ArgumentParser:
    """Reads the flags of mask-gate-calibrate."""
    made = argparse.ArgumentParser(prog="mask-gate-calibrate", description=__doc__)
    text = "those that come with mask-gate by default, which are calibrated already"
    made.add_argument("--weights", type=Path, default=BUNDLED_WEIGHTS, metavar="FILE", help=text)
    text = "look at the scores of these weights, of the same recipe, instead"
    made.add_argument("--fit-on", type=Path, metavar="FILE", help=text)
    made.add_argument("--out", type=Path, required=True, metavar="FILE", help="a new checkpoint")
    made.add_argument("--data", default=os.environ.get("MASK_GATE_DATA", "data"), metavar="DIR")
    text = "folder with train.txt and valid.txt that the weights were trained by"
    made.add_argument("--lists", type=Path, metavar="DIR", help=text)
    made.add_argument("--map", nargs="+", default=[], metavar="OWN=OURS", help=MAP_HELP)
    made.add_argument("--split", default="valid", help="images to fit on (default valid)")
    aims = Aims()
    text = f"aim: false accepts of a class (default {aims.false_accepts:g})"
    made.add_argument(
        "--false-accepts", type=float, default=aims.false_accepts, metavar="X", help=text
    )
    text = f"bound: false rejects that may cost (default {aims.false_rejects:g})"
    made.add_argument(
        "--false-rejects", type=float, default=aims.false_rejects, metavar="X", help=text
    )
    text = f"smallest face, in parts of the picture's longer side (default {aims.min_face:g})"
    made.add_argument("--min-face", type=float, default=aims.min_face, metavar="X", help=text)
    text = "choose thresholds by the faces shown tilted, in odd light and so on as well"
    made.add_argument("--presentations", action="store_true", help=text)
    text = "input side to fit for and to run at from now on; the weights' own"
    made.add_argument("--imgsz", type=int, metavar="PX", help=text)
    made.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    made.add_argument("--json", type=Path, metavar="FILE")
    made.add_argument("--plot", type=Path, metavar="FILE.png", help="draw what scores are worth")
    return made


def _calibrate(arguments: argparse.Namespace) -> None:
    aims = _aims(arguments)
    fit_on = arguments.fit_on or arguments.weights
    checkpoint, looked_at = open_weights(arguments.weights), open_weights(fit_on)
    _check_alike(checkpoint, looked_at)
    checkpoint.input_size = size = input_size_of(checkpoint, arguments.imgsz)
    data, samples = checked_split(
        Path(arguments.data),
        arguments.split,
        print,
        skip_bad=False,
        lists=arguments.lists,
        classes=ClassMap.parse(arguments.map),
    )
    _check_unseen(looked_at, data, arguments.split)
    device = choose_device(arguments.device)
    network = looked_at.network().to(device)
    predictions = list(predictions_of(network, [s.image for s in samples], size, device))
    shown = None
    if arguments.presentations:
        shown = _shown(data.split(arguments.split), samples, network, size, device)
    told = "" if shown is None else f" and {len(shown.images)} presentations of their faces"
    named = {
        "fitted_on": f"{len(samples)} images of {arguments.split}{told}, "
        f"data {data.fingerprint()[:16]}",
        "fitted_with": fingerprint(fit_on),
    }
    fit = fit_operating_point(samples, predictions, size, aims, named, shown=shown)
    _save(arguments.out, checkpoint, fit)
    print(describe(fit))
    told = "" if arguments.fit_on is None else f", taken over from {fit_on}"
    print(f"{arguments.out}: calibrated{told}; mask-gate-export it for engines other than torch")
    if arguments.plot:
        draw_reliability({"as trained": fit.before, "calibrated": fit.after}, arguments.plot)
    if arguments.json:
        write_file(arguments.json, json.dumps(fit.point.to_plain(), indent=1).encode())


def _shown(
    records: Sequence[AnnotatedImage],
    samples: Sequence[Sample],
    network: DetectionNetwork,
    size: int,
    device: torch.device,
) -> FaceMatches:
    """The faces of the samples in every core way; `images` tells the sample of each."""
    place_of = {record.stem: place for place, record in enumerate(records)}
    faces = choose_faces(records, None, 0)
    core = [way for way in WAYS if way.is_core]
    bar = progress(faces, "showing", "face")
    found = show_faces(
        bar, lambda record: samples[place_of[record.stem]], network, size, device, ways=core
    )
    images = np.array([place_of[record.stem] for record, _ in faces], np.int64)
    parts = [replace(matches, images=images) for matches in found.values()]
    return reduce(FaceMatches.beside, parts)


def _aims(arguments: argparse.Namespace) -> Aims:
    shares = {name: getattr(arguments, name) for name in Aims.__slots__ if name != "missed"}
    for name, share in shares.items():
        if not 0 < share < 1:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} {share:g}: expected a share between 0 and 1")
    return Aims(**shares)


def _check_alike(checkpoint: Checkpoint, looked_at: Checkpoint) -> None:
    """Both are as trained, and of one kind."""
    if checkpoint.operating_point is not None or looked_at.operating_point is not None:
        raise UsageError("these weights are calibrated already; give those of the training itself")
    for name in ("architecture", "input_size"):
        own, other = getattr(checkpoint, name), getattr(looked_at, name)
        if own != other:
            raise UsageError(f"--fit-on: expected {name} {own}, as of --weights, got {other}")


def _check_unseen(looked_at: Checkpoint, data: DatasetFolder, split: str) -> None:
    """Scores of images that were trained on say nothing about others."""
    told = looked_at.training.get("data")
    trained_on = looked_at.training.get("config", {}).get("train_split")
    if told is None:
        print("note: these weights do not say what they were trained on")
    elif told != data.fingerprint():
        raise UsageError(
            "the weights were trained on another split of the data, which may hold these images; "
            "give the --lists of their training, or other weights with --fit-on"
        )
    elif trained_on == split:
        raise UsageError(f"--split {split}: the weights were trained on it; give another one")


def _save(path: Path, checkpoint: Checkpoint, fit: Fit) -> None:
    network = checkpoint.network()
    assert fit.point.calibration is not None
    fold(network, fit.point.calibration)
    checkpoint.weights = network.state_dict()
    checkpoint.operating_point = fit.point
    checkpoint.progress = None  # what goes on from here would train calibrated scores
    save_checkpoint(path, checkpoint)


if __name__ == "__main__":
    sys.exit(main())
