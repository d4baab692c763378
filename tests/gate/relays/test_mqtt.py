"""An MQTT lock: whatever happens to broker and network, no opening is late and locks arrive."""

import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mask_gate.gate.errors import OutputError
from mask_gate.gate.relays.config import MqttRelayConfig
from mask_gate.gate.relays.mqtt import MqttLimits, MqttRelay
from mask_gate.gate.relays.relay import Order

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[3]
LATEST_S = 2.0
"""No opening may arrive later than this after it was decided."""

CYCLES = int(os.environ.get("MASK_GATE_MQTT_CYCLES", "5"))
"""How often broker and network are taken away; a soak run does 100."""

LOCK = Order(unlocks=False, id="l", reason="starting")


def never():
    return False


PATIENT_S = 5.0
HASTY_S = 1.0


PATIENT = MqttLimits(start_s=30.0, fresh_s=PATIENT_S, settle_s=0.1)
"""Time for what must work; loopback, on the other hand, needs none for what was kept."""

FRESH = MqttLimits(start_s=30.0, settle_s=0.1)
"""As shipped, for faults where time decides about an opening."""


class Decisions:
    """Orders to open, with the moment at which each was decided."""

    def __init__(self):
        self.time_s = {}

    def order(self):
        now_s, order_id = time.monotonic(), f"u{len(self.time_s)}"
        self.time_s[order_id] = now_s
        return Order(True, order_id, "compliant", now_s, until_s=now_s + 5, hold_s=5.0)

    def late(self, heard):
        """How late openings came that came too late, or that nobody decided."""
        openings = [message for message in heard if message.payload == "UNLOCK"]
        late_s = [m.time_s - self.time_s.get(m.properties.get("id"), 0.0) for m in openings]
        return [seconds for seconds in late_s if seconds > LATEST_S]


@pytest.fixture
def decisions():
    return Decisions()


@pytest.fixture
def broker(mqtt_bench, tmp_path):
    with mqtt_bench.MosquittoBroker(tmp_path) as broker:
        yield broker


@pytest.fixture
def lock(mqtt_bench, broker):
    with mqtt_bench.FakeLock(broker.port) as lock:
        yield lock


@pytest.fixture
def road(mqtt_bench, broker):
    with mqtt_bench.BadRoad(broker.port) as road:
        yield road


@pytest.fixture
def make_relay():
    """A relay as the guardian makes it: from plain values, which the configuration has checked."""
    with contextlib.ExitStack() as end:

        def make(port, limit_s=PATIENT_S, limits=PATIENT, **settings):
            where = {"kind": "mqtt", "host": "127.0.0.1", "port": port, "topic": "lock/set"}
            config = MqttRelayConfig(**where | settings, limit_s=limit_s)
            relay = MqttRelay(**config.model_dump(exclude={"kind", "pulse_s"}), limits=limits)
            end.callback(relay.close)
            return relay

        yield make


def until(relay, action, limit_s=20.0):
    """Try as the caller of a relay does, until it works."""
    deadline_s = time.monotonic() + limit_s
    while True:
        try:
            return action()
        except OutputError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.05)


# ------------------------------------------------------------------ what it sends


def test_it_locks_before_anything_else_and_opens_and_locks_on_demand(
    lock, road, make_relay, decisions, mqtt_bench
):
    relay = make_relay(road.port)
    relay.unlock(decisions.order(), never)
    relay.lock(LOCK, never)
    mqtt_bench.wait_until(lambda: lock.commands == ["LOCK", "UNLOCK", "LOCK"])
    assert relay.name == f"mqtt lock/set on 127.0.0.1:{road.port}"
    connect, first, *others = mqtt_bench.packets(road.sent[0])
    assert connect.kind == 1
    assert first.publishes
    assert first.body.endswith(b"LOCK")
    sent = [packet for packet in (first, *others) if packet.publishes]
    assert [(p.body.endswith(b"UNLOCK"), p.qos, p.retain) for p in sent] == [
        (False, 1, False),
        (True, 0, False),
        (False, 1, False),
    ]


