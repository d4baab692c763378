"""DoorSections: what gate.yaml may say of several doors, and what two of them must not share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, Field

from mask_gate.gate.camera.source import SourceKind, parse_source
from mask_gate.gate.config.resolved_names import (
    resolved_command,
    resolved_host,
    resolved_path,
    resolved_pin,
    resolved_url,
)
from mask_gate.gate.relays.config import (
    CommandRelayConfig,
    GpioRelayConfig,
    MqttRelayConfig,
    PluginRelayConfig,
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
        audit: file of its record.
        relays: what holds it.
    """

    source: str
    audit: str
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
    owners: dict[tuple[str, str], tuple[str, str]] = {}
    for name, door in doors.items():
        for claim in _claims(door):
            owner, called = owners.setdefault(claim.thing, (name, claim.called))
            if owner != name:
                other = "" if called == claim.called else f" as {called}"
                what = f"{claim.called} is of door {owner} already{other}; give each door its own"
                yield name, claim.key, what


class _Claim(NamedTuple):
    """Something that a door must have for itself.

    Attributes:
        key: where the configuration says so.
        called: as it is written there.
        thing: its kind, and the name that all spellings have in common.
    """

    key: tuple[str, ...]
    called: str
    thing: tuple[str, str]


def _claims(door: DoorResources) -> Iterator[_Claim]:
    source = parse_source(door.source)
    camera = ("camera", "source")
    if source.kind is SourceKind.INDEX:
        device = f"/dev/video{source.address}"
        yield _Claim(camera, device, ("camera", resolved_path(device)))
    elif source.kind is SourceKind.DEVICE:  # a clip can be shown to several
        yield _Claim(camera, str(source), ("camera", resolved_path(source.address)))
    elif source.kind is SourceKind.URL:
        yield _Claim(camera, str(source), ("camera", resolved_url(source.address)))
    elif source.kind is SourceKind.PIPELINE:
        yield _Claim(camera, str(source), ("camera", source.address))
    elif source.kind is SourceKind.PLUGIN:
        yield _Claim(camera, str(source), ("camera", f"plug-in {source.address}"))
    path = ("audit", "path")
    yield _Claim(path, f"the record {door.audit}", ("file", resolved_path(door.audit)))
    for relay in door.relays:
        if (found := _device(relay)) is not None:
            yield _Claim(("relays",), *found)


def _device(relay: RelayConfig) -> tuple[str, tuple[str, str]] | None:
    """What a relay switches: as it is written, and by the name that all spellings share."""
    match relay:
        case CommandRelayConfig():
            if relay.on_allow is None:
                return None
            command = resolved_command(relay.on_allow)
            return f"the command {relay.on_allow!r}", ("command", command)
        case GpioRelayConfig():
            return f"pin {relay.pin}", ("pin", resolved_pin(relay.pin))
        case SerialRelayConfig():  # only one process can open a port, whatever the channel
            return f"the board at {relay.port}", ("port", resolved_path(relay.port))
        case MqttRelayConfig():
            broker = f"{resolved_host(relay.host)}:{relay.port}"
            called = f"the topic {relay.topic} at {relay.host}:{relay.port}"
            return called, ("topic", f"{relay.topic} at {broker}")
        case WebhookRelayConfig():
            return f"the address {relay.url}", ("address", resolved_url(relay.url))
        case PluginRelayConfig():
            told = ", ".join(f"{key}: {value}" for key, value in sorted(relay.settings.items()))
            called = f"the plug-in {relay.driver} with the same settings"
            return called, ("plug-in", f"{relay.driver} {told}")
        case _:
            return f"the file {relay.path}", ("file", resolved_path(relay.path))
