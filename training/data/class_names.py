"""Class names as people write them: looked up with a suggestion, and kept in `classes.names`."""

from __future__ import annotations

import difflib

from mask_gate.models.labels import CLASS_NAMES, MaskLabel
from mask_gate.training.errors import DataError, Problem


def label_of(name: str) -> MaskLabel | None:
    """The class whose exact name this is, or None."""
    return MaskLabel(CLASS_NAMES.index(name)) if name in CLASS_NAMES else None


def unknown_class(name: str, where: str, line: int | None = None) -> Problem:
    """The problem of a class name nobody knows, with the nearest right one."""
    near = difflib.get_close_matches(name.lower().replace("-", "_"), CLASS_NAMES, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the classes are {', '.join(CLASS_NAMES)}"
    return Problem(where, f"unknown class {name!r}", hint, line)


def class_names_text() -> str:
    """The content of `classes.names`: one name a line, in the order of the class indices."""
    return "".join(f"{name}\n" for name in CLASS_NAMES)


def check_class_names(data: bytes, where: str) -> None:
    """Make sure that a `classes.names` file lists the model's classes in the model's order.

    Raises:
        DataError: another name, number or order; class indices would mean other classes.
    """
    names = tuple(
        line.strip() for line in data.decode("utf-8-sig", "replace").splitlines() if line.strip()
    )
    if names == CLASS_NAMES:
        return
    unknown = [
        unknown_class(name, where, number)
        for number, name in enumerate(names, start=1)
        if label_of(name) is None
    ]
    wanted = ", ".join(CLASS_NAMES)
    raise DataError(
        unknown
        or Problem(
            where,
            f"classes are {', '.join(names) or 'none'}, expected {wanted} in this order",
            "put them in that order and renumber the labels to match",
        )
    )
