"""HttpAuth: the answer to a camera that asks for user and password, by Basic or Digest."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable

_WORD = re.compile(r'([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_HASHES = {"MD5": "md5", "SHA-256": "sha256"}


def authorization(
    challenges: Iterable[str], user: str, password: str, method: str, target: str
) -> str | None:
    """The value of the header Authorization, or None if no challenge can be answered.

    Digest is taken before Basic, and SHA-256 before MD5: the password itself goes out only to a
    camera that knows nothing better.

    Args:
        challenges: the values of each header WWW-Authenticate.
        user: as the camera knows it.
        password: never part of the answer itself with Digest.
        method: such as GET.
        target: path and query as they stand in the request.
    """
    basic = False
    digests: dict[str, dict[str, str]] = {}
    for challenge in challenges:
        scheme, _, words = challenge.strip().partition(" ")
        if scheme.lower() == "basic":
            basic = True
        elif scheme.lower() == "digest" and (asked := _parsed(words)) is not None:
            digests.setdefault(asked["algorithm"], asked)
    for algorithm in ("SHA-256", "MD5"):
        if algorithm in digests:
            return _digest(digests[algorithm], user, password, method, target)
    if basic:
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
    return None


def _parsed(words: str) -> dict[str, str] | None:
    """A Digest challenge, or None if it is none that we can answer."""
    found = _WORD.finditer(words)
    asked = {
        name.lower(): bare or re.sub(r"\\(.)", r"\1", quoted or "")
        for name, quoted, bare in (match.groups() for match in found)
    }
    asked["algorithm"] = asked.get("algorithm", "MD5").upper()
    ways = {way.strip() for way in asked.get("qop", "").split(",")}
    if "realm" not in asked or "nonce" not in asked or asked["algorithm"] not in _HASHES:
        return None
    return asked if ways & {"", "auth"} else None


def _digest(asked: dict[str, str], user: str, password: str, method: str, target: str) -> str:
    """RFC 7616, quality of protection `auth` where it is offered, else as in RFC 2069."""

    def digest(*parts: str) -> str:
        name = _HASHES[asked["algorithm"]]
        return hashlib.new(name, ":".join(parts).encode(), usedforsecurity=False).hexdigest()

    secret = digest(user, asked["realm"], password)
    action = digest(method, target)
    words = {"username": user, "realm": asked["realm"], "nonce": asked["nonce"], "uri": target}
    bare = {}
    if asked.get("qop"):
        client = secrets.token_hex(8)
        bare = {"qop": "auth", "nc": "00000001"}
        words["cnonce"] = client
        answer = digest(secret, asked["nonce"], "00000001", client, "auth", action)
    else:
        answer = digest(secret, asked["nonce"], action)
    words["response"] = answer
    if "opaque" in asked:
        words["opaque"] = asked["opaque"]
    bare["algorithm"] = asked["algorithm"]
    quoted = [f'{name}="{_escaped(value)}"' for name, value in words.items()]
    return "Digest " + ", ".join([*quoted, *(f"{name}={value}" for name, value in bare.items())])


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
