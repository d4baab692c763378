"""The subcommand `draw-masks` of `mask-gate-data`: bare faces become worn masks of every kind."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.data.box_rules import parse_number
from mask_gate.training.data.labelled_writer import LabelledWriter
from mask_gate.training.data.labels_json import LABELS_FILE
from mask_gate.training.data.samples import AnnotatedImage
from mask_gate.training.drawing.faces import BareFace, bare_faces
from mask_gate.training.drawing.painter import SHARES, Drawn, label_of
from mask_gate.training.drawing.workshop import Order, draw_faces
from mask_gate.training.errors import DataError, Problem
from mask_gate.training.progress_bar import progress

QUALITY = {
    "jpg": [cv2.IMWRITE_JPEG_QUALITY, 90],
    "webp": [cv2.IMWRITE_WEBP_QUALITY, 88],
}


def add_draw_masks(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mask-gate-data draw-masks`."""
    parser.set_defaults(run=run_draw_masks)
    text = "a data set or a folder with labels.json, of which the bare faces are taken; or a "
    text += "folder of portraits, one bare face each"
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help=text)
    text = "folder with train.txt and valid.txt, where they are not in the data"
    parser.add_argument("--lists", type=Path, metavar="DIR", help=text)
    text = "of a data set; on the images of others figures are measured (default train)"
    parser.add_argument("--split", default="train", metavar="NAME", help=text)
    text = "only the faces named in it, one `person` a line: those that somebody has looked at"
    parser.add_argument("--only", type=Path, metavar="FILE", help=text)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    text = "folder of cut-out pictures of masks, to draw beside the procedural ones"
    parser.add_argument("--templates", type=Path, metavar="DIR", help=text)
    text = f"draw these variants only, of {', '.join(SHARES)}"
    parser.add_argument(
        "--variants", nargs="+", choices=list(SHARES), default=list(SHARES), metavar="NAME",
        help=text,
    )  # fmt: skip
    text = "pictures of each face, on average (default 1)"
    parser.add_argument("--each", type=_pictures, default=1.0, metavar="X", help=text)
    text = "of everything drawn by chance (default 0)"
    parser.add_argument("--seed", type=_whole, default=0, metavar="N", help=text)
    text = "processes; any number of them draws the same (default: one a core)"
    cores = os.cpu_count() or 1
    parser.add_argument("--workers", type=_whole, default=cores, metavar="N", help=text)
    text = "of the pictures (default jpg)"
    parser.add_argument("--format", choices=tuple(QUALITY), default="jpg", help=text)
    text = "where the photographs come from: URL"
    parser.add_argument("--source", required=True, metavar="TEXT", help=text)
    text = "by which licence, such as 'public domain'"
    parser.add_argument("--licence", required=True, metavar="TEXT", help=text)


def run_draw_masks(arguments: argparse.Namespace) -> int:
    """Draw on every bare face, write the folder, and say what is in it."""
    faces = bare_faces(arguments.data, arguments.lists, arguments.split)
    if arguments.only is not None:
        faces = _named(faces, arguments.only)
    if not faces:
        raise DataError(Problem(str(arguments.data), "no bare face to draw on", "give others"))
    shares = tuple((name, SHARES[name]) for name in arguments.variants)
    order = Order(arguments.templates, shares, arguments.each, arguments.seed)
    counts, faces_used = Counter[str](), 0
    with LabelledWriter(arguments.out, _sources(arguments)) as writer:
        done = draw_faces(order, faces, arguments.workers)
        for face, drawn in progress(done, "drawing", "face", len(faces), keep=True):
            faces_used += bool(drawn)
            for one in drawn:
                _write(writer, face, one, sum(counts.values()), arguments)
                counts[one.variant] += 1
    total = sum(counts.values())
    _say(f"{arguments.out}: {total} pictures of {faces_used} faces of {len(faces)}")
    for name in arguments.variants:
        _say(f"  {name:<12}{counts[name]:>6}  {CLASS_NAMES[label_of(name)]}")
    return 0


def _named(faces: Sequence[BareFace], only: Path) -> list[BareFace]:
    try:
        wanted = set(only.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(Problem(str(only), f"cannot be read ({error})", "mend it")) from None
    missing = sorted(wanted - {face.person for face in faces} - {""})
    if missing:
        mend = "write `person` as labels.json has it: folder/picture#number"
        raise DataError([Problem(str(only), f"{name} is no bare face", mend) for name in missing])
    return [face for face in faces if face.person in wanted]


def _write(
    writer: LabelledWriter, face: BareFace, one: Drawn, number: int, arguments: argparse.Namespace
) -> None:
    name = f"{number:06}_{one.variant}.{arguments.format}"
    content = cv2.imencode(f".{arguments.format}", one.picture, QUALITY[arguments.format])[1]
    height, width = one.picture.shape[:2]
    record = AnnotatedImage(
        Path(name), Path(LABELS_FILE), (width, height), one.boxes_xyxy.astype(np.float32),
        np.array(one.labels, np.int64), name,
    )  # fmt: skip
    writer.add(
        name, content.tobytes(), record, person=face.person, variant=one.variant,
        template=one.template, light=one.light, yaw_deg=round(one.yaw_deg),
        source=f"{arguments.source}: {face.person.partition('#')[0]}", licence=arguments.licence,
    )  # fmt: skip


def _sources(arguments: argparse.Namespace) -> str:
    lines = [
        f"# {arguments.out.name}",
        "",
        f"- Source: {arguments.source}",
        f"- Licence: {arguments.licence}",
        f"- Changes: masks and other things drawn onto faces, parts cut out, light changed by "
        f"`mask-gate-data draw-masks --seed {arguments.seed}`",
    ]
    if arguments.templates is not None:
        lines += ["", "Pictures of masks:", ""]
        lines += [
            f"- {path.parent.name}: {path.read_text('utf-8', errors='replace').split(chr(10))[0]}"
            for path in sorted(arguments.templates.rglob("LICENSE"))
        ]
    return "\n".join(lines) + "\n"


def _whole(text: str) -> int:
    value = parse_number(text)
    if value is None or value != int(value) or value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(value)


def _pictures(text: str) -> float:
    value = parse_number(text)
    if value is None or not 0 < value <= len(SHARES):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0, up to {len(SHARES)}")
    return value


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
