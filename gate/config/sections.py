"""Sections: what gate.yaml may say of camera, detector and outputs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from mask_gate.gate.camera.source import Source, SourceKind, parse_source
from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.errors import ConfigError, OutputError
from mask_gate.gate.system.secret_file import read_secret
from mask_gate.models.letterbox import INPUT_STEP, MAX_INPUT
from mask_gate.models.section import Section


def _as_text(source: object) -> object:
    """An index may also stand without quotes."""
    return str(source) if type(source) is int else source


def _as_sound(sound: object) -> object:
    """It used to be true or false."""
    return {True: "tones", False: "off"}[sound] if isinstance(sound, bool) else sound


def _checked(source: str) -> str:
    parse_source(source)
    return source


class CameraConfig(Section):
    """Where the pictures come from."""

    source: Annotated[str, BeforeValidator(_as_text), AfterValidator(_checked)] = Field(
        default="0",
        description="an index, a device path, a URL, a video file, a folder of images, or demo",
    )
    user: str | None = Field(
        default=None, min_length=1, description="of a camera with a URL, where it asks for one"
    )
    password_file: str | None = Field(
        default=None, min_length=1, description="file with the password of that user"
    )
    timeout_s: float = Field(
        default=1.0, ge=0.1, le=10, description="no picture for longer than this is a fault"
    )
    folder_fps: float = Field(
        default=10.0, gt=0, le=240, description="pictures per second of a folder of images"
    )
    folder_is_numbered: bool = Field(
        default=False,
        description="whether those are named by numbers of frames (0041.jpg); where some are "
        "missing, no picture came for so long",
    )

    @model_validator(mode="after")
    def _login_is_whole(self) -> CameraConfig:
        if (self.user is None) != (self.password_file is None):
            missing = "user" if self.user is None else "password_file"
            raise ValueError(f"{missing}: expected both user and password_file, or neither")
        if self.user is not None and parse_source(self.source).has_login:
            raise ValueError("user: the URL has a user already; leave one of them out")
        return self

    def opened_as(self) -> Source:
        """What to open, with the password in it.

        Raises:
            ConfigError: the password cannot be read.
        """
        source = parse_source(self.source)
        if self.user is None or self.password_file is None or source.kind is not SourceKind.URL:
            return source
        try:
            password = read_secret(self.password_file).decode()
        except (OutputError, UnicodeDecodeError) as error:
            raise ConfigError(f"camera.password_file: {error}") from None
        return source.with_login(self.user, password)


class DetectorConfig(Section):
    """What looks for faces."""

    weights: str | None = Field(
        default=None, min_length=1, description="the checkpoint; null is the bundled one"
    )
    device: str = Field(
        default="auto", pattern="^(auto|cpu|cuda(:[0-9]+)?)$", description="auto, cpu or cuda[:N]"
    )
    engine: str = Field(
        default="auto",
        pattern=f"^({'|'.join(EngineKind)})$",
        description=f"{', '.join(EngineKind)}; auto takes the fastest one that it knows here",
    )
    input_size: int | None = Field(
        default=None,
        ge=128,
        le=MAX_INPUT,
        multiple_of=INPUT_STEP,
        description="longer side of the pictures that the network looks at; null is that of the "
        "weights, and with the bundled ones a smaller one where this machine cannot hold 15 "
        "pictures a second",
    )
    fault_frames: int = Field(
        default=3,
        ge=1,
        le=100,
        description="after so many faults of the model in a row, as many sound frames in a row "
        "must come before it is trusted again",
    )
    start_s: float = Field(
        default=60.0,
        ge=5,
        le=80,
        description="loading the weights and the self-test may take so long",
    )
    hang_s: float = Field(
        default=2.0,
        ge=0.5,
        le=30,
        description="its process is killed and replaced when it is silent about a frame for longer",
    )
    max_memory_mb: int = Field(
        default=4096, ge=256, le=262144, description="the same when it has more MiB in memory"
    )


class OutputsConfig(Section):
    """What the gate does in the world."""

    on_allow: str | None = Field(
        default=None, min_length=1, description="command that unlocks; no shell runs it"
    )
    on_deny: str | None = Field(
        default=None, min_length=1, description="command that locks and hears of denials"
    )
    hook_limit_s: float = Field(
        default=3.0, gt=0, le=30, description="how long the command that locks may take"
    )
    fault_hold_s: float = Field(
        default=6.5,
        gt=0,
        le=600,
        description="after an output failed, the gate stays out of order for so long",
    )
    sound: Annotated[Literal["off", "tones", "voice"], BeforeValidator(_as_sound)] = Field(
        default="tones", description="what people at the door hear"
    )
    sounds: str | None = Field(
        default=None, min_length=1, description="folder with sounds; null is the bundled one"
    )
    events: str | None = Field(
        default=None, min_length=1, description="file for one JSON line per event; - is stdout"
    )
    heartbeat_s: float = Field(
        default=0.5,
        ge=0.2,
        le=5,
        description="a relay locks by itself when the gate has been silent for so long",
    )
