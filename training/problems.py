"""What is wrong with a data set: where, what, and what to do; collected, never thrown away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

SHOWN_PROBLEMS = 50


def printable(text: str) -> str:
    """`text` on one line: control characters and undecodable bytes appear as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in one place; as text `file[:line]: what; what to do`.

    Attributes:
        where: the file, as the user would name it.
        what: what is wrong, with the value found and the bound it breaks.
        mend: what the user can do about it.
        line: line in that file, counted from 1, where one line can be named.
        stem: the image whose absence would mend it; None where no single image is to blame.
    """

    where: str
    what: str
    mend: str
    line: int | None = None
    stem: str | None = None

    def __str__(self) -> str:
        place = self.where if self.line is None else f"{self.where}:{self.line}"
        return printable(f"{place}: {self.what}; {self.mend}")

    def of_image(self, stem: str) -> Problem:
        """The same problem as the fault of one image."""
        return replace(self, stem=stem)


class DataError(ValueError):
    """The data set cannot be used as it is; carries every problem found, shows the first 50."""

    exit_code: ClassVar[int] = 2

    def __init__(self, problems: Problem | Sequence[Problem]) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__(problem_lines(self.problems))


class WriteError(DataError):
    """A result cannot be written where it was asked for."""

    exit_code = 5


def problem_lines(problems: Sequence[Problem], shown: int = SHOWN_PROBLEMS) -> str:
    """One line for each of the first `shown` problems, and one that counts the rest."""
    lines = [str(problem) for problem in problems[:shown]]
    if len(problems) > shown:
        lines.append(f"... and {len(problems) - shown} more problems")
    return "\n".join(lines)
