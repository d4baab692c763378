"""The command `mask-gate-data`: looks at data sets, writes new ones, finds anchors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from mask_gate.models.files.strict_yaml import read_config
from mask_gate.models.labels import CLASS_NAMES, MaskLabel
from mask_gate.training.commands.data_import import add_import, add_twins
from mask_gate.training.commands.draw_masks import add_draw_masks
from mask_gate.training.config import TrainConfig, config_path
from mask_gate.training.data.anchors import face_sizes_wh, kmeans_anchors, shape_iou
from mask_gate.training.data.augment import Augmenter
from mask_gate.training.data.box_rules import parse_number
from mask_gate.training.data.check import check
from mask_gate.training.data.class_names import MAP_HELP, ClassMap
from mask_gate.training.data.counts import (
    ALL,
    Counts,
    count,
    count_splits,
    counts_picture,
    counts_table,
    sum_counts,
)
from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.data.dataset_writer import convert, write_file, write_split_lists
from mask_gate.training.data.near_duplicates import (
    HASH_BITS,
    MAX_TWIN_BITS,
    perceptual_hash,
    twin_groups,
    twin_pairs,
    twins_across,
)
from mask_gate.training.data.open_images import LabelledImages, images_of, open_images
from mask_gate.training.data.preview import draw_sheet
from mask_gate.training.data.report_augment import MAX_NOISE_SIGMA, ROTATION_DEG, SCALE
from mask_gate.training.data.report_subset import (
    VALID_IMAGES,
    Recipe,
    balanced_split,
    images_with,
    write_augmented,
)
from mask_gate.training.data.samples import AnnotatedImage, Sample
from mask_gate.training.data.splits import VALID_SHARE, stratified_parts
from mask_gate.training.errors import DataError, Problem, problem_lines, run_command
from mask_gate.training.progress_bar import progress

# The balanced, augmented subset of the report itself: 97 images, 246 + 15 after augmentation.
REPORT_BALANCED_IMAGES = 97
REPORT_BALANCED_BOXES = (1516, 405, 327)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns 0, 2 for bad data or usage, 5 for output, 130 if interrupted."""
    arguments = parser().parse_args(argv)
    return run_command(
        "mask-gate-data",
        lambda: arguments.run(arguments),
        "interrupted; nothing half-written was left behind",
    )


