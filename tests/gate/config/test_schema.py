"""gate.yaml: complete, strict, and every slip named with file, line and key."""

import itertools
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mask_gate.gate.config.schema import GateConfig, load_config, parse_config, with_flags
from mask_gate.gate.errors import ConfigError

SHIPPED = Path(__file__).resolve().parents[3] / "configs" / "gate.yaml"


def yaml_like():
    """Texts that are near to a gate.yaml."""
    words = [
        *GateConfig.model_fields,
        "hold_s",
        "kind",
        "gpio",
        "pin",
        "017",
        "1:30",
        "1e999",
        "on",
    ]
    marks = [
        ": ",
        ":\n  ",
        ":\n- ",
        ", ",
        "{",
        "}",
        "[",
        "]",
        "\n",
        "&a ",
        "*a",
        "!x ",
        "'",
        '"',
        "~",
    ]
    return st.lists(st.sampled_from([*words, *marks]), max_size=20).map("".join)


def fault(text):
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "gate.yaml")
    assert caught.value.exit_code == 2
    return str(caught.value)


def keys(values, above=()):
    for name, value in values.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from keys(value, (*above, name))


class TestTheShippedFile:
    def test_loads_to_exactly_the_defaults(self):
        assert load_config(SHIPPED).model_dump() == GateConfig().model_dump()

    def test_has_every_key_there_is(self):
        written = set(keys(yaml.safe_load(SHIPPED.read_text())))
        assert written == set(keys(GateConfig().model_dump()))

    def test_explains_every_group_of_keys(self):
        lines = SHIPPED.read_text().splitlines()
        assert sum(line.lstrip().startswith("#") for line in lines) > 50
        for before, line in itertools.pairwise(lines):
            if re.match(r"  \w+:", line):  # a key stands below its comment or beside its kin
                assert before.lstrip().startswith("#") or re.match(r"  \w+:", before), line


class TestNothing:
    @pytest.mark.parametrize("text", ["", "~", "# only words\n", "---\n", "policy:\ndoor:\n"])
    def test_says_nothing_and_gives_the_defaults(self, text):
        assert parse_config(text, "gate.yaml") == GateConfig()


