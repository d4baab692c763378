"""Lock by hand: every relay of a door is locked, whatever else may be wrong."""

from __future__ import annotations

import contextlib
import logging
import os
from uuid import uuid4

from mask_gate.gate.clock import uptime_s
from mask_gate.gate.config.schema import GateConfig
from mask_gate.gate.domain import Reason, Signal, SignalKind
from mask_gate.gate.door.ownership import SILENT_S, WAIT_S, Ownership, runtime_folders
from mask_gate.gate.errors import GateError, OutputError, OwnedError
from mask_gate.gate.relays.config import CommandRelayConfig, RelayConfig
from mask_gate.gate.relays.guarded_relay import GuardedRelay
from mask_gate.gate.relays.guardian import GuardianSettings

log = logging.getLogger(__name__)


def lock_relays(config: GateConfig) -> None:
    """Lock every relay: after a crash, or by hand. What keeps the door has the time to lock it.

    An owner that does not answer is ended; one that cannot be ended is told, and hinders no lock.

    Raises:
        OutputError: another process keeps the door and goes on, or a lock did not work.
    """
    signal = Signal(SignalKind.DENY, Reason.STOPPING, uptime_s(), uuid4().hex)
    faults: list[GateError] = []
    with contextlib.ExitStack() as stack:
        owned: Ownership | None = None
        try:
            folders = runtime_folders(os.environ)
            owned = Ownership(config.gate, folders, wait_s=WAIT_S, silent_s=SILENT_S)
            stack.callback(owned.close)
        except OwnedError as error:
            if error.works:
                raise
            faults.append(error)
        except OutputError as error:  # what matters is the lock
            log.warning("%s", error)
        for relay in config.all_relays:
            try:
                settings = guardian_settings(_for_locking(relay), config)
                output = GuardedRelay(
                    settings,
                    on_fault=log.error,
                    owner=() if owned is None else owned.descriptors,
                    marks={} if owned is None else owned.marks,
                )
                with contextlib.closing(output):
                    output.send(signal, {"signal": "deny", "reason": signal.reason.value})
            except GateError as error:  # the others are locked all the same
                faults.append(error)
    if faults:
        raise OutputError("; ".join(map(str, faults)))


def guardian_settings(relay: RelayConfig, config: GateConfig) -> GuardianSettings:
    """What the guardian of a relay is started with."""
    return GuardianSettings(relay.model_dump(), config.outputs.heartbeat_s, relay.refresh_s)


def _for_locking(relay: RelayConfig) -> RelayConfig:
    """A relay that need not open: a command that unlocks may be missing where another one locks."""
    if isinstance(relay, CommandRelayConfig) and relay.on_deny is not None:
        return relay.model_copy(update={"on_allow": None})
    return relay
