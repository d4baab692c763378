"""The settings of each kind of relay: what is taken, what is refused, and at which key."""

import json
import math
import re
import string

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from mask_gate.gate.config.schema import parse_config
from mask_gate.gate.errors import ConfigError
from mask_gate.gate.relays.config import (
    MAX_PULSE_S,
    CommandRelayConfig,
    GpioRelayConfig,
    MqttRelayConfig,
    PluginRelayConfig,
    RecordingRelayConfig,
    RelayConfig,
    SerialRelayConfig,
    WebhookRelayConfig,
)

UNHURRIED = settings(deadline=None)
ANY = TypeAdapter(RelayConfig)
SECRET = {"secret_file": "/etc/mask-gate/key"}
LEAST = {
    "command": {"on_deny": "lock"},
    "gpio": {"pin": 17},
    "serial": {"port": "/dev/serial/by-id/usb-1a86"},
    "mqtt": {"host": "broker", "topic": "door/1/set"},
    "webhook": {"url": "https://door.example/hook", **SECRET},
    "recording": {"path": "/tmp/edges"},
    "plugin": {"driver": "board"},
}
MODELS = {
    "command": CommandRelayConfig,
    "gpio": GpioRelayConfig,
    "serial": SerialRelayConfig,
    "mqtt": MqttRelayConfig,
    "webhook": WebhookRelayConfig,
    "recording": RecordingRelayConfig,
    "plugin": PluginRelayConfig,
}
KINDS = pytest.mark.parametrize("kind", list(LEAST))


def take(kind, **settings):
    return ANY.validate_python({"kind": kind} | LEAST[kind] | settings)


def refuse(kind, **settings):
    """What is said of settings that are refused: `key message`, one for each fault."""
    with pytest.raises(ValidationError) as caught:
        take(kind, **settings)
    return [
        f"{'.'.join(map(str, fault['loc'][1:]))} {fault['msg']}" for fault in caught.value.errors()
    ]


class TestEveryKind:
    @KINDS
    def test_the_least_that_must_be_said_is_enough(self, kind):
        assert type(take(kind)) is MODELS[kind]

    @KINDS
    def test_what_must_be_said_cannot_be_left_out(self, kind):
        for key in set(LEAST[kind]) - {"on_deny"}:
            settings = {k: v for k, v in LEAST[kind].items() if k != key}
            with pytest.raises(ValidationError):
                ANY.validate_python({"kind": kind, **settings})

    @KINDS
    def test_it_is_the_same_after_the_way_through_json(self, kind):
        settings = take(kind, pulse_s=2.5)
        assert ANY.validate_json(json.dumps(settings.model_dump())) == settings

    @KINDS
    def test_an_unknown_key_is_refused(self, kind):
        assert refuse(kind, colour="red") == ["colour Extra inputs are not permitted"]

    @KINDS
    def test_it_cannot_be_changed_afterwards(self, kind):
        with pytest.raises(ValidationError, match="frozen"):
            take(kind).pulse_s = 99.0

    @KINDS
    @pytest.mark.parametrize("pulse_s", [0.001, 1.0, MAX_PULSE_S, None])
    def test_a_pulse_may_be_as_long_as_the_cap(self, kind, pulse_s):
        assert take(kind, pulse_s=pulse_s).pulse_s == pulse_s

    @KINDS
    @pytest.mark.parametrize(
        "pulse_s", [0, -1, MAX_PULSE_S + 0.001, math.inf, -math.inf, math.nan, "1 s", True, [1]]
    )
    def test_no_other_pulse_is_taken(self, kind, pulse_s):
        (said,) = refuse(kind, pulse_s=pulse_s)
        assert said.startswith("pulse_s ")

    @pytest.mark.parametrize("kind", ["", "GPIO", "relay", None, 1, ["gpio"]])
    def test_an_unknown_kind_is_refused(self, kind):
        with pytest.raises(ValidationError):
            ANY.validate_python({"kind": kind, "pin": 17})

    @pytest.mark.parametrize("kind", ["command", "serial", "mqtt", "webhook"])
    @pytest.mark.parametrize("limit_s", [0, -1, 31, math.inf, math.nan, "1 s", None, True])
    def test_a_limit_is_a_sound_number_of_seconds(self, kind, limit_s):
        (said,) = refuse(kind, limit_s=limit_s)
        assert said.startswith("limit_s ")
        assert take(kind).longest_lock_s == take(kind).limit_s > 0

    @UNHURRIED
    @given(
        st.sampled_from(list(LEAST)),
        st.dictionaries(
            st.sampled_from([key for model in MODELS.values() for key in model.model_fields]),
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text(max_size=8)
            | st.lists(st.integers(), max_size=2),
            max_size=3,
        ),
    )
    def test_whatever_is_said_gives_sound_settings_or_a_refusal(self, kind, said):
        said.pop("kind", None)
        try:
            settings = take(kind, **said)
        except ValidationError:
            return
        assert settings.pulse_s is None or 0.0 < settings.pulse_s <= MAX_PULSE_S
        assert math.isfinite(settings.longest_lock_s)
        assert ANY.validate_json(json.dumps(settings.model_dump())) == settings