def parser() -> argparse.ArgumentParser:
    """Reads the flags of mask-gate-data."""
    made = argparse.ArgumentParser(prog="mask-gate-data", description=__doc__)
    commands = made.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        where = "folder with `images` and `annotations` (or `labels`), or Kaggle's archive.zip"
        sub.add_argument("--data", type=Path, required=True, metavar="DIR", help=where)
        where = "folder with train.txt and valid.txt, where they are not in the data"
        sub.add_argument("--lists", type=Path, metavar="DIR", help=where)
        sub.add_argument("--map", nargs="+", default=[], metavar="OWN=OURS", help=MAP_HELP)
        text = "of everything drawn by chance (default 0)"
        sub.add_argument("--seed", type=_whole(0), default=0, metavar="N", help=text)
        return sub

    sub = command("check", _check, "Find everything that is wrong with a data set.")
    sub.add_argument("--report", type=Path, metavar="FILE", help="write every problem, not 50")

    sub = command("convert", _convert, "Write a data set with annotations of another format.")
    sub.add_argument("--to", choices=("yolo", "voc"), required=True)
    _add_out(sub)

    sub = command("count", _count, "Count images and boxes of each class and split.")
    sub.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the counts as well")

    sub = command(
        "balance", _balance, "Take the images that show a rare class, split, and augment them."
    )
    sub.add_argument("--label", choices=CLASS_NAMES, default=CLASS_NAMES[-1], help="the rare class")
    text = f"images kept for validation (default {VALID_IMAGES})"
    sub.add_argument("--valid", type=_whole(1), default=VALID_IMAGES, metavar="N", help=text)
    text = "take images of this split only, so that another split stays unseen (default: all)"
    sub.add_argument("--split", metavar="NAME", help=text)
    _add_recipe(sub)
    _add_out(sub)

    sub = command("augment", _augment, "Add both augmentations of every training image.")
    _add_recipe(sub)
    _add_out(sub)

    sub = command("preview", _preview, "Draw a sheet of images with their boxes.")
    sub.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    sub.add_argument("--images", type=_whole(1), default=12, metavar="N", help="default 12")
    sub.add_argument("--columns", type=_whole(1), default=4, metavar="N", help="default 4")
    sub.add_argument("--names", nargs="+", metavar="STEM", help="these images, not random ones")
    sub.add_argument("--split", metavar="NAME", help="draw from this split only")
    sub.add_argument("--label", choices=CLASS_NAMES, help="only images that show this class")
    text = "one image a row: as it is, scaled and turned, noisy"
    sub.add_argument("--augmented", action="store_true", help=text)
    text = "varied as this experiment does it, such as lite-wide, at --imgsz"
    sub.add_argument("--experiment", metavar="YAML", help=text)
    sub.add_argument("--imgsz", type=_whole(32), default=256, metavar="PX", help="default 256")
    _add_recipe(sub)

    sub = command("split", _split, "Report near twins across splits; with --out, split anew.")
    sub.add_argument("--out", type=Path, metavar="DIR", help="write the new lists here")
    text = "split the images of this split only, so that another one stays unseen (default: all)"
    sub.add_argument("--split", metavar="NAME", help=text)
    parts = sub.add_mutually_exclusive_group()
    text = f"share of the images for validation (default {VALID_SHARE:.3f})"
    parts.add_argument(
        "--valid-share", type=_number(0.001, 0.999), default=VALID_SHARE, metavar="X", help=text
    )
    text = "K splits into folders fold1 to foldK, each image in validation once"
    parts.add_argument("--folds", type=_whole(2), metavar="K", help=text)
    text = f"most bits of 127 in which near twins differ (default {MAX_TWIN_BITS})"
    sub.add_argument("--twin-bits", type=_whole(0), default=MAX_TWIN_BITS, metavar="N", help=text)

    sub = command("anchors", _anchors, "Find anchors that fit the faces of a data set.")
    text = "side of the network's input in pixels (default 416)"
    sub.add_argument("--imgsz", type=_whole(32), default=416, metavar="PX", help=text)
    sub.add_argument("--count", type=_whole(1), default=9, metavar="N", help="default 9")
    sub.add_argument("--split", metavar="NAME", help="fit to this split only")

    text = "Take further images into training, without any that figures are measured on."
    add_import(commands.add_parser("import", help=text, description=text))
    text = "Find images of other sets in a set, also mirrored, turned or stretched."
    add_twins(commands.add_parser("twins", help=text, description=text))
    text = "Draw masks, worn properly and in every wrong way, onto bare faces."
    add_draw_masks(commands.add_parser("draw-masks", help=text, description=text))
    return made


def _add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    text = f"factor of the first augmentation (default {SCALE})"
    parser.add_argument("--scale", type=_number(0.05, 4), default=SCALE, metavar="X", help=text)
    text = f"its clockwise turn in degrees (default {ROTATION_DEG:g})"
    parser.add_argument(
        "--rotate", type=_number(-180, 180), default=ROTATION_DEG, metavar="DEG", help=text
    )
    text = "turn the oval inside each box, or enclose its turned corners as the report did"
    parser.add_argument("--outline", choices=("ellipse", "corners"), default="ellipse", help=text)
    text = f"largest noise of the second, as a part of 255 (default {MAX_NOISE_SIGMA / 255:g})"
    parser.add_argument(
        "--noise", type=_number(0, 1), default=MAX_NOISE_SIGMA / 255, metavar="X", help=text
    )


def _number(low: float, high: float) -> Callable[[str], float]:
    """An argument type: a number from `low` to `high`."""

    def number(text: str) -> float:
        value = parse_number(text)
        if value is None or not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low:g} to {high:g}")
        return value

    return number


def _whole(low: int) -> Callable[[str], int]:
    """An argument type: a whole number from `low`."""

    def whole(text: str) -> int:
        value = parse_number(text)
        if value is None or value != int(value) or value < low:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low}")
        return int(value)

    return whole


def _open(arguments: argparse.Namespace) -> DatasetFolder:
    classes = ClassMap.parse(arguments.map)
    dataset = DatasetFolder.open(arguments.data, arguments.lists, arguments.seed, classes)
    found = dataset.layout_note or f"{len(dataset.images)} images"
    _say(f"{found}; {dataset.split_note}")
    if told := classes.told():
        _say(f"classes: {told}")
    return dataset


