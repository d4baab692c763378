"""What the tests of MQTT share: a real broker, somebody who listens, a lock, and a bad road."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ENOUGH_S = 60.0
"""A generous deadline: machines that test are slow."""

HOST = "127.0.0.1"


def wait_until(holds, limit_s=ENOUGH_S, what="it"):
    """Wait for a condition; fail with a word when it does not come."""
    deadline_s = time.monotonic() + limit_s
    while not (value := holds()):
        assert time.monotonic() < deadline_s, f"{what} did not happen within {limit_s:g} s"
        time.sleep(0.01)
    return value


def free_port() -> int:
    """One that others get by asking for it alone: it can be left, and taken again later."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)  # below those that Linux deals out
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((HOST, port))
            return port


def find_mosquitto() -> str:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    program = shutil.which("mosquitto", path=path)
    if program is None:
        pytest.skip("needs a broker: run apt-get install -y mosquitto")
    return program


class MosquittoBroker:
    """A mosquitto of the test's own, with a free port of loopback and its own configuration.

    `pause` freezes it with its connections open, `kill` ends it without a farewell.
    """

    def __init__(self, folder: Path, *lines: str, auth=("allow_anonymous true",)) -> None:
        self._program = find_mosquitto()
        self._folder = folder
        self._lines = (*lines, *auth)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    def start(self) -> None:
        """Start, on the same port each time; returns when it takes connections."""
        deadline_s = time.monotonic() + ENOUGH_S
        while True:
            self._spawn()
            while self._process.poll() is None:
                with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), 1):
                    return
                time.sleep(0.02)
            assert time.monotonic() < deadline_s, self.log()  # somebody else may hold the port
            time.sleep(0.1)

    def _spawn(self) -> None:
        config = self._folder / "mosquitto.conf"
        me = ["user root"] if os.geteuid() == 0 else []
        lines = [f"listener {self.port} {HOST}", "persistence false", "log_type all"]
        config.write_text("\n".join([*lines, *me, *self._lines, ""]))
        with (self._folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def log(self) -> str:
        return (self._folder / "mosquitto.log").read_text(errors="replace")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait(ENOUGH_S)
            self._process = None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(ENOUGH_S)

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error) -> None:
        self.stop()


@dataclass(frozen=True)
class Heard:
    """A message as somebody got it."""

    time_s: float
    topic: str
    payload: str
    retain: bool
    properties: dict = field(default_factory=dict)


class Listener:
    """A client that hears everything and comes back by itself after the broker was away."""

    def __init__(self, port: int, topics=("#",), name="", session_s=0, **login) -> None:
        import paho.mqtt.client as paho
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        self.heard: list[Heard] = []
        self.ups = 0
        self._listening = False
        self._topics = topics
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, name, protocol=paho.MQTTv5)
        if login:
            self._client.username_pw_set(**login)
        self._client.reconnect_delay_set(0.05, 0.1)
        self._client.on_connect = self._connected
        self._client.on_subscribe = self._subscribed
        self._client.on_disconnect = self._disconnected
        self._client.on_message = self._came
        settings = Properties(PacketTypes.CONNECT)
        settings.SessionExpiryInterval = session_s
        self._client.connect_async(
            HOST, port, keepalive=5, clean_start=session_s == 0, properties=settings
        )
        self._client.loop_start()
        wait_until(lambda: self.ups, what="the listener's connection")

    def _connected(self, client, data, flags, code, extras) -> None:
        for topic in self._topics:
            client.subscribe(topic, qos=1)

    def _subscribed(self, client, data, number, codes, extras) -> None:
        self.ups += 1
        self._listening = True

    def _disconnected(self, client, data, flags, code, extras) -> None:
        self._listening = False

    def _came(self, client, data, message) -> None:
        extras = dict(getattr(message.properties, "UserProperty", []))
        heard = Heard(
            time.monotonic(), message.topic, message.payload.decode(), message.retain, extras
        )
        self.heard.append(heard)
        self.answer(heard)

    def answer(self, heard: Heard) -> None:
        """What to do about a message; called in the client's thread."""

    def listens(self) -> bool:
        """Whether it is connected and has its subscription."""
        return self._listening

    def publish(self, topic, payload, *, retain=False) -> None:
        self._client.publish(topic, payload, 1, retain).wait_for_publish(ENOUGH_S)

    def send(self, topic, payload, *, retain=False) -> None:
        """Publish without waiting, as one must in the client's own thread."""
        self._client.publish(topic, payload, 1, retain)

    def payloads(self, topic: str) -> list[str]:
        return [heard.payload for heard in list(self.heard) if heard.topic == topic]

    def last(self, topic: str) -> str | None:
        return next(iter(self.payloads(topic)[-1:]), None)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        self.close()


