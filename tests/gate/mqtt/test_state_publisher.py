"""The gate's state on a broker: true at every moment, never a command, never in the gate's way."""

import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from mask_gate.gate.domain import Decision, Reason, Sighting, Signal, SignalKind, State, Track
from mask_gate.gate.errors import OutputError
from mask_gate.gate.events import EventMaker, Scene
from mask_gate.gate.guard_order import GuardWord
from mask_gate.gate.mqtt.config import MqttConfig
from mask_gate.gate.mqtt.state_publisher import CLOSE_S, EVENTS_MAX, GateState, StatePublisher
from mask_gate.models.labels import MaskLabel

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[3]
TOP = "mask-gate/lobby"
KEEPALIVE_S = 60  # longer than a busy machine rests; what is about silence takes less
PATIENCE_S = 60.0


@pytest.fixture
def maker():
    return EventMaker("lobby", "sha256:abc")


@pytest.fixture
def broker(mqtt_bench, tmp_path):
    with mqtt_bench.MosquittoBroker(tmp_path) as broker:
        yield broker


@pytest.fixture
def listener(mqtt_bench, broker):
    with mqtt_bench.Listener(broker.port) as listener:
        yield listener


def config(port, keepalive_s=KEEPALIVE_S, **settings):
    return MqttConfig(host="127.0.0.1", port=port, keepalive_s=keepalive_s, **settings)


@pytest.fixture
def make_state(request):
    def make(port, close_s=CLOSE_S, **settings):
        state = StatePublisher(config(port, **settings), "lobby", close_s)
        request.addfinalizer(state.close)
        return state

    return make


def scene(state, reason, tracks=()):
    votes = {t.id: {t.sightings[0].label: 5} for t in tracks}
    return Scene(Decision(state, reason, 10.0, votes=votes), tuple(tracks))


def person(number, label):
    return Track(number, (1.0, 2.0, 3.0, 4.0), (Sighting(10.0, label, 0.9, 0.5),), 9.0, 10.0)


def opening(maker, number=1):
    signal = Signal(SignalKind.ALLOW, Reason.COMPLIANT, 10.0, f"s{number}", until_s=15.0)
    tracks = [person(number, MaskLabel.WITH_MASK)]
    return signal, maker.of_signal(signal, scene(State.ALLOW, Reason.COMPLIANT, tracks))


def denial(maker, number=1, reason=Reason.NO_MASK):
    signal = Signal(SignalKind.DENY, reason, 11.0, f"d{number}")
    tracks = [person(number, MaskLabel.WITHOUT_MASK)]
    return signal, maker.of_signal(signal, scene(State.DENY, reason, tracks))


def decided(maker, state, reason, is_open=False):
    return maker.of_decision(scene(state, reason), is_open)


def shown(listener):
    """What somebody knows who listens from the beginning: the last text of each topic."""
    return {heard.topic: heard.payload for heard in list(listener.heard)}


# ------------------------------------------------------------------ what is told


