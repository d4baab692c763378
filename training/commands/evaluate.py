"""mask-gate-eval: how good a checkpoint is on labelled images, or what it says of any images."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mask_gate.models.files.checkpoint import Checkpoint
from mask_gate.models.files.fingerprint import fingerprint
from mask_gate.models.files.open_weights import open_weights
from mask_gate.models.labels import CLASS_NAMES
from mask_gate.models.networks.device import choose_device
from mask_gate.models.networks.network import DetectionNetwork
from mask_gate.models.nms import suppress
from mask_gate.models.shipped import BUNDLED_WEIGHTS, SAMPLE_FACES
from mask_gate.training.data.check import too_many
from mask_gate.training.data.class_names import MAP_HELP, ClassMap
from mask_gate.training.data.dataset_writer import write_file
from mask_gate.training.data.image_file import IMAGE_SUFFIXES, decode_image
from mask_gate.training.data.open_images import images_of, open_images
from mask_gate.training.data.preflight import checked_split
from mask_gate.training.data.samples import AnnotatedImage, Sample
from mask_gate.training.errors import DataError, Problem, UsageError, run_command
from mask_gate.training.evaluation.average_precision import precision_recall
from mask_gate.training.evaluation.choose_operating_point import Thresholds
from mask_gate.training.evaluation.coco import save_detections
from mask_gate.training.evaluation.confusion import confusion_matrix
from mask_gate.training.evaluation.inference import (
    LOWEST_SCORE,
    in_source,
    input_size_of,
    predictions_of,
    result_of,
)
from mask_gate.training.evaluation.metrics import ImageResult, StrictMatches
from mask_gate.training.evaluation.mistakes import draw_mistakes, find_mistakes
from mask_gate.training.evaluation.out_of_domain import (
    elsewhere_table,
    look_elsewhere,
    summarise_elsewhere,
)
from mask_gate.training.evaluation.passage_video import people_of
from mask_gate.training.evaluation.passages import Passage, passages_table, plan, play, summarise
from mask_gate.training.evaluation.plots import draw_confusion, draw_precision_recall
from mask_gate.training.evaluation.presentation_plots import draw_shown, draw_ways
from mask_gate.training.evaluation.presentation_run import (
    MIN_FACE_PX,
    choose_faces,
    show_faces,
    shown_table,
    summarise_shown,
)
from mask_gate.training.evaluation.presentations import WAYS, present
from mask_gate.training.evaluation.report import build_report
from mask_gate.training.evaluation.report_protocol import MAXIMA_MIN_OBJECTNESS, merge_nms
from mask_gate.training.progress_bar import progress

DATA = "data"

_HONOURED = {
    "passages": {"json"},
    "presentations": {"json", "plots"},
    "out_of_domain": {"json"},
    "images": {"json", "save_detections"},
}
"""Which of what can be written each way of looking has; what is not named has all of it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate or predict; returns the exit code."""
    arguments = parser().parse_args(argv)
    if arguments.data is None:
        arguments.data = _data_where_none_is_named(arguments.presentations)
    return run_command("mask-gate-eval", lambda: _run(arguments))


def _data_where_none_is_named(presentations: bool) -> str:
    """The folder `data`; for presentations, where that is not there, the faces that come along."""
    if not presentations or Path(DATA).exists():
        return DATA
    print(f"shown are {SAMPLE_FACES}; give others with --data")
    return str(SAMPLE_FACES)


def _run(arguments: argparse.Namespace) -> None:
    _check_outputs(arguments)
    checkpoint = open_weights(arguments.weights)
    device = choose_device(arguments.device)
    size = input_size_of(checkpoint, arguments.imgsz)
    network = checkpoint.network().to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=arguments.bfloat16):
        _do(arguments, checkpoint, network, size, device)


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Refuse what would be written by another way of looking, before anything is looked at.

    Raises:
        UsageError: a flag goes with another of `_HONOURED`, or there is nowhere to write to.
    """
    if arguments.engine and not arguments.passages:
        raise UsageError("--engine: is of the gate that --passages plays to, so leave it out")
    mode = next((name for name in _HONOURED if getattr(arguments, name) not in (None, False)), None)
    if mode is None:
        return
    flag = f"--{mode.replace('_', '-')}"
    for name in ("json", "plots", "save_detections", "against"):
        if getattr(arguments, name) is not None and name not in _HONOURED[mode]:
            said = f"--{name.replace('_', '-')}: does not go with {flag}, so leave it out"
            if mode == "images" and name == "plots":
                said = (
                    "--plots: needs labels, which --images has none of; to see what is found: "
                    f"mask-gate-predict {arguments.images} --weights {arguments.weights} --out DIR"
                )
            raise UsageError(said)
    if mode == "images" and not (arguments.save_detections or arguments.json):
        raise UsageError(
            "--images needs --save-detections FILE for the faces of each image, or --json FILE "
            "for how many there are; to see them: mask-gate-predict"
        )


