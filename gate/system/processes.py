"""Child processes of the gate: how each is started, and how soon again when it has died."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

import mask_gate

_ROOT = str(Path(mask_gate.__file__).resolve().parents[1])


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of the gate, such as `gate.relays.guardian`.

    `-P`: a json.py in the folder where the gate happens to be started is not taken for Python's.
    """
    return [sys.executable, "-P", "-m", f"mask_gate.{module}", *arguments]


def module_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """An environment in which `module_command` finds the package, installed or not."""
    paths = [_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**environment, "PYTHONPATH": os.pathsep.join(paths)}


def start(
    command: Sequence[str],
    environment: Mapping[str, str] = os.environ,
    *,
    stderr: int | None = None,
    bufsize: int = -1,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a child with pipes for its standard input and output.

    It has a process group of its own, since Ctrl-C in the terminal is for the gate alone, and
    stays in the gate's session, where its rank counts against the gate's own processes.

    Args:
        command: of `module_command`, or one that takes its place in a test.
        environment: of the child.
        stderr: as `subprocess.Popen` takes it.
        bufsize: as `subprocess.Popen` takes it.
        pass_fds: descriptors that the child gets too.

    Raises:
        OSError: it cannot be started.
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=module_environment(environment),
        process_group=0,
        stderr=stderr,
        bufsize=bufsize,
        pass_fds=pass_fds,
    )


class RestartBudget:
    """Counts the deaths of a process; times are seconds of one monotonic clock.

    The first start after a death comes at once, each further one within `window_s` after twice the
    pause of the one before. With more than `most` deaths in `window_s` the process is out of
    service: from then on there is one try every `retry_s`, until one of them has lived for
    `window_s`.

    Attributes:
        out_of_service: whether it died too often.
    """

    def __init__(
        self,
        *,
        most: int = 5,
        window_s: float = 60.0,
        retry_s: float = 30.0,
        first_pause_s: float = 0.25,
    ) -> None:
        self.most = most
        self.window_s = window_s
        self.retry_s = retry_s
        self.out_of_service = False
        self._first_pause_s = first_pause_s
        self._deaths_s: deque[float] = deque()

    def died(self, now_s: float, lived_s: float) -> float:
        """Note a death after a life of `lived_s` in service; how long to wait before a start."""
        if lived_s >= self.window_s:
            self.out_of_service = False
            self._deaths_s.clear()
        self._deaths_s.append(now_s)
        while now_s - self._deaths_s[0] > self.window_s:
            self._deaths_s.popleft()
        if len(self._deaths_s) > self.most:
            self.out_of_service = True
        if self.out_of_service:
            return self.retry_s
        before = len(self._deaths_s) - 1
        return 0.0 if before == 0 else min(self._first_pause_s * 2.0 ** (before - 1), self.retry_s)