class TestGateState:
    def test_begins_locked_and_knows_nothing_of_the_camera(self):
        topics = GateState().topics
        assert json.loads(topics.pop("counters")) == {
            "openings": 0,
            "denials": 0,
            "with_mask": 0,
            "without_mask": 0,
            "mask_weared_incorrect": 0,
        }
        assert topics == {
            "state": "idle",
            "reason": "starting",
            "door": "locked",
            "camera": "unknown",
            "service": "ok",
            "speed": "ok",
        }

    @pytest.mark.parametrize(
        ("state", "reason", "camera", "service"),
        [
            (State.IDLE, Reason.NO_FACE, "ok", "ok"),
            (State.IDLE, Reason.STARTING, "unknown", "ok"),
            (State.FAULT, Reason.CAMERA_LOST, "problem", "problem"),
            (State.FAULT, Reason.FROZEN, "problem", "problem"),
            (State.FAULT, Reason.BAD_IMAGE, "problem", "problem"),
            (State.FAULT, Reason.MODEL_FAULT, "unknown", "problem"),
            (State.FAULT, Reason.OUTPUT_FAULT, "unknown", "problem"),
            (State.FAULT, Reason.AUDIT_UNAVAILABLE, "unknown", "problem"),
        ],
    )
    def test_tells_camera_and_service_by_the_reason(self, maker, state, reason, camera, service):
        known = GateState()
        known.take(decided(maker, state, reason))
        assert (known.topics["camera"], known.topics["service"]) == (camera, service)

    def test_a_camera_is_well_again_when_a_picture_was_judged(self, maker):
        known = GateState()
        known.take(decided(maker, State.FAULT, Reason.CAMERA_LOST))
        known.take(decided(maker, State.FAULT, Reason.OUTPUT_FAULT))
        assert known.topics["camera"] == "problem"
        known.take(decided(maker, State.IDLE, Reason.NO_FACE))
        assert (known.topics["camera"], known.topics["service"]) == ("ok", "ok")

    @pytest.mark.parametrize("reason", [Reason.LET_IN, Reason.COOL_DOWN])
    def test_who_is_let_in_by_hand_says_nothing_of_the_camera(self, maker, reason):
        known = GateState()
        known.take(decided(maker, State.FAULT, Reason.CAMERA_LOST))
        scene = Scene(Decision(State.ALLOW, reason, 1.0), guard=GuardWord("kim", "parcel"))
        known.take(maker.of_decision(scene, True))
        assert (known.topics["camera"], known.topics["service"]) == ("problem", "problem")
        assert known.topics["reason"] == reason

    def test_tells_that_the_detector_cannot_keep_its_rate(self, maker):
        known = GateState()
        decision = Decision(State.IDLE, Reason.NO_FACE, 1.0)
        slow = maker.of_decision(Scene(decision, is_slow=True), False)
        assert known.take(slow)["speed"] == "slow"
        assert known.take(decided(maker, State.IDLE, Reason.NO_FACE))["speed"] == "ok"
        assert known.topics["service"] == "ok"

    def test_counts_openings_denials_and_each_person_once_per_class(self, maker):
        known = GateState()
        for number in (1, 2):
            known.take(opening(maker, number)[1])
            known.take(denial(maker, number, Reason.UNCERTAIN)[1])
        known.take(denial(maker, 2)[1])
        known.take(denial(maker, 3)[1])
        assert json.loads(known.topics["counters"]) == {
            "openings": 2,
            "denials": 2,
            "with_mask": 2,
            "without_mask": 3,
            "mask_weared_incorrect": 0,
        }

    def test_tells_only_what_changed(self, maker):
        known = GateState()
        known.take(decided(maker, State.IDLE, Reason.NO_FACE))
        assert known.take(decided(maker, State.IDLE, Reason.NO_FACE)) == {}
        assert known.take(decided(maker, State.IDLE, Reason.TOO_SMALL)) == {"reason": "too_small"}


def test_everything_is_there_for_those_who_come_later(
    broker, listener, make_state, maker, mqtt_bench
):
    state = make_state(broker.port)
    mqtt_bench.wait_until(lambda: listener.last(f"{TOP}/availability") == "online")
    state.send(*opening(maker))
    mqtt_bench.wait_until(lambda: '"openings": 1' in (listener.last(f"{TOP}/counters") or ""))
    mqtt_bench.wait_until(lambda: listener.payloads(f"{TOP}/events"))
    with mqtt_bench.Listener(broker.port, (f"{TOP}/#",)) as later:
        mqtt_bench.wait_until(lambda: later.last(f"{TOP}/availability") == "online")
        mqtt_bench.wait_until(lambda: later.last(f"{TOP}/door") == "open")
        mqtt_bench.wait_until(lambda: len(shown(later)) == 8)
        assert all(heard.retain for heard in later.heard)
        assert later.last(f"{TOP}/state") == "allow"
        assert later.last(f"{TOP}/reason") == "compliant"
        assert later.last(f"{TOP}/camera") == "ok"
        assert later.last(f"{TOP}/service") == "ok"
        assert later.last(f"{TOP}/speed") == "ok"
        assert json.loads(later.last(f"{TOP}/counters"))["openings"] == 1


def test_events_are_told_once_and_kept_by_nobody(broker, listener, make_state, maker, mqtt_bench):
    state = make_state(broker.port)
    mqtt_bench.wait_until(lambda: listener.last(f"{TOP}/availability") == "online")
    signal, event = opening(maker)
    state.send(signal, event)
    state.write(event)
    other = decided(maker, State.IDLE, Reason.NO_FACE)
    state.write(other)
    mqtt_bench.wait_until(lambda: len(listener.payloads(f"{TOP}/events")) >= 2)
    assert [json.loads(text) for text in listener.payloads(f"{TOP}/events")] == [event, other]
    with mqtt_bench.Listener(broker.port) as later:
        mqtt_bench.wait_until(lambda: later.last(f"{TOP}/availability"))
        assert later.payloads(f"{TOP}/events") == []