def _do(
    arguments: argparse.Namespace,
    checkpoint: Checkpoint,
    network: DetectionNetwork,
    size: int,
    device: torch.device,
) -> None:
    """What was asked for."""
    if arguments.passages:
        _passages(arguments)
    elif arguments.presentations:
        _presentations(arguments, checkpoint, network, size, device)
    elif arguments.out_of_domain:
        _elsewhere(arguments, checkpoint, network, size, device)
    elif arguments.images:
        _predict(arguments, network, size, device)
    else:
        _evaluate(arguments, checkpoint, network, size, device)


def parser() -> argparse.ArgumentParser:
    """Reads the flags of mask-gate-eval."""
    made = argparse.ArgumentParser(prog="mask-gate-eval", description=__doc__)
    text = "those that come with mask-gate by default"
    made.add_argument("--weights", type=Path, default=BUNDLED_WEIGHTS, metavar="FILE", help=text)
    text = "with --presentations, without it and where there is none: few faces that come along"
    made.add_argument("--data", default=os.environ.get("MASK_GATE_DATA"), metavar="DIR", help=text)
    where = "folder with train.txt and valid.txt, where they are not in the data"
    made.add_argument("--lists", type=Path, metavar="DIR", help=where)
    made.add_argument("--map", nargs="+", default=[], metavar="OWN=OURS", help=MAP_HELP)
    made.add_argument("--split", default="valid")
    text = "instead: any images, no labels needed; give --save-detections, --json or both"
    made.add_argument("--images", type=Path, metavar="DIR", help=text)
    text = "instead: N passages of each kind played to mask-gate, with false accepts and rejects"
    made.add_argument("--passages", type=int, metavar="N", help=text)
    text = "with --passages: the gate's own --engine; openvino-bf16 may take half as long"
    made.add_argument("--engine", metavar="NAME", help=text)
    text = "instead: every face shown tilted, in odd light and so on, and what is believed of it"
    made.add_argument("--presentations", action="store_true", help=text)
    made.add_argument("--limit", type=int, metavar="N", help="so many faces of each class")
    text = "instead: all labelled images of another data set, by the size of their faces"
    made.add_argument("--out-of-domain", type=Path, metavar="DIR", help=text)
    made.add_argument("--imgsz", type=int, metavar="PX", help="input side; the checkpoint's own")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    text = "compute in bfloat16: several times faster on many processors, scores nearly the same"
    made.add_argument("--bfloat16", action="store_true", help=text)
    made.add_argument("--conf", type=float, default=0.3, help="score threshold of the pictures")
    made.add_argument(
        "--one-label",
        action="store_true",
        help="one class a face, as at the gate, instead of every class a box may be",
    )
    made.add_argument(
        "--skip-bad", action="store_true", help="leave out bad images, up to 1 %% of them"
    )
    text = "other weights: print by how much these differ from them, on the same images"
    made.add_argument("--against", type=Path, metavar="FILE", help=text)
    made.add_argument("--seed", type=int, default=0, help="of the bootstrap, and of what is drawn")
    made.add_argument("--json", type=Path, metavar="FILE", help="write what is printed, and more")
    made.add_argument("--save-detections", type=Path, metavar="FILE", help="as COCO results")
    text = "curves, confusion and mistakes, or how each presentation fared"
    made.add_argument("--plots", type=Path, metavar="DIR", help=text)
    return made


def _evaluate(
    arguments: argparse.Namespace,
    checkpoint: Checkpoint,
    network: DetectionNetwork,
    size: int,
    device: torch.device,
) -> None:
    data, samples = checked_split(
        Path(arguments.data),
        arguments.split,
        print,
        arguments.skip_bad,
        arguments.lists,
        ClassMap.parse(arguments.map),
    )
    images = [sample.image for sample in samples]
    pairs = list(zip(samples, predictions_of(network, images, size, device), strict=True))
    at_gate = [result_of(s, rows, size, one_label=True) for s, rows in pairs]
    ranked = at_gate
    if not arguments.one_label:
        ranked = [result_of(s, rows, size) for s, rows in pairs]
    lenient = [_report_result(s, rows, size) for s, rows in pairs]
    report = build_report(
        ranked,
        random_seed=arguments.seed,
        min_score=arguments.conf,
        gate_results=at_gate,
        report_results=lenient,
        other_results=_others(arguments, samples, device) if arguments.against else None,
        settings={
            "weights": fingerprint(arguments.weights),
            "against": fingerprint(arguments.against) if arguments.against else None,
            "architecture": checkpoint.architecture,
            "input_size": size,
            "split": arguments.split,
            "data": data.fingerprint(),
            "skipped": list(data.left_out.get(arguments.split, ())),
            "one_label": arguments.one_label,
            "lowest_score": LOWEST_SCORE,
        },
    )
    print(report.table())
    if arguments.json:
        report.save(arguments.json)
    if arguments.save_detections:
        save_detections(ranked, arguments.save_detections)
    if arguments.plots:
        _draw(ranked, at_gate, samples, arguments.conf, arguments.plots)