class TestSlips:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("polcy: {}", "gate.yaml:1: polcy: no such key; did you mean policy?"),
            (
                "gate: a\npolicy:\n  hold_ms: 3",
                "gate.yaml:3: policy.hold_ms: no such key; did you mean hold_s?",
            ),
            (
                "door:\n\n  hold_s: 3",
                "gate.yaml:3: door.hold_s: no such key; did you mean policy.hold_s?",
            ),
            (
                "camera:\n  base_topic: a\n",
                "gate.yaml:2: camera.base_topic: no such key; did you mean mqtt.base_topic?",
            ),
            (
                "camera:\n  tls: true",
                "gate.yaml:2: camera.tls: no such key; did you mean relays.tls or mqtt.tls?",
            ),
            (
                "gate: a\n\npolicy:\n  max_age_s: 0.5",
                "gate.yaml:4: policy.max_age_s: is now called evidence_gap_s",
            ),
            (
                "door: {max_age_s: 0.5}",
                "gate.yaml:1: door.max_age_s: is now called decision_max_age_s",
            ),
            (
                "doors:\n  a:\n    door: {max_age_s: 0.5}",
                "gate.yaml:3: doors.a.door.max_age_s: is now called decision_max_age_s",
            ),
            (
                "relays: [{kind: gpoi, pin: 17}]",
                "gate.yaml:1: relays.0.kind: expected one of command, gpio, serial, mqtt, webhook, "
                "recording, plugin, got 'gpoi'; did you mean gpio?",
            ),
            (
                "relays:\n- pin: 17",
                "gate.yaml:2: relays.0.kind: field required, one of command, gpio, serial, mqtt, ",
            ),
            (
                "relays:\n- kind: gpio\n  pin: 1.5",
                "gate.yaml:3: relays.0.gpio.pin: expected a valid string or a valid integer, got",
            ),
            (
                "relays:\n- kind: gpio\n  pin: 17\n  energised: unlockd",
                "gate.yaml:4: relays.0.gpio.energised: input should be 'unlocked' or 'locked', "
                "got 'unlockd'; did you mean unlocked?",
            ),
            ("camera: {source: -1}", "gate.yaml:1: camera.source: expected an index of 0 or more"),
            (
                "camera:\n  source: rtmp://host/a",
                "gate.yaml:2: camera.source: rtmp URLs are not played; expected one of rtsp://",
            ),
            (
                "camera:\n  zzz: 1",
                "gate.yaml:2: camera.zzz: no such key; "
                "expected one of source, user, password_file, timeout_s, folder_fps",
            ),
            (
                "policy:\n  hold_s: 3\n  hold_s: 4",
                "gate.yaml:3: policy.hold_s: given twice, first in line 2",
            ),
            ("gate: a\ngate: b", "gate.yaml:2: gate: given twice, first in line 1"),
            (
                "policy:\n  hold_s: .nan",
                "gate.yaml:2: policy.hold_s: input should be a finite number, got nan",
            ),
            (
                "door:\n  max_open_s: .inf",
                "gate.yaml:2: door.max_open_s: input should be a finite number, got inf",
            ),
            (
                "door:\n  max_open_s: 11",
                "gate.yaml:2: door.max_open_s: input should be less than or equal to 10, got 11",
            ),
            (
                "policy:\n  min_frames: 2.5",
                "gate.yaml:2: policy.min_frames: input should be a valid integer, got 2.5",
            ),
            (
                "policy:\n  window_s: '1 s'",
                "gate.yaml:2: policy.window_s: input should be a valid number, got '1 s'",
            ),
            (
                "outputs:\n  sound: 1",
                "gate.yaml:2: outputs.sound: input should be 'off', 'tones' or 'voice', got 1",
            ),
            ("policy: 3", "gate.yaml:1: policy: input should be a valid dictionary"),
            (
                "gate: a b",
                "gate.yaml:1: gate: expected a name for this door in events and logs, "
                "of letters, digits and . _ -, got 'a b'",
            ),
            (
                "detector:\n  device: gpu",
                "gate.yaml:2: detector.device: expected auto, cpu or cuda[:N], got 'gpu'",
            ),
            (
                "policy:\n  zone: [[0, 0], [1, 0],\n    [1, 2]]",
                "gate.yaml:2: policy.zone: expected at least 3 points (x, y) with both in 0..1",
            ),
            (
                "policy:\n  zone:\n  - [0, 0]\n  - [1, .nan]\n  - [1, 1]",
                "gate.yaml:4: policy.zone.1.1: input should be a finite number, got nan",
            ),
            (
                "audit:\n  path: door.jpg",
                "gate.yaml:2: audit.path: expected file of the audit, its name ending in .sqlite",
            ),
            (
                "audit:\n  required: no thanks",
                "gate.yaml:2: audit.required: input should be a valid",
            ),
            ("mqtt:\n  port: 1", "gate.yaml:1: mqtt.host: field required"),
            (
                "mqtt:\n  host: a\n  hosst: a",
                "gate.yaml:3: mqtt.hosst: no such key; did you mean host?",
            ),
            (
                "mqtt: {host: a,\n  base_topic: 'a#'}",
                "gate.yaml:2: mqtt.base_topic: expected a topic that everything is below",
            ),
            (
                "relays:\n- {kind: mqtt, host: a, topic: 'a#'}",
                "gate.yaml:2: relays.0.mqtt.topic: expected one topic, without the wildcards + and "
                "#, got 'a#'",
            ),
            (
                "detector:\n  start_s: 100",
                "gate.yaml:2: detector.start_s: input should be less than or equal to 80, got 100",
            ),
        ],
    )
    def test_are_named_with_file_line_key_and_the_mend(self, text, said):
        assert fault(text).startswith(said)

    def test_are_all_told_at_once(self):
        said = fault("policy:\n  min_frames: x\nouputs: {}\ndoor:\n  tick_s: 0\n").splitlines()
        assert sorted(line.split(": ")[0] for line in said) == [
            "gate.yaml:2",
            "gate.yaml:3",
            "gate.yaml:5",
        ]