def test_it_hears_nothing_and_says_no_command(broker, listener, make_state, maker, mqtt_bench):
    with mqtt_bench.BadRoad(broker.port) as road:
        state = make_state(road.port)
        state.send(*opening(maker))
        state.send(*denial(maker))
        mqtt_bench.wait_until(lambda: listener.last(f"{TOP}/availability") == "online")
        state.close()
        mqtt_bench.wait_until(lambda: listener.last(f"{TOP}/availability") == "offline")
        sent = mqtt_bench.packets(bytes(road.sent[0]))
    connect, publish, puback, disconnect, ping = 1, 3, 4, 14, 12
    assert {packet.kind for packet in sent} <= {connect, publish, puback, disconnect, ping}
    told = {"availability", "events", *GateState().topics}
    topics = {packet.topic for packet in sent if packet.publishes}
    assert {topic for topic in topics if topic.startswith(TOP)} <= {f"{TOP}/{t}" for t in told}
    others = {topic for topic in topics if not topic.startswith(TOP)}
    assert others
    assert all(t.startswith("homeassistant/") and t.endswith("/config") for t in others)


def test_what_it_says_of_the_gate_comes_before_that_it_can_be_relied_on(
    broker, listener, make_state, mqtt_bench
):
    make_state(broker.port)
    mqtt_bench.wait_until(lambda: listener.last(f"{TOP}/availability"))
    order = [heard.topic for heard in listener.heard]
    assert order.index(f"{TOP}/availability") == len(order) - 1
    assert len(order) > 10


# ------------------------------------------------------------------ faults


def test_a_broker_that_is_away_costs_nothing_and_gets_everything_when_back(
    broker, listener, make_state, maker, mqtt_bench, caplog
):
    caplog.set_level(logging.INFO, "mask_gate.gate.mqtt.connection")
    state = make_state(broker.port)
    mqtt_bench.wait_until(lambda: listener.last(f"{TOP}/availability") == "online")
    for cycle in range(3):
        broker.stop()
        mqtt_bench.wait_until(lambda: state._connection is None)
        began_s = time.monotonic()
        for number in range(100):
            state.send(*opening(maker, 1000 * cycle + number))
            state.send(*denial(maker, 1000 * cycle + number))
        state.write(decided(maker, State.FAULT, Reason.CAMERA_LOST))
        assert time.monotonic() - began_s < 10.0
        time.sleep(0.5)
        listener.heard.clear()
        broker.start()
        mqtt_bench.wait_until(lambda: listener.last(f"{TOP}/availability") == "online")
        mqtt_bench.wait_until(lambda: listener.last(f"{TOP}/camera") == "problem")
        for key, text in (("door", "locked"), ("state", "fault")):
            mqtt_bench.wait_until(lambda k=key, t=text: listener.last(f"{TOP}/{k}") == t)
        mqtt_bench.wait_until(
            lambda n=100 * (cycle + 1): (
                json.loads(listener.last(f"{TOP}/counters") or "{}").get("openings") == n
            )
        )
        assert listener.payloads(f"{TOP}/events") == []
    downs = [record for record in caplog.messages if "no connection" in record]
    ups = [record for record in caplog.messages if "connected" in record]
    assert (len(downs), len(ups)) == (3, 4)


def test_a_broker_that_stands_still_costs_nothing_and_gets_the_newest(
    broker, listener, make_state, maker, mqtt_bench
):
    state = make_state(broker.port)
    mqtt_bench.wait_until(lambda: listener.last(f"{TOP}/availability") == "online")
    broker.pause()
    began_s = time.monotonic()
    for number in range(2000):
        state.send(*opening(maker, number))
        state.send(*denial(maker, number))
    assert time.monotonic() - began_s < 20.0
    assert len(state._events) <= EVENTS_MAX
    broker.resume()
    mqtt_bench.wait_until(
        lambda: json.loads(listener.last(f"{TOP}/counters") or "{}").get("openings") == 2000
    )
    mqtt_bench.wait_until(lambda: listener.last(f"{TOP}/door") == "locked")
    assert len(listener.payloads(f"{TOP}/counters")) < 100


@pytest.mark.parametrize("kind", ["nobody", "nameless", "silent"])
def test_without_a_broker_the_gate_goes_on(kind, maker, mqtt_bench):
    with mqtt_bench.BadRoad(1) as silent:
        silent.hold()
        port = silent.port if kind == "silent" else mqtt_bench.free_port()
        host = "no-such-host.invalid" if kind == "nameless" else "127.0.0.1"
        state = StatePublisher(MqttConfig(host=host, port=port), "lobby")
        began_s = time.monotonic()
        state.send(*opening(maker))
        assert time.monotonic() - began_s < 5.0  # and did not wait for a broker
        time.sleep(0.2)
        state.close()
        state.close()
        assert time.monotonic() - began_s < 20.0


