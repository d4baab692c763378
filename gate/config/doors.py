"""DoorsConfig: what gate.yaml may say of several doors, and what two of them must not share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mask_gate.gate.camera.source import SourceKind, parse_source
from mask_gate.gate.errors import ConfigError
from mask_gate.gate.relays.config import (
    CommandRelayConfig,
    GpioRelayConfig,
    MqttRelayConfig,
    RelayConfig,
    SerialRelayConfig,
    WebhookRelayConfig,
)

MOST_DOORS = 16

OWN_SECTIONS = ("camera", "quality", "tracker", "policy", "door", "outputs", "relays", "audit")
"""What a door may have of its own; the rest of the file is of the one process that holds all."""

OwnSections = dict[str, object]


@dataclass(frozen=True, slots=True)
class SharedResources:
    """What belongs to one door alone.

    Attributes:
        source: its camera, in words.
        audit: file of its record, where one is told.
        relays: what holds it.
    """

    source: str
    audit: str | None
    relays: tuple[RelayConfig, ...]


def laid_over(shared: Mapping[str, object], name: str, own: OwnSections) -> dict[str, object]:
    """The configuration of one door as if it stood in a file of its own, as plain values.

    Args:
        shared: the configuration of all, whole.
        name: of the door; it is called `<gate>-<name>` wherever it is told of.
        own: the door's own sections; a key given here wins.
    """
    values = {key: value for key, value in shared.items() if key != "doors"}
    for section, keys in own.items():
        above = values.get(section)
        if isinstance(above, dict) and isinstance(keys, dict):
            keys = {**above, **keys}
        values[section] = keys
    values["gate"] = f"{shared['gate']}-{name}"
    return values


def shared_by_mistake(doors: Mapping[str, SharedResources]) -> Iterator[tuple[str, str]]:
    """What belongs to an earlier door already: the later one's name, and key with sentence."""
    owners: dict[str, str] = {}
    for name, door in doors.items():
        try:
            names = list(_names(door))
        except ConfigError as error:
            yield name, f"camera.source: {error}"
            continue
        for key, what in names:
            owner = owners.setdefault(what, name)
            if owner != name:
                yield name, f"{key}: {what} is of door {owner} already; give each door its own"


def _names(door: SharedResources) -> Iterator[tuple[str, str]]:
    """Key and name of everything that two doors must not share.

    Raises:
        ConfigError: the words of the camera name none.
    """
    source = parse_source(door.source)
    if source.kind is SourceKind.INDEX:
        yield "camera.source", f"/dev/video{source.address}"
    elif source.kind in (SourceKind.DEVICE, SourceKind.URL):  # a clip is shown to as many as like
        yield "camera.source", str(source)
    if door.audit is not None:
        yield "audit.path", f"the record {door.audit}"
    for relay in door.relays:
        if (contact := _contact(relay)) is not None:
            yield "relays", contact


def _contact(relay: RelayConfig) -> str | None:
    """What opens, by a name that two entries for the same thing have in common."""
    if isinstance(relay, CommandRelayConfig):
        return None if relay.on_allow is None else f"the command {relay.on_allow!r}"
    if isinstance(relay, GpioRelayConfig):
        return f"pin {str(relay.pin).upper().removeprefix('GPIO')}"
    if isinstance(relay, SerialRelayConfig):
        return f"the board at {relay.port}"  # one process alone opens a port, whatever the channel
    if isinstance(relay, MqttRelayConfig):
        return f"the topic {relay.topic} at {relay.host}:{relay.port}"
    if isinstance(relay, WebhookRelayConfig):
        return f"the address {relay.url}"
    return f"the file {relay.path}"
