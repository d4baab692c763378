"""DetectorChild: one run of the detector's process, from its start to its end, seen by the gate."""

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

from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.detector.wire import (
    FrameMemory,
    Message,
    MessageReader,
    Question,
    pack_question,
)
from mask_gate.gate.domain import Image
from mask_gate.gate.system.processes import module_command, start

REAP_S = 1.0
"""How long a killed process may take to vanish: one stuck in a driver may never, and we go on."""

LINGER_S = 0.5
"""What a process may take to end by itself once it has hung up."""

_PIECE = 65536
_WORDS_KEPT = 4096  # of standard error: its end may tell why it died
_PAGE_BYTES = resource.getpagesize()


class ChildEndedError(Exception):
    """The process has hung up; `DetectorChild.end` tells how it ended."""


class DetectorChild:
    """A process that answers questions about frames; whoever asks must not ask twice at once.

    Args:
        command: starts it; the descriptor of the frames' memory is added as last argument.
        max_pixels: of the largest frame.
        seats: so many cameras have a place for one picture each.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, command: Sequence[str], max_pixels: int, seats: int = 1) -> None:
        self._reader = MessageReader()
        self._words = b""
        self._max_pixels = max_pixels
        self._memory = FrameMemory.of(max_pixels, seats)
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

    def ask(self, number: int, image: Image, seat: int = 0) -> None:
        """Ask about a picture [H, W, 3] uint8 BGR; the answer is heard with the same number.

        The picture takes the place of the last one from the same seat, which must be answered.

        Raises:
            ValueError: this is no picture, or a larger one than was agreed on.
            ChildEndedError: nobody is there to be asked.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"expected [H, W, 3] uint8, got {image.shape} {image.dtype}")
        size_hw = image.shape[0], image.shape[1]
        if size_hw[0] * size_hw[1] > self._max_pixels:
            raise ValueError(
                f"expected a picture of up to {self._max_pixels} pixels, got {size_hw}"
            )
        question = Question(number, size_hw, 3 * self._max_pixels * seat)
        np.copyto(self._memory.picture(size_hw, question.offset), image)
        try:
            os.write(_pipe(self._process.stdin).fileno(), pack_question(question))
        except OSError as error:
            raise ChildEndedError from error

    def hear(self, timeout_s: float) -> list[Message]:
        """What it says within `timeout_s`, as soon as there is anything.

        Raises:
            ChildEndedError: it has nothing more to say.
            WireError: it talks nonsense.
        """
        heard: list[Message] = []
        deadline_s = time.monotonic() + timeout_s
        while not heard and (left_s := deadline_s - time.monotonic()) > 0:
            for key, _ in self._pipes.select(left_s):
                data = _read(key.fd)
                if key.fileobj is self._process.stderr:
                    self._words = (self._words + data)[-_WORDS_KEPT:]
                    if not data:
                        self._pipes.unregister(key.fileobj)
                elif data:
                    heard += self._reader.feed(data)
                else:
                    raise ChildEndedError
        return heard

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
        self._hang_up()
        return self._account()

    def _hang_up(self) -> None:
        errors = _pipe(self._process.stderr)
        self._words = (self._words + _read(errors.fileno()))[-_WORDS_KEPT:]
        self._pipes.close()
        for pipe in (self._process.stdin, self._process.stdout, errors):
            with contextlib.suppress(OSError):
                _pipe(pipe).close()

    def _account(self) -> str:
        code = self._process.returncode
        if code is None:
            return "could not be killed: it hangs in a driver"
        if code < 0:
            return f"was killed by signal {-code} ({signal.strsignal(-code)})"
        lines = self._words.decode("utf-8", "backslashreplace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        return f"ended with code {code}" + (f": {last.strip()[:200]!r}" if last else "")


def _read(descriptor: int) -> bytes:
    """What a pipe has now; empty where it has ended."""
    try:
        return os.read(descriptor, _PIECE)
    except BlockingIOError:
        return b""


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def worker_command(weights: Path, device: str, engine: EngineKind = EngineKind.AUTO) -> list[str]:
    """Starts the detector of a weights file (see `gate.detector.worker`)."""
    # -P: a folder `models` where the gate happens to be started is not taken for ours.
    return module_command("gate.detector.worker", str(weights), device, engine)
