"""Pascal VOC annotations: one XML file an image, read strictly and written so that it reads back.

Convention: `xmin, ymin, xmax, ymax` are taken as they stand, as float corner coordinates; the
box is `xmax - xmin` wide (as in COCO: `[xmin, ymin, xmax - xmin, ymax - ymin]`). Decimals are
allowed. Nothing is shifted or clipped: Kaggle's set counts pixels from 1 and has a few
`xmax = width + 1`, which is within the one pixel that `training.data.box_rules` allows.
`difficult`, `truncated`, `pose` and `<part>` are not used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from lxml import etree
from numpy.typing import NDArray

from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.data.box_rules import box_faults, format_number, parse_number
from mask_gate.training.data.class_names import LEFT_OUT, ClassMap
from mask_gate.training.errors import DataError, Problem

OUR_NAMES = ClassMap()
MAX_XML_BYTES = 1_000_000
MAX_XML_DEPTH = 50
CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True, slots=True, eq=False)
class VocAnnotation:
    """What one XML file says.

    Attributes:
        filename: the `<filename>` element as written, or "" where there is none.
        size_wh: width and height in pixels.
        boxes_xyxy: [N, 4] float32, corners in pixels.
        labels: [N] int64, indices of `models.labels.MaskLabel`.
    """

    filename: str
    size_wh: tuple[int, int]
    boxes_xyxy: NDArray[np.float32]
    labels: NDArray[np.int64]


def read_voc(data: bytes, where: str, classes: ClassMap = OUR_NAMES) -> VocAnnotation:
    """Read one annotation.

    Args:
        data: the bytes of the XML file.
        where: what messages call the file.
        classes: what its class names mean.

    Raises:
        DataError: with every problem of this file; nothing in it is repaired or skipped.
    """
    return _VocReader(where, classes).read(parse_xml(data, where, MAX_XML_BYTES))


def write_voc(annotation: VocAnnotation) -> bytes:
    """The annotation as an XML file that `read_voc` reads back exactly."""
    root = etree.Element("annotation")
    _child(root, "folder", "images")
    _child(root, "filename", annotation.filename)
    size = etree.SubElement(root, "size")
    for tag, value in zip(("width", "height", "depth"), (*annotation.size_wh, 3), strict=True):
        _child(size, tag, str(value))
    _child(root, "segmented", "0")
    for box_xyxy, label in zip(annotation.boxes_xyxy, annotation.labels, strict=True):
        face = etree.SubElement(root, "object")
        _child(face, "name", CLASS_NAMES[label])
        _child(face, "pose", "Unspecified")
        for tag in ("truncated", "occluded", "difficult"):
            _child(face, tag, "0")
        bounds = etree.SubElement(face, "bndbox")
        for tag, value in zip(CORNERS, box_xyxy, strict=True):
            _child(bounds, tag, _shortest(value))
    etree.indent(root, "    ")
    return bytes(etree.tostring(root, encoding="utf-8", xml_declaration=False))


def _shortest(value: np.float32) -> str:
    """The shortest decimal that names this float32 (not the longer one of its float64 copy)."""
    return format_number(float(np.format_float_positional(value, unique=True)))


def _line_of(element: etree._Element) -> int | None:
    return cast("int | None", element.sourceline)


def _child(parent: etree._Element, tag: str, text: str) -> None:
    etree.SubElement(parent, tag).text = text


def parse_xml(data: bytes, where: str, max_bytes: int) -> etree._Element:
    """The root element of a document that is small, well formed, shallow and free of a DTD.

    Raises:
        DataError: it is not.
    """
    if len(data) > max_bytes:
        raise DataError(
            Problem(
                where,
                f"the file has {len(data)} bytes, more than {max_bytes}",
                "an annotation of one image is far smaller; check what this file is",
            )
        )
    no_dtd = Problem(where, "DTD not allowed", "remove the DOCTYPE and every entity from the file")
    if b"<!DOCTYPE" in data:
        raise DataError(no_dtd)
    parser = etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        line, column = error.position
        raise DataError(
            Problem(
                where,
                f"not well-formed XML at column {column}: {error.msg}",
                "repair the XML or export it again",
                line,
            )
        ) from None
    if root.getroottree().docinfo.internalDTD is not None:  # an encoding hid it from the test above
        raise DataError(no_dtd)
    _check_depth(root, where)
    return root


def _check_depth(root: etree._Element, where: str) -> None:
    depth = 0
    for event, element in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        if depth > MAX_XML_DEPTH:
            raise DataError(
                Problem(
                    where,
                    f"<{element.tag}> is nested more than {MAX_XML_DEPTH} deep",
                    "this is no VOC annotation; export it again",
                    _line_of(element),
                )
            )


class _VocReader:
    """Walks one annotation and collects every problem on the way."""

    def __init__(self, where: str, classes: ClassMap) -> None:
        self._where = where
        self._classes = classes
        self._problems: list[Problem] = []

    def read(self, root: etree._Element) -> VocAnnotation:
        if root.tag != "annotation":
            self._note(root, f"the root element is <{root.tag}>, expected <annotation>")
            raise DataError(self._problems)
        size_wh = self._size_wh(root)
        faces = [self._face(element, size_wh) for element in root.findall("object")]
        if self._problems or size_wh is None:
            raise DataError(self._problems)
        kept = [face for face in faces if face and face[1] != LEFT_OUT]
        boxes, labels = zip(*kept, strict=True) if kept else ((), ())
        return VocAnnotation(
            filename=(root.findtext("filename") or "").strip(),
            size_wh=size_wh,
            boxes_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
            labels=np.array(labels, np.int64),
        )

    def _note(self, element: etree._Element, what: str, mend: str = "") -> None:
        mend = mend or "correct the annotation or export it again"
        self._problems.append(Problem(self._where, what, mend, _line_of(element)))

    def _only(self, parent: etree._Element, tag: str) -> etree._Element | None:
        found = parent.findall(tag)
        if len(found) == 1:
            return found[0]
        self._note(parent, f"<{parent.tag}> has {len(found)} <{tag}> elements, expected one")
        return None

    def _text(self, parent: etree._Element, tag: str) -> tuple[etree._Element, str] | None:
        element = self._only(parent, tag)
        if element is None:
            return None
        text = (element.text or "").strip()
        if len(element) or not text:  # children here are unresolved entities or stray markup
            self._note(element, f"<{tag}> has no plain text")
            return None
        return element, text

    def _size_wh(self, root: etree._Element) -> tuple[int, int] | None:
        size = self._only(root, "size")
        if size is None:
            return None
        width, height = (self._side(size, tag) for tag in ("width", "height"))
        return (width, height) if width and height else None

    def _side(self, size: etree._Element, tag: str) -> int | None:
        found = self._text(size, tag)
        if found is None:
            return None
        element, text = found
        value = parse_number(text)
        if value is None or value < 1 or value != int(value):
            self._note(element, f"<{tag}> is {text!r}, expected a whole number of pixels above 0")
            return None
        return int(value)

    def _face(
        self, element: etree._Element, size_wh: tuple[int, int] | None
    ) -> tuple[list[float], int] | None:
        label = self._label(element)
        bounds = self._only(element, "bndbox")
        corners = [] if bounds is None else [self._corner(bounds, tag) for tag in CORNERS]
        box_xyxy = [value for value in corners if value is not None]
        if len(box_xyxy) < len(CORNERS) or size_wh is None or bounds is None:
            return None
        for fault in box_faults(box_xyxy, size_wh):
            self._note(bounds, fault, "correct the box")
        return None if label is None else (box_xyxy, label)

    def _label(self, element: etree._Element) -> int | None:
        found = self._text(element, "name")
        if found is None:
            return None
        label = self._classes.label_of(found[1])
        if label is None:
            self._problems.append(self._classes.unknown(found[1], self._where, _line_of(found[0])))
        return label

    def _corner(self, bounds: etree._Element, tag: str) -> float | None:
        found = self._text(bounds, tag)
        if found is None:
            return None
        value = parse_number(found[1])
        if value is None:
            self._note(found[0], f"<{tag}> is {found[1]!r}, expected a number of pixels")
        return value
