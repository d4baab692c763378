"""PasswordCheck: checks one password at a time, and counts the wrong ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from mask_gate.gate.console.login import NOBODY, Account, Authenticator


class Checked(NamedTuple):
    """What came of a check.

    Attributes:
        account: whose password it is; `NOBODY` when it is nobody's, or was not looked at.
        wait_s: how long whoever tried has to wait before the next try; 0 when they need not.
    """

    account: Account
    wait_s: float


class PasswordCheck:
    """Whoever asks for a password asks here, so that a guess counts wherever it is made.

    Args:
        authenticator: knows passwords, and who has to wait.
    """

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._checking = asyncio.Lock()

    async def check(self, address: str, accounts: Sequence[Account], password: str) -> Checked:
        """Whose password this is, of these accounts, asked from this address."""
        limiter = self._authenticator.login_limiter
        async with self._checking:  # one at a time: each takes 32 MiB
            waits_s = [limiter.wait_s(address, account) for account in accounts]
            tried = [one for one, wait_s in zip(accounts, waits_s, strict=True) if wait_s <= 0]
            limiter.failed(address, tried)
            account = await asyncio.to_thread(self._authenticator.matching, tried, password)
            if account != NOBODY:
                limiter.succeeded(address, account, tried)
        return Checked(account, max(waits_s))
