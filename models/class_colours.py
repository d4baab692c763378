"""The colour of each class: the only place where it is chosen, for every picture and page."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mask_gate.models.labels import MaskLabel

Rgb = tuple[int, int, int]

# Bluish green, vermillion and yellow of Okabe and Ito, "Color Universal Design" (2008), which
# people with colour-blindness can tell apart.
CLASS_COLOURS_RGB: Mapping[MaskLabel, Rgb] = MappingProxyType(
    {
        MaskLabel.WITH_MASK: (0, 158, 115),
        MaskLabel.WITHOUT_MASK: (213, 94, 0),
        MaskLabel.MASK_WEARED_INCORRECT: (240, 228, 66),
    }
)


def class_bgr(label: int) -> tuple[int, int, int]:
    """As OpenCV has it."""
    red, green, blue = CLASS_COLOURS_RGB[MaskLabel(label)]
    return blue, green, red


def class_hex(label: int) -> str:
    """As Matplotlib and pages have it: `#RRGGBB`."""
    return "#{:02X}{:02X}{:02X}".format(*CLASS_COLOURS_RGB[MaskLabel(label)])