class TestValuesThatDoNotGoTogether:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (
                "policy:\n  hold_s: 9",
                "gate.yaml:1: door.max_open_s: expected at least policy.hold_s + policy.lease_s "
                "(10), got 5",
            ),
            (
                "gate: a\ntracker:\n  memory_s: 0.5",
                "gate.yaml:3: tracker.memory_s: expected at least policy.window_s (1), got 0.5",
            ),
            (
                "tracker:\n  low_score: 0.9",
                "gate.yaml:2: tracker.low_score: expected at most high_score (0.2), got 0.9",
            ),
            (
                "policy: {lease_s: 0.7}\n",
                "gate.yaml:1: policy.lease_s: expected at least door.decision_max_age_s + "
                "audit.wait_s (0.75), got 0.7",
            ),
            (
                "door: {tick_s: 0.2}\noutputs: {heartbeat_s: 0.3}\n",
                "gate.yaml:2: outputs.heartbeat_s: expected at least twice door.tick_s (0.4), "
                "got 0.3",
            ),
            (
                "outputs:\n  on_deny: relay\n  hook_limit_s: 10",
                "gate.yaml:1: outputs.fault_hold_s: expected at least 10 (the longest a relay may "
                "take to lock) + 3.3, got 6.5",
            ),
        ],
    )
    def test_are_refused(self, text, said):
        assert fault(text).startswith(said)


TWO = """\
gate: lobby
policy: {hold_s: 3.0}
doors:
  north:
    camera: {source: /dev/video0}
    relays: [{kind: gpio, pin: 17}]
  south:
    camera: {source: "1"}
    policy:
      hold_s: 2.0
"""


