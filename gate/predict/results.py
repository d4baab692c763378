"""Results: the folder in which everything that was seen is kept, each file for another reader."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import cv2

from mask_gate.gate.display.video_files import open_recording
from mask_gate.gate.domain import Image
from mask_gate.gate.errors import ConfigError, OutputError
from mask_gate.gate.predict.faces import Faces
from mask_gate.gate.predict.pictures import Item
from mask_gate.models.labels import CLASS_NAMES

LINES, COCO = "detections.jsonl", "coco.json"
LABELS, CROPS = "labels", "crops"
PICTURE_SUFFIX = ".jpg"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is written beside JSON lines and COCO.

    Attributes:
        pictures: annotated pictures and videos.
        txt: YOLO text, a file a picture.
        scores_in_txt: its last column is the score.
        crops: a picture of each face, in a folder a class.
    """

    pictures: bool = True
    txt: bool = False
    scores_in_txt: bool = False
    crops: bool = False


class Results:
    """Writes what was seen into a folder; used as a context, which finishes the files.

    Args:
        folder: made here; one that holds results already is not written over.
        wanted: what is written.
        language: of the names in the pictures.

    Raises:
        ConfigError: there are results in the folder.
        OutputError: it cannot be written.
    """

    def __init__(self, folder: Path, wanted: Wanted, language: str = "en") -> None:
        self._folder, self._wanted, self._language = folder, wanted, language
        self._coco: dict[str, list[dict[str, Any]]] = {
            "images": [],
            "annotations": [],
            "categories": [{"id": i, "name": name} for i, name in enumerate(CLASS_NAMES)],
        }
        if (folder / LINES).exists():
            raise ConfigError(f"--out {folder}: holds results already; give another folder")
        with _told(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lines: TextIO = (folder / LINES).open("x", encoding="utf-8")

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish the files; may be called twice.

        Raises:
            OutputError: the disk refuses.
        """
        if self._lines.closed:
            return
        with _told(self._folder):
            self._lines.close()
            (self._folder / COCO).write_text(json.dumps(self._coco), encoding="utf-8")

    def picture(self, item: Item, faces: Faces) -> None:
        """Keep what was seen in a picture."""
        with _told(self._folder):
            self._line({"image": item.source, **_size(faces.image), "faces": faces.to_plain()})
            self._add_to_coco(item, faces)
            self._texts_and_crops(item.name, faces)
            if self._wanted.pictures:
                drawn = faces.draw(self._language)
                _write_picture(self._folder / f"{item.name}{PICTURE_SUFFIX}", drawn)

    def video(self, item: Item, fps: float) -> VideoResults:
        """What keeps what is seen in a video or by a camera, frame by frame."""
        return VideoResults(self, item, fps)

    def frame(self, item: Item, faces: Faces, index: int, time_s: float) -> None:
        """Keep what was seen in one frame, but for the picture."""
        with _told(self._folder):
            place = {"video": item.source, "frame": index, "time_s": round(time_s, 3)}
            self._line({**place, **_size(faces.image), "faces": faces.to_plain()})
            self._texts_and_crops(f"{item.name}/{index:06}", faces)

    def drawn(self, faces: Faces) -> Image:
        """The annotated picture."""
        return faces.draw(self._language)

    @property
    def draws(self) -> bool:
        """Whether annotated videos are wanted."""
        return self._wanted.pictures

    def path(self, name: str) -> Path:
        """Where something of this name lies, its folder made."""
        path = self._folder / name
        with _told(self._folder):
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _line(self, content: dict[str, Any]) -> None:
        self._lines.write(json.dumps(content, ensure_ascii=False) + "\n")

    def _add_to_coco(self, item: Item, faces: Faces) -> None:
        number = len(self._coco["images"]) + 1
        self._coco["images"].append({"id": number, "file_name": item.source, **_size(faces.image)})
        for entry in faces.to_coco(number):
            width, height = entry["bbox"][2:]
            about = {"id": len(self._coco["annotations"]) + 1, "iscrowd": 0}
            self._coco["annotations"].append({**entry, "area": round(width * height, 2), **about})

    def _texts_and_crops(self, name: str, faces: Faces) -> None:
        if self._wanted.txt:
            path = self.path(f"{LABELS}/{name}.txt")
            path.write_text(faces.to_yolo(with_scores=self._wanted.scores_in_txt), "utf-8")
        if self._wanted.crops:
            for number, (face, crop) in enumerate(zip(faces, faces.crops(), strict=True), start=1):
                if crop.size:
                    flat = name.replace("/", "-")
                    _write_picture(
                        self._folder / CROPS / face.name / f"{flat}-{number}{PICTURE_SUFFIX}", crop
                    )


class VideoResults:
    """One video in the making, and the lines of its frames; used as a context."""

    def __init__(self, results: Results, item: Item, fps: float) -> None:
        self._results, self._item, self._fps = results, item, fps
        self._writer: cv2.VideoWriter | None = None
        self._size_wh = (0, 0)
        self.path: Path | None = None

    def __enter__(self) -> VideoResults:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.release()

    def add(self, faces: Faces, index: int, time_s: float) -> None:
        """Keep what was seen in the next frame.

        Raises:
            OutputError: the disk refuses, or there is no encoder.
        """
        self._results.frame(self._item, faces, index, time_s)
        if not self._results.draws:
            return
        drawn = self._results.drawn(faces)
        if self._writer is None:
            self._size_wh = max(drawn.shape[1] // 2 * 2, 2), max(drawn.shape[0] // 2 * 2, 2)
            base = self._results.path(self._item.name)
            self.path, self._writer = open_recording(base, self._fps, self._size_wh)
        if drawn.shape[1::-1] != self._size_wh:
            drawn = drawn[: self._size_wh[1], : self._size_wh[0]]
            if drawn.shape[1::-1] != self._size_wh:
                drawn = cv2.resize(drawn, self._size_wh)  # type: ignore[assignment]
        self._writer.write(drawn)


def _size(image: Image) -> dict[str, int]:
    return {"width": image.shape[1], "height": image.shape[0]}


def _write_picture(path: Path, image: Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(PICTURE_SUFFIX, image, [cv2.IMWRITE_JPEG_QUALITY, 92])
    if not done:
        raise OutputError(f"{path}: cannot be encoded")
    path.write_bytes(data.tobytes())


@contextlib.contextmanager
def _told(folder: Path) -> Any:  # noqa: ANN401
    """What the disk says, as a sentence.

    Raises:
        OutputError: it refused.
    """
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"--out {folder}: {error.strerror or error}; make room there") from error
