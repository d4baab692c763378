"""MqttLink: a connection to an MQTT broker that comes back; nothing sent outlives one of them.

Every connection has a client of its own. What one could not deliver ends with it: no library queue
and no buffer of the kernel can bring it to the broker later, when it would open a door that nobody
stands at any more.
"""

from __future__ import annotations

import logging
import re
import socket
import ssl
import struct
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from mask_gate.gate.errors import OutputError
from mask_gate.gate.system.secret_file import read_secret
from mask_gate.gate.system.threads import DoorThread

if TYPE_CHECKING:  # an optional package, imported where it is used
    from paho.mqtt.client import Client, DisconnectFlags, MQTTMessage
    from paho.mqtt.properties import Properties as PahoProperties
    from paho.mqtt.reasoncodes import ReasonCode

log = logging.getLogger(__name__)

CONNECT_S = 5.0
"""How long the network, and after it the broker, may take to answer; resolving names excepted."""

RECONNECT_MAX_S = 2.0
"""A broker that comes back is found again within this time."""

ANSWERS_KEPT = 500
"""Nobody waits for the answers to so many messages at once."""

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_RECONNECT_FIRST_S = 0.2
_TURN_S = 0.2
_JOIN_S = 2.0
_MESSAGES_MAX = 100
_PACKET_MAX_BYTES = 65_536
_NEVER = 0
"""The number of a message whose answer will not come."""

_ABORT, _GRACEFUL = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)

_BROKE_OFF = {
    True: "the connection broke off",
    False: "it hung up before it answered; check port and tls, and that it speaks MQTT 5",
}

Properties = tuple[tuple[str, str], ...]

_PASSING = frozenset({0x88, 0x89, 0x97, 0x9F})
"""Refusals that may be over at the next try."""

_ADVICE = {
    0x84: "it speaks MQTT 3.1.1 only, and an opening must be able to expire on its way, which "
    "takes MQTT 5: take a broker such as mosquitto 2, or switch MQTT 5 on in it",
    0x85: "let it take ids of up to 65 letters, digits and -",
    0x86: "check username and password_file",
    0x87: "check username and password_file, and what it lets this user do",
    0x88: "it is asked again",
    0x89: "it is asked again",
    0x8A: "take this machine off the list of those that it bans",
    0x8C: "let it take a username with a password",
    0x90: "let this user write to the topics of this gate (see the broker's acl)",
    0x95: "let it take packets of 64 KiB",
    0x97: "it is asked again; raise the quota of this user",
    0x9A: "let it retain messages, which the state of the gate is sent as",
    0x9B: "let it take messages of QoS 1",
    0x9C: "give the host and port of the other one",
    0x9D: "give the host and port that it has moved to",
    0x9F: "it is asked again, more rarely",
}
"""What to do, by the reason code of its refusal (MQTT 5.0, table 3-1)."""