def test_a_wrong_password_is_told_once_and_tried_again(mqtt_bench, tmp_path, caplog):
    with mqtt_bench.MosquittoBroker(tmp_path, auth=("allow_anonymous false",)) as broker:
        state = StatePublisher(config(broker.port), "lobby")
        mqtt_bench.wait_until(lambda: broker.log().count("not authorised") >= 3)
        state.close()
    assert len([text for text in caplog.messages if "it refuses us" in text]) == 1


def test_a_broker_that_refuses_a_topic_is_told_of_once(mqtt_bench, tmp_path, caplog, maker):
    (tmp_path / "acl").write_text(f"topic write {TOP}/#\n")
    acl = f"acl_file {tmp_path / 'acl'}"
    with mqtt_bench.MosquittoBroker(tmp_path, acl) as broker:
        state = StatePublisher(config(broker.port, discovery_prefix="ha"), "lobby")
        mqtt_bench.wait_until(lambda: "refuses ha/" in caplog.text)
        state.send(*opening(maker))
        state.close()
    refusals = [text for text in caplog.messages if "refuses" in text]
    assert len(refusals) == len(set(refusals))
    assert not any(TOP in text for text in refusals)


TELLER = """
import sys, time
from mask_gate.gate.mqtt.config import MqttConfig
from mask_gate.gate.mqtt.state_publisher import StatePublisher
state = StatePublisher(MqttConfig.model_validate_json(sys.argv[1]), "lobby")
time.sleep(600)
"""


def teller(port, keepalive_s):
    return subprocess.Popen(
        [sys.executable, "-c", TELLER, config(port, keepalive_s).model_dump_json()],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_the_broker_says_offline_when_the_gate_is_killed(broker, listener, mqtt_bench):
    keepalive_s = 15
    child = teller(broker.port, keepalive_s)
    mqtt_bench.wait_until(lambda: listener.last(f"{TOP}/availability") == "online")
    child.kill()
    began_s = time.monotonic()
    child.wait()
    mqtt_bench.wait_until(lambda: listener.last(f"{TOP}/availability") == "offline")
    assert listener.heard[-1].time_s - began_s < keepalive_s
    with mqtt_bench.Listener(broker.port, (f"{TOP}/availability",)) as later:
        mqtt_bench.wait_until(lambda: later.last(f"{TOP}/availability") == "offline")


@pytest.mark.slow
def test_an_older_self_that_is_declared_dead_late_does_not_hide_a_living_one(
    broker, listener, make_state, mqtt_bench
):
    with mqtt_bench.BadRoad(broker.port) as road:
        make_state(road.port, keepalive_s=2)
        mqtt_bench.wait_until(lambda: listener.last(f"{TOP}/availability") == "online")
        road.hold()  # as if the plug had been pulled: the broker learns of it by silence alone
        began_s = time.monotonic()
        make_state(broker.port, keepalive_s=2)
        mqtt_bench.wait_until(lambda: "offline" in listener.payloads(f"{TOP}/availability"))
        # One and a half of two seconds, and up to five more: mosquitto looks that often.
        assert time.monotonic() - began_s < 1.5 * 2 + 5.0 + PATIENCE_S / 2
        mqtt_bench.wait_until(lambda: listener.last(f"{TOP}/availability") == "online")


def test_closing_says_offline_even_when_the_broker_was_slow(broker, make_state, mqtt_bench):
    with mqtt_bench.BadRoad(broker.port) as road, mqtt_bench.Listener(broker.port) as listener:
        state = make_state(road.port, close_s=0.2)
        mqtt_bench.wait_until(lambda: listener.last(f"{TOP}/availability") == "online")
        road.delay_s = 1.0
        began_s = time.monotonic()
        state.close()
        assert time.monotonic() - began_s < 10.0
        mqtt_bench.wait_until(lambda: listener.last(f"{TOP}/availability") == "offline")


# ------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"host": ""}, "host"),
        ({"port": 0}, "port"),
        ({"keepalive_s": 1}, "keepalive_s"),
        ({"base_topic": "a/#"}, "base_topic"),
        ({"base_topic": "/a"}, "base_topic"),
        ({"base_topic": "a/"}, "base_topic"),
        ({"base_topic": "$SYS"}, "base_topic"),
        ({"base_topic": ""}, "base_topic"),
        ({"discovery_prefix": "+"}, "discovery_prefix"),
        ({"password_file": "p"}, "username: needed with password_file"),
        ({"ca_file": "p"}, "ca_file: has no meaning without tls"),
        ({"topic": "x"}, "topic"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        MqttConfig(**{"host": "h", **settings})


def test_a_bad_password_file_is_refused_at_the_start(tmp_path):
    settings = MqttConfig(host="h", username="u", password_file=str(tmp_path / "none"))
    with pytest.raises(OutputError, match="cannot be read"):
        StatePublisher(settings, "lobby")