def test_the_broker_keeps_nothing_on_the_topic_of_commands(
    broker, lock, make_relay, decisions, mqtt_bench
):
    relay = make_relay(broker.port)
    relay.unlock(decisions.order(), never)
    relay.lock(LOCK, never)
    with mqtt_bench.Listener(broker.port) as later:
        later.publish("end", "x")
        mqtt_bench.wait_until(lambda: later.last("end"))
        assert later.payloads("lock/set") == []


def test_payloads_are_the_operators(broker, lock, make_relay, decisions, mqtt_bench):
    relay = make_relay(broker.port, allow='{"open":1}', deny='{"open":0}')
    relay.unlock(decisions.order(), never)
    mqtt_bench.wait_until(lambda: lock.commands == ['{"open":0}', '{"open":1}'])


def test_it_does_not_wear_out(broker, lock, make_relay, decisions):
    relay = make_relay(broker.port)
    for _ in range(10):
        relay.unlock(decisions.order(), never)
        relay.lock(LOCK, never)


def test_an_opening_tells_its_id_reason_and_length(broker, lock, make_relay, mqtt_bench):
    relay = make_relay(broker.port)
    relay.unlock(Order(True, "s7", "compliant", hold_s=3.5), never)
    mqtt_bench.wait_until(lambda: len(lock.commands) == 2)
    told = lock.heard[-1].properties
    assert told == {"id": "s7", "reason": "compliant", "hold_s": "3.500"}


def test_closing_leaves_it_locked_and_no_thread(broker, lock, make_relay, decisions, mqtt_bench):
    before = set(threading.enumerate())
    relay = make_relay(broker.port)
    relay.unlock(decisions.order(), never)
    relay.close()
    relay.close()
    mqtt_bench.wait_until(lambda: lock.commands[-1] == "LOCK")
    mqtt_bench.wait_until(lambda: set(threading.enumerate()) <= before)
    assert "closed its connection" not in broker.log().split("mask-gate-relay", 1)[1]


def test_an_opening_that_was_revoked_meanwhile_is_not_sent(
    broker, lock, make_relay, decisions, mqtt_bench
):
    relay = make_relay(broker.port)
    relay.unlock(decisions.order(), lambda: True)
    relay.lock(LOCK, never)
    mqtt_bench.wait_until(lambda: len(lock.commands) == 2)
    assert lock.commands == ["LOCK", "LOCK"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"allow": "LOCK"}, "allow and deny"),
        ({"state_topic": "s", "allowed_state": "LOCKED"}, "allowed_state and denied_state"),
        ({"state_topic": "lock/set"}, "state_topic is the topic of the commands"),
    ],
)
def test_words_that_could_be_taken_for_each_other_are_refused(make_relay, words, said):
    with pytest.raises(OutputError, match=said):
        make_relay(1, **words)


# ------------------------------------------------------------------ N1, N3: nothing arrives late


def test_an_opening_decided_while_the_broker_is_down_never_arrives(
    broker, lock, make_relay, decisions, mqtt_bench
):
    relay = make_relay(broker.port)
    broker.stop()
    for _ in range(3):
        with pytest.raises(OutputError, match=r"no connection|nothing was sent"):
            relay.unlock(decisions.order(), never)
    ups = lock.ups
    broker.start()
    mqtt_bench.wait_until(lambda: lock.ups > ups)
    until(relay, lambda: relay.lock(LOCK, never))
    mqtt_bench.wait_until(lambda: lock.commands[-1] == "LOCK")
    assert "UNLOCK" not in lock.commands


