"""YAML to a strict config: every fault at once, with file, line and the nearest right key."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from mask_gate.models.errors import MaskGateError

Config = TypeVar("Config", bound=BaseModel)


class ConfigFileError(MaskGateError, ValueError):
    """The file does not describe a valid configuration; the message lists every fault."""


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
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigFileError(f"{path}: cannot be read ({error}); give a YAML file") from error
    lines: dict[tuple[str | int, ...], int] = {}
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = _plain(node, (), lines, path) if node is not None else {}
    except yaml.YAMLError as error:
        raise ConfigFileError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigFileError(f"{path}: expected keys and values, got a {type(values).__name__}")
    for override in overrides:
        _override(values, override)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigFileError("\n".join(_faults(error, kind, path, lines))) from error


def _plain(
    node: yaml.Node, at: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int], path: Path
) -> object:
    """A YAML node as Python values, remembering where each key stands; keys must not repeat."""
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in found:
                raise ConfigFileError(f"{path}:{line}: {key} stands twice; keep one")
            lines[(*at, key)] = line
            found[key] = _plain(value_node, (*at, key), lines, path)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child, (*at, i), lines, path) for i, child in enumerate(node.value)]
    value = yaml.safe_load(yaml.serialize(node))
    if isinstance(value, float) and not math.isfinite(value):
        place = f"{path}:{node.start_mark.line + 1}: {'.'.join(map(str, at))}"
        raise ConfigFileError(f"{place}: expected a finite number, got {value}")
    return value


def _override(values: dict[str, Any], text: str) -> None:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise ConfigFileError(
            f"--set {text}: expected KEY=VALUE, for instance --set optim.lr=0.001"
        )
    *parents, last = key.split(".")
    here = values
    for parent in parents:
        below = here.setdefault(parent, {})
        if not isinstance(below, dict):
            raise ConfigFileError(f"--set {text}: {parent} holds no keys")
        here = below
    try:
        here[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigFileError(f"--set {text}: the value is not YAML") from error


def _faults(
    error: ValidationError,
    kind: type[BaseModel],
    path: Path,
    lines: Mapping[tuple[str | int, ...], int],
) -> list[str]:
    known = sorted(_keys(kind))
    faults = []
    for fault in error.errors(include_url=False):
        place = tuple(part for part in fault["loc"])
        line = next(
            (lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in lines), None
        )
        where = f"{path}:{line}" if line else f"{path}"
        message = fault["msg"].removeprefix("Value error, ")
        key = ".".join(map(str, place))
        if fault["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(place[-1]), known, 1, 0.5)
            message = f"no such key{f'; did you mean {near[0]}?' if near else ''}"
        elif "input" in fault and fault["type"] != "missing" and place:
            message = f"{message}, got {fault['input']!r}"
        faults.append(f"{where}: {key + ': ' if key else ''}{message}")
    return list(dict.fromkeys(faults))


def _keys(kind: type[BaseModel]) -> set[str]:
    """Every key of a model and of the models in it."""
    found: set[str] = set()
    for name, field in kind.model_fields.items():
        found.add(name)
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, BaseModel):
                found |= _keys(part)
    return found
