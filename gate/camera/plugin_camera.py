"""PluginCapture: a camera whose code is in another package (docs/extend.md)."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from mask_gate.gate.camera.source import Source
from mask_gate.gate.clock import uptime_s
from mask_gate.gate.domain import Image
from mask_gate.gate.errors import ConfigError
from mask_gate.gate.system.plugins import CAMERAS, make_plugin


class PluginCapture:
    """One opening of such a camera, which has `read` and may have `close`.

    A picture is taken for as old as it is when `read` returns it.

    Args:
        camera: what the plug-in has made.
    """

    is_inter_coded = False
    passed_over = 0
    has_clock = False

    def __init__(self, camera: object) -> None:
        self._camera: Any = camera
        self._image: object = None

    def grab(self) -> float | None:
        """Wait for the next picture; when it came, or None when there are no more."""
        try:
            self._image = self._camera.read()
        except Exception:  # noqa: BLE001 - of a camera that is not ours: it is opened again
            return None
        return None if self._image is None else uptime_s()

    def retrieve(self) -> Image | None:
        """The picture, if it is one."""
        image = self._image
        is_image = isinstance(image, np.ndarray) and image.dtype == np.uint8
        return cast(Image, image) if is_image else None

    def stamp_s(self) -> float | None:
        """It has no clock that we know."""
        return None

    def is_key_frame(self) -> bool:
        """Each picture stands for itself."""
        return True

    def release(self) -> None:
        """Let go of the camera."""
        getattr(self._camera, "close", lambda: None)()


def plugin_of(source: Source) -> tuple[str, dict[str, object]]:
    """The name of the plug-in, and what it is made with."""
    name, colon, words = source.address.partition(":")
    return name, {"address": words} if colon else {}


def open_plugin(source: Source) -> PluginCapture | None:
    """Such a camera, or None if that fails; runs in a process that can be killed."""
    try:
        return PluginCapture(make_plugin(CAMERAS, *plugin_of(source))())
    except ConfigError:
        raise
    except Exception:  # noqa: BLE001 - of a camera that is not ours: it is opened again
        return None