@pytest.mark.parametrize("who", ["broker", "network"])
def test_an_opening_decided_while_broker_or_network_stand_still_never_arrives(
    who, broker, lock, road, make_relay, decisions, mqtt_bench
):
    relay = make_relay(road.port, limit_s=HASTY_S, limits=FRESH)
    stop, go = (broker.pause, broker.resume) if who == "broker" else (road.hold, road.let_go)
    stop()
    began_s = time.monotonic()
    with pytest.raises(OutputError, match="nothing was sent"):
        relay.unlock(decisions.order(), never)
    with pytest.raises(OutputError, match="did not confirm"):
        relay.lock(LOCK, never)
    assert time.monotonic() - began_s < 10.0
    go()
    until(relay, lambda: relay.lock(LOCK, never))
    mqtt_bench.wait_until(lambda: lock.commands.count("LOCK") >= 3)
    assert "UNLOCK" not in lock.commands


def test_an_opening_that_the_network_swallowed_is_followed_by_a_lock_at_once(
    lock, broker, make_relay, decisions, mqtt_bench
):
    """The one case that nothing on our side can prevent: they stop in the very moment between."""

    class Trap(mqtt_bench.BadRoad):
        armed = False

        def carried(self, data):
            if self.armed and data[0] == 0xB0:  # the broker's sign of life
                self.armed = False
                self.hold()

    with Trap(broker.port) as road:
        relay = make_relay(road.port, limit_s=HASTY_S)
        road.armed = True
        with pytest.raises(OutputError, match="did not take the opening in time"):
            relay.unlock(decisions.order(), never)
        road.let_go()
        mqtt_bench.wait_until(lambda: "UNLOCK" in lock.commands and lock.commands[-1] == "LOCK")
        at = lock.commands.index("UNLOCK")
        mqtt_bench.wait_until(lambda: len(lock.commands) > at + 1)
        assert lock.commands[at + 1] == "LOCK"
        assert lock.heard[at + 1].time_s - lock.heard[at].time_s < 2.0
        until(relay, lambda: relay.unlock(decisions.order(), never))


def test_what_our_own_machine_could_not_send_is_thrown_away(
    broker, lock, road, make_relay, decisions, mqtt_bench
):
    """A connection that is given up takes with it what waits in it."""
    relay = make_relay(road.port)
    connection = relay._link.connection
    road.hold()
    connection.publish("lock/set", "x" * 100_000, qos=0)  # more than the road takes while held
    number = connection.publish("lock/set", "UNLOCK", qos=0)
    mqtt_bench.wait_until(lambda: connection.answer(number), what="leaving the program")
    connection.drop()
    mqtt_bench.wait_until(lambda: not connection.alive)
    road.let_go()
    until(relay, lambda: relay.lock(LOCK, never))
    until(relay, lambda: relay.lock(LOCK, never))
    assert "UNLOCK" not in lock.commands


def test_a_slow_network_gets_no_opening_but_every_lock(
    lock, road, make_relay, decisions, mqtt_bench
):
    relay = make_relay(road.port, limit_s=HASTY_S, limits=FRESH)
    road.delay_s = 1.0
    with pytest.raises(OutputError, match="nothing was sent"):
        relay.unlock(decisions.order(), never)
    locks = len(lock.commands)
    with pytest.raises(OutputError, match="did not confirm"):
        relay.lock(LOCK, never)
    mqtt_bench.wait_until(lambda: len(lock.commands) > locks)
    assert set(lock.commands) == {"LOCK"}


def test_a_lock_that_comes_back_later_does_not_get_the_opening_it_missed(
    mqtt_bench, tmp_path, make_relay, decisions
):
    with mqtt_bench.MosquittoBroker(tmp_path, "queue_qos0_messages true") as broker:
        away = mqtt_bench.Listener(broker.port, name="lock", session_s=600)
        away.close()
        relay = make_relay(broker.port)
        relay.unlock(decisions.order(), never)
        time.sleep(LATEST_S + 1.0)
        relay.lock(LOCK, never)
        with mqtt_bench.Listener(broker.port, name="lock", session_s=600) as back:
            mqtt_bench.wait_until(lambda: back.payloads("lock/set").count("LOCK") >= 2)
            assert "UNLOCK" not in back.payloads("lock/set")


