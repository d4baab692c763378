"""GateConfig: gate.yaml read into one frozen, strict value; a slip names file, line and key."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from mask_gate.gate.audit.config import AuditConfig, default_audit_path
from mask_gate.gate.camera.frame_check import FrameCheckConfig
from mask_gate.gate.config.doors import (
    MOST_DOORS,
    OWN_SECTIONS,
    DoorResources,
    DoorSections,
    conflicts,
    values_of_door,
)
from mask_gate.gate.config.sections import CameraConfig, DetectorConfig, OutputsConfig
from mask_gate.gate.console.config import ConsoleConfig
from mask_gate.gate.decision.policy import PolicyConfig
from mask_gate.gate.decision.tracker import TrackerConfig
from mask_gate.gate.display.config import PrivacyConfig
from mask_gate.gate.door.lease import DoorConfig
from mask_gate.gate.errors import ConfigError
from mask_gate.gate.guard_order import GuardAct
from mask_gate.gate.mqtt.config import MqttConfig
from mask_gate.gate.notify.config import NotifyConfig
from mask_gate.gate.relays.config import CommandRelayConfig, RelayConfig
from mask_gate.gate.relays.worker import LONGEST_PAUSE_S
from mask_gate.models.files.config_faults import ConfigFault, faults_of, suggestion
from mask_gate.models.files.strict_yaml import ConfigFileError, StrictYaml, read_text
from mask_gate.models.files.yaml_values import Key
from mask_gate.models.section import Section

log = logging.getLogger(__name__)

_OF_ONE_DOOR: frozenset[Key] = frozenset(
    {("camera", "source"), ("outputs", "on_allow"), ("outputs", "on_deny"), ("audit", "path")}
)
"""Keys that cannot be the same for several doors."""

FOR_LOCKING = ("gate", "relays", "outputs")
"""What a lock by hand needs to know of a door."""


class GateConfig(Section):
    """Everything `gate.yaml` may say; each key has a default.

    Raises:
        ValidationError: a value is out of its range, or two do not go together.
    """

    gate: str = Field(
        default="entrance",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        description="a name for this door in events and logs, of letters, digits and . _ -",
    )
    camera: CameraConfig = CameraConfig()
    detector: DetectorConfig = DetectorConfig()
    quality: FrameCheckConfig = FrameCheckConfig()
    tracker: TrackerConfig = TrackerConfig()
    policy: PolicyConfig = PolicyConfig()
    door: DoorConfig = DoorConfig()
    outputs: OutputsConfig = OutputsConfig()
    relays: tuple[RelayConfig, ...] = Field(
        default=(), max_length=8, description="what holds the door: a list, each with its kind"
    )
    audit: AuditConfig = AuditConfig()
    mqtt: MqttConfig | None = Field(
        default=None, description="a broker that is told how the gate is; null: none"
    )

    notify: NotifyConfig | None = Field(
        default=None, description="people who are told what happens; null: none"
    )

    language: str = Field(
        default="en", pattern=r"^[A-Za-z-]{2,16}$", description="a file of assets/languages: en, ko"
    )
    languages: str | None = Field(
        default=None, min_length=1, description="folder with further languages, a file each"
    )
    privacy: PrivacyConfig = PrivacyConfig()
    console: ConsoleConfig = ConsoleConfig()
    doors: DoorSections = Field(
        default={},
        max_length=MOST_DOORS,
        description="several doors, each by its name with sections of its own",
    )

    def each_door(self) -> dict[str, GateConfig]:
        """The configuration of each of `doors`, whole; one door that has no name stands alone.

        Raises:
            ValidationError: a door is not right; files and flags with such a door are refused.
        """
        if not self.doors:
            return {"": self}
        shared = self.model_dump()
        return {
            name: GateConfig.model_validate(values_of_door(shared, name, own))
            for name, own in self.doors.items()
        }

    @property
    def identity(self) -> str:
        """A fingerprint of everything that is configured, as the audit keeps it."""
        text = json.dumps(self.model_dump(), sort_keys=True)
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    @property
    def all_relays(self) -> tuple[RelayConfig, ...]:
        """The relays, with the two commands of `outputs` as one more."""
        outputs = self.outputs
        if outputs.on_allow is None and outputs.on_deny is None:
            return self.relays
        command = CommandRelayConfig(
            kind="command",
            on_allow=outputs.on_allow,
            on_deny=outputs.on_deny,
            limit_s=outputs.hook_limit_s,
        )
        return (*self.relays, command)

    @model_validator(mode="before")
    @classmethod
    def _without_empty_sections(cls, values: object) -> object:
        """A section all of whose keys are commented out is null in YAML: it says nothing."""
        if not isinstance(values, dict):
            return values
        sections = cls.model_fields.keys() - {"gate"}
        return {k: v for k, v in values.items() if v is not None or k not in sections}

    @model_validator(mode="after")
    def _goes_together(self) -> GateConfig:
        policy, door = self.policy, self.door
        if policy.hold_s + policy.lease_s > door.max_open_s:
            raise ValueError(
                f"door.max_open_s: expected at least policy.hold_s + policy.lease_s "
                f"({policy.hold_s + policy.lease_s:g}), got {door.max_open_s:g}"
            )
        if policy.lease_s < door.decision_max_age_s + self.audit.wait_s:
            # Otherwise a lease could be over by the time that its opening is on the disk.
            raise ValueError(
                f"policy.lease_s: expected at least door.decision_max_age_s + audit.wait_s "
                f"({door.decision_max_age_s + self.audit.wait_s:g}), got {policy.lease_s:g}"
            )
        if GuardAct.LET_IN_ONCE in self.console.guard_acts and not self.audit.required:
            raise ValueError(
                "audit.required: expected true, for console.guard_may has let_in_once, and nobody "
                "is let in unrecorded"
            )
        if self.outputs.heartbeat_s < 2 * door.tick_s:
            raise ValueError(
                f"outputs.heartbeat_s: expected at least twice door.tick_s "
                f"({2 * door.tick_s:g}), got {self.outputs.heartbeat_s:g}"
            )
        if self.tracker.memory_s < policy.window_s:
            raise ValueError(
                f"tracker.memory_s: expected at least policy.window_s ({policy.window_s:g}), "
                f"got {self.tracker.memory_s:g}"
            )
        longest_s = max((relay.longest_lock_s for relay in self.all_relays), default=0.0)
        if self.outputs.fault_hold_s < longest_s + LONGEST_PAUSE_S:
            # Between two tries of a lock that hangs, the gate must not come back into order.
            raise ValueError(
                f"outputs.fault_hold_s: expected at least {longest_s:g} (the longest a relay may "
                f"take to lock) + {LONGEST_PAUSE_S:g}, got {self.outputs.fault_hold_s:g}"
            )
        return self


def load_config(path: Path) -> GateConfig:
    """Read a configuration file.

    Raises:
        ConfigError: it cannot be read, is not YAML, or says something wrong; one line per fault,
            each with file, line, key and what was expected.
    """
    return parse_config(_text_of(path), str(path))


def load_config_for_locking(path: Path) -> GateConfig:
    """Read a configuration file as far as a lock by hand needs it, and say what is wrong with it.

    Raises:
        ConfigError: it cannot be read, or what says which relays there are is wrong.
    """
    text = _text_of(path)
    try:
        return parse_config(text, str(path))
    except ConfigError as error:
        config = parse_config_for_locking(text, str(path))
        log.warning("locking all the same: %s", error)
        return config


def _text_of(path: Path) -> str:
    try:
        return read_text(path, "a gate.yaml")
    except ConfigFileError as error:
        raise ConfigError(str(error)) from None


def parse_config(text: str, name: str) -> GateConfig:
    """Read configuration from `text`; `name` is what the errors call it.

    Raises:
        ConfigError: see `load_config`.
    """
    try:
        document = StrictYaml(text, name)
        config = document.fill(GateConfig)
        document.refuse(_faults_of_doors(config))
    except ConfigFileError as error:
        raise ConfigError(str(error)) from None
    return config


def parse_config_for_locking(text: str, name: str) -> GateConfig:
    """Read no more of a configuration than a lock by hand needs; the rest may be wrong.

    Raises:
        ConfigError: what says which relays there are is wrong, too.
    """
    try:
        document = StrictYaml(text, name)
        said = document.values
        doors = said.get("doors")
        document.values = _kept(said)
        if isinstance(doors, dict):
            document.values["doors"] = {door: _kept(own) for door, own in doors.items()}
        return document.fill(GateConfig)
    except ConfigFileError as error:
        raise ConfigError(str(error)) from None


def _kept(section: object) -> dict[str, object]:
    """What a lock needs to know of the keys of a door; of anything else, nothing."""
    if not isinstance(section, dict):
        return {}
    return {key: section[key] for key in FOR_LOCKING if key in section}


def with_flags(config: GateConfig, flags: Mapping[str, tuple[Key, object]]) -> GateConfig:
    """A copy with some keys set anew by flags of the command line, checked all over again.

    Args:
        config: as read from the file.
        flags: by its name on the command line, the key each flag sets, and its value.

    Raises:
        ConfigError: a value is wrong; names the flag.
    """
    values = config.model_dump()
    for flag, (key, value) in flags.items():
        *section, name = key
        if config.doors and key in _OF_ONE_DOOR:
            raise ConfigError(
                f"{flag}: of which door? There are several; set doors.NAME.{'.'.join(key)} in the "
                "file"
            )
        place = values
        for part in section:
            place = place[part]
        place[name] = value
        if key == ("camera", "source"):  # another camera, which the password is not for
            place.update(user=None, password_file=None)
        for own in values["doors"].values():  # a flag wins over what a door says
            own.get(section[0] if section else "", {}).pop(name, None)
    try:
        changed = GateConfig.model_validate(values)
        faults = list(_faults_of_doors(changed))
    except ValidationError as error:
        faults = faults_of(error, GateConfig)
    for fault in faults:
        sets = fault.place[2:] if fault.place[:1] == ("doors",) else fault.place
        flag = next((flag for flag, (key, _) in flags.items() if key == sets), ".".join(fault.key))
        raise ConfigError(f"{flag}: {fault.what}")
    return changed


def _faults_of_doors(config: GateConfig) -> Iterator[ConfigFault]:
    """What is wrong with single doors, or with two of them."""
    shared, resources = config.model_dump(), {}
    for name, own in config.doors.items():
        unknown = [section for section in own if section not in OWN_SECTIONS]
        for section in unknown:
            yield ConfigFault.at(("doors", name, section), _not_of_a_door(section))
        known = {section: keys for section, keys in own.items() if section not in unknown}
        try:
            door = GateConfig.model_validate(values_of_door(shared, name, known))
        except ValidationError as error:
            for fault in faults_of(error, GateConfig):
                yield fault.below("doors", name)
        else:
            resources[name] = DoorResources(door.camera.source, _audit_of(door), door.all_relays)
    for name, key, what in conflicts(resources):
        yield ConfigFault.at(("doors", name, *key), what)


def _audit_of(door: GateConfig) -> str:
    """The file of its record; without a home folder there is none yet, and no start either."""
    with contextlib.suppress(ConfigError):
        return door.audit.path or str(default_audit_path(door.gate))
    return f"{door.gate}.sqlite"


def _not_of_a_door(section: str) -> str:
    if section in GateConfig.model_fields:
        return "is of all doors; set it beside doors"
    return f"no such key; {suggestion(section, OWN_SECTIONS)}"
