"""StrictYaml: a YAML file read into a strict model; every fault names its line and the mend."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mask_gate.models.errors import MaskGateError
from mask_gate.models.files.config_faults import ConfigFault, faults_of
from mask_gate.models.files.yaml_values import Key, YamlTextError, read_yaml

Config = TypeVar("Config", bound=BaseModel)

MAX_BYTES = 100_000
"""A larger file is no configuration; refusing it keeps a wrong path from eating the memory."""

_LONGEST_KEY = 200


class ConfigFileError(MaskGateError, ValueError):
    """The file does not describe a valid configuration; the message has one line for each fault."""


def read_config(kind: type[Config], path: Path, overrides: Iterable[str] = ()) -> Config:
    """Read a configuration from a YAML file.

    Args:
        kind: the model to fill.
        path: the file.
        overrides: `key=value` pairs as from a command line, keys dotted (`optim.lr=0.001`), values
            in YAML; they win over the file.

    Raises:
        ConfigFileError: not readable, not YAML, a key twice, unknown, missing or out of range.
    """
    document = StrictYaml(read_text(path, "a YAML file"), str(path))
    for override in overrides:
        document.override(override)
    return document.fill(kind)


def read_text(path: Path, wanted: str) -> str:
    """The text of a file of a sensible size.

    Args:
        path: the file.
        wanted: what it should be, for the messages, such as `a gate.yaml`.

    Raises:
        ConfigFileError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        if not path.is_file():
            fault = "is a folder" if path.is_dir() else "no such file"
            raise ConfigFileError(f"{path}: {fault}; give the path of {wanted}")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ConfigFileError(f"{path}: larger than {MAX_BYTES} bytes; expected {wanted}")
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigFileError(
            f"{path}: byte {error.start} is not UTF-8; save it as UTF-8"
        ) from None
    except OSError as error:
        raise ConfigFileError(
            f"{path}: cannot be read ({error.strerror}); check its rights"
        ) from None


class StrictYaml:
    """What a YAML text says, and where it says it.

    Args:
        text: keys with values; nothing at all is no key.
        name: what the messages call the text.

    Attributes:
        values: what it says.

    Raises:
        ConfigFileError: it is not YAML, repeats a key, or uses what `read_yaml` refuses.
    """

    def __init__(self, text: str, name: str) -> None:
        try:
            found = read_yaml(text)
        except YamlTextError as fault:
            raise ConfigFileError(_line(f"{name}:{fault.line}", fault.key, str(fault))) from None
        value = {} if found.value is None else found.value
        if not isinstance(value, dict):
            raise ConfigFileError(f"{name}:1: expected keys with values, such as `key: value`")
        self.values: dict[str, Any] = value
        self._spellings = found.spellings
        self._places = {key: f"{name}:{line}" for key, line in found.lines.items()}
        self._places.setdefault((), f"{name}:1")

    def override(self, text: str) -> None:
        """Set a key anew.

        Args:
            text: `key=value`, as from a command line.

        Raises:
            ConfigFileError: it is not that.
        """
        name, separator, written = text.partition("=")
        *parents, last = name.split(".")
        if not separator or not name:
            raise ConfigFileError(
                f"--set {text}: expected KEY=VALUE, for instance --set optim.lr=0.001"
            )
        here = self.values
        for parent in parents:
            below = here.setdefault(parent, {})
            if not isinstance(below, dict):
                raise ConfigFileError(f"--set {text}: {parent} holds no keys")
            here = below
        try:
            here[last] = read_yaml(written).value
        except YamlTextError as fault:
            raise ConfigFileError(f"--set {text}: {fault}") from None
        key = (*parents, last)
        self._places = {k: v for k, v in self._places.items() if k[: len(key)] != key}
        self._places[key] = "command line"

    def fill(self, kind: type[Config]) -> Config:
        """The values as a model.

        Raises:
            ConfigFileError: the model refuses them.
        """
        try:
            return kind.model_validate(self.values)
        except ValidationError as error:
            self.refuse(faults_of(error, kind))
            raise

    def refuse(self, faults: Iterable[ConfigFault]) -> None:
        """Tell the faults, one line each.

        Raises:
            ConfigFileError: there is one.
        """
        if lines := dict.fromkeys(map(self._told, faults)):
            raise ConfigFileError("\n".join(lines))

    def _told(self, fault: ConfigFault) -> str:
        what, place = fault.what, fault.place
        if fault.wants_text and (written := self._spellings.get(place)):
            what = f'{what}; put it in quotes: "{written}"'
        while place not in self._places:
            place = place[:-1]
        return _line(self._places[place], fault.key, what)


def _line(place: str, key: Key, what: str) -> str:
    """One line of a message, without anything that a terminal would obey."""
    named = f"{'.'.join(key):.{_LONGEST_KEY}}: " if key else ""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in f"{place}: {named}{what}"
    )