def run_cycles(count, broker, lock, road, relay, decisions, mqtt_bench, seed=0):
    """Take the broker or the road away `count` times, decide meanwhile, and bring it back.

    Returns:
        seconds from each return until the relay locks and opens again.
    """
    faults = {
        "stop": (broker.stop, broker.start),
        "kill": (broker.kill, broker.start),
        "cut": (lambda: (road.hold(), road.cut()), road.let_go),
        "hold": (road.hold, road.let_go),
        "pause": (broker.pause, broker.resume),
    }
    chance, back_s = random.Random(seed), []
    names = list(faults)
    for cycle in range(count):
        begin, end = faults[names[cycle % len(names)]]
        begin()
        with pytest.raises(OutputError):
            relay.unlock(decisions.order(), never)
        with contextlib.suppress(OutputError):
            relay.lock(LOCK, never)
        time.sleep(chance.uniform(0.0, 0.3))
        end()
        began_s = time.monotonic()
        until(relay, lambda: relay.lock(LOCK, never))
        mqtt_bench.wait_until(lambda: lock.listens())
        until(relay, lambda: relay.unlock(decisions.order(), never))
        back_s.append(time.monotonic() - began_s)
        until(relay, lambda: relay.lock(LOCK, never))
        mqtt_bench.wait_until(lambda: lock.commands[-1] == "LOCK")
    return back_s


def assert_cycles_were_safe(lock, road, decisions, mqtt_bench):
    assert decisions.late(lock.heard) == []
    began = [mqtt_bench.packets(bytes(sent)) for sent in road.sent]
    firsts = [sent[1] for sent in began if len(sent) > 1]
    assert len(firsts) > 1
    assert all(first.publishes and first.body.endswith(b"\0LOCK") for first in firsts)
    published = [packet for sent in began for packet in sent if packet.publishes]
    assert not any(packet.retain for packet in published)
    openings = [packet for packet in published if packet.body.endswith(b"UNLOCK")]
    assert openings
    assert not any(packet.qos for packet in openings)


def test_after_every_fault_it_locks_first_and_nothing_is_late(
    broker, lock, road, make_relay, decisions, mqtt_bench
):
    relay = make_relay(road.port, limit_s=HASTY_S, limits=FRESH)
    run_cycles(CYCLES, broker, lock, road, relay, decisions, mqtt_bench)
    assert_cycles_were_safe(lock, road, decisions, mqtt_bench)


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_many_connections_leave_nothing_open(broker, lock, make_relay, mqtt_bench):
    relay = make_relay(broker.port)
    files, threads = open_files(), threading.active_count()
    for ups in range(1, 4):
        relay._link.connection.drop()
        mqtt_bench.wait_until(lambda: broker.log().count("as mask-gate-relay") > ups)  # noqa: B023
        until(relay, lambda: relay.lock(LOCK, never))
    mqtt_bench.wait_until(lambda: open_files() <= files)
    mqtt_bench.wait_until(lambda: threading.active_count() <= threads)


# ------------------------------------------------------------------ a lock that tells its state


def stated(make_relay, port, **more):
    return make_relay(port, state_topic="lock/state", **more)


def test_a_change_counts_when_the_lock_tells_it(broker, lock, make_relay, decisions):
    relay = stated(make_relay, broker.port)
    relay.unlock(decisions.order(), never)
    assert lock.state == "UNLOCKED"
    relay.lock(LOCK, never)
    assert lock.state == "LOCKED"


def test_a_lock_that_says_nothing_has_not_changed(broker, lock, make_relay, decisions):
    relay = stated(make_relay, broker.port, limit_s=HASTY_S)
    lock.deaf = True
    with pytest.raises(OutputError, match=r"no 'UNLOCKED' came from lock/state within 1 s"):
        relay.unlock(decisions.order(), never)
    with pytest.raises(OutputError, match=r"no 'LOCKED' came from lock/state within 1 s"):
        relay.lock(LOCK, never)
    lock.deaf = False
    until(relay, lambda: relay.lock(LOCK, never))


