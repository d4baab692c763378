"""Standard streams: whatever a command was started with, it has three, and may write to them.

A daemon's starter closes them, a disk is full, a reader goes away: none of it may keep a command
from its work, or end in a traceback.
"""

from __future__ import annotations

import contextlib
import os
import sys


def open_standard_streams() -> None:
    """Open those of the three descriptors that are closed on /dev/null."""
    for number in range(3):
        with contextlib.suppress(OSError):  # no descriptor is to be had: then it has to do without
            if not _is_open(number):
                null = os.open(os.devnull, os.O_RDWR)  # the lowest that is free, as a rule this
                os.dup2(null, number)
                if null != number:
                    os.close(null)
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        with contextlib.suppress(OSError):
            if getattr(sys, name) is None:
                setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


def flush_output(more: str = "") -> OSError | None:
    """Hand on what was printed; why that cannot be done, if so, and then it is thrown away.

    Args:
        more: is printed too: a line tells whether it is standard output that failed.
    """
    if sys.stdout is None:
        return None
    try:
        sys.stdout.write(more)
        sys.stdout.flush()
    except OSError as error:
        with contextlib.suppress(OSError):  # nor is it tried again at the very end
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)
        return error
    return None


def say_error(text: str) -> None:
    """A line on standard error, if somebody takes it there."""
    with contextlib.suppress(OSError, AttributeError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