def _others(
    arguments: argparse.Namespace, samples: Sequence[Sample], device: torch.device
) -> list[ImageResult]:
    """What the weights to compare with make of the same images."""
    other = open_weights(arguments.against)
    size = input_size_of(other, arguments.imgsz)
    images = [sample.image for sample in samples]
    found = predictions_of(other.network().to(device), images, size, device)
    return [
        result_of(sample, rows, size, one_label=arguments.one_label)
        for sample, rows in zip(samples, found, strict=True)
    ]


def _report_result(sample: Sample, rows: NDArray[np.float32], size: int) -> ImageResult:
    """As the report's own code suppresses: boxes of a class merged, weighted by objectness."""
    found, objectness = merge_nms(
        rows[:, :4], rows[:, 4], rows[:, 5:], min_objectness=MAXIMA_MIN_OBJECTNESS
    )
    detections = in_source(found, sample.size_hw, size)
    truth = sample.boxes_xyxy, sample.labels
    return ImageResult(sample.name, *truth, detections, sample.size_hw, objectness)


def _draw(
    ranked: Sequence[ImageResult],
    at_gate: Sequence[ImageResult],
    samples: Sequence[Sample],
    min_score: float,
    folder: Path,
) -> None:
    """Curves of what is ranked; confusion and mistakes of what the gate would hear."""
    folder.mkdir(parents=True, exist_ok=True)
    images: Mapping[str, NDArray[np.uint8]] = {
        s.name: np.ascontiguousarray(s.image[..., ::-1]) for s in samples
    }
    hits = [curves[0] for curves in StrictMatches.of(ranked).by_iou]
    curves = {name: precision_recall(r) for name, r in zip(CLASS_NAMES, hits, strict=True)}
    draw_precision_recall(curves, folder / "precision_recall.png", min_score)
    draw_confusion(confusion_matrix(at_gate, min_score), folder / "confusion.png")
    draw_mistakes(find_mistakes(at_gate, min_score), images.__getitem__, folder / "mistakes.png")


def _passages(arguments: argparse.Namespace) -> None:
    """People of the split, alone and in pairs, walk up to the gate itself."""
    if arguments.passages < 0:
        raise UsageError(f"--passages {arguments.passages}: expected a number above 0")
    data, samples = checked_split(
        Path(arguments.data),
        arguments.split,
        print,
        arguments.skip_bad,
        arguments.lists,
        ClassMap.parse(arguments.map),
    )
    people = people_of(samples)
    if not people:
        raise UsageError(f"{arguments.split}: nobody there is large enough and alone")
    planned = plan(people, arguments.passages, arguments.seed)

    def shown(done: Iterable[Passage]) -> Iterable[Passage]:
        return progress(done, "passing", "passage", len(planned), keep=True)

    engine = arguments.engine or "auto"
    summary = summarise(play(planned, arguments.weights, shown, engine, arguments.imgsz))
    print(passages_table(summary))
    if arguments.json:
        settings = {
            "weights": fingerprint(arguments.weights),
            "engine": engine,
            "input_size": arguments.imgsz,
            "split": arguments.split,
            "data": data.fingerprint(),
            "seed": arguments.seed,
        }
        write_file(arguments.json, json.dumps({**summary, "settings": settings}, indent=1).encode())


def _presentations(
    arguments: argparse.Namespace,
    checkpoint: Checkpoint,
    network: DetectionNetwork,
    size: int,
    device: torch.device,
) -> None:
    """Faces of the split, or of a folder with labels.json, shown in every way."""
    if arguments.limit is not None and arguments.limit < 1:
        raise UsageError(f"--limit {arguments.limit}: expected a number above 0")
    images, load = _labelled(arguments, Path(arguments.data), arguments.split)
    faces = choose_faces(images, arguments.limit, arguments.seed)
    if not faces:
        raise UsageError(f"{arguments.data}: no face of {MIN_FACE_PX:g} px or more to show")
    seen = progress(faces, "showing", "face", keep=True)
    shown = show_faces(seen, load, network, size, device, arguments.seed)
    summary = summarise_shown(shown, Thresholds.of(checkpoint.operating_point))
    print(shown_table(summary))
    _save_summary(arguments, summary, size)
    if arguments.plots:
        draw_shown(summary, arguments.plots / "presentations.png")
        first, face = load(faces[0][0]), faces[0][1]
        rng = np.random.default_rng(arguments.seed)
        drawn = {way.name: present(first, face, way, size, rng) for way in WAYS}
        draw_ways(drawn, arguments.plots / "ways.png")


