"""One hook process: started in a group of its own, fed, bounded, and ended with what it left.

POSIX only. Made for relay scripts, so every way out is bounded in time: a hook that hangs, floods
its output, ignores SIGTERM or leaves processes behind costs at most its limit plus `GRACE_S` and
`REAP_S`.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mask_gate.gate.system import leftovers

OUTPUT_LIMIT = 64 * 1024
"""Bytes of a hook's output that are kept; the rest is read and thrown away, so it never blocks."""

GRACE_S = 0.3
"""Between SIGTERM and SIGKILL: long enough for a script to lock its relay, short for a door."""

REAP_S = 1.0
"""How long a killed process may take to vanish: one stuck in a driver may never, and we go on."""

POLL_S = 0.02
"""How often a running hook is looked at."""

_EPERM_IS_DEAD = sys.platform == "darwin"  # elsewhere EPERM is a live process of another user


@dataclass(frozen=True, slots=True)
class HookResult:
    """How a hook ended.

    Attributes:
        ok: it ended by itself, in time, with code 0.
        cancelled: it was stopped because something newer came: no fault of the hook.
        account: what happened, as the end of a sentence ("ended with code 3: no such pin").
    """

    ok: bool
    cancelled: bool
    account: str


class HookProcess:
    """A running command; `wait` is called once and ends it.

    Args:
        argv: the command and its arguments.
        env: its whole environment.
        stdin: what it may read.
        strays: finds what it left running outside of its group.
        reap_s: how long it may take to vanish once it was killed.

    Raises:
        OSError: the command cannot be started.
    """

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        stdin: bytes,
        *,
        strays: leftovers.Find = lambda: (),
        reap_s: float = REAP_S,
    ) -> None:
        self._strays = strays
        self._strayed: Collection[int] | None = None
        self._reap_s = reap_s
        self._unsent = memoryview(stdin)
        self._output = bytearray()
        # It has the reading end too: what it lets go on in the background may write when we are
        # gone, and is not killed for it.
        reader, writer = os.pipe()
        self._reader = os.fdopen(reader, "rb", buffering=0)
        try:
            self._process = subprocess.Popen(
                argv,
                env=env,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=writer,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(reader,),
            )
        except BaseException:
            self._reader.close()
            raise
        finally:
            os.close(writer)

    def wait(self, limit_s: float, cancelled: Callable[[], bool], *, linger: bool) -> HookResult:
        """Block until the hook is over, `limit_s` has passed, or `cancelled()` has turned true.

        Args:
            limit_s: seconds of real time from now.
            cancelled: asked every few hundredths of a second.
            linger: end what the hook left in the background (a pulse, say) at the limit or at
                cancellation; else it may go on for as long as it likes, if the hook ended well.
        """
        deadline = time.monotonic() + limit_s
        with self._pipes() as pipes:
            while not (stop := cancelled()) and time.monotonic() < deadline:
                if not self._is_running(linger):
                    break
                self._pump(pipes, POLL_S)
            code = self._process.poll()
            if linger or code != 0:
                self._end(gently=self._is_running(linger), strays=linger)
            self._pump(pipes, 0.0)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(self._reap_s)
        if (linger or code is None) and self._is_still_there():
            why = "could not be killed (it is another user's, or hangs in a driver)"
            return HookResult(ok=False, cancelled=False, account=why)
        return HookResult(
            ok=code == 0, cancelled=stop and code is None, account=self._account(code, limit_s)
        )

    @contextlib.contextmanager
    def _pipes(self) -> Iterator[selectors.BaseSelector]:
        stdin, stdout = self._process.stdin, self._reader
        assert stdin is not None
        with stdin, stdout, selectors.DefaultSelector() as pipes:
            for pipe, event in ((stdin, selectors.EVENT_WRITE), (stdout, selectors.EVENT_READ)):
                os.set_blocking(pipe.fileno(), False)
                pipes.register(pipe.fileno(), event, data=pipe)
            yield pipes

    def _pump(self, pipes: selectors.BaseSelector, timeout_s: float) -> None:
        """Move what the pipes take and give just now; a pipe that is done is closed."""
        for key, event in pipes.select(timeout_s):
            done = self._feed(key.fd) if event == selectors.EVENT_WRITE else self._read(key.fd)
            if done:
                pipes.unregister(key.fd)
                key.data.close()

    def _feed(self, fd: int) -> bool:
        try:
            sent = os.write(fd, self._unsent)
        except BrokenPipeError:  # the hook does not read its standard input: its own business
            return True
        self._unsent = self._unsent[sent:]
        return not self._unsent

    def _read(self, fd: int) -> bool:
        chunk = os.read(fd, OUTPUT_LIMIT)
        self._output += chunk[: OUTPUT_LIMIT - len(self._output)]
        return not chunk

    def _is_running(self, linger: bool) -> bool:
        code = self._process.poll()
        return code is None or (linger and code == 0 and self._goes_on())

    def _goes_on(self) -> bool:
        """Whether something of it lives on in the background."""
        if self._signal_group(0):
            return True
        if self._strayed is None:  # a look takes long: one is enough until they are to end
            self._strayed = self._strays()
        self._strayed = leftovers.running(self._strayed)
        return bool(self._strayed)

    def _end(self, gently: bool, strays: bool) -> None:
        patience = time.monotonic() + GRACE_S
        if gently and self._signal(signal.SIGTERM, strays):
            while self._signal(0, strays) and time.monotonic() < patience:
                time.sleep(POLL_S)
                self._process.poll()  # a dead leader counts as a member until it is reaped
        self._signal(signal.SIGKILL, strays)

    def _signal(self, number: int, strays: bool) -> bool:
        """Send to all of it, to each once; False when nothing of it is left."""
        found = leftovers.send(self._outside, number) if strays else ()
        return self._signal_group(number) or bool(found)

    def _outside(self) -> list[int]:
        """What has left its group."""
        return [pid for pid in self._strays() if leftovers.group(pid) != self._process.pid]

    def _is_still_there(self) -> bool:
        """Whether the hook, or somebody else's process that it left behind, is still there."""
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # nobody is left whom we may signal, such as below sudo
            return not _EPERM_IS_DEAD
        return self._process.poll() is None  # others of ours are dying of SIGKILL

    def _signal_group(self, signum: int) -> bool:
        """Send to every process of the group that is ours; False when none of it is left."""
        try:
            os.killpg(self._process.pid, signum)
        except ProcessLookupError:
            return False
        except PermissionError:
            return not _EPERM_IS_DEAD
        return True

    def _account(self, code: int | None, limit_s: float) -> str:
        if code is None:
            ending = f"did not end within {limit_s:.1f} s and was killed"
        elif code < 0:
            ending = f"was killed ({signal.strsignal(-code)})"
        else:
            ending = f"ended with code {code}"
        lines = self._output.decode("utf-8", "backslashreplace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        return f"{ending}: {last.strip()[:200]!r}" if last else ending
