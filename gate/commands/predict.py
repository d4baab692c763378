"""mask-gate-predict: what a model sees in pictures, folders, videos, or before a camera."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

from tqdm import tqdm

from mask_gate.gate.camera.camera import open_camera
from mask_gate.gate.camera.clip import open_clip
from mask_gate.gate.camera.source import Source, SourceKind, parse_source
from mask_gate.gate.clock import uptime_s
from mask_gate.gate.commands.run_command import run_command
from mask_gate.gate.display.texts import load_texts
from mask_gate.gate.display.window import Window
from mask_gate.gate.domain import Image
from mask_gate.gate.errors import CameraError
from mask_gate.gate.predict.detector import Detector
from mask_gate.gate.predict.faces import Faces
from mask_gate.gate.predict.pictures import Item, Kind, find_items, read_picture
from mask_gate.gate.predict.results import Results, Wanted
from mask_gate.gate.system.opencv import prepare_opencv
from mask_gate.models.labels import CLASS_NAMES

_LIVE_FPS = 15.0
_LOOK_S = 0.5
_CLIPS = (SourceKind.PATH, SourceKind.DEMO)

_EPILOG = """\
DIR gets the annotated pictures and videos, detections.jsonl (a line a picture or frame) and
coco.json. The door's rule is not asked: this is what the model sees, not who may pass.
exit codes: 0 ok, 2 usage, 3 nothing could be read, 4 model or weights, 5 output, 130 Ctrl-C"""


def main(argv: Sequence[str] | None = None) -> int:
    """Look at pictures as a command; returns its exit code."""
    return run_command("mask-gate-predict", partial(_main, argv))


def _main(argv: Sequence[str] | None) -> int:
    options = parser().parse_args(argv)
    prepare_opencv()
    items = find_items([*options.sources, *options.source], sys.stdin)
    load_texts(options.language)
    wanted = Wanted(
        pictures=not options.no_pictures,
        txt=options.save_txt or options.save_conf,
        scores_in_txt=options.save_conf,
        crops=options.crop,
    )
    with contextlib.ExitStack() as stack:
        show: Callable[[Faces], None] | None = None
        stop: Callable[[], bool] = bool
        if options.show:
            window = stack.enter_context(contextlib.closing(Window("mask-gate-predict")))
            stop = partial(getattr, window, "quit_asked")

            def show(faces: Faces) -> None:
                window.show(faces.draw(options.language))

        detector = Detector(
            options.weights,
            device=options.device,
            min_score=options.conf,
            input_size=options.imgsz,
        )
        results = stack.enter_context(Results(options.out, wanted, options.language))
        look = _Look(detector, results, show, stop)
        look.at(items, seconds=options.seconds)
    return look.tell(options.out)


def parser() -> argparse.ArgumentParser:
    """Reads the flags of mask-gate-predict."""
    made = argparse.ArgumentParser(
        prog="mask-gate-predict",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = made.add_argument
    text = "pictures, folders, videos, patterns, a camera's index or URL, demo, or - for a list"
    add("sources", nargs="*", metavar="SOURCE", help=text)
    add("--source", nargs="+", default=[], metavar="SOURCE", help="the same")
    add("--out", type=Path, required=True, metavar="DIR", help="where results are written")
    text = "those that come with mask-gate by default; half-trained ones may be looked at"
    add("--weights", type=Path, metavar="FILE", help=text)
    text = "lowest score of a face; by default what the weights call a face"
    add("--conf", "--conf-thres", type=float, metavar="SCORE", help=text)
    text = "side of the square that the network looks at; the weights' own by default"
    add("--imgsz", "--img-size", type=int, metavar="PX", help=text)
    add("--device", default="auto", metavar="NAME", help="auto, cpu or cuda[:N]")
    add("--save-txt", action="store_true", help="write labels/NAME.txt too, as YOLO has them")
    add("--save-conf", action="store_true", help="with the score as a last column")
    text = "write a picture of each face, by class"
    add("--crop", "--save-crop", action="store_true", help=text)
    add("--no-pictures", "--nosave", action="store_true", help="write no annotated pictures")
    add("--show", "--view-img", action="store_true", help="show them in a window; q ends")
    add("--language", default="en", metavar="CODE", help="of the names in the pictures: en, ko")
    add("--seconds", type=float, metavar="N", help="end a camera after so many seconds")
    return made


Frames: TypeAlias = "Generator[tuple[int, float, Image | None]]"
"""Number, seconds since the first, and picture; None where none came for a while."""


def _clip(source: Source) -> tuple[float, Frames]:
    clip = open_clip(source, _LIVE_FPS)

    def frames() -> Frames:
        with contextlib.closing(clip):
            for index in itertools.count():
                if (image := clip.read()) is None:
                    return
                yield index, index / clip.fps, image

    return clip.fps, frames()


def _camera(source: Source) -> tuple[float, Frames]:
    camera = open_camera(source)

    def frames() -> Frames:
        began_s: float | None = None
        with contextlib.closing(camera):
            while True:
                frame = camera.read(_LOOK_S)
                if frame is not None and began_s is None:
                    began_s = frame.time_s
                now_s = uptime_s() if frame is None else frame.time_s
                index, image = (-1, None) if frame is None else (frame.index, frame.image)
                yield index, now_s - (now_s if began_s is None else began_s), image

    return _LIVE_FPS, frames()


class _Look:
    """Everything that is looked at in one call, and what came of it."""

    def __init__(
        self,
        detector: Detector,
        results: Results,
        show: Callable[[Faces], None] | None,
        stop: Callable[[], bool],
    ) -> None:
        self._detector, self._results = detector, results
        self._show, self._stop = show, stop
        self._pictures = 0
        self._faces: Counter[str] = Counter()
        self._unread: list[str] = []
        self._took_s = 0.0

    def at(self, items: Sequence[Item], *, seconds: float | None) -> None:
        """Look at every item; one that cannot be read is told and passed over."""
        began_s = uptime_s()
        try:
            self._at(items, seconds)
        finally:
            self._took_s = uptime_s() - began_s

    def _at(self, items: Sequence[Item], seconds: float | None) -> None:
        alone = len(items) == 1
        shown: Iterable[Item] = tqdm(items, unit="picture", disable=True if alone else None)
        for item in shown:
            if self._stop():
                return
            try:
                if item.kind is Kind.PICTURE:
                    faces = self._count(self._detector(read_picture(Path(item.source))))
                    self._results.picture(item, faces)
                else:
                    self._video(item, seconds)
            except CameraError as error:
                self._unread.append(item.source)
                tqdm.write(f"mask-gate-predict: {error}", file=sys.stderr)

    def _video(self, item: Item, seconds: float | None) -> None:
        """Look at a video's every frame, or at a camera's newest until it is to end."""
        source = parse_source(item.source)
        fps, frames = _clip(source) if source.kind in _CLIPS else _camera(source)
        bar = tqdm(desc=item.name, unit="frame", disable=None, leave=False)
        with contextlib.closing(frames), bar, self._results.video(item, fps) as kept:
            for index, time_s, image in frames:
                if self._stop() or (seconds is not None and time_s > seconds):
                    return
                if image is not None:
                    kept.add(self._count(self._detector(image)), index, time_s)
                    bar.update()

    def _count(self, faces: Faces) -> Faces:
        self._pictures += 1
        self._faces.update(faces.labels)
        if self._show is not None:
            self._show(faces)
        return faces

    def tell(self, folder: Path) -> int:
        """Say what came of it.

        Raises:
            CameraError: nothing could be read.
        """
        if self._unread and not self._pictures:
            raise CameraError(f"none of {len(self._unread)} could be read")
        counts = ", ".join(f"{self._faces[name]} {name}" for name in CLASS_NAMES)
        pictures = "1 picture" if self._pictures == 1 else f"{self._pictures} pictures"
        rate = f"{self._took_s:.1f} s, {self._pictures / max(self._took_s, 1e-9):.1f} a second"
        print(f"{pictures} ({rate}), {self._faces.total()} faces ({counts}): {folder}")
        if self._unread:
            print(f"{len(self._unread)} could not be read, {self._unread[0]} first")
        return 0


if __name__ == "__main__":
    sys.exit(main())