def test_a_state_kept_from_before_does_not_count(broker, lock, make_relay):
    lock.publish("lock/state", "LOCKED", retain=True)
    lock.deaf = True
    with pytest.raises(OutputError, match="no 'LOCKED' came"):
        stated(make_relay, broker.port, limit_s=HASTY_S)


def test_a_state_told_late_counts_for_the_next_try(broker, lock, make_relay, decisions):
    relay = stated(make_relay, broker.port, limit_s=HASTY_S)
    until(relay, lambda: relay.unlock(decisions.order(), never))
    lock.deaf = True
    with pytest.raises(OutputError):
        relay.lock(LOCK, never)
    lock.publish("lock/state", "LOCKED")
    until(relay, lambda: relay.lock(LOCK, never))


def test_a_message_without_end_is_not_taken_in(broker, lock, make_relay, decisions, mqtt_bench):
    relay = stated(make_relay, broker.port)
    connection = relay._link.connection
    lock.publish("lock/state", "x" * 1_000_000)
    relay.unlock(decisions.order(), never)
    assert relay._link.connection is connection


def test_that_it_is_locked_need_not_be_told_twice(broker, lock, make_relay, decisions):
    relay = stated(make_relay, broker.port)
    lock.only_changes = True
    relay.lock(LOCK, never)
    relay.unlock(decisions.order(), never)
    relay.lock(LOCK, never)


def test_a_lock_that_tells_otherwise_by_itself_is_not_locked(broker, lock, make_relay, mqtt_bench):
    relay = stated(make_relay, broker.port, limit_s=HASTY_S)
    lock.deaf = True
    lock.publish("lock/state", "JAMMED")
    mqtt_bench.wait_until(lambda: not relay._state.is_locked)
    with pytest.raises(OutputError, match="no 'LOCKED' came"):
        relay.lock(LOCK, never)


def test_a_lock_nobody_sees_listening_is_not_locked(broker, lock, make_relay, mqtt_bench):
    relay = make_relay(broker.port)
    lock.close()
    mqtt_bench.wait_until(lambda: "Received DISCONNECT" in broker.log())
    with pytest.raises(OutputError, match="nobody listens there"):
        relay.lock(LOCK, never)


def test_without_anybody_who_listens_it_does_not_begin(broker, make_relay):
    with pytest.raises(OutputError, match="nobody listens there"):
        make_relay(broker.port)


# ------------------------------------------------------------------ N2: a kept opening


def test_an_opening_that_the_broker_keeps_is_refused_at_the_start(broker, lock, make_relay):
    lock.publish("lock/set", "UNLOCK", retain=True)
    with pytest.raises(OutputError, match="keeps 'UNLOCK' there and would open the door"):
        make_relay(broker.port)


def test_other_messages_that_the_broker_keeps_do_no_harm(broker, lock, make_relay, decisions):
    lock.publish("lock/set", "LOCK", retain=True)
    make_relay(broker.port).unlock(decisions.order(), never)


def test_a_kept_opening_found_later_keeps_the_door_shut_until_it_is_gone(
    broker, lock, road, make_relay, decisions, mqtt_bench
):
    relay = make_relay(road.port)
    lock.publish("lock/set", "UNLOCK", retain=True)
    road.cut()

    def refused():
        try:
            relay.unlock(decisions.order(), never)
        except OutputError as error:
            return "keeps 'UNLOCK'" in str(error)
        return False

    mqtt_bench.wait_until(refused)
    until(relay, lambda: relay.lock(LOCK, never))
    lock.publish("lock/set", "", retain=True)
    until(relay, lambda: relay.unlock(decisions.order(), never))


# ------------------------------------------------------------------ N5: two of us


