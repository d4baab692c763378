"""LabelledWriter: a new folder of pictures with labels.json and SOURCES.md, whole or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.data.dataset_writer import write_file
from mask_gate.training.data.labels_json import LABELS_FILE
from mask_gate.training.data.samples import AnnotatedImage
from mask_gate.training.errors import OutputError, Problem

SOURCES_FILE = "SOURCES.md"


class LabelledWriter:
    """A context that fills a folder beside `out` and gives it that name when all went well.

    Args:
        out: must not exist yet, or be an empty folder.
        sources: where the pictures come from and by which licence, for `SOURCES.md`.

    Raises:
        OutputError: from every method, when `out` is taken or the disk refuses.
    """

    def __init__(self, out: Path, sources: str) -> None:
        self._out, self._sources = out, sources
        self._partial = out.with_name(f"{out.name}.partial")
        self._entries: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        if self._out.exists() and (not self._out.is_dir() or any(self._out.iterdir())):
            mend = "choose a new folder; nothing is overwritten"
            raise OutputError(Problem(str(self._out), "already there", mend))
        try:
            shutil.rmtree(self._partial, ignore_errors=True)
            (self._partial / "images").mkdir(parents=True)
        except OSError as error:
            raise _unwritable(self._partial, error) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            shutil.rmtree(self._partial, ignore_errors=True)
            return
        lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in self._entries)
        write_file(self._partial / LABELS_FILE, f"[{lines}]\n".encode())
        write_file(self._partial / SOURCES_FILE, self._sources.encode())
        try:
            self._partial.rename(self._out)
        except OSError as refusal:
            raise _unwritable(self._out, refusal) from None

    def add(self, name: str, image: bytes, record: AnnotatedImage, **about: str | int) -> None:
        """Write one picture.

        Args:
            name: file name in `images`.
            image: content of the file, as it is.
            record: its size and faces.
            about: further keys of its entry, such as `group`.
        """
        write_file(self._partial / "images" / name, image)
        boxes = [
            {"xyxy": [round(float(v), 1) for v in box], "label": CLASS_NAMES[label]}
            for box, label in zip(record.boxes_xyxy, record.labels.tolist(), strict=True)
        ]
        width, height = record.size_wh
        entry = {"file": f"images/{name}", "width": width, "height": height, **about}
        self._entries.append({**entry, "boxes": boxes})


def _unwritable(path: Path, error: OSError) -> OutputError:
    what = f"cannot be written ({error.strerror})"
    return OutputError(Problem(str(path), what, "check the folder, its rights and the free space"))
