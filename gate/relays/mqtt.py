"""MqttRelay: a lock or switch that listens on an MQTT topic."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from mask_gate.gate.errors import OutputError
from mask_gate.gate.mqtt.connection import (
    Answer,
    Connection,
    MqttLink,
    Properties,
    Will,
    find_broker,
    new_client_id,
)
from mask_gate.gate.relays.mqtt_lock_state import ReportedState
from mask_gate.gate.relays.relay import Order

log = logging.getLogger(__name__)

EXPIRY_S = 1
"""The broker throws away an opening that it cannot pass on for so long."""

KEEPALIVE_S = 5
"""After one and a half of this, the broker locks by itself because we are silent."""

_NOBODY_LISTENS = 0x10


@dataclass(frozen=True, slots=True)
class MqttLimits:
    """How long a broker may take; in seconds.

    Attributes:
        start_s: to answer for the first time, with a lock that tells its state.
        fresh_s: it must have answered this soon before it gets an opening. An opening may have
            waited half a second already, and may travel no longer than the answer did: so none
            arrives later than two seconds after it was decided.
        settle_s: so long after a topic is asked for, what the broker had kept of it must have come.
    """

    start_s: float = 4.0
    fresh_s: float = 0.75
    settle_s: float = 0.5


class MqttRelay:
    """Sends one payload to unlock and another to lock, both never retained.

    A lock is sent with QoS 1, first of all on every connection, and by the broker itself (as our
    last will) when we vanish. An opening is sent with QoS 0 and an expiry, only after the broker
    has just answered, so that no opening waits in a queue or a network that stands still. When the
    broker cannot be shown to have taken it, a lock follows on the same connection, which is ended.

    With `state_topic`, a change counts when the lock tells its state there, live. It must do so
    after every command; that it is locked need not be told again for as long as the connection
    lasts and no opening came between.

    Args:
        host: of the broker, which must speak MQTT 5.
        port: of the broker.
        topic: commands go there; the user needs the right to read it as well.
        allow: payload that unlocks.
        deny: payload that locks.
        state_topic: where the lock tells its state; None when it does not.
        allowed_state: state of an unlocked lock.
        denied_state: state of a locked lock.
        username: for the broker.
        password_file: file with the password, readable by nobody else.
        tls: whether the connection is encrypted and the broker's certificate checked.
        ca_file: certificates to check it with, instead of the system's.
        limit_s: how long broker and lock may take to confirm one command.
        limits: how long the broker may take otherwise.

    Raises:
        OutputError: the broker cannot be had, refuses us, or keeps an opening for everyone who
            comes later; or nobody listens; or the lock does not tell that it is locked.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        topic: str,
        allow: str,
        deny: str,
        state_topic: str | None,
        allowed_state: str,
        denied_state: str,
        username: str | None,
        password_file: str | None,
        tls: bool,
        ca_file: str | None,
        limit_s: float,
        limits: MqttLimits = MqttLimits(),
    ) -> None:
        self.name = f"mqtt {topic} on {host}:{port}"
        self._topic, self._state_topic = topic, state_topic
        self._allow, self._deny = allow, deny
        self._allowed_state, self._denied_state = allowed_state, denied_state
        self._limit_s = limit_s
        self._limits = limits
        self._check_payloads()
        self._state = ReportedState(allowed_state, denied_state)
        broker = find_broker(
            host,
            port,
            username=username,
            password_file=password_file,
            tls=tls,
            ca_file=ca_file,
        )
        self._closed = self._watching = False
        self._settled: Connection | None = None
        self._unreadable = ""
        self._reset(first_lock=0, asked=(), watching=False)
        self._link = MqttLink(
            broker,
            new_client_id("relay", topic),
            keepalive_s=KEEPALIVE_S,
            will=Will(topic, deny, retain=False),
            on_up=self._came_up,
            on_message=self._take_message,
        )
        self._link.start()
        try:
            self._begin()
        except OutputError:
            self._link.close()
            raise

    def unlock(self, order: Order, cancelled: Callable[[], bool]) -> None:
        """See `gate.relays.relay.Relay`."""
        connection = self._ready_connection()
        self._await_fresh_answer(connection, cancelled)
        if cancelled():
            return
        self._state.forget(lock_sent=False)
        deadline_s = time.monotonic() + self._limit_s
        connection.publish(
            self._topic,
            self._allow,
            qos=0,
            expiry_s=EXPIRY_S,
            properties=(*_properties(order), ("hold_s", f"{order.hold_s:.3f}")),
        )
        taken = connection.unsubscribe(self._topic)  # the broker answers in order
        if self._await_answer(connection, taken, deadline_s, cancelled) is None:
            self._abandon(connection)
            if not cancelled():
                raise OutputError(f"{self.name}: the broker did not take the opening in time")
        elif self._state_topic is not None:
            self._await_state(connection, lambda: self._state.is_unlocked, deadline_s, cancelled)
            if not (self._state.is_unlocked or cancelled()):
                raise self._not_reported(self._allowed_state)

    def lock(self, order: Order, cancelled: Callable[[], bool]) -> None:
        """See `gate.relays.relay.Relay`."""
        deadline_s = time.monotonic() + self._limit_s
        self._link.wait_for(lambda: self._link.connection is not None, self._limit_s, cancelled)
        connection = self._link.connection
        if connection is None:
            raise self._unconnected()
        if self._watching and self._is_settled(connection):
            self._watching = False  # so that the broker can tell us when nobody else listens
            connection.unsubscribe(self._topic)
        self._state.note_lock_sent()
        number = connection.publish(self._topic, self._deny, qos=1, properties=_properties(order))
        self._confirm_lock(connection, number, deadline_s, cancelled)

    def close(self) -> None:
        """See `gate.relays.relay.Relay`."""
        if self._closed:
            return
        self._closed = True
        connection = self._link.connection
        if connection is not None:
            number = connection.publish(self._topic, self._deny, qos=1)
            self._await_answer(connection, number, time.monotonic() + self._limit_s, _never)
        self._link.close()

    # ------------------------------------------------------------------ begin of a connection

    def _check_payloads(self) -> None:
        """Refuse payloads that could be taken for each other."""
        if self._allow == self._deny:
            raise OutputError(f"{self.name}: allow and deny are the same payload")
        if self._allowed_state == self._denied_state:
            raise OutputError(f"{self.name}: allowed_state and denied_state are the same")
        if self._state_topic == self._topic:
            raise OutputError(f"{self.name}: state_topic is the topic of the commands")

    def _begin(self) -> None:
        """Wait until the lock is locked and the topic is known to keep no opening."""
        deadline_s = time.monotonic() + self._limits.start_s
        link = self._link
        link.wait_for(lambda: link.connection is not None or link.refused, self._limits.start_s)
        connection = link.connection
        if connection is None:
            raise self._unconnected()
        self._check_lock_answer(
            self._await_answer(connection, self._first_lock, deadline_s, _never)
        )
        left_s = max(deadline_s - time.monotonic(), self._limits.settle_s)
        link.wait_for(lambda: self._is_settled(connection) or not connection.alive, left_s)
        self._ready_connection()
        if self._state_topic is not None:  # the answer to the first lock may have come too early
            number = connection.publish(self._topic, self._deny, qos=1)
            self._confirm_lock(connection, number, time.monotonic() + self._limit_s, _never)

    def _came_up(self, connection: Connection) -> None:
        """Lock before anything else; then look what the topics keep. In the link's thread."""
        first_lock = connection.publish(self._topic, self._deny, qos=1)
        topics = [self._topic] if self._state_topic is None else [self._topic, self._state_topic]
        asked = tuple(connection.subscribe(topic) for topic in topics)
        self._reset(first_lock=first_lock, asked=asked, watching=True)

    def _reset(self, *, first_lock: int, asked: tuple[int, ...], watching: bool) -> None:
        self._first_lock = first_lock
        self._asked = asked
        self._watching = watching
        self._keeps_opening = False
        self._state.forget(lock_sent=watching)

    def _take_message(self, topic: str, payload: bytes, kept: bool) -> None:
        """Take in a message. In the link's thread."""
        if topic == self._topic:
            if kept and payload == self._allow.encode():
                self._keeps_opening = True
        elif not kept:
            self._state.take(payload)

    # ------------------------------------------------------------------ parts of a command

    def _ready_connection(self) -> Connection:
        """The connection, if an opening may be sent on it now."""
        connection = self._link.connection
        if connection is None:
            raise self._unconnected()
        if not self._is_settled(connection):
            raise OutputError(f"{self.name}: the broker has only just been reached")
        if self._unreadable:
            raise OutputError(
                f"{self.name}: the broker lets us not read this topic or its state "
                f"({self._unreadable}); give the user the right to"
            )
        if self._keeps_opening:
            connection.drop()  # the next one looks again
            raise OutputError(
                f"{self.name}: the broker keeps {self._allow!r} there and would open the door "
                "whenever the lock comes back; clear the topic (publish it retained and empty)"
            )
        return connection

    def _is_settled(self, connection: Connection) -> bool:
        """Whether what the topics had kept must have come by now."""
        if self._settled is not connection:
            answers = [connection.answer(number) for number in self._asked]
            if time.monotonic() - connection.since_s < self._limits.settle_s or None in answers:
                return False
            refusals = [answer.said for answer in answers if answer is not None and answer.refused]
            self._unreadable = ", ".join(refusals)
            self._settled = connection
        return True

    def _await_fresh_answer(self, connection: Connection, cancelled: Callable[[], bool]) -> None:
        """Have the broker answer now: what it answers to costs nothing and changes nothing."""
        limit_s = min(self._limits.fresh_s, self._limit_s)
        deadline_s = time.monotonic() + limit_s
        self._watching = False
        asked = connection.unsubscribe(self._topic)
        answer = self._await_answer(connection, asked, deadline_s, cancelled)
        late = answer is None or time.monotonic() > deadline_s
        if late and not cancelled():
            raise OutputError(
                f"{self.name}: the broker did not answer within {limit_s:g} s; nothing was sent"
            )

    def _await_answer(
        self,
        connection: Connection,
        number: int,
        deadline_s: float,
        cancelled: Callable[[], bool],
    ) -> Answer | None:
        """What the broker answers; None when it has not until then, or never will."""
        self._link.wait_for(
            lambda: connection.answer(number) is not None or not connection.alive,
            deadline_s - time.monotonic(),
            cancelled,
        )
        return connection.answer(number)

    def _await_state(
        self,
        connection: Connection,
        told: Callable[[], bool],
        deadline_s: float,
        cancelled: Callable[[], bool],
    ) -> None:
        left_s = deadline_s - time.monotonic()
        self._link.wait_for(lambda: told() or not connection.alive, left_s, cancelled)

    def _confirm_lock(
        self,
        connection: Connection,
        number: int,
        deadline_s: float,
        cancelled: Callable[[], bool],
    ) -> None:
        """Wait until broker and lock have confirmed a lock.

        A broker that does not answer keeps its connection: what is on its way may still arrive.
        """
        self._check_lock_answer(self._await_answer(connection, number, deadline_s, cancelled))
        if self._state_topic is not None:
            self._await_state(connection, lambda: self._state.is_locked, deadline_s, cancelled)
            if not self._state.is_locked:
                raise self._not_reported(self._denied_state)

    def _check_lock_answer(self, answer: Answer | None) -> None:
        """Refuse anything but that the broker has a lock, and somebody to pass it on to."""
        if answer is None:
            raise OutputError(f"{self.name}: the broker did not confirm the lock in time")
        if answer.refused:
            raise OutputError(f"{self.name}: the broker refuses the lock: {answer.said}")
        if answer.code == _NOBODY_LISTENS:
            raise OutputError(f"{self.name}: nobody listens there; is the lock connected?")

    def _abandon(self, connection: Connection) -> None:
        """A lock right behind an opening that may be stuck, and an end to the connection."""
        self._state.note_lock_sent()
        connection.publish(self._topic, self._deny, qos=1)
        connection.drop()

    def _unconnected(self) -> OutputError:
        return OutputError(f"{self.name}: no connection: {self._link.why_down}")

    def _not_reported(self, state: str) -> OutputError:
        return OutputError(
            f"{self.name}: no {state!r} came from {self._state_topic} within {self._limit_s:g} s"
        )


def _never() -> bool:
    return False


def _properties(order: Order) -> Properties:
    """What a lock may know of an order, if it looks."""
    return (("id", order.id), ("reason", order.reason))
