"""DetectorChild: one process of the detector with its pipes and the memory for its frames."""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.detector.wire import (
    FrameMemory,
    Message,
    MessageReader,
    Question,
    pack_question,
)
from mask_gate.gate.system.processes import module_command, start

REAP_S = 1.0
"""How long a killed process is waited for; one that is stuck in a driver may never end."""

LINGER_S = 0.5
"""What a process may take to end by itself once it has hung up."""

_READ_BYTES = 65536
_STDERR_KEPT_BYTES = 4096  # its end may tell why the process died
_PAGE_BYTES = resource.getpagesize()


class ChildEndedError(Exception):
    """The process has hung up; `DetectorChild.end` tells how it ended."""


class DetectorChild:
    """A process that answers questions about frames; not more than one thread may ask at a time.

    Args:
        command: starts it; the descriptor of the frames' memory is added as last argument.
        max_pixels: of the largest frame.
        cameras: so many have room for one picture each.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, command: Sequence[str], max_pixels: int, cameras: int = 1) -> None:
        self._reader = MessageReader()
        self._stderr_tail = b""
        self._max_pixels = max_pixels
        self._memory = FrameMemory.create(max_pixels, cameras)
        try:
            self._process = start(
                [*command, str(self._memory.descriptor)],
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=(self._memory.descriptor,),
            )
        finally:
            os.close(self._memory.descriptor)  # the mapping and the child have their own
        self._pipes = selectors.DefaultSelector()
        for pipe in (_pipe(self._process.stdout), _pipe(self._process.stderr)):
            os.set_blocking(pipe.fileno(), False)
            self._pipes.register(pipe, selectors.EVENT_READ)

    @property
    def pid(self) -> int:
        """Of the process, which leads a group of its own."""
        return self._process.pid

    def ask(self, number: int, image: NDArray[np.uint8], camera: int = 0) -> None:
        """Ask about a picture [H, W, 3] uint8 BGR; the answer has the same number.

        The picture takes the place of the last one of the same camera, which must be answered.

        Raises:
            ValueError: this is no picture, or a larger one than was agreed on.
            ChildEndedError: the process has ended.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"expected [H, W, 3] uint8, got {image.shape} {image.dtype}")
        size_hw = image.shape[0], image.shape[1]
        if size_hw[0] * size_hw[1] > self._max_pixels:
            raise ValueError(
                f"expected a picture of up to {self._max_pixels} pixels, got {size_hw}"
            )
        question = Question(number, size_hw, 3 * self._max_pixels * camera)
        np.copyto(self._memory.picture(size_hw, question.offset), image)
        try:
            os.write(_pipe(self._process.stdin).fileno(), pack_question(question))
        except OSError as error:
            raise ChildEndedError from error

    def read(self, timeout_s: float) -> list[Message]:
        """Messages that come within `timeout_s`, as soon as there are any.

        Raises:
            ChildEndedError: there will be no more.
            WireError: it sent what is no message.
        """
        messages: list[Message] = []
        deadline_s = time.monotonic() + timeout_s
        while not messages and (left_s := deadline_s - time.monotonic()) > 0:
            for key, _ in self._pipes.select(left_s):
                data = _read(key.fd)
                if key.fileobj is self._process.stderr:
                    self._stderr_tail = (self._stderr_tail + data)[-_STDERR_KEPT_BYTES:]
                    if not data:
                        self._pipes.unregister(key.fileobj)
                elif data:
                    messages += self._reader.feed(data)
                else:
                    raise ChildEndedError
        return messages

    def memory_bytes(self) -> int:
        """What it has in memory now (resident); 0 when it is gone.

        A limit on address space (RLIMIT_AS) would not do: a CUDA context reserves far more than the
        machine has, and the arenas of malloc and the thread pools of torch and ONNX Runtime some
        gigabytes, of which next to nothing is ever touched.
        """
        try:
            resident = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]
        except (OSError, IndexError):
            return 0
        return int(resident) * _PAGE_BYTES

    def starved_s(self) -> float:
        """How long its threads have waited for a processor so far; 0 where nobody counts that."""
        waited_ns = 0
        for thread in Path(f"/proc/{self.pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                waited_ns += int(thread.read_text(encoding="ascii").split()[1])
        return waited_ns / 1e9

    def end(self, *, linger: bool) -> str:
        """Leave nothing of it behind; nothing else may be asked of it from then on.

        Args:
            linger: give it a moment to end by itself.

        Returns:
            How it ended, as a phrase such as `was killed by signal 9 (Killed)`.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(LINGER_S if linger else 0.0)
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(REAP_S)
        self._close_pipes()
        return self._how_it_ended()

    def _close_pipes(self) -> None:
        errors = _pipe(self._process.stderr)
        self._stderr_tail = (self._stderr_tail + _read(errors.fileno()))[-_STDERR_KEPT_BYTES:]
        self._pipes.close()
        for pipe in (self._process.stdin, self._process.stdout, errors):
            with contextlib.suppress(OSError):
                _pipe(pipe).close()

    def _how_it_ended(self) -> str:
        code = self._process.returncode
        if code is None:
            return "could not be killed: it hangs in a driver"
        if code < 0:
            return f"was killed by signal {-code} ({signal.strsignal(-code)})"
        lines = self._stderr_tail.decode("utf-8", "backslashreplace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        return f"ended with code {code}" + (f": {last.strip()[:200]!r}" if last else "")


def _read(descriptor: int) -> bytes:
    """What a pipe has now; empty where it has ended."""
    try:
        return os.read(descriptor, _READ_BYTES)
    except BlockingIOError:
        return b""


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def worker_command(
    weights: Path,
    device: str,
    engine: EngineKind = EngineKind.AUTO,
    input_size: int | None = None,
) -> list[str]:
    """Starts the detector of a weights file (see `gate.detector.worker`)."""
    # -P: a folder `models` where the gate happens to be started is not taken for ours.
    size = str(input_size or 0)
    return module_command("gate.detector.worker", str(weights), device, engine, size)
