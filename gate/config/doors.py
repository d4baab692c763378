"""DoorSections: what gate.yaml may say of several doors, and what two of them must not share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator, Field

from mask_gate.gate.camera.source import SourceKind, parse_source
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
"""What a door may have of its own; everything else in the file is shared by all doors."""


def _without_empty_sections(doors: object) -> object:
    """A door or a section without keys is null in YAML: it takes everything from above."""
    if not isinstance(doors, dict):
        return doors
    return {
        name: {section: keys for section, keys in (own or {}).items() if keys is not None}
        if isinstance(own, dict | None)
        else own
        for name, own in doors.items()
    }


DoorName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$",
        description="a name of up to 32 letters, digits and . _ -",
    ),
]
OwnSections = dict[str, object]
DoorSections = Annotated[dict[DoorName, OwnSections], BeforeValidator(_without_empty_sections)]


@dataclass(frozen=True, slots=True)
class DoorResources:
    """What belongs to one door alone.

    Attributes:
        source: its camera, as the configuration has it.
        audit: file of its record, where one is named.
        relays: what holds it.
    """

    source: str
    audit: str | None
    relays: tuple[RelayConfig, ...]


def values_of_door(shared: Mapping[str, object], name: str, own: OwnSections) -> dict[str, object]:
    """The configuration of one door as if it stood in a file of its own, as plain values.

    Args:
        shared: the configuration of all doors, complete.
        name: of the door; it is called `<gate>-<name>` in events, record and topics.
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


def conflicts(doors: Mapping[str, DoorResources]) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Each thing that two doors claim: name of the later door, key below it, and the sentence."""
    owners: dict[str, str] = {}
    for name, door in doors.items():
        for key, thing in _claims(door):
            owner = owners.setdefault(thing, name)
            if owner != name:
                yield name, key, f"{thing} is of door {owner} already; give each door its own"


def _claims(door: DoorResources) -> Iterator[tuple[tuple[str, ...], str]]:
    """Key and name of everything that a door must have for itself."""
    source = parse_source(door.source)
    if source.kind is SourceKind.INDEX:
        yield ("camera", "source"), f"/dev/video{source.address}"
    elif source.kind in (SourceKind.DEVICE, SourceKind.URL):  # a clip can be shown to several
        yield ("camera", "source"), str(source)
    if door.audit is not None:
        yield ("audit", "path"), f"the record {door.audit}"
    for relay in door.relays:
        if (device := _device(relay)) is not None:
            yield ("relays",), device


def _device(relay: RelayConfig) -> str | None:
    """What a relay switches, by a name that two entries for the same thing have in common."""
    match relay:
        case CommandRelayConfig():
            return None if relay.on_allow is None else f"the command {relay.on_allow!r}"
        case GpioRelayConfig():
            return f"pin {str(relay.pin).upper().removeprefix('GPIO')}"
        case SerialRelayConfig():  # only one process can open a port, whatever the channel
            return f"the board at {relay.port}"
        case MqttRelayConfig():
            return f"the topic {relay.topic} at {relay.host}:{relay.port}"
        case WebhookRelayConfig():
            return f"the address {relay.url}"
        case _:
            return f"the file {relay.path}"
