"""ClassMap: class names as a data set has them, and which of the three classes each means."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mask_gate.models.labels import CLASS_NAMES, MaskLabel
from mask_gate.training.data.text_file import decode_text
from mask_gate.training.errors import DataError, Problem, UsageError

LEFT_OUT = -1
"""The label of boxes that are no faces, or none to learn from."""

UNKNOWN = "unknown class"

MAP_HELP = (
    "what the data set's own class names mean, such as mask=with_mask no_mask=without_mask; "
    "person=- leaves such boxes out"
)

_LEAVE_OUT = "-"


@dataclass(frozen=True, slots=True)
class ClassMap:
    """What each name of a data set means; a name that it does not hold means itself.

    Attributes:
        meant: own name to one of ours, or to `-` for boxes to leave out.
    """

    meant: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for own, name in self.meant.items():
            if name not in (*CLASS_NAMES, _LEAVE_OUT):
                near = difflib.get_close_matches(name, CLASS_NAMES, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise UsageError(
                    f"map {own}={name}: expected one of {', '.join(CLASS_NAMES)}, or - to leave "
                    f"such boxes out{hint}"
                )

    @classmethod
    def parse(cls, pairs: Iterable[str]) -> ClassMap:
        """A map from `OWN=OURS` pairs as of a command line.

        Raises:
            UsageError: a pair is not that, or a name is given two meanings.
        """
        meant: dict[str, str] = {}
        for pair in pairs:
            own, equals, name = (part.strip() for part in pair.rpartition("="))
            if not (own and equals and name):
                raise UsageError(f"map {pair!r}: expected OWN=OURS, such as mask=with_mask")
            if meant.setdefault(own, name) != name:
                raise UsageError(f"map {pair!r}: {own} already means {meant[own]}")
        return cls(meant)

    def label_of(self, name: str) -> int | None:
        """The class that a name means; `LEFT_OUT`, or None for a name that means nothing here."""
        ours = self.meant.get(name, name)
        if ours == _LEAVE_OUT:
            return LEFT_OUT
        return MaskLabel(CLASS_NAMES.index(ours)) if ours in CLASS_NAMES else None

    def unknown(self, name: str, where: str, line: int | None = None) -> Problem:
        """The problem of a name that means nothing, with the nearest right one."""
        known = [*CLASS_NAMES, *self.meant]
        near = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the classes are {', '.join(CLASS_NAMES)}"
        hint += f" Say what your own names mean with --map {_quoted(name)}=..."
        return Problem(where, f"{UNKNOWN} {name!r}", hint, line)

    def heading(self, name: str) -> str:
        """One of our names, with the data set's own beside it."""
        own = [o for o, ours in self.meant.items() if ours == name != o]
        return f"{name} ({', '.join(own)})" if own else name

    def told(self) -> str:
        """The map in words; empty where every name means itself."""
        said = [
            f"{own} is {'left out' if name == _LEAVE_OUT else name}"
            for own, name in self.meant.items()
            if own != name
        ]
        return ", ".join(said)


def _quoted(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() else f"{name!r}"


def class_names_text() -> str:
    """The content of `classes.names`: one name a line, in the order of the class indices."""
    return "".join(f"{name}\n" for name in CLASS_NAMES)


def read_class_names(data: bytes, where: str) -> tuple[str, ...]:
    """The names of a class list, one a line, in the order of the numbers in label files.

    Raises:
        DataError: no text, no name, or one twice.
    """
    names = tuple(line.strip() for line in decode_text(data, where).splitlines() if line.strip())
    return check_names(names, where)


def check_names(names: tuple[str, ...], where: str) -> tuple[str, ...]:
    """The names themselves.

    Raises:
        DataError: there is none, or one twice.
    """
    if not names:
        mend = "write the class names in order, one a line"
        raise DataError(Problem(where, "names no class", mend))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(Problem(where, f"class {twice[0]!r} twice", "remove one of the two"))
    return names


def labels_of_numbers(
    names: tuple[str, ...], classes: ClassMap, where: str
) -> tuple[tuple[int, ...], list[Problem]]:
    """The class that each number in label files means, and the names that mean nothing here."""
    labels = [classes.label_of(name) for name in names]
    unknown = [
        classes.unknown(name, where, number)
        for number, (name, label) in enumerate(zip(names, labels, strict=True), start=1)
        if label is None
    ]
    return tuple(LEFT_OUT if label is None else label for label in labels), unknown