def _elsewhere(
    arguments: argparse.Namespace,
    checkpoint: Checkpoint,
    network: DetectionNetwork,
    size: int,
    device: torch.device,
) -> None:
    """All labelled images of another data set."""
    images, load = _labelled(arguments, arguments.out_of_domain, None)
    if not images:
        raise UsageError(f"--out-of-domain {arguments.out_of_domain}: no labelled images there")

    def shown(steps: Iterable[int]) -> Iterable[int]:
        return progress(steps, "looking", "batch", keep=True)

    elsewhere = look_elsewhere(images, load, network, size, device, shown)
    summary = summarise_elsewhere(elsewhere, Thresholds.of(checkpoint.operating_point))
    print(elsewhere_table(summary))
    _save_summary(arguments, summary, size)


def _labelled(
    arguments: argparse.Namespace, folder: Path, split: str | None
) -> tuple[Sequence[AnnotatedImage], Callable[[AnnotatedImage], Sample]]:
    """Labelled images still on disk, and what decodes them.

    Of a data set it is the split, or with None every image.
    """
    source = open_images(folder, arguments.lists)
    return images_of(source, split), source.load


def _save_summary(arguments: argparse.Namespace, summary: Mapping[str, object], size: int) -> None:
    if arguments.json:
        settings = {
            "weights": fingerprint(arguments.weights),
            "input_size": size,
            "seed": arguments.seed,
        }
        text = json.dumps({**summary, "settings": settings}, indent=1)
        write_file(arguments.json, text.encode())


def _predict(
    arguments: argparse.Namespace, network: DetectionNetwork, size: int, device: torch.device
) -> None:
    """Detections of every image in a folder, as COCO results and as counts."""
    paths = sorted(p for p in arguments.images.glob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    stems = [path.stem for path in paths]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise UsageError(
            f"--images {arguments.images}: {len(twice)} names stand twice with other endings, "
            f"{twice[0]} first; results are told apart by name, so rename one"
        )
    if not paths:
        raise UsageError(f"--images {arguments.images}: no images there; give a folder of images")
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    results = []
    skipped: list[Problem] | None = [] if arguments.skip_bad else None
    shown = progress(_read(paths, skipped), "looking", "image", len(paths), keep=True)
    for path, image in shown:
        rows = next(iter(predictions_of(network, [image], size, device)))
        size_hw = image.shape[0], image.shape[1]
        found = in_source(suppress(rows, LOWEST_SCORE), size_hw, size)
        results.append(ImageResult(path.stem, *nothing, found, size_hw))
    for problem in skipped or ():
        print(f"skipped {problem}")
    if arguments.save_detections:
        save_detections(results, arguments.save_detections)
    strong = [r.detections.labels[r.detections.scores >= arguments.conf] for r in results]
    faces = np.bincount(
        np.concatenate([np.zeros(0, np.int64), *strong]), minlength=len(CLASS_NAMES)
    ).tolist()
    counts = dict(zip(CLASS_NAMES, faces, strict=True))
    by_class = ", ".join(f"{name} {count}" for name, count in counts.items())
    told = f"{len(results)} images, {sum(faces)} faces of score {arguments.conf} or more"
    told += f" ({by_class})"
    _save_summary(
        arguments,
        {
            "images": len(results),
            "skipped": [str(problem) for problem in skipped or ()],
            "min_score": arguments.conf,
            "faces": counts,
        },
        size,
    )
    if skipped:
        told += f"; skipped {len(skipped)} of {len(paths)} images"
    print(told)


def _read(
    paths: Sequence[Path], skipped: list[Problem] | None
) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
    """Every image that decodes; the first problem of each other goes to `skipped`, if given.

    Raises:
        DataError: an image does not decode, and none, or none more, may be skipped.
    """
    for path in paths:
        try:
            image = decode_image(path.read_bytes(), path.name)
        except DataError as error:
            if skipped is None:
                raise
            skipped.append(error.problems[0])
            refusal = too_many(len(skipped), len(paths), str(path.parent))
            if refusal is not None:
                raise DataError([refusal, *skipped]) from None
            continue
        yield path, image


if __name__ == "__main__":
    sys.exit(main())