class TestSeveralDoors:
    def test_take_from_above_what_they_do_not_say_themselves(self):
        north, south = parse_config(TWO, "gate.yaml").each_door().values()
        assert (north.gate, south.gate) == ("lobby-north", "lobby-south")
        assert (north.camera.source, south.camera.source) == ("/dev/video0", "1")
        assert (north.policy.hold_s, south.policy.hold_s) == (3.0, 2.0)
        assert (len(north.relays), len(south.relays)) == (1, 0)
        assert north.console == south.console
        assert north.identity != south.identity
        assert north.doors == {}

    def test_are_none_where_a_gate_has_one(self):
        config = parse_config("gate: lobby", "gate.yaml")
        assert config.each_door() == {"": config}

    @pytest.mark.parametrize("said", ["", " {}", " ~"])
    def test_may_say_nothing(self, said):
        config = parse_config(f"camera: {{source: demo}}\ndoors:\n  a:{said}\n  b:", "gate.yaml")
        assert [door.gate for door in config.each_door().values()] == ["entrance-a", "entrance-b"]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("doors: 3", "gate.yaml:1: doors: input should be a valid dictionary, got 3"),
            ("doors:\n  a: 3", "gate.yaml:2: doors.a: input should be a valid dictionary, got 3"),
            (
                "doors:\n  a b: {}",
                "gate.yaml:2: doors.a b: expected a name of up to 32 letters, digits and . _ -",
            ),
            ("doors:\n  a: {}\n  a: {}", "gate.yaml:3: doors.a: given twice, first in line 2"),
            (
                "doors:\n  a:\n    camera:\n      soruce: x",
                "gate.yaml:4: doors.a.camera.soruce: no such key; did you mean source?",
            ),
            (
                "doors:\n  a:\n    polcy: {}",
                "gate.yaml:3: doors.a.polcy: no such key; did you mean policy?",
            ),
            (
                "doors:\n  a:\n    detector: {}",
                "gate.yaml:3: doors.a.detector: is of all doors; set it beside doors",
            ),
            (
                "doors:\n  a:\n    policy:\n      hold_s: 9",
                "gate.yaml:2: doors.a.door.max_open_s: expected at least policy.hold_s",
            ),
            (
                "doors:\n  a:\n    relays:\n    - {kind: gpio, pin: 1, pni: 2}",
                "gate.yaml:4: doors.a.relays.0.gpio.pni: no such key; did you mean pin?",
            ),
            (
                "doors:\n  a: {camera: {source: ftp://x}}",
                "gate.yaml:2: doors.a.camera.source: ftp URLs are not played",
            ),
            (
                f"gate: {'a' * 60}\ndoors:\n  south: {{}}",
                "gate.yaml:3: doors.south.gate: expected a name for this door",
            ),
            (
                "doors: {" + ", ".join(f"d{n}: {{}}" for n in range(17)) + "}",
                "gate.yaml:1: doors: dictionary should have at most 16 items",
            ),
        ],
    )
    def test_with_a_slip_are_refused_with_its_line(self, text, said):
        assert fault(text).startswith(said)

    @pytest.mark.parametrize(
        ("one", "other", "what"),
        [
            (
                "camera: {source: '0'}",
                "camera: {source: /dev/video0}",
                "camera.source: /dev/video0",
            ),
            ("camera: {source: 'rtsp://u:p@h/a'}",) * 2 + ("camera.source: rtsp://***@h/a",),
            ("relays: [{kind: gpio, pin: 17}]",) * 2 + ("relays: pin 17",),
            (
                "relays: [{kind: serial, port: /dev/a, channel: 1}]",
                "relays: [{kind: serial, port: /dev/a, channel: 2}]",
                "relays: the board at /dev/a",
            ),
            ("relays: [{kind: mqtt, host: b, topic: t}]",) * 2 + ("the topic t at b:1883",),
            ("relays: [{kind: webhook, url: 'http://localhost/a'}]",) * 2
            + ("the address http://localhost/a",),
            ("relays: [{kind: recording, path: a}]",) * 2 + ("relays: the file a",),
            (
                "relays: [{kind: plugin, driver: b, settings: {host: h, channel: 1}}]",
                "relays: [{kind: plugin, driver: b, settings: {channel: 1, host: h}}]",
                "relays: the plug-in b with the same settings",
            ),
            ("camera: {source: 'plugin:b:1'}",) * 2 + ("camera.source: plugin:b:1",),
            ("outputs: {on_allow: open up}",) * 2 + ("relays: the command 'open up'",),
            ("audit: {path: a.db}",) * 2 + ("audit.path: the record a.db",),
        ],
    )
    def test_share_nothing_that_opens_or_sees_or_records(self, one, other, what):
        alone = "" if "camera" in one else "camera: {source: demo}, "
        text = f"doors:\n  a: {{{alone}{one}}}\n  b: {{{alone}{other}}}\n"
        said = fault(text)
        assert said.startswith("gate.yaml:3: doors.b.")
        assert said.endswith(f"{what} is of door a already; give each door its own")

    def test_share_it_also_when_they_take_it_from_above(self):
        text = "relays: [{kind: gpio, pin: 17}]\ncamera: {source: demo}\ndoors: {a: {}, b: {}}"
        assert "relays: pin 17 is of door a already" in fault(text)

    def test_may_look_at_the_same_clip(self):
        parse_config("camera: {source: demo}\ndoors: {a: {}, b: {}}", "gate.yaml")

    def test_obey_flags_that_are_for_all(self):
        config = parse_config(TWO + "    outputs: {sound: voice}\n", "gate.yaml")
        changed = with_flags(config, {"--mute": (("outputs", "sound"), "off")})
        assert [door.outputs.sound for door in changed.each_door().values()] == ["off", "off"]

    def test_refuse_flags_that_are_for_one(self):
        config = parse_config(TWO, "gate.yaml")
        with pytest.raises(ConfigError, match=r"^--camera: of which door\? There are several"):
            with_flags(config, {"--camera": (("camera", "source"), "0")})
        with pytest.raises(ConfigError, match=r"^--gate: expected a name for this door"):
            with_flags(config, {"--gate": (("gate",), "a" * 60)})