def _recipe(arguments: argparse.Namespace) -> Recipe:
    noise = arguments.noise * 255
    return Recipe(arguments.scale, arguments.rotate, arguments.outline, noise, arguments.seed)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _check(arguments: argparse.Namespace) -> int:
    found = check(
        arguments.data,
        arguments.lists,
        arguments.seed,
        lambda names: progress(names, "checking", "image"),
        classes=ClassMap.parse(arguments.map),
    )
    problems = (*found.problems, *found.leaks)
    if arguments.report is not None:
        write_file(arguments.report, "".join(f"{problem}\n" for problem in problems).encode())
    _say("\n".join(f"note: {note}" for note in found.notes))
    faces = sum(len(image.labels) for image in found.dataset.images)
    read = f"{len(found.dataset.images)} annotated images, {faces} faces"
    if not problems:
        _say(f"ok: {read}, no problems")
        return 0
    sys.stderr.write(f"{problem_lines(problems)}\n")
    plural = "s" if len(problems) > 1 else ""
    sys.stderr.write(f"{len(problems)} problem{plural} in {arguments.data}; read: {read}\n")
    return DataError.exit_code


def _convert(arguments: argparse.Namespace) -> int:
    dataset = _open(arguments)
    convert(dataset, arguments.out, arguments.to, progress(dataset.images, "converting", "image"))
    _say(f"{arguments.out}: {len(dataset.images)} images with {arguments.to} annotations")
    return 0


def _count(arguments: argparse.Namespace) -> int:
    dataset = _open(arguments)
    rows = count_splits(dataset)
    _say(counts_table(rows, dataset.classes))
    if arguments.plot is not None:
        write_file(arguments.plot, counts_picture(rows))
        _say(f"picture: {arguments.plot}")
    return 0


def _anchors(arguments: argparse.Namespace) -> int:
    sizes = face_sizes_wh(_chosen(_open(arguments), arguments.split), arguments.imgsz)
    anchors = kmeans_anchors(sizes, arguments.count, np.random.default_rng(arguments.seed))
    fit = shape_iou(sizes, anchors).max(axis=1).mean()
    _say(f"width and height in pixels of a {arguments.imgsz} px input, mean IoU {fit:.3f}:")
    _say(", ".join(f"[{width:.0f}, {height:.0f}]" for width, height in anchors))
    return 0


def _chosen(dataset: DatasetFolder, split: str | None) -> tuple[AnnotatedImage, ...]:
    return dataset.images if split is None else dataset.split(split)


def _balance(arguments: argparse.Namespace) -> int:
    dataset = _open(arguments)
    label = MaskLabel(CLASS_NAMES.index(arguments.label))
    images = _chosen(dataset, arguments.split)
    train, valid = balanced_split(dataset, images, label, arguments.valid, arguments.seed)
    before = [count("train", train), count("valid", valid), count(ALL, (*train, *valid))]
    _say(f"\n{before[-1].images} images show {arguments.label}:\n{counts_table(before)}")
    grown = _grow(dataset, train, valid, arguments)
    if before[-1].images == REPORT_BALANCED_IMAGES:
        ours = sum_counts(ALL, grown).boxes
        _say(
            f"the report's own choice of {VALID_IMAGES} validation images gave "
            f"{_slashed(REPORT_BALANCED_BOXES)}, this seed's gives {_slashed(ours)}"
        )
    return 0


def _augment(arguments: argparse.Namespace) -> int:
    dataset = _open(arguments)
    _grow(dataset, dataset.split("train"), dataset.split("valid"), arguments)
    return 0


def _grow(
    dataset: DatasetFolder,
    train: Sequence[AnnotatedImage],
    valid: Sequence[AnnotatedImage],
    arguments: argparse.Namespace,
) -> tuple[Counts, Counts]:
    """Write both augmentations of `train`, and say what came of it."""
    shown = progress(train, "augmenting", "image")
    grown = write_augmented(dataset, shown, valid, arguments.out, _recipe(arguments))
    _say(f"\n{arguments.out}, augmented:\n{counts_table([*grown, sum_counts(ALL, grown)])}")
    lost = 3 * sum(len(image.labels) for image in train) - sum(grown[0].boxes)
    if lost:
        _say(f"{lost} faces left the picture, or became smaller than a pixel, when it was turned")
    return grown


def _slashed(numbers: Sequence[int]) -> str:
    return "/".join(str(number) for number in numbers)


def _preview(arguments: argparse.Namespace) -> int:
    source = open_images(arguments.data, arguments.lists)
    records = _previewed(source, arguments)
    samples, columns = [source.load(record) for record in records], arguments.columns
    if arguments.augmented:
        columns, recipe = 3, _recipe(arguments)
        samples = [one for sample in samples for one in (sample, *recipe.variants(sample))]
    elif arguments.experiment is not None:
        samples = _as_trained(samples, arguments)
    sheet = cv2.imencode(".png", draw_sheet(samples, min(columns, len(samples))))[1]
    write_file(arguments.out, sheet.tobytes())
    _say(f"{arguments.out}: {len(records)} images")
    return 0


