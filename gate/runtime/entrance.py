"""Entrance: a door that is owned and locked before anything else of the gate is opened.

First the door is owned, then its relays are locked, and only then comes what may fail: the relay
of a run that was killed may still be on.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from mask_gate.gate.audit.audit import Audit
from mask_gate.gate.audit.event_log import EventLog
from mask_gate.gate.audit.let_ins import let_in_times
from mask_gate.gate.clock import Clock, ReplayClock, uptime_s
from mask_gate.gate.config.schema import GateConfig
from mask_gate.gate.console.feed import ConsoleFeed
from mask_gate.gate.display.sound import Sound, SoundOutput, find_player
from mask_gate.gate.domain import SignalKind
from mask_gate.gate.door.controller import DoorController
from mask_gate.gate.door.guard_desk import GuardDesk
from mask_gate.gate.door.lease import Door
from mask_gate.gate.door.lockdown import Lockdown
from mask_gate.gate.door.lockdown_file import LockdownFile, lockdown_file
from mask_gate.gate.door.output import Output, PrintedRelay
from mask_gate.gate.door.ownership import Ownership, runtime_folders
from mask_gate.gate.door.reporter import Reporter
from mask_gate.gate.errors import ConfigError, GateError, OutputError, OwnedError
from mask_gate.gate.events import EventMaker, Scene
from mask_gate.gate.guard_order import GuardWord
from mask_gate.gate.mqtt.state_publisher import StatePublisher
from mask_gate.gate.relays.guarded_relay import GuardedRelay
from mask_gate.gate.runtime.lock import guardian_settings
from mask_gate.gate.runtime.paths import audit_path, sounds_folder
from mask_gate.gate.runtime.run_mode import RunMode

log = logging.getLogger(__name__)

SayLine = Callable[[str], None]
"""Takes a line for people."""

OnStatus = Callable[[Scene, bool], None]
"""Takes a scene, and whether the door is open, whenever state, reason or door have changed."""

DoorAction = Callable[[], None]
"""Something done to one door, such as locking it."""

OnSignal = Callable[[DoorAction, DoorAction], AbstractContextManager[object]]
"""While entered, a signal locks the door by the first, and lets go of it by the second."""

AUDIT_START_S = 5.0
"""How long the first row of the audit may take; a cold disk is slow."""

_OUTCOMES = {SignalKind.ALLOW: "unlocked", SignalKind.DENY: "locked"}


@dataclass(frozen=True, slots=True)
class Entrance:
    """A door with everything that reacts to it, locked and ready to be told decisions.

    Attributes:
        audit: None where nothing is moved.
    """

    controller: DoorController
    events: EventMaker
    audit: Audit | None

    def name_model(self, model_id: str) -> None:
        """From now on, events and audit name this model; the first lock did not wait for it."""
        self.events.model = model_id
        if self.audit is not None:
            self.audit.stamp.model = model_id


@contextlib.contextmanager
def open_entrance(
    config: GateConfig,
    mode: RunMode,
    *,
    say: SayLine,
    on_status: OnStatus,
    on_signal: OnSignal,
    view: ConsoleFeed | None = None,
    desk: GuardDesk | None = None,
    more_outputs: Iterable[Output] = (),
) -> Iterator[Entrance]:
    """The door: owned and locked from now on, and locked once more at the end.

    Args:
        config: of this door.
        mode: how it is run.
        say: takes a line for people.
        on_status: told of state, reason and door.
        on_signal: sees to it that a signal locks the door.
        view: what the console hears of this door by, where there is a console.
        desk: where guards' orders for this door come, where there is a console.
        more_outputs: react to the door too; closed at the end.

    Raises:
        OutputError: another process keeps the door, a relay cannot be had, or a required record
            cannot be written.
        ConfigError: it is not configured where the record is, and there is no home folder.
    """
    clock: Clock = ReplayClock() if mode.replay else uptime_s
    events = EventMaker(config.gate, clock=clock)
    reporter = Reporter(events, on_status)
    relays: list[GuardedRelay] = []
    beating: list[Ownership | GuardedRelay] = []
    door = Door(config.door, clock, reporter.signal, on_tick=lambda: _beat(beating))
    records, outputs = contextlib.ExitStack(), contextlib.ExitStack()
    missing: list[GateError] = []  # what the gate cannot be without, told once the door is locked

    def let_go_of_outputs() -> None:
        with records:
            outputs.close()

    with contextlib.ExitStack() as stack:
        owner = stack.enter_context(_ownership(config, mode, missing))
        if owner is not None:
            beating.append(owner)
        stack.enter_context(on_signal(door.close, let_go_of_outputs))
        stack.enter_context(records)  # closed last: it hears of the last lock too
        stack.enter_context(outputs)
        stack.callback(door.close)
        audit = _open_audit(config, mode, records, missing)
        controller = _controller(config, door, reporter, clock, audit)
        own = _outputs(config, mode, say, controller, audit, owner, missing)
        for output in itertools.chain(own, more_outputs):
            outputs.callback(output.close)
            reporter.add(output)
            if isinstance(output, GuardedRelay):
                relays.append(output)
                beating.append(output)
        outputs.callback(_let_go, relays)  # closed first: one that hangs keeps no other waiting
        _keep_records(config, mode, reporter, audit, records)
        door.start(timer=not mode.replay)
        if missing:
            raise _all_in_one(missing)
        if audit is not None and config.audit.required:
            audit.check(AUDIT_START_S)
        if view is not None:
            view.set_audit(None if audit is None else audit.path)
            reporter.add_event_sink(view)
        if audit is not None:
            lockdown = stack.enter_context(_lockdown(controller, audit, view))
            if desk is not None:
                desk.remember(partial(let_in_times, audit.path, clock=clock))
                stack.enter_context(desk.open_for(controller, lockdown))
        yield Entrance(controller, events, audit)


def _let_go(relays: Iterable[GuardedRelay]) -> None:
    for relay in relays:
        relay.let_go()


def _beat(beating: Iterable[Ownership | GuardedRelay]) -> None:
    for one in beating:
        one.beat()


@contextlib.contextmanager
def _ownership(
    config: GateConfig, mode: RunMode, missing: list[GateError]
) -> Iterator[Ownership | None]:
    """What says that the door is ours, where one is moved; None where that cannot be had.

    Raises:
        OwnedError: another process keeps the door, so it is not ours to lock.
    """
    with contextlib.ExitStack() as stack:
        owner = None
        if mode.moves:
            try:
                found = Ownership(config.gate, runtime_folders(os.environ))
                owner = stack.enter_context(contextlib.closing(found))
            except OwnedError:
                raise
            except OutputError as error:
                missing.append(error)
        yield owner


def _open_audit(
    config: GateConfig, mode: RunMode, records: contextlib.ExitStack, missing: list[GateError]
) -> Audit | None:
    if not mode.moves:
        return None
    try:
        path = audit_path(config)
    except ConfigError as error:
        missing.append(error)
        return None
    audit = Audit(
        path,
        config.gate,
        wait_s=config.audit.wait_s,
        keep_days=config.audit.keep_days,
        config=config.identity,
    )
    return records.enter_context(contextlib.closing(audit))


def _controller(
    config: GateConfig, door: Door, reporter: Reporter, clock: Clock, audit: Audit | None
) -> DoorController:
    """The controller of the door; it opens nothing unrecorded, unless that was allowed."""
    needed = audit is not None and config.audit.required
    return DoorController(
        door,
        reporter,
        clock,
        fault_hold_s=config.outputs.fault_hold_s,
        audit_fault=lambda: audit.fault if audit is not None and needed else None,
        alarm=lambda what: None if audit is None else audit.alarm(what),
    )


@contextlib.contextmanager
def _lockdown(
    controller: DoorController, audit: Audit, view: ConsoleFeed | None
) -> Iterator[Lockdown]:
    """What keeps the door locked down, from a run before on, too."""
    on_change = _forget if view is None else view.set_lockdown
    file = LockdownFile(lockdown_file(audit.path))
    with contextlib.closing(Lockdown(file, controller, audit.guard, on_change)) as lockdown:
        yield lockdown


def _forget(word: GuardWord | None) -> None:
    """There is no console to be told."""


def _outputs(
    config: GateConfig,
    mode: RunMode,
    say: SayLine,
    controller: DoorController,
    audit: Audit | None,
    owner: Ownership | None,
    missing: list[GateError],
) -> Iterator[Output]:
    """What reacts to the door, the relays first: each that can be had, for it must be locked."""

    def done(signal_id: str, decision: SignalKind, relay: str) -> None:
        if audit is not None:
            audit.result(signal_id, relay, _OUTCOMES[decision])

    for relay in config.all_relays:
        if mode.moves:
            try:
                found = GuardedRelay(
                    guardian_settings(relay, config),
                    on_fault=controller.output_failed,
                    on_done=done,
                    owner=() if owner is None else owner.descriptors,
                    marks={} if owner is None else owner.marks,
                )
            except GateError as error:
                missing.append(error)
                continue
            yield found
        else:
            yield PrintedRelay(relay.model_dump(), say=say)
    if config.outputs.on_allow is not None and config.outputs.on_deny is None:
        log.warning("nothing locks but the relay's own timer: give --on-deny too")
    sound = Sound(config.outputs.sound)
    if sound is not Sound.OFF and not mode.replay:
        player = find_player()
        if player is None:
            log.warning("no sound: install gstreamer1.0-tools, ffmpeg, or alsa-utils and mpg123")
        else:
            yield SoundOutput(sounds_folder(config), player, sound)


def _keep_records(
    config: GateConfig,
    mode: RunMode,
    reporter: Reporter,
    audit: Audit | None,
    records: contextlib.ExitStack,
) -> None:
    """What is told of everything that happens."""
    if audit is not None:
        reporter.add_event_sink(audit)
        if config.audit.required:
            reporter.require_record(audit)
    if config.outputs.events is not None:
        reporter.add_event_sink(
            records.enter_context(contextlib.closing(EventLog(config.outputs.events)))
        )
    if config.mqtt is not None and mode.moves:
        state = StatePublisher(config.mqtt, config.gate, console_url=config.console.url)
        reporter.add_event_sink(records.enter_context(contextlib.closing(state)))


def _all_in_one(missing: list[GateError]) -> GateError:
    """The first error, with the words of all."""
    return type(missing[0])("; ".join(map(str, missing)))