class TestSwitches:
    @pytest.mark.parametrize("kind", ["gpio", "serial"])
    def test_an_energised_contact_unlocks_unless_said_otherwise(self, kind):
        assert take(kind).energised == "unlocked"
        assert take(kind, energised="locked").energised == "locked"

    @pytest.mark.parametrize("kind", ["gpio", "serial"])
    @pytest.mark.parametrize("energised", ["", "LOCKED", "open", True, None, 1])
    def test_it_means_nothing_else(self, kind, energised):
        (said,) = refuse(kind, energised=energised)
        assert said.startswith("energised Input should be 'unlocked' or 'locked'")

    @pytest.mark.parametrize("pin", [17, "17", "GPIO17", "BOARD11"])
    def test_pins_have_numbers_or_names(self, pin):
        assert take("gpio", pin=pin).pin == pin

    @pytest.mark.parametrize("pin", [None, 1.5, True, [17]])
    def test_nothing_else_is_a_pin(self, pin):
        assert all(said.startswith("pin") for said in refuse("gpio", pin=pin))

    @pytest.mark.parametrize("active_high", [None, 1, "yes", "false"])
    def test_a_level_is_true_or_false(self, active_high):
        (said,) = refuse("gpio", active_high=active_high)
        assert said.startswith("active_high ")


class TestSerial:
    def test_the_usual_board_is_lcus_at_9600(self):
        settings = take("serial")
        assert (settings.protocol, settings.channel, settings.baud) == ("lcus", 1, 9600)
        assert settings.read_back

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"port": ""}, "port String should have at least 1 character"),
            ({"protocol": "LCUS"}, "protocol Input should be 'lcus', 'numato' or 'custom'"),
            ({"channel": -1}, "channel Input should be greater than or equal to 0"),
            ({"channel": 65}, "channel Input should be less than or equal to 64"),
            ({"channel": 1.5}, "channel Input should be a valid integer"),
            ({"baud": 299}, "baud Input should be greater than or equal to 300"),
            ({"baud": "09600"}, "baud Input should be a valid integer"),
            ({"read_back": 0}, "read_back Input should be a valid boolean"),
            ({"limit_s": 3.1}, "limit_s Input should be less than or equal to 3"),
        ],
    )
    def test_each_slip_is_named_at_its_key(self, settings, said):
        assert refuse("serial", **settings) == [said]

    def test_custom_needs_its_two_messages(self):
        both = {"energise": "A00101A2", "release": "a0 01 00 a1"}
        assert take("serial", protocol="custom", **both).reply is None
        assert take("serial", protocol="custom", reply="06", **both).reply == "06"
        for key in both:
            settings = {k: v for k, v in both.items() if k != key}
            (said,) = refuse("serial", protocol="custom", **settings)
            assert said.endswith("protocol custom needs energise and release")

    @pytest.mark.parametrize("key", ["energise", "release", "reply"])
    @pytest.mark.parametrize("protocol", ["lcus", "numato"])
    def test_no_other_protocol_has_messages_of_its_own(self, key, protocol):
        (said,) = refuse("serial", protocol=protocol, **{key: "00"})
        assert said.endswith(f"{key}: only with protocol custom")

    @UNHURRIED
    @given(st.sampled_from(["energise", "release", "reply"]), st.text(max_size=8))
    @example("reply", "")
    @example("reply", " ")
    @example("energise", "0")
    @example("release", "0xA0")
    @example("release", "Ａ０")
    def test_messages_are_bytes_in_hexadecimal_and_nothing_else(self, key, text):
        bare = "".join(text.split())
        is_hexadecimal = bare != "" and len(bare) % 2 == 0 and set(bare) <= set(string.hexdigits)
        assume(set(text) - set(bare) <= {" "} and "  " not in text)
        settings = {"protocol": "custom", "energise": "01", "release": "00", key: text}
        halves = [len(part) % 2 == 0 for part in text.split()]
        if is_hexadecimal and all(halves):
            assert getattr(take("serial", **settings), key) == text
        else:
            (said,) = refuse("serial", **settings)
            assert f"{key}: expected bytes in hexadecimal, got" in said


