"""One colour a class in every picture, told apart by colour-blind eyes too (Okabe-Ito)."""

from mask_gate.models.labels import MaskLabel

COLOUR_OF_LABEL_RGB: dict[int, tuple[int, int, int]] = {
    MaskLabel.WITH_MASK: (0, 158, 115),
    MaskLabel.WITHOUT_MASK: (213, 94, 0),
    MaskLabel.MASK_WEARED_INCORRECT: (240, 228, 66),
}
