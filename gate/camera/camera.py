"""Cameras: one source in words becomes a stream of frames, the newest one first.

`read` returns None when no picture came in time. Then `ended` says that a file is over; a live
camera that is away is being reopened meanwhile. Files and folders either play at their own speed,
as a camera would, or give every picture in turn with the time it has in the file.
"""

from __future__ import annotations

import logging
import sys
from functools import partial
from pathlib import Path
from typing import Protocol

from mask_gate.gate.camera.clip import LoopingClip, open_clip
from mask_gate.gate.camera.clip_camera import PacedCamera, ReplayCamera
from mask_gate.gate.camera.live_camera import LiveCamera
from mask_gate.gate.camera.opencv_capture import check_pipelines
from mask_gate.gate.camera.plugin_camera import plugin_of
from mask_gate.gate.camera.source import Source, SourceKind, parse_source
from mask_gate.gate.clock import Clock, uptime_s
from mask_gate.gate.domain import Frame
from mask_gate.gate.errors import CameraError, ConfigError
from mask_gate.gate.system.opencv import prepare_opencv
from mask_gate.gate.system.plugins import CAMERAS, check_plugin

log = logging.getLogger(__name__)


class Camera(Protocol):
    """Where frames come from."""

    @property
    def is_live(self) -> bool:
        """Whether it has no end by itself."""

    @property
    def ended(self) -> bool:
        """Whether no frame will ever come again."""

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame not yet read, or None if it does not come within `timeout_s`.

        Raises:
            CameraError: the file or folder turned out to be damaged.
        """

    def close(self) -> None:
        """Let go of the device; may be called twice."""


def open_camera(
    source: str | Source,
    *,
    realtime: bool = True,
    loop: bool = False,
    folder_fps: float = 10.0,
    folder_is_numbered: bool = False,
    first_frame_s: float = 5.0,
    clock: Clock = uptime_s,
) -> Camera:
    """Open what `source` names.

    Args:
        source: as given after `--camera`, or already parsed.
        realtime: play files and folders at their own speed, dropping what is not read in time;
            False gives every picture, `time_s` counted from the start of the clip. No effect on
            live cameras.
        loop: files and folders begin anew at their end, for ever.
        folder_fps: pictures per second of a folder.
        folder_is_numbered: its pictures are named by numbers of frames; where some are missing,
            no picture came for so long.
        first_frame_s: a live camera that has sent nothing for so long is said to be away.
        clock: monotonic seconds; those of `gate.clock` for a live camera.

    Raises:
        ConfigError: the words name nothing that can be a camera, or a plug-in that cannot be had.
        CameraError: it is no camera, or a file or folder without a picture. A live camera that is
            away is no error: it is tried on, for ever.
    """
    wanted = parse_source(source) if isinstance(source, str) else source
    if not 0 < folder_fps <= 240:
        raise ConfigError(f"folder fps must be in 0..240, got {folder_fps}")
    prepare_opencv()
    if wanted.kind is SourceKind.PIPELINE:
        check_pipelines()
    if wanted.kind is SourceKind.PLUGIN:
        check_plugin(CAMERAS, *plugin_of(wanted))
    if wanted.kind not in (SourceKind.PATH, SourceKind.DEMO):
        missing = missing_device(wanted)
        camera = LiveCamera(wanted, _called(wanted), _advice(wanted), clock=clock)
        away = camera.wait_for_first_frame(0.0 if missing else first_frame_s)
        if away is not None:
            log.warning("%s; the door stays locked until there is one", missing or away)
        return camera
    open_anew = partial(open_clip, wanted, folder_fps, folder_is_numbered=folder_is_numbered)
    clip = LoopingClip(open_anew) if loop else open_anew()
    return PacedCamera(clip, clock=clock) if realtime else ReplayCamera(clip)


def missing_device(source: Source) -> str | None:
    """What to say of a device that is not there, as it is when it is unplugged; None if it is.

    Raises:
        CameraError: something else is there, which will never be a camera.
    """
    if source.kind is SourceKind.INDEX:
        node = Path(f"/dev/video{source.address}")
        if sys.platform.startswith("linux") and not node.exists():
            return (
                f"no camera {source}: {node} does not exist; plug one in, give another "
                f"one of {_video_devices()}, or try --camera demo"
            )
    if source.kind is SourceKind.DEVICE and not Path(source.address).is_char_device():
        said = (
            f"no camera at {source}: not a device of this machine; plug it in, give another "
            f"one of {_video_devices()}, or try --camera demo"
        )
        if Path(source.address).exists():
            raise CameraError(said)
        return said
    return None


def _called(source: Source) -> str:
    return f"camera {source}" if source.kind is SourceKind.INDEX else str(source)


def _advice(source: Source) -> str:
    """What to check when there is no picture."""
    if source.kind is SourceKind.PLUGIN:
        return "that the plug-in is given the right words"
    if source.kind is SourceKind.URL:
        return "that address, user and password are right"
    if source.kind is SourceKind.PIPELINE:
        return "that gst-launch-1.0 runs the pipeline with fakesink in the place of appsink"
    return "that you may use it (on Linux: be in the group video)"


def _video_devices() -> str:
    """The video devices this machine has, for a message."""
    found = sorted(str(path) for path in Path("/dev").glob("video*"))
    return ", ".join(found) if found else "/dev/video* (none here now)"
