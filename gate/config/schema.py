"""GateConfig: gate.yaml read into one frozen, strict value; a slip names file, line and key."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, cast, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from mask_gate.gate.audit.config import AuditConfig
from mask_gate.gate.camera.frame_check import FrameCheckConfig
from mask_gate.gate.config.doors import (
    MOST_DOORS,
    OWN_SECTIONS,
    OwnSections,
    SharedResources,
    laid_over,
    shared_by_mistake,
)
from mask_gate.gate.console.config import ConsoleConfig
from mask_gate.gate.decision.policy import PolicyConfig
from mask_gate.gate.decision.tracker import TrackerConfig
from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.display.config import PrivacyConfig
from mask_gate.gate.door.lease import DoorConfig
from mask_gate.gate.errors import ConfigError
from mask_gate.gate.mqtt.config import MqttConfig
from mask_gate.gate.relays.config import CommandRelayConfig, RelayConfig
from mask_gate.gate.relays.worker import LONGEST_PAUSE_S

Key = tuple[str, ...]

_OF_ONE_DOOR: frozenset[Key] = frozenset(
    {("camera", "source"), ("outputs", "on_allow"), ("outputs", "on_deny"), ("audit", "path")}
)
"""Keys that cannot be the same for several doors."""

MAX_BYTES = 100_000
"""A larger file is no configuration; refusing it keeps a wrong path from eating the memory."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class CameraConfig(_Section):
    """Where the pictures come from."""

    source: str = Field(
        default="0",
        min_length=1,
        description="an index, a device path, a URL, a video file, a folder of images, or demo",
    )
    timeout_s: float = Field(
        default=1.0, ge=0.1, le=10, description="no picture for longer than this is a fault"
    )
    folder_fps: float = Field(
        default=10.0, gt=0, le=240, description="pictures per second of a folder of images"
    )


class DetectorConfig(_Section):
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
        description=f"{', '.join(EngineKind)}; auto measures once which is the fastest here",
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


class OutputsConfig(_Section):
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
    sound: bool = Field(default=True, description="whether to play sounds")
    sounds: str | None = Field(
        default=None,
        min_length=1,
        description="folder with allow.wav, deny.wav and fault.wav, such as spoken words; null is "
        "the bundled one",
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


def _listed(value: object) -> object:
    """YAML's lists, where a tuple is kept; an empty section says nothing."""
    return tuple(value) if isinstance(value, list) else () if value is None else value


def _sections_of_doors(value: object) -> object:
    """Doors of which nothing is said, or only sections without keys, take everything from above."""
    if not isinstance(value, dict):
        return value
    return {
        name: {key: inner for key, inner in (own or {}).items() if inner is not None}
        if isinstance(own, dict | None)
        else own
        for name, own in value.items()
    }


DoorName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$")]


class GateConfig(_Section):
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
    relays: Annotated[tuple[RelayConfig, ...], BeforeValidator(_listed)] = Field(
        default=(), max_length=8, description="what holds the door: a list, each with its kind"
    )
    audit: AuditConfig = AuditConfig()
    mqtt: MqttConfig | None = Field(
        default=None, description="a broker that is told how the gate is; null: none"
    )

    language: str = Field(
        default="en", pattern=r"^[A-Za-z-]{2,16}$", description="a file of assets/languages: en, ko"
    )
    privacy: PrivacyConfig = PrivacyConfig()
    console: ConsoleConfig = ConsoleConfig()
    doors: Annotated[dict[DoorName, OwnSections], BeforeValidator(_sections_of_doors)] = Field(
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
            name: GateConfig.model_validate(laid_over(shared, name, own))
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
        sections = cls.model_fields.keys() - {"gate", "relays"}
        return {k: v for k, v in values.items() if v is not None or k not in sections}

    @model_validator(mode="after")
    def _goes_together(self) -> GateConfig:
        policy, door = self.policy, self.door
        if policy.hold_s + policy.lease_s > door.max_open_s:
            raise ValueError(
                f"door.max_open_s: expected at least policy.hold_s + policy.lease_s "
                f"({policy.hold_s + policy.lease_s:g}), got {door.max_open_s:g}"
            )
        if policy.lease_s < door.max_age_s + self.audit.wait_s:
            # Otherwise a lease could be over by the time that its opening is on the disk.
            raise ValueError(
                f"policy.lease_s: expected at least door.max_age_s + audit.wait_s "
                f"({door.max_age_s + self.audit.wait_s:g}), got {policy.lease_s:g}"
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
    return parse_config(_read(path), str(path))


def parse_config(text: str, name: str) -> GateConfig:
    """Read configuration from `text`; `name` is what the errors call it.

    Raises:
        ConfigError: see `load_config`.
    """
    document = _Document(text, name)
    try:
        config = GateConfig.model_validate(document.value)
        details = list(_faults_of_doors(config))
    except ValidationError as error:
        details = error.errors()
    if details:
        raise ConfigError("\n".join(dict.fromkeys(map(document.explain, details))))
    return config


def _faults_of_doors(config: GateConfig) -> Iterator[ErrorDetails]:
    """What is wrong with single doors, or with two of them."""
    shared, sound = config.model_dump(), {}
    for name, own in config.doors.items():
        strange = [section for section in own if section not in OWN_SECTIONS]
        yield from (_fault(_of_all(section), "doors", name, section) for section in strange)
        try:
            values = laid_over(shared, name, {k: own[k] for k in own if k not in strange})
            door = GateConfig.model_validate(values)
            sound[name] = SharedResources(door.camera.source, door.audit.path, door.all_relays)
        except ValidationError as error:
            for detail in error.errors():
                yield {**detail, "loc": ("doors", name, *detail["loc"])}
    yield from (_fault(said, "doors", name) for name, said in shared_by_mistake(sound))


def _of_all(section: str) -> str:
    if section in GateConfig.model_fields:
        return "is of all doors; set it beside doors"
    near = difflib.get_close_matches(section, OWN_SECTIONS, n=1)
    meant = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(OWN_SECTIONS)}"
    return f"no such key; {meant}"


def _fault(said: str, *loc: str) -> ErrorDetails:
    """A fault in the form that the models give theirs."""
    error = ValueError(said)
    return {"type": "value_error", "loc": loc, "msg": said, "input": None, "ctx": {"error": error}}


def _read(path: Path) -> str:
    try:
        if not path.is_file():
            fault = "is a folder" if path.is_dir() else "no such file"
            raise ConfigError(f"{path}: {fault}; give the path of a gate.yaml")
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_BYTES} bytes; this is no gate.yaml")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check its rights") from None


