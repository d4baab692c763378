"""MqttConfig: what gate.yaml may say of telling an MQTT broker about the gate."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from mask_gate.models.section import Section

_SCHEMES = {"mqtt": False, "tcp": False, "mqtts": True, "ssl": True, "tls": True}
"""How people write a broker as a URL, and whether it is encrypted."""


def check_host(host: str) -> str:
    """The name or address of a broker, alone.

    Raises:
        ValueError: it is a URL, or has a port or a path; says what to write instead.
    """
    scheme, separator, rest = host.rpartition("://")
    rest, at, place = rest.rpartition("@") if separator else ("", "", host)
    name, port, more = _parts(place)
    if not (separator or at or port or more or name != host or any(map(str.isspace, host))):
        return host
    said = [f"host: {name}", f"port: {port}" if port else "", "tls: true" * _is_tls(scheme)]
    said += ["username and password_file for what stands before the @" if at else ""]
    raise ValueError(
        f"a name or an address alone is expected; write {', '.join(filter(None, said))}"
    )


def _is_tls(scheme: str) -> bool:
    return _SCHEMES.get(scheme.lower(), False)


def _parts(place: str) -> tuple[str, str, str]:
    """Name, port and what follows; an IPv6 address has colons of its own."""
    place, slash, more = place.partition("/")
    if place.startswith("["):
        name, _, port = place[1:].partition("]")
        return name, port.removeprefix(":"), slash + more
    if place.count(":") != 1:
        return place.strip(), "", slash + more
    name, _, port = place.partition(":")
    return name, port, slash + more


BrokerHost = Annotated[str, Field(min_length=1), AfterValidator(check_host)]

_TOPIC = r"^[^+#/$\x00-\x1f]([^+#\x00-\x1f]*[^+#/\x00-\x1f])?$"


class MqttConfig(Section):
    """The gate's state for others to see; it hears nothing, so nothing can be opened this way."""

    host: BrokerHost = Field(description="name or address of the broker")
    port: int = Field(default=1883, ge=1, le=65535, description="mostly 8883 with tls")
    username: str | None = Field(default=None, min_length=1)
    password_file: str | None = Field(
        default=None, min_length=1, description="file with the password, readable by nobody else"
    )
    tls: bool = Field(
        default=False, description="encrypt the connection and check the broker's certificate"
    )
    ca_file: str | None = Field(
        default=None,
        min_length=1,
        description="certificates to check it with; null: those of the system",
    )
    base_topic: str = Field(
        default="mask-gate",
        max_length=200,
        pattern=_TOPIC,
        description="a topic that everything is below, as mask-gate in mask-gate/entrance/state",
    )
    discovery_prefix: str | None = Field(
        default="homeassistant",
        max_length=200,
        pattern=_TOPIC,
        description="where Home Assistant looks for new devices; null: it is told nothing",
    )
    keepalive_s: int = Field(
        default=15,
        ge=2,
        le=600,
        description="the broker says offline when the gate was silent for one and a half of this",
    )

    @model_validator(mode="after")
    def _goes_together(self) -> MqttConfig:
        if self.password_file is not None and self.username is None:
            raise ValueError("username: needed with password_file")
        if self.ca_file is not None and not self.tls:
            raise ValueError("ca_file: has no meaning without tls: true")
        return self

    def root(self, gate: str) -> str:
        """The topic that everything about this gate is below."""
        return f"{self.base_topic}/{gate}"
