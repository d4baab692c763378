"""VideoDevices: the cameras attached to this machine, what they offer, and names that stay."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEVICES = Path("/dev")

Ioctl = Callable[[int, int, bytes], bytes]
"""As `fcntl.ioctl`."""

# From linux/videodev2.h: the numbers of the questions, the structures with the answers.
_QUERY_CAPABILITIES = 0x80685600, struct.Struct("=16s32s32sIII12x")
_ENUM_FORMATS = 0xC0405602, struct.Struct("=III32sI16x")
_ENUM_SIZES = 0xC02C564A, struct.Struct("=IIIII8xI12x")
_ENUM_INTERVALS = 0xC034564B, struct.Struct("=IIIIIII24x")
_CAPTURE, _CAPTURE_MANY_PLANES, _OWN_CAPABILITIES = 0x1, 0x1000, 0x80000000
_BUFFER_OF = {_CAPTURE: 1, _CAPTURE_MANY_PLANES: 9}
_DISCRETE = 1
_MOST = 64  # answers to one question; a broken driver may never come to an end


@dataclass(frozen=True, slots=True)
class VideoMode:
    """One way in which a camera can send pictures.

    Attributes:
        format: four letters, such as MJPG.
        width: in pixels.
        height: in pixels.
        rates_fps: pictures a second, the most first; empty where the driver does not say.
    """

    format: str
    width: int
    height: int
    rates_fps: tuple[float, ...]

    def __str__(self) -> str:
        rates = ", ".join(f"{rate:g}" for rate in self.rates_fps)
        return f"{self.format} {self.width} x {self.height}" + (f" at {rates} fps" if rates else "")


@dataclass(frozen=True, slots=True)
class VideoDevice:
    """A camera that is attached to this machine.

    Attributes:
        source: what to write as camera source.
        node: the device as it is called now.
        card: what the camera calls itself.
        modes: what it offers, as its driver has them.
        fault: why nothing is known of it, or nothing.
    """

    source: Path
    node: Path
    card: str = ""
    modes: tuple[VideoMode, ...] = ()
    fault: str = ""

    @property
    def keeps_its_name(self) -> bool:
        """Whether the source is the same after it was plugged in again."""
        return self.source != self.node


def video_devices(devices: Path = DEVICES, ioctl: Ioctl = fcntl.ioctl) -> list[VideoDevice]:
    """Every camera of this machine; those nodes of a camera that send no pictures are left out.

    Args:
        devices: the folder of device nodes.
        ioctl: asks a driver.
    """
    names = _lasting_names(devices)
    found = []
    for node in sorted(devices.glob("video*"), key=_number):
        with suppress(_NoCameraError):
            found.append(_look_at(node, names.get(node.resolve(), node), ioctl))
    return found


class _NoCameraError(Exception):
    """A node that takes pictures, or sends something else than pictures."""


def _number(node: Path) -> tuple[int, str]:
    digits = node.name.removeprefix("video")
    return (int(digits) if digits.isdecimal() else 1_000_000, node.name)


def _lasting_names(devices: Path) -> dict[Path, Path]:
    """Links by node: by the camera's own number where it has one, else by its socket."""
    links = [
        link
        for folder in ("by-path", "by-id")
        for link in sorted((devices / "v4l" / folder).glob("*"), reverse=True)
    ]
    return {link.resolve(): link for link in links}


def _look_at(node: Path, source: Path, ioctl: Ioctl) -> VideoDevice:
    """Ask one device.

    Raises:
        _NoCameraError: it is none.
    """
    try:
        descriptor = os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        return VideoDevice(source, node, fault="no rights to open it; add your user to group video")
    except OSError as error:
        return VideoDevice(source, node, fault=f"cannot be opened ({error.strerror})")
    try:
        number, form = _QUERY_CAPABILITIES
        *_, card, _, _, whole, own = _struct_of(ioctl, descriptor, number, form)
        can = own if whole & _OWN_CAPABILITIES else whole
        kind = next((kind for bit, kind in _BUFFER_OF.items() if can & bit), None)
        if kind is None:
            raise _NoCameraError
        modes = tuple(_modes(ioctl, descriptor, kind))
        return VideoDevice(source, node, card.split(b"\0")[0].decode("utf-8", "replace"), modes)
    except OSError as error:
        return VideoDevice(source, node, fault=f"is no camera ({error.strerror})")
    finally:
        os.close(descriptor)


def _struct_of(
    ioctl: Ioctl, descriptor: int, number: int, form: struct.Struct, *asked: int
) -> tuple[Any, ...]:
    question = struct.pack(f"={len(asked)}I", *asked).ljust(form.size, b"\0")
    return form.unpack(ioctl(descriptor, number, question))


def _each(
    ioctl: Ioctl, descriptor: int, question: tuple[int, struct.Struct], *asked: int
) -> Iterator[tuple[Any, ...]]:
    """The answers to a question that counts them, until the driver has no more."""
    number, form = question
    with suppress(OSError):
        for index in range(_MOST):
            yield _struct_of(ioctl, descriptor, number, form, index, *asked)


def _modes(ioctl: Ioctl, descriptor: int, kind: int) -> Iterator[VideoMode]:
    for *_, code in _each(ioctl, descriptor, _ENUM_FORMATS, kind):
        name = code.to_bytes(4, "little").decode("latin-1").strip()
        for _, _, how, *sides in _each(ioctl, descriptor, _ENUM_SIZES, code):
            width, height = sides[:2] if how == _DISCRETE else sides[1:]  # of a range, the largest
            rates = tuple(
                round(denominator / numerator, 2)
                for *_, how, numerator, denominator in _each(
                    ioctl, descriptor, _ENUM_INTERVALS, code, width, height
                )
                if how == _DISCRETE and numerator
            )
            yield VideoMode(name, width, height, tuple(sorted(set(rates), reverse=True)))