class _Document:
    """A YAML text as plain values, with the line of every key.

    Raises:
        ConfigError: it is not YAML, or repeats a key, or uses anchors.
    """

    def __init__(self, text: str, name: str) -> None:
        self._name = name
        self._lines: dict[Key, int] = {(): 1}
        try:
            loader = yaml.SafeLoader(text)
            node = loader.get_single_node()
            self._walk(node, (), set())
            self.value = loader.construct_document(node) if node is not None else {}
        except ConfigError:
            raise
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._fault(mark.line + 1 if mark else 1, f"not YAML: {error.problem}") from None
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            what = str(error).splitlines()[0] if str(error) else "nested too deeply"
            raise self._fault(1, f"not YAML: {what}") from None
        if self.value is None:
            self.value = {}
        if not isinstance(self.value, dict):
            raise self._fault(1, "expected keys with values, such as `gate: entrance`")

    def explain(self, detail: ErrorDetails) -> str:
        """One line for one fault found by the models."""
        key = tuple(str(part) for part in detail["loc"])
        if detail["type"] == "extra_forbidden":
            what = f"no such key; {_suggestion(key)}"
        elif key[-1:] == ("[key]",):
            key, what = key[:-1], "expected a name of up to 32 letters, digits and . _ -"
        elif detail["type"] == "value_error":
            said = str(detail["ctx"]["error"])
            named, colon, rest = said.partition(": ")
            key, what = ((*key, *named.split(".")), rest) if colon else (key, said)
        else:
            what = _complaint(key, detail)
        return str(self._fault(self._line(key), f"{'.'.join(key)}: {what}"))

    def _line(self, key: Key) -> int:
        """Line of the key, or of the nearest one above it that the file has."""
        while key not in self._lines:
            key = key[:-1]
        return self._lines[key]

    def _fault(self, line: int, what: str) -> ConfigError:
        return ConfigError(f"{self._name}:{line}: {what}")

    def _walk(self, node: yaml.Node | None, key: Key, seen: set[int]) -> None:
        """Note the line of every key below `node`; refuse what the loader would let pass."""
        if node is None or isinstance(node, yaml.ScalarNode):
            return
        line = node.start_mark.line + 1
        if id(node) in seen:
            raise self._fault(line, "anchors and aliases are not used here; write it out")
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._lines[*key, str(index)] = item.start_mark.line + 1
                self._walk(item, (*key, str(index)), seen)
            return
        for name, value in cast("yaml.MappingNode", node).value:
            line = name.start_mark.line + 1
            if not isinstance(name, yaml.ScalarNode) or name.value == "<<":
                raise self._fault(line, "expected a plain word as key")
            inner = (*key, name.value)
            if inner in self._lines:
                first = self._lines[inner]
                raise self._fault(line, f"{'.'.join(inner)}: given twice, first in line {first}")
            self._lines[inner] = line
            self._walk(value, inner, seen)


