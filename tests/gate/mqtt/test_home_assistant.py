"""What Home Assistant is told: only documented keys, only sensors, only topics that exist."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.gate.domain import Reason, State
from mask_gate.gate.mqtt.config import MqttConfig
from mask_gate.gate.mqtt.home_assistant import discovery_messages
from mask_gate.gate.mqtt.state_publisher import GateState, StatePublisher
from mask_gate.gate.system.version import installed_version
from mask_gate.models.labels import CLASS_NAMES, MaskLabel

ROOT_TOPIC = "mask-gate/lobby"
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)

# As documented at home-assistant.io/integrations/binary_sensor.mqtt, sensor.mqtt and mqtt.
SHARED_KEYS = {
    "availability",
    "availability_mode",
    "availability_template",
    "availability_topic",
    "device",
    "device_class",
    "enabled_by_default",
    "encoding",
    "entity_category",
    "entity_picture",
    "expire_after",
    "force_update",
    "icon",
    "json_attributes_template",
    "json_attributes_topic",
    "name",
    "object_id",
    "origin",
    "payload_available",
    "payload_not_available",
    "qos",
    "state_topic",
    "unique_id",
    "value_template",
}
KEYS = {
    "binary_sensor": SHARED_KEYS | {"off_delay", "payload_off", "payload_on"},
    "sensor": SHARED_KEYS
    | {
        "last_reset_value_template",
        "options",
        "state_class",
        "suggested_display_precision",
        "unit_of_measurement",
    },
}
DEVICE_KEYS = {
    "configuration_url",
    "connections",
    "hw_version",
    "identifiers",
    "manufacturer",
    "model",
    "model_id",
    "name",
    "serial_number",
    "suggested_area",
    "sw_version",
    "via_device",
}
ORIGIN_KEYS = {"name", "sw_version", "support_url"}
DEVICE_CLASSES = {"binary_sensor": {"lock", "problem"}, "sensor": {"enum"}}


def entities(gate="lobby"):
    """Platform, key and settings of each message."""
    messages = discovery_messages("homeassistant", f"mask-gate/{gate}", gate)
    return [
        (
            *re.fullmatch(r"homeassistant/(\w+)/[\w-]+/(\w+)/config", topic).groups(),
            json.loads(text),
        )
        for topic, text in messages.items()
    ]


def entity(key):
    return next(settings for _, found, settings in entities() if found == key)


def test_only_documented_keys_and_classes_are_used():
    for platform, _, settings in entities():
        assert settings.keys() <= KEYS[platform]
        assert settings["device"].keys() <= DEVICE_KEYS
        assert settings["origin"].keys() <= ORIGIN_KEYS
        assert settings["origin"]["name"]
        assert settings["device"]["identifiers"]
        assert settings.get("device_class") in DEVICE_CLASSES[platform] | {None}
        assert settings.get("entity_category") in {None, "diagnostic"}
        assert {"state_topic", "unique_id", "name", "availability_topic"} <= settings.keys()


def test_a_device_says_its_version_and_where_its_console_is():
    """Home Assistant takes http and https for a configuration_url."""
    for _, _, settings in entities():
        assert settings["device"]["sw_version"] == installed_version()
        assert settings["origin"]["sw_version"] == installed_version()
        assert "configuration_url" not in settings["device"]
    told = discovery_messages("ha", ROOT_TOPIC, "lobby", "https://lobby.example.org:8321/")
    for text in told.values():
        assert json.loads(text)["device"]["configuration_url"] == "https://lobby.example.org:8321/"


def test_names_are_english_and_each_is_another():
    names = [settings["name"] for _, _, settings in entities()]
    assert len(set(names)) == len(names)
    assert entity(CLASS_NAMES[MaskLabel.MASK_WEARED_INCORRECT])["name"] == "Mask worn wrongly"
    assert not [name for name in names if "_" in name or "weared" in name.lower()]


def test_an_enumeration_has_no_unit_and_is_no_number():
    """Home Assistant refuses a sensor with options that has a state_class or a unit."""
    for _, _, settings in entities():
        if "options" in settings:
            assert settings["device_class"] == "enum"
            assert not {"state_class", "unit_of_measurement"} & settings.keys()


def test_nothing_can_be_commanded():
    for platform, _, settings in entities():
        assert platform in {"binary_sensor", "sensor"}
        assert not any("command" in key for key in settings)


def test_a_gate_shows_its_lock_its_problems_and_its_numbers():
    found = {key: platform for platform, key, _ in entities()}
    assert found == {
        "door": "binary_sensor",
        "camera": "binary_sensor",
        "service": "binary_sensor",
        "speed": "binary_sensor",
        "state": "sensor",
        "reason": "sensor",
        "openings": "sensor",
        "denials": "sensor",
        **dict.fromkeys(CLASS_NAMES, "sensor"),
    }


def test_a_lock_that_is_on_is_open():
    lock = entity("door")
    assert (lock["device_class"], lock["payload_on"], lock["payload_off"]) == (
        "lock",
        "open",
        "locked",
    )


def test_every_word_that_can_come_is_announced():
    assert entity("state")["options"] == [state.value for state in State]
    assert entity("reason")["options"] == [reason.value for reason in Reason]


def test_every_topic_is_one_that_the_gate_tells():
    told = GateState().topics
    for _, key, settings in entities():
        last = settings["state_topic"].removeprefix(f"{ROOT_TOPIC}/")
        assert last in told
        if last == "counters":
            assert settings["value_template"] == f"{{{{ value_json.{key} }}}}"
            assert key in json.loads(told[last])
            assert settings["state_class"] == "total_increasing"


@given(st.sets(NAMES, min_size=2, max_size=2))
def test_every_gate_has_topics_and_ids_of_its_own(gates):
    one, other = ({s["unique_id"] for _, _, s in entities(gate)} for gate in gates)
    assert len(one) == len(entities())
    assert not one & other
    one, other = (set(discovery_messages("ha", "r", gate)) for gate in gates)
    assert not one & other


@pytest.mark.parametrize("prefix", ["homeassistant", "ha/discovery", None])
def test_the_broker_keeps_it_where_home_assistant_looks(prefix, mqtt_bench, tmp_path):
    with mqtt_bench.MosquittoBroker(tmp_path) as broker:
        config = MqttConfig(host="127.0.0.1", port=broker.port, discovery_prefix=prefix)
        state = StatePublisher(config, "lobby")
        try:
            with mqtt_bench.Listener(broker.port) as first:
                mqtt_bench.wait_until(lambda: first.last(f"{ROOT_TOPIC}/availability") == "online")
            with mqtt_bench.Listener(broker.port) as later:
                mqtt_bench.wait_until(lambda: later.last(f"{ROOT_TOPIC}/counters"))
                kept = {heard.topic: heard.payload for heard in list(later.heard) if heard.retain}
        finally:
            state.close()
    messages = {} if prefix is None else discovery_messages(prefix, ROOT_TOPIC, "lobby")
    assert {t: p for t, p in kept.items() if not t.startswith(ROOT_TOPIC)} == messages
