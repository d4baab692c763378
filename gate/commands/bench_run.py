"""Whole runs of the gate for the benchmark: its latency up to the relay, its start, its memory."""

from __future__ import annotations

import bisect
import contextlib
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from mask_gate.gate.camera.clip import VideoClip
from mask_gate.gate.camera.clip_camera import PacedCamera
from mask_gate.gate.camera.source import DEMO_CLIP
from mask_gate.gate.config.schema import GateConfig
from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.domain import Frame
from mask_gate.gate.errors import INTERRUPTED
from mask_gate.gate.runtime.doors import Doors
from mask_gate.gate.runtime.parts import Parts
from mask_gate.gate.runtime.run_mode import RunMode
from mask_gate.gate.system.processes import module_command, module_environment
from mask_gate.gate.system.systemd import Supervisor
from mask_gate.gate.system.terminal import Terminal

_PREFIX = b"mask_gate."
_FIRST_DECISION = '"type": "decision"'


class _NotedCamera(PacedCamera):
    """Notes when each picture that was read had been taken."""

    def __init__(self, clip: VideoClip) -> None:
        super().__init__(clip)
        self.taken_s: list[float] = []

    def read(self, timeout_s: float) -> Frame | None:
        frame = super().read(timeout_s)
        if frame is not None:
            self.taken_s.append(frame.time_s)
        return frame


def measure_latency(
    weights: Path, engine: EngineKind, fps: float, seconds: float
) -> dict[str, Any]:
    """Milliseconds from a picture to its decision, and to the relay where it changed.

    The demo clip plays at `fps` through the whole gate: owned door, detector's process, audit on
    the disk, and a relay in its guardian's process that notes when it was told.
    """
    clip = VideoClip(DEMO_CLIP)
    clip.fps = fps
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        log = Path(folder) / "relay.log"
        config = GateConfig.model_validate(
            {
                "gate": f"bench-{os.getpid()}",
                "detector": {"weights": str(weights), "engine": engine.value},
                "audit": {"path": str(Path(folder) / "audit.sqlite")},
                "outputs": {"sound": "off"},
                "relays": ({"kind": "recording", "path": str(log)},),
            }
        )
        silence = stack.enter_context(Path(os.devnull).open("w", encoding="ascii"))
        terminal = stack.enter_context(contextlib.closing(Terminal(descriptor=silence.fileno())))
        supervisor = stack.enter_context(contextlib.closing(Supervisor({})))
        camera = _NotedCamera(clip)
        parts = Parts(open_source=lambda config, mode: contextlib.closing(camera))
        mode = RunMode(headless=True, seconds=seconds)
        doors = Doors(config, mode, terminal, supervisor, parts=parts)
        if doors.watch() == INTERRUPTED:
            raise KeyboardInterrupt
        (summary,) = doors.summaries.values()
        lines = log.read_text(encoding="ascii").splitlines()
    opened_s = [float(line.split()[0]) for line in lines if " unlocked " in line]
    return {
        "fps": fps,
        "frames": summary.frames,
        "decision_ms": {
            "p50": round(summary.latency_ms(0.5), 1),
            "p95": round(summary.latency_ms(0.95), 1),
        },
        "relay_ms": [_since_ms(camera.taken_s, at_s) for at_s in opened_s],
    }


def _since_ms(taken_s: list[float], at_s: float) -> float:
    """Milliseconds since the newest picture that had been taken by then."""
    newest = taken_s[max(bisect.bisect(taken_s, at_s) - 1, 0)]
    return round(1000 * (at_s - newest), 1)


def measure_start(weights: Path, engine: EngineKind) -> dict[str, Any]:
    """Seconds from the command to its first decision, and its memory in MiB a moment later."""
    flags = ["--camera", "demo", "--engine", engine, "--weights", str(weights)]
    flags += ["--headless", "--dry-run", "--mute", "--events", "-"]
    began_s = time.monotonic()
    gate = subprocess.Popen(
        module_command("gate.commands.gate", *flags),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        text=True,
        env=module_environment(),
    )
    try:
        assert gate.stdout is not None
        for line in gate.stdout:
            if _FIRST_DECISION in line:
                break
        took_s = time.monotonic() - began_s
        time.sleep(3.0)
        return {"first_decision_s": round(took_s, 2), "memory_mb": _memory_mb(gate.pid)}
    finally:
        gate.terminate()
        gate.wait()


def _memory_mb(pid: int) -> dict[str, float]:
    """Resident memory of a process and of all below it, and the sum without what they share."""
    found: dict[str, float] = {}
    whole = 0.0
    for process in [pid, *_descendants(pid)]:
        words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        modules = [word[len(_PREFIX) :].decode() for word in words if word.startswith(_PREFIX)]
        name = "gate" if process == pid else modules[0] if modules else words[0].decode()
        found[name] = _field_mb(process, "status", "VmRSS:")
        whole += _field_mb(process, "smaps_rollup", "Pss:")
    return {
        **found,
        "all (resident)": round(sum(found.values()), 1),
        "all (shared once)": round(whole, 1),
    }


def _field_mb(pid: int, file: str, name: str) -> float:
    for line in Path(f"/proc/{pid}/{file}").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        direct = [int(child) for child in children.read_text(encoding="ascii").split()]
    except OSError:
        return []
    # Threads start processes too: the detector's watcher does.
    for task in Path(f"/proc/{pid}/task").iterdir():
        listed = (task / "children").read_text(encoding="ascii").split()
        direct += [int(child) for child in listed if int(child) not in direct]
    return [found for child in direct for found in (child, *_descendants(child))]