def _as_trained(samples: Sequence[Sample], arguments: argparse.Namespace) -> list[Sample]:
    """What a training would show in the place of these samples."""
    config = read_config(TrainConfig, config_path(arguments.experiment), [])
    augment = Augmenter(config.augment)
    made = []
    for number, sample in enumerate(samples):
        rng = np.random.default_rng([arguments.seed, number])
        others = partial(_any_of, samples, rng)
        made.append(augment(sample, others, arguments.imgsz, rng))
    return made


def _any_of(samples: Sequence[Sample], rng: np.random.Generator) -> Sample:
    return samples[int(rng.integers(len(samples)))]


def _previewed(source: LabelledImages, arguments: argparse.Namespace) -> tuple[AnnotatedImage, ...]:
    """The images a sheet shall show: those named, or some drawn by chance."""
    images = images_of(source, arguments.split)
    if arguments.label is not None:
        images = images_with(images, MaskLabel(CLASS_NAMES.index(arguments.label)))
    where = str(arguments.data)
    if arguments.names is not None:
        image_of = {image.stem: image for image in images}
        unknown = [
            Problem(where, f"no image {name!r}", "give stems of this set")
            for name in arguments.names
            if name not in image_of
        ]
        if unknown:
            raise DataError(unknown)
        return tuple(image_of[name] for name in arguments.names)
    if not images:
        raise DataError(Problem(where, "no image to show", "ask for another split or class"))
    order = np.random.default_rng(arguments.seed).permutation(len(images))
    return tuple(images[index] for index in sorted(order[: arguments.images]))


def _split(arguments: argparse.Namespace) -> int:
    dataset = _open(arguments)
    images = dataset.images if arguments.split is None else dataset.split(arguments.split)
    hashes = [
        perceptual_hash(dataset.load(image).image) for image in progress(images, "looking", "image")
    ]
    pairs = twin_pairs(hashes, arguments.twin_bits)
    groups = twin_groups(len(hashes), pairs)
    twinned = {index for first, second, _ in pairs for index in (first, second)}
    _say(f"{len(twinned)} images have a near twin, in {len(pairs)} pairs")
    _say_twins(images, dataset.stems_of_split, pairs)
    if arguments.out is None:
        return 0
    for folder, parts in _new_splits(images, groups, arguments).items():
        stems = {name: [image.stem for image in part] for name, part in parts.items()}
        write_split_lists(folder, stems, dataset.image_names)
        _say(f"\n{folder}:\n{counts_table([count(name, part) for name, part in parts.items()])}")
        _say_twins(images, stems, pairs)
    return 0


def _new_splits(
    images: Sequence[AnnotatedImage], groups: Sequence[int], arguments: argparse.Namespace
) -> dict[Path, dict[str, tuple[AnnotatedImage, ...]]]:
    """The images of train and valid, for each folder that lists are to be written to."""
    if arguments.folds is None:
        shares = (1 - arguments.valid_share, arguments.valid_share)
        train, valid = stratified_parts(images, shares, arguments.seed, groups)
        return {arguments.out: {"train": train, "valid": valid}}
    folds = stratified_parts(images, (1,) * arguments.folds, arguments.seed, groups)
    return {
        arguments.out / f"fold{number}": {
            "train": tuple(image for image in images if image not in fold),
            "valid": fold,
        }
        for number, fold in enumerate(folds, start=1)
    }


def _say_twins(
    images: Sequence[AnnotatedImage],
    stems_of_split: Mapping[str, Sequence[str]],
    pairs: list[tuple[int, int, int]],
) -> None:
    """How many validation images have a near twin in another split, and every such pair."""
    split_of = {stem: split for split, stems in stems_of_split.items() for stem in stems}
    sides = [split_of.get(image.stem) for image in images]
    across = twins_across(pairs, sides)
    twinned = {i for first, second, _ in across for i in (first, second) if sides[i] == "valid"}
    total = len(stems_of_split.get("valid", ()))
    _say(f"{len(twinned)} of {total} validation images have a near twin in another split")
    for first, second, bits in across:
        named = (f"{images[i].stem} ({sides[i]})" for i in (first, second))
        _say(f"  {' and '.join(named)} differ in {bits} of {HASH_BITS} bits")