def refusal_advice(code: int) -> str:
    """What to do about a broker that lets us not in.

    Args:
        code: of its CONNACK.
    """
    return _ADVICE.get(code, "its own log says more")


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker is, and how it lets us in."""

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None

    @property
    def name(self) -> str:
        """For messages, without secrets."""
        return f"{self.host}:{self.port}"


def find_broker(
    host: str,
    port: int,
    *,
    username: str | None,
    password_file: str | None,
    tls: bool,
    ca_file: str | None,
) -> Broker:
    """A broker as the configuration tells it; nothing is connected yet.

    Raises:
        OutputError: the password or the certificates cannot be read, or paho-mqtt is missing.
    """
    try:
        import paho.mqtt.client  # noqa: F401
    except ImportError:
        raise OutputError(
            "mqtt needs the package paho-mqtt; run pip install 'mask-gate[mqtt]'"
        ) from None
    if ca_file is not None and not tls:
        raise OutputError(f"ca_file {ca_file!r}: has no meaning without tls: true")
    if password_file is not None and username is None:
        raise OutputError(f"password_file {password_file!r}: needs a username")
    password = None if password_file is None else _password(password_file)
    context = None
    if tls:
        try:
            context = ssl.create_default_context(cafile=ca_file)
        except (OSError, ValueError) as error:
            raise OutputError(f"ca_file {ca_file!r}: no certificates there ({error})") from None
    broker = Broker(host, port, username, password, context)
    if not tls and host not in _LOOPBACK:
        log.warning(
            "mqtt %s: not encrypted: whoever is on the network can read and send; set tls: true",
            broker.name,
        )
    return broker


def _password(path: str) -> str:
    try:
        return read_secret(path).decode("utf-8")
    except UnicodeDecodeError:
        raise OutputError(f"password_file {path}: expected text in UTF-8") from None


def new_client_id(role: str, name: str) -> str:
    """An id for the broker, another at each call.

    A broker throws out the older of two clients with one id; two of ours for one door, on one
    machine or two, would do so to each other for ever.

    Args:
        role: what the client does, such as `relay`.
        name: of the door, or the topic that stands for it.
    """
    readable = re.sub("[^A-Za-z0-9]+", "-", name)[:32].strip("-")
    return f"mask-gate-{role}-{readable}-{uuid.uuid4().hex[:16]}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the broker said to one message of ours."""

    code: int
    said: str

    @property
    def refused(self) -> bool:
        """Whether the broker did not do it."""
        return self.code >= 0x80


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes when we vanish."""

    topic: str
    payload: str
    retain: bool


class Connection:
    """One connection to the broker, as long as it lasts; methods never wait for the network.

    Messages go out in the order of the calls. Afterwards it is dead and stays so.

    Attributes:
        alive: whether the broker has let us in and the connection has not ended.
        since_s: monotonic time at which the broker let us in.

    Args:
        client: of paho.
        answers_kept: so many of the newest answers can be asked for.
    """

    def __init__(self, client: Client, answers_kept: int = ANSWERS_KEPT) -> None:
        self.alive = False
        self.since_s = 0.0
        self.dropped = False
        self.ending = ""
        self._client: Client | None = client
        self._answers: OrderedDict[int, Answer] = OrderedDict()
        self._answers_kept = answers_kept

    def publish(
        self,
        topic: str,
        payload: str,
        *,
        qos: int,
        retain: bool = False,
        expiry_s: int | None = None,
        properties: Properties = (),
    ) -> int:
        """Send a message; returns the number that its answer will have.

        Args:
            topic: without wildcards.
            payload: text.
            qos: 0 is answered when it has left this program, 1 when the broker has it.
            retain: whether the broker keeps it for those who come later.
            expiry_s: the broker throws it away when it could not deliver it for so long.
            properties: names and values for receivers that look at them.
        """
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties as PahoProperties

        client = self._client
        if client is None:
            return _NEVER
        extras = PahoProperties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if expiry_s is not None:
            extras.MessageExpiryInterval = expiry_s
        if properties:
            extras.UserProperty = list(properties)
        return client.publish(topic, payload.encode(), qos, retain, extras).mid

    def subscribe(self, topic: str) -> int:
        """Ask for the messages of a topic, not for our own ones; the number of the answer."""
        from paho.mqtt.subscribeoptions import SubscribeOptions

        if (client := self._client) is None:
            return _NEVER
        _, number = client.subscribe(topic, options=SubscribeOptions(qos=1, noLocal=True))
        return number or _NEVER

    def unsubscribe(self, topic: str) -> int:
        """Ask for no more of a topic; answered even where nothing had been asked for."""
        if (client := self._client) is None:
            return _NEVER
        _, number = client.unsubscribe(topic)
        return number or _NEVER

    def answer(self, number: int) -> Answer | None:
        """What the broker said to a message; None while it has not."""
        return self._answers.get(number)

    def drop(self) -> None:
        """End it the hard way: what has not left this machine never will."""
        self.dropped = True

    def end(self) -> None:
        """Be dead: hold on to nothing, take nothing more."""
        self.alive = False
        self._client = None

    def keep_answer(self, number: int, code: int, said: str) -> None:
        """Remember an answer, of the newest so many."""
        self._answers[number] = Answer(code, said)
        while len(self._answers) > self._answers_kept:
            self._answers.popitem(last=False)


class MqttLink:
    """Holds a connection in a thread of its own, and makes it anew whenever it ends.

    Whoever waits for something of it uses `wait_for`; callbacks come from its thread.

    Attributes:
        connection: the one of the moment, or None.
        why_down: why there is none, or was none last.
        refused: whether the broker, or we, refused the last try: trying again will not help.

    Args:
        broker: where to.
        client_id: see `new_client_id`.
        keepalive_s: a broker that is silent for longer than twice this is given up; it gives us up
            after one and a half.
        will: what the broker is to say when we vanish.
        on_up: called with each connection, before anything else is sent on it.
        on_down: called when one has ended.
        on_message: called with topic, payload and whether it had been kept from before.
    """

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        *,
        keepalive_s: int,
        will: Will,
        on_up: Callable[[Connection], None],
        on_down: Callable[[], None] = lambda: None,
        on_message: Callable[[str, bytes, bool], None] = lambda topic, payload, kept: None,
    ) -> None:
        self.connection: Connection | None = None
        self.why_down = "there was no time to connect"
        self.refused = False
        self._broker = broker
        self._client_id = client_id
        self._keepalive_s = keepalive_s
        self._will = will
        self._on_up = on_up
        self._on_down = on_down
        self._on_message = on_message
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._told_up: bool | None = None
        self._thread = DoorThread(target=self._work, name="mqtt-link")

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def wait_for(
        self,
        what: Callable[[], bool],
        limit_s: float,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Wait until `what()` holds; False when it did not in time, or before `cancelled()` did."""
        deadline_s = time.monotonic() + limit_s
        with self._changed:
            while not what():
                left_s = deadline_s - time.monotonic()
                if left_s <= 0.0 or cancelled():
                    return False
                self._changed.wait(min(left_s, 0.02))
        return True

    def close(self) -> None:
        """Take leave of the broker, which then tells our will, in bounded time; may be repeated."""
        self._closing.set()
        if self._thread.is_alive():  # it may hang in the resolver: then it dies with the process
            self._thread.join(_JOIN_S)

    # ---------------------------------------------------------------------- in the thread

    def _work(self) -> None:
        pause_s = 0.0
        while not self._closing.wait(pause_s):
            if self._hold() > RECONNECT_MAX_S:
                pause_s = 0.0
            else:
                pause_s = min(max(2 * pause_s, _RECONNECT_FIRST_S), RECONNECT_MAX_S)

    def _hold(self) -> float:
        """Connect, and serve the connection until it ends; how many seconds it lasted."""
        client = self._new_client()
        connection = Connection(client)
        self._listen(client, connection)
        try:
            broker = self._broker
            client.connect(broker.host, broker.port, self._keepalive_s, properties=_limits())
            self._serve(client, connection)
        except Exception as error:  # noqa: BLE001 - whatever broke, the next one is a fresh one
            connection.ending = _account(error)
            self.refused = isinstance(error, ssl.SSLCertVerificationError)
        finally:
            _let_go(client)
        self._ended(connection)
        return time.monotonic() - connection.since_s if connection.since_s else 0.0

    def _serve(self, client: Client, connection: Connection) -> None:
        give_up_s = time.monotonic() + CONNECT_S
        leaving = False
        while not client.loop(_TURN_S):
            if connection.dropped:
                connection.ending = connection.ending or "it did not answer in time"
                return
            if self._closing.is_set() and not leaving:
                leaving, give_up_s = True, time.monotonic() + _JOIN_S / 2
                _set_linger(client.socket(), _GRACEFUL)
                client.disconnect(_goodbye())
            if (leaving or not connection.alive) and time.monotonic() > give_up_s:
                connection.ending = "it does not answer"
                return

    def _new_client(self) -> Client:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

        client = Client(
            CallbackAPIVersion.VERSION2,
            self._client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_S
        client.max_queued_messages_set(_MESSAGES_MAX)
        if self._broker.username is not None:
            client.username_pw_set(self._broker.username, self._broker.password)
        if self._broker.tls is not None:
            client.tls_set_context(self._broker.tls)
        client.will_set(self._will.topic, self._will.payload.encode(), 1, self._will.retain)
        return client

    def _listen(self, client: Client, connection: Connection) -> None:
        """Have the client call us; all calls come from `client.loop`, in our thread."""

        def answered(
            client: Client, data: object, number: int, code: ReasonCode, extras: object
        ) -> None:
            with self._changed:
                connection.keep_answer(number, code.value, str(code))
                self._changed.notify_all()

        def answered_list(
            client: Client, data: object, number: int, codes: list[ReasonCode], extras: object
        ) -> None:
            answered(client, data, number, codes[0], extras)

        def connected(
            client: Client, data: object, flags: object, code: ReasonCode, extras: object
        ) -> None:
            if code.is_failure:
                connection.ending = f"it refuses us: {code}; {refusal_advice(code.value)}"
                self.refused = code.value not in _PASSING
            else:
                self._began(connection)

        def disconnected(
            client: Client, data: object, flags: DisconnectFlags, code: ReasonCode, extras: object
        ) -> None:
            if flags.is_disconnect_packet_from_server:
                connection.ending = f"it said: {code}"

        def came(client: Client, data: object, message: MQTTMessage) -> None:
            with self._changed:
                self._on_message(message.topic, bytes(message.payload), bool(message.retain))
                self._changed.notify_all()

        client.on_connect = connected
        client.on_disconnect = disconnected
        client.on_publish = answered
        client.on_subscribe = client.on_unsubscribe = answered_list
        client.on_message = came
        client.on_socket_open = lambda client, data, opened: _prepare(opened)
        # With this, calls from other threads only queue what `client.loop` is then woken to send.
        client.on_socket_register_write = lambda client, data, opened: None

    def _began(self, connection: Connection) -> None:
        connection.since_s = time.monotonic()
        connection.alive = True
        self._on_up(connection)
        with self._changed:
            self.refused = False
            self.connection = connection
            self._changed.notify_all()
        if self._told_up is False:
            log.warning("mqtt %s: connected again", self._broker.name)
        else:
            log.info("mqtt %s: connected", self._broker.name)
        self._told_up = True

    def _ended(self, connection: Connection) -> None:
        with self._changed:
            connection.end()
            self.connection = None
            self.why_down = connection.ending or _BROKE_OFF[bool(connection.since_s)]
            self._changed.notify_all()
        if connection.since_s:
            self._on_down()
        if self._told_up is not False and not self._closing.is_set():
            self._told_up = False
            log.warning("mqtt %s: no connection: %s", self._broker.name, self.why_down)


def _limits() -> PahoProperties:
    """The broker passes nothing on to us that would eat our memory."""
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties as PahoProperties

    limits = PahoProperties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    limits.MaximumPacketSize = _PACKET_MAX_BYTES
    return limits


def _goodbye() -> ReasonCode:
    """An end after which the broker tells our will all the same: better twice than never."""
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.reasoncodes import ReasonCode

    return ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message")


def _prepare(opened: object) -> None:
    """No waiting for more to send; and a socket that is closed forgets what it has not sent."""
    cast(socket.socket, opened).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _set_linger(opened, _ABORT)


def _set_linger(opened: object, value: bytes) -> None:
    if opened is not None:
        cast(socket.socket, opened).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, value)


def _let_go(client: Client) -> None:
    """Close the socket at once, and undo the circle of references that keeps the rest open."""
    opened = client.socket()
    if opened is not None:
        opened.close()
    for name in ("connect", "disconnect", "publish", "subscribe", "unsubscribe", "message"):
        setattr(client, f"on_{name}", None)
    client.on_socket_open = client.on_socket_register_write = None


def _account(error: Exception) -> str:
    """Why there is no connection, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}; check ca_file and host"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with it: {error.reason or error}; check tls and port"
    if isinstance(error, (KeyError, AssertionError, struct.error, IndexError)):
        return "what it answers is no MQTT 5; check host and port"
    if isinstance(error, socket.gaierror):
        return f"no such host ({error.strerror}); check host, which is a name or an address alone"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
