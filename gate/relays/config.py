"""RelayConfig: what gate.yaml may say of each kind of relay."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from mask_gate.gate.mqtt.config import BrokerHost
from mask_gate.models.section import Section

MAX_PULSE_S = 10.0

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class _RelayConfig(Section):
    pulse_s: float | None = Field(
        default=None,
        gt=0,
        le=MAX_PULSE_S,
        description="lock again after this long even while the gate still allows; null: with the "
        "gate",
    )
    refresh_s: ClassVar[float | None] = None
    """While idle, the relay is locked again this often, so that one that went away is missed."""

    @property
    def longest_lock_s(self) -> float:
        """How long one try to lock may take."""
        return float(getattr(self, "limit_s", 0.0))


class _SwitchConfig(_RelayConfig):
    """A contact that is energised or not."""

    energised: Literal["unlocked", "locked"] = Field(
        default="unlocked",
        description="what an energised contact means: unlocked, so that power loss locks, or "
        "locked, where the wiring asks for it",
    )


class CommandRelayConfig(_RelayConfig):
    """Programs of the operator's."""

    kind: Literal["command"]
    on_allow: str | None = Field(
        default=None, min_length=1, description="command that unlocks; no shell runs it"
    )
    on_deny: str | None = Field(
        default=None, min_length=1, description="command that locks and hears of denials"
    )
    limit_s: float = Field(
        default=3.0, gt=0, le=30, description="how long the command that locks may take"
    )


class GpioRelayConfig(_SwitchConfig):
    """A pin of a single-board computer."""

    kind: Literal["gpio"]
    pin: str | int = Field(description="as gpiozero names it: 17, GPIO17, BOARD11")
    active_high: bool = Field(
        default=True, description="whether a high level energises the relay board"
    )


class SerialRelayConfig(_SwitchConfig):
    """A USB relay board behind a serial port."""

    refresh_s: ClassVar[float | None] = 1.0

    kind: Literal["serial"]
    port: str = Field(min_length=1, description="best a stable name: /dev/serial/by-id/...")
    protocol: Literal["lcus", "numato", "custom"] = Field(
        default="lcus", description="what the board speaks"
    )
    channel: int = Field(default=1, ge=0, le=64, description="which relay of the board")
    baud: int = Field(default=9600, ge=300, le=4_000_000, description="bits per second")
    read_back: bool = Field(
        default=True, description="ask the board for its state after each change, where it can say"
    )
    energise: str | None = Field(
        default=None, description="custom: bytes that energise, in hexadecimal, as A00101A2"
    )
    release: str | None = Field(default=None, description="custom: bytes that release")
    reply: str | None = Field(
        default=None, description="custom: bytes the board answers with; null: it does not answer"
    )
    limit_s: float = Field(default=0.5, gt=0, le=3, description="how long the board may take")

    @model_validator(mode="after")
    def _custom_says_its_bytes(self) -> SerialRelayConfig:
        for name in ("energise", "release", "reply"):
            text = getattr(self, name)
            if text is not None and self.protocol != "custom":
                raise ValueError(f"{name}: only with protocol custom")
            if text is not None and not _is_hexadecimal(text):
                raise ValueError(f"{name}: expected bytes in hexadecimal, got {text!r}")
        if self.protocol == "custom" and (self.energise is None or self.release is None):
            raise ValueError("energise: protocol custom needs energise and release")
        return self


def _one_topic(topic: str) -> str:
    if set(topic) & set("+#\0") or not topic:
        raise ValueError(f"expected one topic, without the wildcards + and #, got {topic!r:.80}")
    return topic


Topic = Annotated[str, AfterValidator(_one_topic)]


class MqttRelayConfig(_RelayConfig):
    """A lock or switch that listens on an MQTT topic."""

    kind: Literal["mqtt"]
    host: BrokerHost
    port: int = Field(default=1883, ge=1, le=65535)
    topic: Topic = Field(description="commands go here; never retained")
    allow: str = Field(default="UNLOCK", description="payload that unlocks")
    deny: str = Field(default="LOCK", description="payload that locks")
    state_topic: Topic | None = Field(
        default=None,
        description="where the lock tells its state; when given, a change must be confirmed there",
    )
    allowed_state: str = Field(default="UNLOCKED", description="state payload of an unlocked lock")
    denied_state: str = Field(default="LOCKED", description="state payload of a locked lock")
    username: str | None = None
    password_file: str | None = Field(default=None, description="file with the password")
    tls: bool = False
    ca_file: str | None = None
    limit_s: float = Field(default=1.0, gt=0, le=5, description="how long the broker may take")


class WebhookRelayConfig(_RelayConfig):
    """A lock controller that is called over HTTP."""

    kind: Literal["webhook"]
    url: str = Field(description="https, or http on this machine")
    secret_file: str | None = Field(
        default=None, description="file with the key for the signature (HMAC-SHA256)"
    )
    ca_file: str | None = None
    limit_s: float = Field(default=2.0, gt=0, le=5, description="how long one call may take")

    @model_validator(mode="after")
    def _is_private(self) -> WebhookRelayConfig:
        try:
            parts = urlsplit(self.url)
            host = parts.hostname
        except ValueError:
            parts, host = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError(f"url: expected https://host/path, got {self.url!r:.80}")
        if parts.username or parts.password:
            raise ValueError("url: holds a user or password; use secret_file")
        if parts.scheme == "http" and host not in _LOOPBACK:
            raise ValueError(f"url: http is for this machine only, use https for {host}")
        if host not in _LOOPBACK and self.secret_file is None:
            raise ValueError("secret_file: needed, so that the receiver can tell our calls")
        return self


class RecordingRelayConfig(_RelayConfig):
    """No device: a file that gets one line per change, for trying out and for tests."""

    kind: Literal["recording"]
    path: str = Field(min_length=1)


class PluginRelayConfig(_RelayConfig):
    """A relay whose driver is in another package."""

    kind: Literal["plugin"]
    driver: str = Field(min_length=1, description="name of its entry point in mask_gate.relays")
    settings: dict[str, str | int | float | bool | None] = Field(
        default={}, description="what the driver is made with"
    )
    limit_s: float = Field(default=2.0, gt=0, le=5, description="how long unlocking may take")


RelayConfig = Annotated[
    CommandRelayConfig
    | GpioRelayConfig
    | SerialRelayConfig
    | MqttRelayConfig
    | WebhookRelayConfig
    | RecordingRelayConfig
    | PluginRelayConfig,
    Field(discriminator="kind"),
]


def _is_hexadecimal(text: str) -> bool:
    try:
        return len(bytes.fromhex(text)) > 0
    except ValueError:
        return False
