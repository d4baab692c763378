"""The subcommands `import` and `twins` of `mask-gate-data`: wider data in, test images kept out."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from mask_gate.training.data.counts import count, counts_table
from mask_gate.training.data.crops import CropFolder
from mask_gate.training.data.dataset import DatasetFolder, turned_note
from mask_gate.training.data.image_file import is_turned
from mask_gate.training.data.labelled_writer import LabelledWriter
from mask_gate.training.data.near_duplicates import MAX_TWIN_BITS, hashes_of_views, twins_of
from mask_gate.training.data.open_images import LabelledImages, images_of, open_images
from mask_gate.training.data.samples import AnnotatedImage, Sample
from mask_gate.training.errors import DataError, Problem, UsageError
from mask_gate.training.progress_bar import progress

# Roboflow's exports say in these files who made them and by which licence.
NOTICES = ("SOURCES.md", "README.dataset.txt", "README.roboflow.txt", "LICENSE", "LICENSE.txt")


def add_import(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mask-gate-data import`."""
    parser.set_defaults(run=run_import)
    text = "data set or archive in any layout that is read here, or with --crops a folder of them"
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help=text)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    text = "the folder holds a folder of face pictures for each class, not whole scenes"
    parser.add_argument("--crops", action="store_true", help=text)
    text = "data sets to train and measure with: near twins of their test images are refused"
    parser.add_argument("--against", type=Path, nargs="+", default=[], metavar="DIR", help=text)
    text = "leave such twins out in place of refusing"
    parser.add_argument("--leave-out-twins", action="store_true", help=text)
    text = "pictures whose names agree in this regular expression are one group (a video's frames)"
    parser.add_argument("--group-by", type=_pattern, metavar="REGEX", help=text)
    parser.add_argument("--source", required=True, metavar="TEXT", help="where it comes from: URL")
    text = "by which licence, such as 'CC BY 4.0', which asks for the authors' names in --author"
    parser.add_argument("--licence", required=True, metavar="TEXT", help=text)
    parser.add_argument("--author", metavar="TEXT", help="whom the licence asks to name")


def add_twins(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mask-gate-data twins`."""
    parser.set_defaults(run=run_twins)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="looked through")
    text = "data sets whose images are looked for in it, also mirrored, turned or stretched"
    parser.add_argument("--against", type=Path, nargs="+", required=True, metavar="DIR", help=text)
    parser.add_argument("--split", metavar="NAME", help="only this split of theirs (default: all)")
    text = f"most bits of 127 in which near twins differ (default {MAX_TWIN_BITS})"
    parser.add_argument("--twin-bits", type=int, default=MAX_TWIN_BITS, metavar="N", help=text)
    text = "write a copy without them here, as a folder with labels.json"
    parser.add_argument("--out", type=Path, metavar="DIR", help=text)


def run_import(arguments: argparse.Namespace) -> int:
    """Write what was found as a folder with `labels.json`, or refuse it by name."""
    if arguments.licence.upper().startswith("CC BY") and not arguments.author:
        raise UsageError(f"{arguments.licence} asks for the authors' names: add --author")
    source = CropFolder.open(arguments.data) if arguments.crops else open_images(arguments.data)
    _say(f"{arguments.data}: {len(source.images)} images")
    samples = _loaded(source, source.images, "reading")
    twins: set[int] = set()
    for data in arguments.against:
        against = open_images(data)
        held_out = [
            record for split in _test_splits(against) for record in images_of(against, split)
        ]
        found = _twins(samples, _loaded(against, held_out, f"looking at {data}"), MAX_TWIN_BITS)
        if found and not arguments.leave_out_twins:
            problems = [
                Problem(first, f"shows {second}, a test image of {data}", "remove it")
                for _, first, second in found
            ]
            mend = "or add --leave-out-twins"
            what = f"{len(found)} near twins of test images would be trained on"
            raise DataError([*problems, Problem(str(arguments.data), what, mend)])
        twins |= {position for position, _, _ in found}
    kept = [index for index in range(len(samples)) if index not in twins]
    _write(arguments.out, source, kept, _sources(arguments), arguments.group_by)
    if twins:
        _say(f"left out {len(twins)} near twins of test images")
    records = [source.images[index] for index in kept]
    turned = sum(is_turned(source.read_image(one), str(one.image_path)) for one in records)
    if turned:
        _say(turned_note(turned))
    rows = [count("imported", records)]
    _say(f"{arguments.out}:\n{counts_table(rows)}")
    return 0


def run_twins(arguments: argparse.Namespace) -> int:
    """Report near twins, and with `--out` write a copy without them."""
    source = open_images(arguments.data)
    samples = _loaded(source, source.images, "reading")
    twins: set[int] = set()
    for data in arguments.against:
        against = open_images(data)
        records = images_of(against, arguments.split)
        others = _loaded(against, records, f"looking at {data}")
        found = _twins(samples, others, arguments.twin_bits)
        _say(f"{len(found)} of {len(samples)} images show one of {len(others)} of {data}")
        for position, first, second in found:
            _say(f"  {first} and {second}")
            twins.add(position)
    if arguments.out is not None:
        kept = [index for index in range(len(samples)) if index not in twins]
        notice = f"A copy of {arguments.data.name} without {len(twins)} near twins.\n"
        _write(arguments.out, source, kept, notice + _notices(arguments.data), None)
        _say(f"{arguments.out}: {len(kept)} images")
    return 0


def _test_splits(source: LabelledImages) -> list[str | None]:
    """The splits that figures are measured on; of a folder without splits, all of it."""
    if isinstance(source, DatasetFolder):
        return [name for name in source.stems_of_split if name != "train"]
    return [None]


def _twins(
    samples: Sequence[Sample], others: Sequence[Sample], max_bits: int
) -> list[tuple[int, str, str]]:
    """Position and name of each sample that shows one of the others, and that one's name."""
    views = hashes_of_views([s.image for s in others])
    nearest = twins_of([s.image for s in samples], views, max_bits)
    return [(first, samples[first].name, others[second].name) for first, second in nearest.items()]


def _loaded(source: LabelledImages, records: Sequence[AnnotatedImage], verb: str) -> list[Sample]:
    problems, samples = list[Problem](), list[Sample]()
    for record in progress(records, verb, "image"):
        try:
            samples.append(source.load(record))
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(problems)
    return samples


def _write(
    out: Path,
    source: LabelledImages,
    kept: Sequence[int],
    sources: str,
    group_by: re.Pattern[str] | None,
) -> None:
    with LabelledWriter(out, sources) as writer:
        for number, index in enumerate(kept):
            record = source.images[index]
            about = {"original": record.stem}
            found = group_by and group_by.search(record.stem)
            if found:
                about["group"] = found.group()
            name = f"{number:06}{record.image_path.suffix.lower()}"
            writer.add(name, source.read_image(record), record, **about)


def _sources(arguments: argparse.Namespace) -> str:
    """What `SOURCES.md` says: enough for the attribution that CC BY asks for."""
    lines = [
        f"# {arguments.out.name}",
        "",
        f"- Source: {arguments.source}",
        f"- Author: {arguments.author or 'not named'}",
        f"- Licence: {arguments.licence}",
        "- Changes: file names; boxes clipped to the pictures; annotations as labels.json",
    ]
    return "\n".join(lines) + "\n" + _notices(arguments.data)


def _notices(folder: Path) -> str:
    """What the set itself says of its origin."""
    texts = []
    for name in NOTICES:
        if (folder / name).is_file():
            text = (folder / name).read_text("utf-8", errors="replace").strip()
            texts.append(f"\n## {name}\n\n{text}\n")
    return "".join(texts)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
