"""run_command: how every command of the gate ends: an exit code, and a sentence for an error."""

from __future__ import annotations

import sys
from collections.abc import Callable

from mask_gate.gate.errors import INTERRUPTED, GateError


def run_command(
    prog: str, body: Callable[[], int], *, shown: Callable[[str], str] = lambda text: text
) -> int:
    """Run a command; an error of ours becomes a sentence on standard error and its exit code.

    Whatever else is raised is a bug, and keeps its traceback.

    Args:
        prog: the command's name.
        body: reads the flags, does what was asked for, and gives the exit code.
        shown: makes a sentence fit for a terminal.
    """
    try:
        return body()
    except GateError as error:
        sys.stderr.write(f"{prog}: {shown(str(error))}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as end:  # argparse: --help, --version, or a flag that is wrong
        return int(end.code or 0)
