"""Named files: whether every file that a configuration names can be read, before it is needed."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

from mask_gate.gate.config.schema import GateConfig
from mask_gate.gate.errors import ConfigError, OutputError
from mask_gate.gate.system.secret_file import MAX_BYTES, MAX_KEY_BYTES, read_secret

_NOT_SECRET = frozenset({"ca_file", "tls_certificate"})
_NAMED = frozenset({"tls_certificate", "tls_key"})


def check_named_files(config: GateConfig) -> None:
    """Read the files that a gate would read later; a console that is off needs none.

    The weights are not among them: what opens them knows best.

    Raises:
        ConfigError: one cannot be read or used, or is a secret that every user can read.
    """
    values = config.model_dump(mode="json")
    if not config.console.enabled:
        del values["console"]
    for key, path in _named(values):
        name = key.rpartition(".")[2]
        try:
            if name not in _NOT_SECRET:
                read_secret(path, MAX_KEY_BYTES if name == "tls_key" else MAX_BYTES)
            elif not Path(path).is_file():
                raise ConfigError(f"{key}: {path}: no such file")
            else:
                Path(path).open("rb").close()
            if name == "ca_file":
                ssl.create_default_context(cafile=path)
        except OutputError as error:
            raise ConfigError(f"{key}: {error}") from None
        except ssl.SSLError as error:
            raise ConfigError(f"{key}: {path}: holds no certificates ({error.reason})") from None
        except OSError as error:
            raise ConfigError(f"{key}: {path}: cannot be read ({error.strerror})") from None
    if config.console.enabled:
        _check_tls(config.console.tls_certificate, config.console.tls_key)


def _check_tls(certificate: str | None, key: str | None) -> None:
    if certificate is None or key is None:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:  # with an empty password, a key that has one is refused, and nobody is asked for it
        context.load_cert_chain(certificate, key, password="")
    except OSError as error:  # of which SSLError is one
        why = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(
            f"console.tls_key: {key} and {certificate} cannot be used "
            f"({why or 'not a key and its certificate'}); give PEM files, the key without password"
        ) from None


def _named(values: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Key and path of each file in there.

    A key that ends in `_file` names one, a key that ends in `_files` one for each of its own keys.
    """
    if isinstance(values, dict):
        for name, value in values.items():
            below = f"{key}.{name}" if key else name
            if isinstance(value, str) and (name in _NAMED or name.endswith("_file")):
                yield below, value
            elif isinstance(value, dict) and name.endswith("_files"):
                yield from ((f"{below}.{each}", path) for each, path in value.items())
            else:
                yield from _named(value, below)
    elif isinstance(values, list):
        for number, value in enumerate(values):
            yield from _named(value, f"{key}.{number}")