def test_two_on_one_topic_leave_each_other_alone(broker, lock, make_relay, decisions):
    relays = [make_relay(broker.port) for _ in range(2)]
    connections = [relay._link.connection for relay in relays]
    for relay in relays:
        relay.unlock(decisions.order(), never)
        relay.lock(LOCK, never)
    assert [relay._link.connection for relay in relays] == connections


# ------------------------------------------------------------------ who is let in


def with_password(tmp_path, mqtt_bench, *lines):
    """A broker that wants a name and password."""
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    tool = mqtt_bench.find_mosquitto().replace("/sbin/", "/bin/") + "_passwd"
    subprocess.run([tool, "-b", passwords, "gate", "right"], check=True, capture_output=True)
    subprocess.run([tool, "-b", passwords, "lock", "lock"], check=True, capture_output=True)
    return mqtt_bench.MosquittoBroker(
        tmp_path, *lines, auth=("allow_anonymous false", f"password_file {passwords}")
    )


def secret(tmp_path, text):
    path = tmp_path / "secret"
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def test_the_password_comes_from_a_file(mqtt_bench, tmp_path, make_relay, decisions):
    with (
        with_password(tmp_path, mqtt_bench) as broker,
        mqtt_bench.FakeLock(broker.port, username="lock", password="lock") as lock,
    ):
        password_file = secret(tmp_path, "right\n")
        relay = make_relay(broker.port, username="gate", password_file=password_file)
        relay.unlock(decisions.order(), never)
        mqtt_bench.wait_until(lambda: lock.commands == ["LOCK", "UNLOCK"])


@pytest.mark.parametrize("login", [{"username": "gate", "password_file": "wrong"}, {}])
def test_a_wrong_password_is_told_at_once(login, mqtt_bench, tmp_path, make_relay):
    with with_password(tmp_path, mqtt_bench) as broker:
        if login:
            login = {**login, "password_file": secret(tmp_path, "s3cret-wrong")}
        began_s = time.monotonic()
        with pytest.raises(OutputError, match=r"it refuses us: .*username and password_file") as e:
            make_relay(broker.port, **login)
        assert time.monotonic() - began_s < 25.0  # and not until it has tried for long enough
        assert "s3cret" not in str(e.value)


def test_a_broker_that_does_not_let_us_command_is_refused(mqtt_bench, tmp_path, make_relay):
    (tmp_path / "acl").write_text("user lock\ntopic readwrite #\nuser gate\ntopic read #\n")
    with (
        with_password(tmp_path, mqtt_bench, f"acl_file {tmp_path / 'acl'}") as broker,
        mqtt_bench.FakeLock(broker.port, username="lock", password="lock"),
        pytest.raises(OutputError, match="refuses the lock: Not authorized"),
    ):
        make_relay(broker.port, username="gate", password_file=secret(tmp_path, "right"))


# ------------------------------------------------------------------ TLS


