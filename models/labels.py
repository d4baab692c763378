"""The three classes: the only place where their names and order exist."""

from enum import IntEnum


class MaskLabel(IntEnum):
    """How a face wears its mask; the value is the class index of every tensor, file and metric.

    The names are those of the Kaggle "Face Mask Detection" annotations, spelling included.
    """

    WITH_MASK = 0
    WITHOUT_MASK = 1
    MASK_WEARED_INCORRECT = 2


CLASS_NAMES: tuple[str, ...] = tuple(label.name.lower() for label in MaskLabel)
