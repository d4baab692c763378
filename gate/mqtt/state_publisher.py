"""StatePublisher: tells a broker how the gate is; it subscribes to nothing that could open."""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping

from mask_gate.gate.domain import DENIALS, FAULTS, Reason, Signal, State, door_state
from mask_gate.gate.events import Event, tells_of_parts
from mask_gate.gate.mqtt.config import MqttConfig
from mask_gate.gate.mqtt.connection import Connection, MqttLink, Will, find_broker, new_client_id
from mask_gate.gate.mqtt.home_assistant import discovery_messages
from mask_gate.gate.people_count import PeopleCounter
from mask_gate.gate.system.threads import DoorThread
from mask_gate.models.labels import CLASS_NAMES

log = logging.getLogger(__name__)

ANSWER_S = 10.0
"""A broker that has not taken a batch by then is given up, and connected to anew."""

CLOSE_S = 2.0
"""How long the farewell may take."""

EVENTS_MAX = 1000
"""So many events wait for a broker that is slow; the oldest give way."""

_BATCH = 100
_CAMERA_FAULTS = frozenset({Reason.CAMERA_LOST, Reason.FROZEN, Reason.BAD_IMAGE})
_BLIND = FAULTS | {Reason.STARTING, Reason.STOPPING}
"""Reasons that say nothing good of the camera."""


class GateState:
    """What is known of the gate from its events: the text of each topic, by its last part."""

    def __init__(self) -> None:
        self.topics = {
            "state": State.IDLE.value,
            "reason": Reason.STARTING.value,
            "door": door_state(is_open=False),
            "camera": "unknown",
            "service": "ok",
            "speed": "ok",
        }
        self._counts: Counter[str] = Counter()
        self._people = PeopleCounter()
        self.topics["counters"] = self._counters()

    def take(self, event: Event) -> dict[str, str]:
        """Take in an event; the topics that it changes."""
        before = dict(self.topics)
        for key in ("state", "reason", "door"):
            if isinstance(word := event.get(key), str):
                self.topics[key] = word
        if tells_of_parts(event):
            self._take_parts(self.topics["reason"])
        self.topics["speed"] = "slow" if "slow" in event else "ok"
        self._count(event)
        self.topics["counters"] = self._counters()
        return {key: text for key, text in self.topics.items() if text != before[key]}

    def _take_parts(self, reason: str) -> None:
        if reason in _CAMERA_FAULTS:
            self.topics["camera"] = "problem"
        elif reason not in _BLIND:
            self.topics["camera"] = "ok"
        failed = reason in FAULTS or self.topics["state"] == State.FAULT.value
        self.topics["service"] = "problem" if failed else "ok"

    def _count(self, event: Event) -> None:
        if event.get("type") == "signal":
            self._counts["openings"] += event.get("signal") == "allow"
            self._counts["denials"] += event.get("reason") in DENIALS
        self._counts.update(self._people.new_labels(event))

    def _counters(self) -> str:
        names = ("openings", "denials", *CLASS_NAMES)
        return json.dumps({name: self._counts[name] for name in names})