def _complaint(key: Key, detail: ErrorDetails) -> str:
    """What is wrong with a value, and what was expected."""
    got = f"got {detail['input']!r:.80}"
    meant = _all_keys(GateConfig).get(_in_its_file(key))
    if detail["type"] == "string_pattern_mismatch" and meant:
        return f"expected {meant}, {got}"
    message = detail["msg"]
    return f"{message[:1].lower()}{message[1:]}, {got}"


def _suggestion(key: Key) -> str:
    """What an unknown key was probably meant to be."""
    *section, name = _in_its_file(key)
    if section[:1] == ["relays"]:
        known = {(*section, field): "" for field in _relay_keys(section[-1])}
    else:
        known = _all_keys(GateConfig)
    beside = [other[-1] for other in known if other[:-1] == tuple(section)]
    elsewhere = [".".join(other) for other in known if other[-1] == name]
    if elsewhere:
        return f"did you mean {' or '.join(elsewhere)}?"
    if near := difflib.get_close_matches(name, beside, n=1):
        return f"did you mean {near[0]}?"
    return f"expected one of {', '.join(beside)}"


def _in_its_file(key: Key) -> Key:
    """A key of one of several doors, as if the door had a file of its own."""
    return key[2:] if key[:1] == ("doors",) and len(key) > 2 else key


def _relay_keys(kind: str) -> list[str]:
    """The keys of one kind of relay."""
    models = get_args(get_args(RelayConfig)[0])
    return [
        name
        for model in models
        if get_args(model.model_fields["kind"].annotation) == (kind,)
        for name in model.model_fields
    ]


def _all_keys(model: type[BaseModel], above: Key = ()) -> dict[Key, str]:
    """Every key there is, with its description."""
    keys: dict[Key, str] = {}
    for name, field in model.model_fields.items():
        keys[*above, name] = field.description or ""
        for part in (field.annotation, *get_args(field.annotation)):  # also of `Section | None`
            if isinstance(part, type) and issubclass(part, BaseModel):
                keys |= _all_keys(part, (*above, name))
    return keys


def with_flags(config: GateConfig, flags: Mapping[str, tuple[Key, object]]) -> GateConfig:
    """A copy with some keys set anew by flags of the command line, checked all over again.

    Args:
        config: as read from the file.
        flags: by its name on the command line, the key each flag sets, and its value.

    Raises:
        ConfigError: a value is wrong; names the flag.
    """
    values = config.model_dump()
    for flag, ((*section, name), value) in flags.items():
        if config.doors and (*section, name) in _OF_ONE_DOOR:
            raise ConfigError(
                f"{flag}: of which door? There are several; set doors.NAME.{'.'.join(section)}."
                f"{name} in the file"
            )
        place = values
        for part in section:
            place = place[part]
        place[name] = value
        for own in values["doors"].values():  # a flag wins over what a door says
            own.get(section[0] if section else "", {}).pop(name, None)
    try:
        changed = GateConfig.model_validate(values)
        details = list(_faults_of_doors(changed))
    except ValidationError as error:
        details = error.errors()
    if details:
        key = tuple(str(part) for part in details[0]["loc"])
        sets = _in_its_file(key)
        flag = next((flag for flag, (sets_, _) in flags.items() if sets_ == sets), ".".join(key))
        raise ConfigError(f"{flag}: {_complaint(key, details[0])}")
    return changed
