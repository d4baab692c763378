"""The detectors of the family by name."""

from __future__ import annotations

from collections.abc import Callable

from mask_gate.models.labels import CLASS_NAMES
from mask_gate.models.networks.anchors import Scale
from mask_gate.models.networks.network import DetectionNetwork
from mask_gate.models.networks.yolov3 import SCALES as YOLOV3_SCALES
from mask_gate.models.networks.yolov3 import YOLOv3
from mask_gate.models.networks.yolov3_lite import SCALES as LITE_SCALES
from mask_gate.models.networks.yolov3_lite import YOLOv3Lite
from mask_gate.models.networks.yolov3_tiny import SCALES as TINY_SCALES
from mask_gate.models.networks.yolov3_tiny import YOLOv3Tiny

Builder = Callable[[int, tuple[Scale, ...]], DetectionNetwork]

_ZOO: dict[str, tuple[Builder, tuple[Scale, ...]]] = {
    "yolov3": (YOLOv3, YOLOV3_SCALES),
    "yolov3_tiny": (YOLOv3Tiny, TINY_SCALES),
    "yolov3_lite": (YOLOv3Lite, LITE_SCALES),
}

ARCHITECTURES: tuple[str, ...] = tuple(_ZOO)


def build(
    architecture: str,
    num_classes: int = len(CLASS_NAMES),
    scales: tuple[Scale, ...] | None = None,
) -> DetectionNetwork:
    """A network with fresh weights.

    Args:
        architecture: one of `ARCHITECTURES`.
        num_classes: classes each cell tells apart.
        scales: strides and anchors; the architecture's published ones when None.

    Raises:
        ValueError: no such architecture.
    """
    if architecture not in _ZOO:
        raise ValueError(f"expected an architecture of {', '.join(_ZOO)}; got {architecture!r}")
    builder, published = _ZOO[architecture]
    return builder(num_classes, scales or published)
