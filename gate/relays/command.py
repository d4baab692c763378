"""CommandRelay: the operator's own programs as a relay, one to unlock and one to lock."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

from mask_gate.gate.errors import ConfigError, OutputError
from mask_gate.gate.relays.hook_process import GRACE_S, POLL_S, HookProcess, HookResult
from mask_gate.gate.relays.relay import Order
from mask_gate.gate.system import leftovers

Command = tuple[str, ...]

ALLOW_GRACE_S = 0.3
"""An allow hook may live as long as the door is open, and this much longer to lock by itself."""

LONE_GRACE_S = 1.0
"""The same where no command locks: what it leaves open stays open."""

OVERSHOOT_S = ALLOW_GRACE_S + GRACE_S + POLL_S
"""So much longer than its `pulse_s` may an opening by a command last before the lock begins."""

_KEPT_ENVIRONMENT = ("PATH", "LANG", "HOME", "MASK_GATE_DOOR", "MASK_GATE_RELAY")


class CommandRelay:
    """Runs a command for each order, with `allow` or `deny` as its last argument.

    The event is JSON on the command's standard input and in MASK_GATE_EVENT, beside
    MASK_GATE_DECISION, MASK_GATE_REASON, MASK_GATE_ID, MASK_GATE_PID (this process; when it is
    gone, the relay must lock), MASK_GATE_HOLD_S (seconds after which the relay must have locked by
    itself) and MASK_GATE_UNTIL (the same moment, in seconds of CLOCK_BOOTTIME; 0 with a lock).

    An allow hook may run until its lease and a short grace are over; a lock that waits ends it at
    once (SIGTERM, then SIGKILL), together with everything it left running. With it, the lock begins
    at most `OVERSHOOT_S` after the opening was to end. What a deny hook that ended well left
    running goes on: it may be what locks.

    Args:
        on_allow: the command that unlocks, as a shell would read it, or None.
        on_deny: the command that locks and hears of denials, or None.
        limit_s: how long a deny hook may take.

    Raises:
        ConfigError: a command cannot be run.
    """

    def __init__(
        self, on_allow: str | None = None, on_deny: str | None = None, limit_s: float = 3.0
    ) -> None:
        self._on_allow = parse_command(on_allow, "on_allow") if on_allow is not None else None
        self._on_deny = parse_command(on_deny, "on_deny") if on_deny is not None else None
        program = (self._on_deny or self._on_allow or ("",))[0]
        self.name = f"command {Path(program).name}"
        self._limit_s = limit_s
        self._environment = _minimal_environment()

    def unlock(self, order: Order, cancelled: Callable[[], bool]) -> None:
        """See `gate.relays.relay.Relay`; returns when the hook has ended or was cancelled."""
        if self._on_allow is None:
            return
        grace_s = LONE_GRACE_S if self._on_deny is None else ALLOW_GRACE_S
        result = self._run(self._on_allow, order, order.hold_s + grace_s, cancelled)
        if not result.ok and not result.cancelled:
            raise OutputError(f"the allow hook {result.account}")

    def lock(self, order: Order, cancelled: Callable[[], bool]) -> None:
        """See `gate.relays.relay.Relay`."""
        left = leftovers.end(leftovers.below, GRACE_S)  # it could open again after the lock
        if self._on_deny is not None:
            result = self._run(self._on_deny, order, self._limit_s, cancelled)
            if not result.ok:
                raise OutputError(f"the deny hook {result.account}")
        if left:
            processes = ", ".join(map(str, sorted(left)))
            raise OutputError(f"an allow hook left what cannot be ended (process {processes})")

    def close(self) -> None:
        """Nothing is held between two orders."""

    def _run(
        self, command: Command, order: Order, limit_s: float, cancelled: Callable[[], bool]
    ) -> HookResult:
        variables = {
            "MASK_GATE_EVENT": order.event_json,
            "MASK_GATE_DECISION": order.decision,
            "MASK_GATE_REASON": order.reason,
            "MASK_GATE_ID": order.id,
            "MASK_GATE_PID": str(os.getpid()),
            "MASK_GATE_HOLD_S": f"{order.hold_s:.3f}",
            "MASK_GATE_UNTIL": f"{order.until_s:.3f}",
        }
        leftovers.reap()
        try:
            process = HookProcess(
                (*command, order.decision),
                self._environment | variables,
                f"{order.event_json}\n".encode(),
                strays=leftovers.below,
            )
        except OSError as error:
            return HookResult(ok=False, cancelled=False, account=f"could not start: {error}")
        return process.wait(limit_s, cancelled, linger=order.unlocks)


def parse_command(text: str, flag: str) -> Command:
    """Split a command as a shell would (no shell runs it) and find its program now, not at night.

    Raises:
        ConfigError: it is empty, badly quoted, missing, or not executable; names `flag`.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{flag} {text!r}: {error}; check the quotes") from None
    if not words or not words[0]:
        raise ConfigError(f"{flag}: expected a command, got {text!r}")
    program = words[0]
    if shutil.which(program) is None:
        raise ConfigError(f"{flag} {text!r}: {_why_not_runnable(program)}")
    return tuple(words)


def _why_not_runnable(program: str) -> str:
    path = Path(program)
    if not path.is_file():
        return f"no program {program!r} was found; check the name or give its full path"
    if not os.access(path, os.X_OK):
        return f"{program!r} is not executable; run chmod +x {shlex.quote(program)}"
    return f"{program!r} is not on PATH; write {shlex.quote('./' + program)}"


def _minimal_environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
    return {"PATH": os.defpath} | kept
