"""Login: passwords, sessions, and how often one may try."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from mask_gate.gate.clock import Clock
from mask_gate.gate.errors import ConfigError, OutputError
from mask_gate.gate.system.secret_file import read_secret, write_secret

LEAST_LETTERS = 12
MOST_LETTERS = 200

TRIES = 5
"""Wrong passwords for one account from one address within `TRIES_S`, before it has to wait."""

TRIES_OF_ALL = 50
TRIES_S = 300.0

_COST, _BLOCK, _PARALLEL = 2**15, 8, 1  # 32 MiB and some 0.1 s for each try
_SALT_BYTES = 16
_MOST_SESSIONS = 100  # of one account


class Role(StrEnum):
    """What somebody is to the console."""

    NOBODY = "nobody"
    VISITOR = "visitor"
    GUARD = "guard"
    SCRAPER = "scraper"


class Account(NamedTuple):
    """Whose password one is.

    Attributes:
        role: what its owner may do.
        name: given at the login; empty where the password alone tells the role.
    """

    role: Role
    name: str = ""


NOBODY = Account(Role.NOBODY)


def new_password() -> str:
    """A random password."""
    return secrets.token_urlsafe(12)


def new_token() -> str:
    """A random token, for a machine."""
    return secrets.token_urlsafe(32)


def hashed(password: str) -> str:
    """The hash of a password that is kept: `scrypt$cost$block$parallel$salt$hash`.

    Raises:
        ConfigError: it is too short, or too long.
    """
    if not LEAST_LETTERS <= len(password) <= MOST_LETTERS:
        raise ConfigError(
            f"password: expected {LEAST_LETTERS} to {MOST_LETTERS} letters, got {len(password)}"
        )
    salt = secrets.token_bytes(_SALT_BYTES)
    derived = _derived(password, salt, _COST, _BLOCK, _PARALLEL)
    texts = (base64.b64encode(data).decode() for data in (salt, derived))
    return "$".join(("scrypt", str(_COST), str(_BLOCK), str(_PARALLEL), *texts))


def write_password(path: Path, password: str) -> None:
    """Write the hash of a password to a file that other users cannot read.

    Raises:
        ConfigError: the password is too short.
        OutputError: the file cannot be written.
    """
    write_secret(path, hashed(password))


@dataclass(frozen=True, slots=True)
class Password:
    """A password that can be checked, but not read.

    Attributes:
        kept: as `hashed` gives it.
    """

    kept: str

    @classmethod
    def read(cls, path: str) -> Password:
        """From a file.

        Raises:
            OutputError: it is missing, open to every user, or holds no password of ours.
        """
        password = cls(read_secret(path).decode("ascii", "replace"))
        try:
            password.matches("")
        except ValueError:
            raise OutputError(
                f"{path}: holds no password; make one with mask-gate --set-password {path}"
            ) from None
        return password

    def matches(self, text: str) -> bool:
        """Whether it is this one; takes as long either way.

        Raises:
            ValueError: what is kept is no password of ours.
        """
        name, cost, block, parallel, salt, derived = self.kept.split("$")
        sizes = int(cost), int(block), int(parallel)
        if name != "scrypt" or not (2**14 <= sizes[0] <= 2**20 and sizes[1] == 8 and sizes[2] < 16):
            raise ValueError("not of this form")
        made = _derived(text[:MOST_LETTERS], base64.b64decode(salt, validate=True), *sizes)
        return hmac.compare_digest(made, base64.b64decode(derived, validate=True))


def _derived(password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    most = 256 * cost * block  # bytes of memory; twice what it needs
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"),
        salt=salt,
        n=cost,
        r=block,
        p=parallel,
        maxmem=most,
        dklen=32,
    )


class Sessions:
    """Who is logged in.

    Args:
        lives_s: how long a login is good.
        clock: monotonic seconds.
    """

    def __init__(self, lives_s: float, clock: Clock = time.monotonic) -> None:
        self.lives_s = lives_s
        self._clock = clock
        self._sessions: dict[bytes, _Session] = {}

    def begin(self, account: Account, address: str = "") -> str:
        """Log somebody in; the token that proves it from now on.

        Where one account has too many sessions, its oldest ends, and never one of another.
        """
        self._forget_old()
        own = [name for name, kept in self._sessions.items() if kept.account == account]
        if len(own) >= _MOST_SESSIONS:
            del self._sessions[own[0]]
        token = secrets.token_urlsafe(32)
        until_s = self._clock() + self.lives_s
        self._sessions[_name(token)] = _Session(account, address, until_s)
        return token

    def account(self, token: str | None) -> Account:
        """The account that this token proves."""
        kept = self._sessions.get(_name(token or ""))
        return kept.account if kept is not None and self._clock() < kept.until_s else NOBODY

    def role(self, token: str | None) -> Role:
        """The role that this token proves."""
        return self.account(token).role

    def knows(self, address: str) -> bool:
        """Whether somebody at this address is logged in."""
        now_s = self._clock()
        return any(s.address == address and now_s < s.until_s for s in self._sessions.values())

    def end(self, token: str | None) -> None:
        """Log out."""
        self._sessions.pop(_name(token or ""), None)

    def _forget_old(self) -> None:
        now_s = self._clock()
        self._sessions = {name: s for name, s in self._sessions.items() if s.until_s > now_s}


class _Session(NamedTuple):
    account: Account
    address: str
    until_s: float


def _name(token: str) -> bytes:
    """Tokens are looked up by hash, so that the time it takes tells nothing about them."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class LoginRateLimiter:
    """Rate limiter for wrong passwords, each account for itself.

    There are `TRIES` for an address, `TRIES_OF_ALL` for all together. The right password of one
    account tells nothing about another: it takes back its own tries, and no others.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._wrong: dict[Account, deque[tuple[float, str]]] = {}

    def wait_s(self, address: str, account: Account) -> float:
        """How long this address has to wait before its next try; 0 when it need not."""
        now_s, wrong = self._clock(), self._wrong.get(account, ())
        recent = [tried for tried in wrong if now_s - tried[0] < TRIES_S]
        own = [tried_s for tried_s, whose in recent if whose == address]
        if len(own) >= TRIES:
            return own[-TRIES] + TRIES_S - now_s
        if len(recent) >= TRIES_OF_ALL:
            return recent[-TRIES_OF_ALL][0] + TRIES_S - now_s
        return 0.0

    def failed(self, address: str, accounts: Iterable[Account]) -> None:
        """Note a wrong password; to be called before it is checked, so that none slips by."""
        for account in accounts:
            kept = self._wrong.setdefault(account, deque(maxlen=TRIES_OF_ALL))
            kept.append((self._clock(), address))

    def succeeded(self, address: str, account: Account, tried: Iterable[Account]) -> None:
        """Forget the wrong passwords of an address for this account, and this try for all tried."""
        for other in tried:
            self._wrong[other].pop()  # noted last: one password is checked at a time
        kept = self._wrong[account]
        self._wrong[account] = deque((t for t in kept if t[1] != address), maxlen=kept.maxlen)


class Authenticator:
    """Knows passwords, tokens and sessions.

    Args:
        passwords: by account.
        scraper_token: for /metrics; None: no token is good.
        lives_s: how long a login is good.
        clock: monotonic seconds.

    Attributes:
        sessions: who is logged in.
        login_limiter: who has to wait before the next try.
        has_names: whether there are accounts with a name.
    """

    def __init__(
        self,
        passwords: Mapping[Account, Password],
        scraper_token: bytes | None,
        lives_s: float,
        clock: Clock = time.monotonic,
    ) -> None:
        self._passwords = passwords
        self._scraper_token = scraper_token
        self.sessions = Sessions(lives_s, clock)
        self.login_limiter = LoginRateLimiter(clock)
        self.has_names = any(account.name for account in passwords)

    def accounts(self, name: str) -> list[Account]:
        """Those of this name; for a name that nobody has, one whose password nobody has."""
        return [account for account in self._passwords if account.name == name] or [NOBODY]

    def matching(self, accounts: Sequence[Account], password: str) -> Account:
        """Whose password it is; takes as long whichever it is, and for a name that nobody has."""
        kept = {account: self._passwords.get(account, _NOBODYS) for account in accounts}
        matched = [account for account, one in kept.items() if one.matches(password)]
        return matched[0] if matched else NOBODY

    def is_scraper(self, token: str) -> bool:
        """Whether it is the token for /metrics."""
        given = token.encode("utf-8", "surrogatepass")
        return self._scraper_token is not None and hmac.compare_digest(given, self._scraper_token)


_NOBODYS = Password(f"scrypt${_COST}${_BLOCK}${_PARALLEL}$AAAAAAAAAAAAAAAAAAAAAA==$AAAA")
"""Matches no password, and takes as long to say so as any."""