class TestNumbersAndWords:
    @pytest.mark.parametrize(
        ("written", "pin"), [("17", 17), ("0x1f", 31), ("0o17", 15), ("'017'", "017"), ("A1", "A1")]
    )
    def test_are_read_as_yaml_1_2_has_them(self, written, pin):
        (relay,) = parse_config(f"relays: [{{kind: gpio, pin: {written}}}]", "gate.yaml").relays
        assert relay.pin == pin

    def test_may_have_an_exponent(self):
        assert parse_config("audit: {keep_days: 1e2}", "gate.yaml").audit.keep_days == 100.0

    def test_in_lists_become_a_zone(self):
        config = parse_config("policy: {zone: [[0, 0], [1, 0], [0.5, 1]]}", "gate.yaml")
        assert config.policy.zone == ((0, 0), (1, 0), (0.5, 1))

    def test_an_index_of_a_camera_needs_no_quotes(self):
        assert parse_config("camera: {source: 0}", "gate.yaml").camera.source == "0"

    @pytest.mark.parametrize("written", ["true", "True", "yes", "on", "ON"])
    def test_every_yes_is_one_where_yes_or_no_is_asked(self, written):
        assert parse_config(f"console: {{enabled: {written}}}", "gate.yaml").console.enabled

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (
                "relays:\n- kind: gpio\n  pin: 017",
                "gate.yaml:3: relays.0.pin: 017 can be read in two ways; write 17, or 0o17 for "
                'octal, or "017" for text',
            ),
            (
                "audit: {keep_days: 030}",
                "gate.yaml:1: audit.keep_days: 030 can be read in two ways",
            ),
            (
                "policy: {hold_s: 1:30}",
                "gate.yaml:1: policy.hold_s: 1:30 can be read in two ways; "
                'write 90, or "1:30" for text',
            ),
            ("policy: {hold_s: 1e999}", "gate.yaml:1: policy.hold_s: 1e999 is too large for a"),
            (
                "gate: 7",
                'gate.yaml:1: gate: input should be a valid string, got 7; put it in quotes: "7"',
            ),
            (
                "relays: [{kind: mqtt, host: a, topic: b, allow: ON}]",
                "gate.yaml:1: relays.0.mqtt.allow: input should be a valid string, got True; "
                'put it in quotes: "ON"',
            ),
            (
                "language: no",
                "gate.yaml:1: language: input should be a valid string, got False; put it in "
                'quotes: "no"',
            ),
        ],
    )
    def test_that_may_mean_something_else_are_told_with_the_mend(self, text, said):
        assert fault(text).startswith(said)


class TestNumbers:
    """Numbers are read as people mean them where only a number can be meant."""

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ('{port: "1884"}', 1884),
            ("{port: 1884.0}", 1884),
            ("{port: 188.4e1}", 1884),
        ],
    )
    def test_in_quotes_or_with_a_point_are_whole(self, text, value):
        config = parse_config(f"mqtt: {text[:-1]}, host: a}}", "gate.yaml")
        assert config.mqtt.port == value

    @pytest.mark.parametrize(
        ("text", "value"), [('"2.5"', 2.5), ('"2"', 2.0), ("'.5'", 0.5), ("2", 2.0)]
    )
    def test_in_quotes_have_decimals(self, text, value):
        config = parse_config(f"camera: {{folder_fps: {text}}}", "gate.yaml")
        assert config.camera.folder_fps == value

    @pytest.mark.parametrize("text", ['"017"', '"1_000"', '"1:30"', '"nan"', '""', '"1e2"', "9.5"])
    def test_of_another_kind_are_refused(self, text):
        said = fault(f"mqtt: {{host: a, port: {text}}}")
        assert said.startswith("gate.yaml:1: mqtt.port: input should be a valid integer")

    def test_and_the_home_folder_is_found_before_a_path(self, monkeypatch):
        monkeypatch.setenv("HOME", "/home/gate")
        text = 'detector: {weights: "~/best.pth"}\naudit: {path: "~/door.sqlite"}'
        config = parse_config(text, "gate.yaml")
        assert config.detector.weights == "/home/gate/best.pth"
        assert config.audit.path == "/home/gate/door.sqlite"

    def test_stay_text_where_text_can_be_meant(self):
        config = parse_config('relays: [{kind: gpio, pin: "17"}]', "gate.yaml")
        assert config.relays[0].pin == "17"


class TestBrokerHosts:
    """A broker's host is a name or an address alone; whoever writes a URL is told what to write."""

    @pytest.mark.parametrize("host", ["localhost", "192.168.1.5", "broker.lan", "::1", "fe80::1"])
    def test_are_names_and_addresses(self, host):
        assert parse_config(f'mqtt: {{host: "{host}"}}', "gate.yaml").mqtt.host == host

    @pytest.mark.parametrize("place", ["mqtt", "relays.0.mqtt"])
    @pytest.mark.parametrize(
        ("host", "mend"),
        [
            ("mqtt://127.0.0.1:1883", "write host: 127.0.0.1, port: 1883"),
            ("mqtts://broker.lan", "write host: broker.lan, tls: true"),
            ("tcp://broker.lan:1884/a", "write host: broker.lan, port: 1884"),
            ("broker.lan:1884", "write host: broker.lan, port: 1884"),
            ("broker.lan/", "write host: broker.lan"),
            ("broker lan", "a name or an address alone is expected"),
            ("[::1]:1884", "write host: ::1, port: 1884"),
            ("mqtt://gate:s3cret@broker", "write host: broker, username and password_file for"),
        ],
    )
    def test_that_are_urls_are_told_with_the_mend(self, place, host, mend):
        text = f'mqtt: {{host: "{host}"}}'
        if place != "mqtt":
            text = f'relays: [{{kind: mqtt, topic: a, host: "{host}"}}]'
        said = fault(text)
        assert said.startswith(f"gate.yaml:1: {place}.host: a name or an address alone is expected")
        assert mend in said
        assert "s3cret" not in said


