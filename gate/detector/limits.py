"""ProcessLimits: how long the detector's process may take, and how large it may be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """Limits of the detector's process and of its answers.

    Attributes:
        result_s: an answer that takes longer is not waited for. None waits, as a replay does, also
            for a process that is being started again.
        hang_s: a process that is silent for longer about a frame is killed and replaced.
        start_s: loading the weights and the self-test take at most this.
        max_faces: more in one frame are a fault of that frame.
        max_pixels: of the largest frame.
        max_memory_mb: a process with more MiB in memory is killed and replaced.
        faults_in_a_row: so many are a broken process, such as one whose GPU is lost.
        recent_s: a camera with a sound answer no older than this shows that it is not broken.
        min_restart_s: every start but the first may take this long at least.
        restart_factor: or so many times as long as the first one took, if that is more.
        poll_s: how often the process is looked at while it is silent.
        close_s: how long `DetectorProcess.close` waits for its end.
    """

    result_s: float | None
    hang_s: float = 2.0
    start_s: float = 60.0
    max_faces: int = 100
    max_pixels: int = 3840 * 2160
    max_memory_mb: int = 4096
    faults_in_a_row: int = 3
    recent_s: float = 2.0
    min_restart_s: float = 5.0
    restart_factor: float = 4.0
    poll_s: float = 0.1
    close_s: float = 3.0