class FakeLock(Listener):
    """A lock on a topic, which tells its state on another; with `deaf` it says nothing."""

    def __init__(self, port, topic="lock/set", state_topic="lock/state", **more) -> None:
        self.topic = topic
        self.state_topic = state_topic
        self.deaf = False
        self.only_changes = False
        self.state = "LOCKED"
        super().__init__(port, (topic,), **more)

    def answer(self, heard: Heard) -> None:
        state = {"LOCK": "LOCKED", "UNLOCK": "UNLOCKED"}.get(heard.payload)
        if self.deaf or state is None or (self.only_changes and state == self.state):
            return
        self.state = state
        self.send(self.state_topic, state, retain=True)

    @property
    def commands(self) -> list[str]:
        return self.payloads(self.topic)


class BadRoad:
    """A proxy in front of the broker whose traffic can be held up, delayed, or cut.

    While `held`, connections stand and take bytes, but nothing comes out: a half-open network,
    which brings everything it swallowed later.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._moving = threading.Event()
        self._moving.set()
        self.delay_s = 0.0
        self.sent: list[bytearray] = []  # what came from the client, a connection each
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listening = socket.socket()
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # swallows little
        self._listening.bind((HOST, 0))
        self._listening.listen()
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        self._moving.clear()

    def let_go(self) -> None:
        self._moving.set()

    def cut(self) -> None:
        """End all connections at once."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            self._shut(*pair)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                inner, _ = self._listening.accept()
                threading.Thread(target=self._join, args=(inner,), daemon=True).start()

    def _join(self, inner: socket.socket) -> None:
        self._moving.wait()
        try:
            outer = socket.create_connection((HOST, self._target), 5)
        except OSError:
            inner.close()
            return
        outer.settimeout(None)
        self._pairs.append((inner, outer))
        sent = bytearray()
        self.sent.append(sent)
        for ends in ((inner, outer, sent), (outer, inner, bytearray())):
            threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, seen: bytearray) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                if self.delay_s:
                    time.sleep(self.delay_s)
                self._moving.wait()
                seen += data
                sink.sendall(data)
                self.carried(data)
        self._shut(source, sink)

    @staticmethod
    def _shut(*ends: socket.socket) -> None:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def carried(self, data: bytes) -> None:
        """What to do after some bytes went through."""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listening.close()
        self.let_go()
        self.cut()

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        self.close()


@dataclass(frozen=True)
class Packet:
    """One packet of MQTT 5, as a client sent it."""

    kind: int
    flags: int
    body: bytes

    @property
    def publishes(self) -> bool:
        return self.kind == 3

    @property
    def qos(self) -> int:
        return self.flags >> 1 & 3

    @property
    def retain(self) -> bool:
        return bool(self.flags & 1)

    @property
    def topic(self) -> str:
        return self.body[2 : 2 + int.from_bytes(self.body[:2])].decode()


def packets(data: bytes) -> list[Packet]:
    """Whole packets at the beginning of what a client sent."""
    found, at = [], 0
    while at < len(data):
        size, shift, head = 0, 0, at + 1
        while head < len(data):
            size |= (data[head] & 127) << shift
            shift += 7
            head += 1
            if data[head - 1] < 128:
                break
        else:
            break
        if head + size > len(data):
            break
        found.append(Packet(data[at] >> 4, data[at] & 15, bytes(data[head : head + size])))
        at = head + size
    return found
