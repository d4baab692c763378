"""Named files: whether every file that a configuration names can be read, before it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mask_gate.gate.config.schema import GateConfig
from mask_gate.gate.errors import ConfigError, OutputError
from mask_gate.gate.system.secret_file import MAX_KEY_BYTES, read_secret

_PLAIN = frozenset({"weights", "ca_file", "tls_certificate"})
_KEY = "tls_key"


def check_named_files(config: GateConfig) -> None:
    """Read the files that a gate would read later; a console that is off needs none.

    Raises:
        ConfigError: one cannot be read, or is a secret that every user can read.
    """
    values = config.model_dump(mode="json")
    if not config.console.enabled:
        del values["console"]
    for key, path in _named(values):
        try:
            name = key.rpartition(".")[2]
            if name == _KEY:
                read_secret(path, MAX_KEY_BYTES)
            elif name not in _PLAIN:
                read_secret(path)
            elif not Path(path).is_file():
                raise ConfigError(f"{key}: {path}: no such file")
            else:
                Path(path).open("rb").close()
        except OutputError as error:
            raise ConfigError(f"{key}: {error}") from None
        except OSError as error:
            raise ConfigError(f"{key}: {path}: cannot be read ({error.strerror})") from None


def _named(values: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Key and path of each file in there.

    A key that ends in `_file` names one, a key that ends in `_files` one for each of its own keys.
    """
    if isinstance(values, dict):
        for name, value in values.items():
            below = f"{key}.{name}" if key else name
            if isinstance(value, str) and (name in {*_PLAIN, _KEY} or name.endswith("_file")):
                yield below, value
            elif isinstance(value, dict) and name.endswith("_files"):
                yield from ((f"{below}.{each}", path) for each, path in value.items())
            else:
                yield from _named(value, below)
    elif isinstance(values, list):
        for number, value in enumerate(values):
            yield from _named(value, f"{key}.{number}")
