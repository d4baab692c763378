"""run_command: how every command of the gate ends: an exit code, and a sentence for an error."""

from __future__ import annotations

from collections.abc import Callable

from mask_gate.gate.errors import INTERRUPTED, GateError, OutputError
from mask_gate.models.standard_streams import flush_output, open_standard_streams, say_error


def run_command(
    prog: str, body: Callable[[], int], *, shown: Callable[[str], str] = lambda text: text
) -> int:
    """Run a command; an error of ours becomes a sentence on standard error and its exit code.

    Whatever else is raised is a bug, and keeps its traceback. Standard streams that are closed,
    full or broken are none, and keep no command from its work.

    Args:
        prog: the command's name.
        body: reads the flags, does what was asked for, and gives the exit code.
        shown: makes a sentence fit for a terminal.
    """
    open_standard_streams()
    try:
        code = _run(prog, body, shown)
    except OSError:
        if (fault := flush_output("\n")) is None:  # not of standard output, so a bug of ours
            raise
        code = 0
    else:
        fault = flush_output()
    if fault is None or isinstance(fault, BrokenPipeError):  # who read it has seen enough
        return code
    say_error(f"{prog}: standard output: {fault.strerror}")
    return code or OutputError.exit_code


def _run(prog: str, body: Callable[[], int], shown: Callable[[str], str]) -> int:
    try:
        return body()
    except GateError as error:
        say_error(f"{prog}: {shown(str(error))}")
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as end:  # argparse: --help, --version, or a flag that is wrong
        return int(end.code or 0)
