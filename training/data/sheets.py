"""Sheets: files that describe many images each, as COCO, CVAT and Label Studio write them."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Protocol

from mask_gate.training.data.box_rules import box_faults
from mask_gate.training.data.class_names import LEFT_OUT, ClassMap
from mask_gate.training.data.text_file import decode_text
from mask_gate.training.data.voc import parse_xml
from mask_gate.training.errors import DataError, Problem

MAX_SHEET_BYTES = 256_000_000

_PIXEL_DECIMALS = 3


@dataclass(slots=True)
class Described:
    """One image as a sheet has it.

    Attributes:
        file: its name as written, perhaps with folders.
        size_wh: width and height in pixels; None where the sheet does not say.
        boxes_xyxy: corners in pixels.
        labels: of the boxes.
        problems: what is wrong with it.
    """

    file: str
    size_wh: tuple[int, int] | None
    boxes_xyxy: list[list[float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


class SheetReader:
    """Reads one sheet.

    Args:
        data: the bytes of the file.
        where: what messages call it.
        classes: what its class names mean.
    """

    def __init__(self, data: bytes, where: str, classes: ClassMap) -> None:
        self._data = data
        self._where = where
        self._classes = classes

    def read(self) -> list[Described]:
        """Every image in it; a fault of one image is kept with that image.

        Raises:
            DataError: it is none of these formats, or breaks its own.
        """
        if self._data.lstrip()[:1] == b"<":
            return list(self._cvat())
        content = self._json()
        try:
            if isinstance(content, dict) and "annotations" in content and "images" in content:
                return self._coco(content)
            if isinstance(content, list) and all(isinstance(task, dict) for task in content):
                return [self._task(task) for task in content]
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            what = f"lacks or garbles a field ({type(error).__name__}: {error})"
            raise DataError(Problem(self._where, what, "export it again")) from None
        what = "is none of the formats that are read: COCO, CVAT's or Label Studio's"
        mend = "export it as one of them, or as Pascal VOC or YOLO"
        raise DataError(Problem(self._where, what, mend))

    def _json(self) -> object:
        try:
            return json.loads(decode_text(self._data, self._where))
        except json.JSONDecodeError as error:
            what = f"not JSON at column {error.colno}: {error.msg}"
            raise DataError(Problem(self._where, what, "export it again", error.lineno)) from None
        except RecursionError:
            mend = "export it again"
            raise DataError(Problem(self._where, "nested too deep", mend)) from None

    def _coco(self, content: dict[str, Any]) -> list[Described]:
        names = {category["id"]: str(category["name"]) for category in content["categories"]}
        images = {
            image["id"]: Described(str(image["file_name"]), _size(image, "width", "height"))
            for image in content["images"]
        }
        for number, box in enumerate(content["annotations"], start=1):
            image = images.get(box["image_id"])
            if image is None:
                what = (
                    f"annotation {number} is of image {box['image_id']!r}, which it does not list"
                )
                raise DataError(Problem(self._where, what, "export it again"))
            left, top, width, height = map(float, box["bbox"])
            name = names.get(box["category_id"], f"number {box['category_id']}")
            self._add(image, name, [left, top, left + width, top + height])
        return list(images.values())

    def _task(self, task: dict[str, Any]) -> Described:
        """One task of Label Studio, as JSON or as JSON-MIN has it."""
        source = task.get("data", task)
        file = next((source[key] for key in ("image", "img", "ocr") if key in source), None)
        if file is None:
            raise KeyError("image")
        found = [
            item["value"] | {"original_width": item["original_width"],
                             "original_height": item["original_height"]}
            for annotation in task.get("annotations", [])
            if not annotation.get("was_cancelled")
            for item in annotation["result"]
            if item["type"] == "rectanglelabels"
        ]  # fmt: skip
        found += task.get("label", []) if "data" not in task else []
        size_wh = _size(found[0], "original_width", "original_height") if found else None
        image = Described(_uploaded(str(file)), size_wh)
        for value in found:
            width, height = float(value["original_width"]), float(value["original_height"])
            left, top = value["x"] / 100 * width, value["y"] / 100 * height
            right = left + value["width"] / 100 * width
            bottom = top + value["height"] / 100 * height
            self._add(image, str(value["rectanglelabels"][0]), [left, top, right, bottom])
            if value.get("rotation"):
                what = f"a box is turned by {value['rotation']:g} degrees"
                self._note(image, what, "draw it upright")
        return image

    def _cvat(self) -> Iterator[Described]:
        root = parse_xml(self._data, self._where, MAX_SHEET_BYTES)
        if root.tag != "annotations":
            what = f"the root element is <{root.tag}>, expected CVAT's <annotations>"
            raise DataError(Problem(self._where, what, "export it again"))
        for element in root.iter("image"):
            image = Described(element.get("name", ""), _size(element, "width", "height"))
            for box in element.findall("box"):
                try:
                    corners = [float(box.get(name, "")) for name in ("xtl", "ytl", "xbr", "ybr")]
                except ValueError:
                    self._note(image, "a <box> without four numbers", "export it again")
                    continue
                self._add(image, box.get("label", ""), corners)
                if float(box.get("rotation") or 0):
                    self._note(image, "a box is turned", "draw it upright")
            yield image

    def _add(self, image: Described, name: str, box_xyxy: list[float]) -> None:
        label = self._classes.label_of(name)
        box_xyxy = [round(value, _PIXEL_DECIMALS) for value in box_xyxy]
        if label is None:
            image.problems.append(self._classes.unknown(name, f"{self._where}, {image.file}"))
        if not all(map(math.isfinite, box_xyxy)):
            self._note(image, "a box is not finite", "correct the box")
        elif image.size_wh is not None:
            for fault in box_faults(box_xyxy, image.size_wh):
                self._note(image, fault, "correct the box")
        if label is not None and label != LEFT_OUT:
            image.boxes_xyxy.append(box_xyxy)
            image.labels.append(label)

    def _note(self, image: Described, what: str, mend: str) -> None:
        image.problems.append(Problem(f"{self._where}, {image.file}", what, mend))


class _Keyed(Protocol):
    """An element of XML, or an object of JSON."""

    def get(self, key: str, /) -> Any: ...  # noqa: ANN401 - whatever JSON holds


def _size(element: _Keyed, width: str, height: str) -> tuple[int, int] | None:
    said = element.get(width), element.get(height)
    return None if None in said else (int(float(said[0])), int(float(said[1])))


def _uploaded(file: str) -> str:
    """The name in a link such as `/data/upload/1/0a1b2c3d-face.jpg` or `...?d=images/face.jpg`."""
    return file.rpartition("?d=")[2].partition("?")[0]


class ImageFinder:
    """Finds the images that a sheet or a list names, wherever in the data set they lie.

    Args:
        images: stem and file name of every image.
        normal: brings a name into the form in which names are compared.
    """

    def __init__(self, images: dict[str, str], normal: Callable[[str], str]) -> None:
        self._normal = normal
        self._stems: dict[str, list[str]] = defaultdict(list)
        self._stems_of_any_case: dict[str, list[str]] = defaultdict(list)
        for stem, name in images.items():
            parts = PurePosixPath(normal(name)).parts
            for start in range(len(parts)):
                tail = "/".join(parts[start:])
                self._stems[tail].append(stem)
                self._stems_of_any_case[tail.casefold()].append(stem)

    def stem_of(self, file: str, near: str = "") -> str | None:
        """The stem of the one image whose path ends like `file`, or of the one `near` it.

        Args:
            file: a name, with folders or without, of this machine or another.
            near: a folder of the data set that comes first where several images fit.
        """
        parts = PurePosixPath(self._normal(file)).parts
        for start in range(len(parts)):
            tail = "/".join(parts[start:])
            found = self._stems.get(tail) or self._stems_of_any_case.get(tail.casefold(), [])
            if len(found) > 1 and near:
                found = self._stems.get(self._normal(f"{near}/{tail}"), []) or found
            if found:
                return found[0] if len(found) == 1 else None
        return None
