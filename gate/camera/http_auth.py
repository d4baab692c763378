"""HttpAuth: the answer to a camera that asks for user and password, by Basic or Digest."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator
from itertools import zip_longest

_WORD = re.compile(r'([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_SCHEME = re.compile(r"(?:^|,)\s*([A-Za-z][\w-]*)(?=\s+[\w-]+\s*=|\s*(?:,|$))")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_HASHES = {"MD5": "md5", "MD5-SESS": "md5", "SHA-256": "sha256", "SHA-256-SESS": "sha256"}


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
    for scheme, words in _each(challenges):
        if scheme == "basic":
            basic = True
        elif scheme == "digest" and (asked := _parsed(words)) is not None:
            digests.setdefault(asked["algorithm"].upper(), asked)
    for algorithm in ("SHA-256", "SHA-256-SESS", "MD5", "MD5-SESS"):
        if algorithm in digests:
            return _digest(digests[algorithm], user, password, method, target)
    if basic:
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
    return None


def is_stale(challenges: Iterable[str]) -> bool:
    """Whether an answer was refused only because its challenge had grown old."""
    asked = (_words(words) for scheme, words in _each(challenges) if scheme == "digest")
    return any(words.get("stale", "").lower() == "true" for words in asked)


def _each(challenges: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Scheme in small letters and words of each challenge; one header may hold several."""
    for header in challenges:
        bare = _QUOTED.sub(lambda quoted: "x" * len(quoted[0]), header)
        begins = list(_SCHEME.finditer(bare))
        for begin, following in zip_longest(begins, begins[1:]):
            end = following.start() if following else len(header)
            yield begin[1].lower(), header[begin.end() : end]


def _words(words: str) -> dict[str, str]:
    return {
        name.lower(): bare or re.sub(r"\\(.)", r"\1", quoted or "")
        for name, quoted, bare in (match.groups() for match in _WORD.finditer(words))
    }


def _parsed(words: str) -> dict[str, str] | None:
    """A Digest challenge, or None if it is none that we can answer."""
    asked = {"algorithm": "MD5", **_words(words)}
    ways = {way.strip() for way in asked.get("qop", "").split(",")}
    if "realm" not in asked or "nonce" not in asked or asked["algorithm"].upper() not in _HASHES:
        return None
    return asked if ways & {"", "auth"} else None


def _digest(asked: dict[str, str], user: str, password: str, method: str, target: str) -> str:
    """RFC 7616, quality of protection `auth` where it is offered, else as in RFC 2069."""

    def digest(*parts: str) -> str:
        name = _HASHES[asked["algorithm"].upper()]
        text = ":".join(parts).encode("latin-1", "replace")
        return hashlib.new(name, text, usedforsecurity=False).hexdigest()

    # Headers are bytes, which stand in these texts one for each letter; names go out as UTF-8.
    user, password = (word.encode().decode("latin-1") for word in (user, password))
    client = secrets.token_hex(8)
    secret = digest(user, asked["realm"], password)
    if asked["algorithm"].upper().endswith("-SESS"):
        secret = digest(secret, asked["nonce"], client)
    action = digest(method, target)
    words = {"username": user, "realm": asked["realm"], "nonce": asked["nonce"], "uri": target}
    bare = {}
    if asked.get("qop"):
        bare = {"qop": "auth", "nc": "00000001"}
        answer = digest(secret, asked["nonce"], "00000001", client, "auth", action)
    else:
        answer = digest(secret, asked["nonce"], action)
    if asked.get("qop") or asked["algorithm"].upper().endswith("-SESS"):
        words["cnonce"] = client
    words["response"] = answer
    if "opaque" in asked:
        words["opaque"] = asked["opaque"]
    bare["algorithm"] = asked["algorithm"]
    quoted = [f'{name}="{_escaped(value)}"' for name, value in words.items()]
    return "Digest " + ", ".join([*quoted, *(f"{name}={value}" for name, value in bare.items())])


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