class TestWebhook:
    @pytest.mark.parametrize(
        "url",
        [
            "https://door.example/hook",
            "https://door.example:8443/hook?door=1",
            "https://192.0.2.7/",
            "https://[2001:db8::7]/",
        ],
    )
    def test_another_machine_is_called_over_https_with_a_key(self, url):
        assert take("webhook", url=url).url == url
        (said,) = refuse("webhook", url=url, secret_file=None)
        assert "secret_file: needed" in said

    @pytest.mark.parametrize(
        "url", ["http://127.0.0.1:8080/", "http://localhost/x", "http://[::1]/", "HTTP://LOCALHOST"]
    )
    def test_this_machine_may_be_called_over_http_without_one(self, url):
        assert take("webhook", url=url, secret_file=None).url == url

    @pytest.mark.parametrize(
        ("url", "said"),
        [
            ("http://door.example/", "use https for door.example"),
            ("http://127.0.0.1.example/", "use https for 127.0.0.1.example"),
            ("http://localhost@door.example/", "holds a user or password"),
            ("https://user:secret@door.example/", "holds a user or password"),
            ("https://:secret@door.example/", "holds a user or password"),
            ("ftp://door.example/", "expected https://host/path"),
            ("door.example/hook", "expected https://host/path"),
            ("https://", "expected https://host/path"),
            ("https:///hook", "expected https://host/path"),
            ("https://[::1/", "expected https://host/path"),
            ("", "expected https://host/path"),
        ],
    )
    def test_each_other_address_is_refused(self, url, said):
        (fault,) = refuse("webhook", url=url)
        assert said in fault
        assert "secret@" not in fault

    @UNHURRIED
    @given(st.sampled_from(["http://", "https://", "HTTP://", ""]), st.text(max_size=20))
    def test_no_address_leaves_this_machine_unsigned_or_in_the_clear(self, scheme, rest):
        try:
            settings = take("webhook", url=scheme + rest, secret_file=None)
        except ValidationError:
            return
        after = settings.url.split("://", 1)[1].translate({9: None, 10: None, 13: None})
        assert re.fullmatch(r"(?is)(127\.0\.0\.1|localhost|\[::1\])([:/?#].*)?", after.strip())


class TestOthers:
    @pytest.mark.parametrize("key", ["topic", "state_topic"])
    @pytest.mark.parametrize("topic", ["door/#", "door/+/set", "", "door\0"])
    def test_a_topic_is_one_topic(self, key, topic):
        (said,) = refuse("mqtt", **{key: topic})
        assert said.startswith(f"{key} Value error, expected one topic, without the wildcards")

    @pytest.mark.parametrize("port", [0, 65536, "01883", 1.5])
    def test_a_port_is_a_number_of_a_port(self, port):
        (said,) = refuse("mqtt", port=port)
        assert said.startswith("port ")

    def test_nothing_retains_a_command(self):
        assert refuse("mqtt", retain=True) == ["retain Extra inputs are not permitted"]

    @pytest.mark.parametrize("key", ["on_allow", "on_deny"])
    def test_a_command_is_not_empty(self, key):
        (said,) = refuse("command", **{key: ""})
        assert said.startswith(f"{key} String should have at least 1 character")

    def test_a_recording_has_a_file(self):
        (said,) = refuse("recording", path="")
        assert said.startswith("path String should have at least 1 character")


class TestInAFile:
    def test_relays_are_a_list(self):
        config = parse_config(
            "relays:\n"
            "  - kind: gpio\n    pin: 17\n    active_high: false\n"
            "  - kind: serial\n    port: /dev/ttyUSB0\n    pulse_s: 3.0\n",
            "gate.yaml",
        )
        assert config.relays == (
            take("gpio", active_high=False),
            take("serial", port="/dev/ttyUSB0", pulse_s=3.0),
        )

    @pytest.mark.parametrize(
        ("relay", "said"),
        [
            ("kind: gpio\n    pin: 17\n    pulse_s: 99", "pulse_s: input should be less than"),
            ("kind: serial\n    port: x\n    baut: 9600", "baut: no such key; did you mean baud?"),
            ("kind: serial\n    port: x\n    reply: '06'", "reply: only with protocol custom"),
            ("kind: webhook\n    url: http://door/", "url: http is for this machine only"),
        ],
    )
    def test_a_slip_is_one_line_that_names_it(self, relay, said):
        with pytest.raises(ConfigError, match=r"^gate\.yaml:\d+: relays\.0\.") as caught:
            parse_config(f"relays:\n  - {relay}\n", "gate.yaml")
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 2