class StatePublisher:
    """An output and a keeper of events that publishes below `<base_topic>/<gate>`.

    Kept by the broker: `availability` (`online`, or `offline` by our last will), `state`,
    `reason`, `door`, `camera`, `service`, `speed` and `counters`. Not kept: `events`. While the
    broker is away nothing is kept for it; when it is back it gets everything as it is then.

    It publishes no command, and asks for no topic at all.

    Args:
        config: the broker and the topics.
        gate: name of the door.
        close_s: how long `close` waits for the broker.
        console_url: where a browser finds the guard's console; for Home Assistant.

    Raises:
        OutputError: the password or the certificates cannot be read, or paho-mqtt is missing.
    """

    def __init__(
        self,
        config: MqttConfig,
        gate: str,
        close_s: float = CLOSE_S,
        console_url: str | None = None,
    ) -> None:
        broker = find_broker(
            config.host,
            config.port,
            username=config.username,
            password_file=config.password_file,
            tls=config.tls,
            ca_file=config.ca_file,
        )
        self._close_s = close_s
        self._root = config.root(gate)
        self._renew_s = float(config.keepalive_s)
        self._discovery: Mapping[str, str] = {}
        if config.discovery_prefix is not None:
            self._discovery = discovery_messages(
                config.discovery_prefix, self._root, gate, console_url
            )
        self._changed = threading.Condition()
        self._state = GateState()
        self._connection: Connection | None = None
        self._unsent: dict[str, str] = {}  # by topic, newest text only
        self._events: deque[Event] = deque(maxlen=EVENTS_MAX)
        self._seen: deque[object] = deque(maxlen=64)
        self._renewed_s = -math.inf
        self._refused: set[str] = set()
        self._closing = False
        self._link = MqttLink(
            broker,
            new_client_id("state", gate),
            keepalive_s=config.keepalive_s,
            will=Will(f"{self._root}/availability", "offline", retain=True),
            on_up=self._came_up,
            on_down=self._went_down,
        )
        self._worker = DoorThread(target=self._work, name="mqtt-state")
        self._link.start()
        self._worker.start()

    def send(self, signal: Signal, event: Event) -> None:
        """Take note of a signal; returns at once."""
        self.write(event)

    def write(self, event: Event) -> None:
        """Take an event; returns at once. One that came before, by its id, is not taken again."""
        with self._changed:
            if event.get("id") in self._seen or self._closing:
                return
            self._seen.append(event.get("id"))
            changes = self._state.take(event)
            if self._connection is not None:
                self._unsent |= {f"{self._root}/{key}": text for key, text in changes.items()}
                self._events.append(event)
                self._changed.notify_all()

    def close(self) -> None:
        """Tell the broker the last state and that we are gone, in bounded time."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._unsent[f"{self._root}/availability"] = "offline"
            self._changed.notify_all()
        self._worker.join(self._close_s)
        self._link.close()

    # ---------------------------------------------------------------------- in the link's thread

    def _came_up(self, connection: Connection) -> None:
        with self._changed:
            self._connection = connection
            now = {f"{self._root}/{key}": text for key, text in self._state.topics.items()}
            self._unsent = {**self._discovery, **now}  # and last of all, that it can be relied on
            self._renewed_s = -math.inf
            self._changed.notify_all()

    def _went_down(self) -> None:
        with self._changed:
            self._connection = None
            self._unsent.clear()
            self._events.clear()

    # ---------------------------------------------------------------------- in the worker

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            try:
                self._publish(*batch)
            except Exception:
                log.exception("mqtt: what could not be told is left out")

    def _next_batch(self) -> tuple[Connection, dict[str, str], list[Event]] | None:
        """What is to be told now; None at the end."""
        with self._changed:
            while True:
                connection = self._connection
                if connection is None or not connection.alive:
                    if self._closing:
                        return None
                    self._changed.wait(self._renew_s)
                    continue
                self._renew()
                if self._unsent or self._events:
                    break
                if self._closing:
                    return None
                self._changed.wait(self._renew_s)
            states, self._unsent = self._unsent, {}
            events = [self._events.popleft() for _ in range(min(_BATCH, len(self._events)))]
            return connection, states, events

    def _renew(self) -> None:
        """Say that we are there, again and again: the will of an older self may come late."""
        now_s = time.monotonic()
        if now_s - self._renewed_s >= self._renew_s and not self._closing:
            self._renewed_s = now_s
            self._unsent[f"{self._root}/availability"] = "online"

    def _publish(self, connection: Connection, states: dict[str, str], events: list[Event]) -> None:
        """Hand a batch to the broker and wait until it has it; the next may replace the rest."""
        numbers = {
            connection.publish(topic, text, qos=1, retain=True): topic
            for topic, text in states.items()
        }
        for event in events:
            text = json.dumps(event, ensure_ascii=False, default=str)
            topic = f"{self._root}/events"
            numbers[connection.publish(topic, text, qos=0)] = topic
        taken = self._link.wait_for(
            lambda: (
                all(connection.answer(number) is not None for number in numbers)
                or not connection.alive
            ),
            self._close_s if self._closing else ANSWER_S,
        )
        if not taken:
            connection.drop()
        for number, topic in numbers.items():
            answer = connection.answer(number)
            if answer is not None and answer.refused and topic not in self._refused:
                self._refused.add(topic)
                log.warning("mqtt: the broker refuses %s: %s", topic, answer.said)