def openssl(folder, *words):
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def certificates(tmp_path):
    """ca.pem, and server.pem and expired.pem signed with it, for 127.0.0.1."""
    try:
        openssl(tmp_path, "version")
    except OSError:
        pytest.skip("needs certificates: run apt-get install -y openssl")
    ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(tmp_path, "req", "-x509", *ec, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca")
    openssl(tmp_path, "req", *ec, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=x")
    (tmp_path / "ext").write_text("subjectAltName=IP:127.0.0.1\n")
    for name, days in (("server", "30"), ("expired", "-1")):
        signed = ("-in", "server.csr", "-out", f"{name}.pem", "-days", days, "-extfile", "ext")
        authority = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
        openssl(tmp_path, "x509", "-req", *signed, *authority)
    return tmp_path


def with_tls(mqtt_bench, folder, certificate):
    lines = (f"certfile {folder / certificate}", f"keyfile {folder / 'server.key'}")
    plain = mqtt_bench.free_port()
    extra = (f"listener {plain} 127.0.0.1", "allow_anonymous true")
    return mqtt_bench.MosquittoBroker(folder, *lines, auth=("allow_anonymous true", *extra)), plain


def test_an_encrypted_broker_is_checked_and_used(certificates, mqtt_bench, make_relay, decisions):
    broker, plain = with_tls(mqtt_bench, certificates, "server.pem")
    with broker, mqtt_bench.FakeLock(plain) as lock:
        relay = make_relay(broker.port, tls=True, ca_file=str(certificates / "ca.pem"))
        relay.unlock(decisions.order(), never)
        mqtt_bench.wait_until(lambda: lock.commands == ["LOCK", "UNLOCK"])


@pytest.mark.parametrize(
    ("certificate", "ca_file", "said"),
    [
        ("expired.pem", "ca.pem", "not trusted: certificate has expired"),
        ("server.pem", None, "not trusted: .*issuer"),
    ],
)
def test_a_certificate_that_proves_nothing_is_refused(
    certificate, ca_file, said, certificates, mqtt_bench, make_relay
):
    broker, _ = with_tls(mqtt_bench, certificates, certificate)
    trusted = None if ca_file is None else str(certificates / ca_file)
    with broker, pytest.raises(OutputError, match=said):
        make_relay(broker.port, tls=True, ca_file=trusted)


# ------------------------------------------------------------------ no broker there


@pytest.mark.parametrize("kind", ["nobody", "silent", "nameless"])
def test_without_a_broker_it_says_so_in_bounded_time(kind, mqtt_bench, make_relay):
    with mqtt_bench.BadRoad(1) as silent:
        silent.hold()
        port = silent.port if kind == "silent" else mqtt_bench.free_port()
        host = {"host": "no-such-host.invalid"} if kind == "nameless" else {"host": "127.0.0.1"}
        began_s = time.monotonic()
        with pytest.raises(OutputError, match="no connection"):
            make_relay(port, limits=MqttLimits(start_s=0.5), **host)
        assert time.monotonic() - began_s < 10.0


def test_a_driver_starts_without_anything_heavy():
    code = (
        "import sys, mask_gate.gate.relays.mqtt, paho.mqtt.client\n"
        "sys.exit(bool({'torch', 'cv2', 'numpy', 'pydantic'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0


# ------------------------------------------------------------------ when we vanish

OPENER = """
import json, sys, time
from mask_gate.gate.relays.relay import Order, open_relay
relay = open_relay(json.loads(sys.argv[1]))
relay.unlock(Order(True, "u", "compliant", hold_s=5.0), lambda: False)
print("open", flush=True)
time.sleep(600)
"""


def opener(port):
    config = MqttRelayConfig(kind="mqtt", host="127.0.0.1", port=port, topic="lock/set")
    child = subprocess.Popen(
        [sys.executable, "-c", OPENER, config.model_dump_json()],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert child.stdout.readline() == b"open\n"
    return child


def test_the_broker_locks_when_we_are_killed(broker, lock, mqtt_bench):
    child = opener(broker.port)
    mqtt_bench.wait_until(lambda: lock.commands == ["LOCK", "UNLOCK"])
    child.kill()
    child.wait()
    mqtt_bench.wait_until(lambda: lock.commands == ["LOCK", "UNLOCK", "LOCK"])


@pytest.mark.slow
def test_the_broker_locks_when_our_machine_falls_silent(broker, lock, road, mqtt_bench):
    child = opener(road.port)
    mqtt_bench.wait_until(lambda: lock.commands == ["LOCK", "UNLOCK"])
    try:
        road.hold()
        began_s = time.monotonic()
        mqtt_bench.wait_until(lambda: lock.commands == ["LOCK", "UNLOCK", "LOCK"])
        # One and a half of five seconds, and up to five more: mosquitto looks that often.
        assert time.monotonic() - began_s < 15.0
    finally:
        child.kill()
        child.wait()