class TestSlipsOfYaml:
    """Where the parser's own words say too little, the mend stands behind them."""

    @pytest.mark.parametrize(
        ("text", "mend"),
        [
            ("camera:\n\tsource: demo", "; indent with blanks, not with tabs"),
            ("camera: {source: rtsp://a:b #1@host/s}", "; what stands behind ' #' is a comment"),
        ],
    )
    def test_get_their_mend(self, text, mend):
        assert mend in fault(text)


class TestNoText:
    """Whatever is in the file, the answer is a configuration or one sentence per fault."""

    @given(st.text(max_size=200) | yaml_like())
    @settings(deadline=timedelta(seconds=5))
    def test_gives_a_traceback(self, text):
        try:
            assert isinstance(parse_config(text, "gate.yaml"), GateConfig)
        except ConfigError as error:
            for line in str(error).splitlines():
                assert re.match(r"gate\.yaml:[0-9]+: ", line), line


class TestFiles:
    def test_that_cannot_be_read_are_told_by_their_names(self, tmp_path):
        with pytest.raises(ConfigError, match=r"nothing\.yaml: no such file; give the path of a"):
            load_config(tmp_path / "nothing.yaml")

    def test_in_other_bytes_than_utf8_are_refused(self, tmp_path):
        path = tmp_path / "gate.yaml"
        path.write_bytes(b"gate: caf\xe9")
        with pytest.raises(ConfigError, match=r"gate\.yaml: byte 9 is not UTF-8"):
            load_config(path)


class TestFlags:
    def test_win_over_the_file(self):
        config = parse_config("gate: lobby\ncamera:\n  source: /dev/video2", "gate.yaml")
        changed = with_flags(config, {"--camera": (("camera", "source"), "demo")})
        assert (changed.gate, changed.camera.source) == ("lobby", "demo")
        assert config.camera.source == "/dev/video2"

    def test_are_checked_like_the_file_and_called_by_their_own_names(self):
        with pytest.raises(ConfigError, match=r"^--device: expected auto, cpu or cuda"):
            with_flags(GateConfig(), {"--device": (("detector", "device"), "tpu")})


class TestALoginOfACamera:
    def config(self, tmp_path, words, password="p@ss#1\n"):
        secret = tmp_path / "camera.password"
        secret.write_text(password)
        secret.chmod(0o600)
        text = f"camera: {{source: {words}, user: admin, password_file: {secret}}}"
        return parse_config(text, "gate.yaml")

    def test_stands_beside_its_url(self, tmp_path):
        config = self.config(tmp_path, "rtsp://cam/live")
        assert config.camera.opened_as().address == "rtsp://admin:p%40ss%231@cam/live"
        assert "p@ss" not in json.dumps(config.model_dump(mode="json"))

    def test_is_no_matter_for_another_kind_of_camera_or_one_given_by_a_flag(self, tmp_path):
        assert self.config(tmp_path, "0").camera.opened_as().address == "0"
        config = self.config(tmp_path, "rtsp://cam/live")
        flagged = with_flags(config, {"--camera": (("camera", "source"), "http://other/")})
        assert flagged.camera.opened_as().address == "http://other/"

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            ("source: 'rtsp://a:b@cam/', user: c, password_file: d", "has a user already"),
            ("source: 'rtsp://cam/', user: c", "both user and password_file"),
            ("source: 'rtsp://cam/', password_file: c", "both user and password_file"),
        ],
    )
    def test_is_given_once_and_whole(self, words, told):
        with pytest.raises(ConfigError, match=told):
            parse_config(f"camera: {{{words}}}", "gate.yaml")

    def test_that_cannot_be_read_is_told(self, tmp_path):
        config = self.config(tmp_path, "rtsp://cam/live", "")
        with pytest.raises(ConfigError, match=r"camera\.password_file"):
            config.camera.opened_as()
