"""A fleet as docs/fleet.md wires it: two gates, three doors, a broker, a home, a scraper.

Gates, broker and connections are real. The home knows only what Home Assistant is told by
discovery, and reads each state as the template of its entity says.
"""

import contextlib
import json
import os
import re
import signal
import socket
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[3]
MANUAL = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")
DOORS = "lobby-north", "lobby-south", "yard"

jinja2 = pytest.importorskip(
    "jinja2", reason="needs the console extra: pip install -e '.[console]'"
)
parser = pytest.importorskip("prometheus_client.parser", reason="needs the console extra, as above")


def from_the_manual(name):
    """The YAML block that begins with this file's name."""
    (found,) = re.findall(rf"```yaml\n# {re.escape(name)}\n(.*?)```", MANUAL, re.DOTALL)
    return yaml.safe_load(found)


class Home:
    """Shows what gates announce, as Home Assistant would."""

    def __init__(self, listener):
        self._listener = listener

    def entities(self):
        return {
            heard.topic: json.loads(heard.payload)
            for heard in list(self._listener.heard)
            if re.fullmatch(r"homeassistant/\w+/[\w-]+/\w+/config", heard.topic)
        }

    def devices(self):
        return {entity["device"]["name"] for entity in self.entities().values()}

    def shows(self, door, name):
        """The state of an entity by the names of device and entity; None while nobody knows."""
        for entity in self.entities().values():
            if (entity["device"]["name"], entity["name"]) == (f"mask-gate {door}", name):
                return self._state(entity)
        return None

    def _state(self, entity):
        if self._listener.last(entity["availability_topic"]) != "online":
            return "unavailable"
        said = self._listener.last(entity["state_topic"])
        if said is None or "value_template" not in entity:
            return said
        values = {"value": said}
        with contextlib.suppress(ValueError):
            values["value_json"] = json.loads(said)
        return jinja2.Template(entity["value_template"]).render(values)


def free_port():
    """A port of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Site:
    """Both machines, as the manual configures them, with what a test has instead of hardware."""

    def __init__(self, gate_bench, folder, broker, gates):
        self.bench, self.folder, self.broker, self.gates = gate_bench, folder, broker, gates
        self.cameras = {door: gate_bench.DoorCamera(fps=8.0) for door in DOORS}
        self.ports = {"lobby": free_port(), "yard": free_port()}
        self.token = folder / "token"
        self.token.write_text("a token for this test alone")
        self.token.chmod(0o600)
        for camera in self.cameras.values():
            camera.mode = "nobody"

    def start(self, name):
        config = from_the_manual(f"{name}.yaml")
        config["mqtt"] = {"host": "127.0.0.1", "port": self.broker.port, "keepalive_s": 2}
        config["console"] = {"enabled": True, "metrics_token_file": str(self.token)}
        config["console"]["port"] = self.ports[name]
        config["detector"] = {"device": "cpu", "engine": "onnx", "weights": str(self.bench.WEIGHTS)}
        config["outputs"] = {"sound": False}
        doors = config.get("doors")
        for door, own in [(name, config)] if doors is None else doors.items():
            called = door if doors is None else f"{name}-{door}"
            own["camera"]["source"] = self.cameras[called].url
            own["relays"] = [{"kind": "recording", "path": str(self.folder / f"{called}.door")}]
            own["audit"] = {"path": str(self.folder / f"{called}.sqlite")}
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        template = yaml.safe_dump(config).replace("{", "{{").replace("}", "}}")
        return self.gates.enter_context(self.bench.Gate(folder, "", template=template))

    def scrape(self, port):
        """Samples by name and labels, as Prometheus takes them."""
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}/metrics",
            headers={"Authorization": f"Bearer {self.token.read_text()}"},
        )
        try:
            with urllib.request.urlopen(asked, timeout=20) as answer:
                text = answer.read().decode()
        except OSError:  # it is not served yet
            return []
        return [
            (sample.name, sample.labels, sample.value)
            for family in parser.text_string_to_metric_families(text)
            for sample in family.samples
        ]


@pytest.fixture
def site(gate_bench, mqtt_bench, tmp_path):
    with contextlib.ExitStack() as gates:
        broker = gates.enter_context(mqtt_bench.MosquittoBroker(tmp_path))
        site = Site(gate_bench, tmp_path, broker, gates)
        yield site
    for camera in site.cameras.values():
        camera.mode = "close"
        camera.vanish()


@pytest.mark.slow
def test_two_gates_are_three_doors_and_each_trouble_is_seen_at_its_own(site, mqtt_bench, home_of):
    home = home_of(site)
    wait = mqtt_bench.wait_until

    def shown(name, **expected):
        for door, state in expected.items():
            called = door.replace("_", "-")
            wait(
                lambda called=called, state=state: home.shows(called, name) == state,
                60.0,
                f"{name} of {called}: {state}",
            )

    lobby, _ = site.start("lobby"), site.start("yard")
    shown("Lock", lobby_north="locked", lobby_south="locked", yard="locked")
    shown("Camera", lobby_north="ok", lobby_south="ok", yard="ok")
    assert home.devices() == {f"mask-gate {door}" for door in DOORS}

    site.cameras["lobby-north"].mode = "ok"  # somebody comes to one of three doors
    shown("Lock", lobby_north="open")
    site.cameras["lobby-north"].mode = "nobody"
    shown("Lock", lobby_north="locked", lobby_south="locked", yard="locked")
    shown("Openings", lobby_north="1", lobby_south="0", yard="0")

    site.cameras["lobby-south"].vanish()
    shown("Camera", lobby_south="problem")
    shown("Camera", lobby_north="ok", yard="ok")
    shown("Out of order", lobby_south="problem", lobby_north="ok", yard="ok")

    for name, doors in (("lobby", DOORS[:2]), ("yard", DOORS[2:])):
        expected = [
            sample
            for door in doors
            for sample in (
                ("mask_gate_part_up", {"gate": door, "part": "camera"}, door != "lobby-south"),
                ("mask_gate_openings_total", {"gate": door}, door == "lobby-north"),
            )
        ]
        port = site.ports[name]
        wait(lambda port=port, all_=expected: all(s in site.scrape(port) for s in all_), 60.0, name)
        own = [s for s in site.scrape(port) if s[0].startswith("mask_gate_")]
        of_doors = [labels for name, labels, *_ in own if name != "mask_gate_build_info"]
        assert {labels["gate"] for labels in of_doors} == set(doors)

    os.kill(lobby.pid, signal.SIGKILL)  # the broker says it: nobody else can
    shown("Lock", lobby_north="unavailable", lobby_south="unavailable")
    shown("Lock", yard="locked")
    site.cameras["lobby-south"].appear()
    site.start("lobby")
    shown("Lock", lobby_north="locked", lobby_south="locked")
    shown("Camera", lobby_south="ok")


@pytest.fixture
def home_of(mqtt_bench, request):
    """A home at the broker of a site."""

    def connect(site):
        listener = mqtt_bench.Listener(site.broker.port)
        request.addfinalizer(listener.close)
        return Home(listener)

    return connect


def test_the_scraper_of_the_manual_asks_each_machine(tmp_path):
    from mask_gate.gate.config.schema import parse_config

    (job,) = from_the_manual("prometheus.yml")["scrape_configs"]
    wanted = []
    for name in ("lobby", "yard"):
        config = parse_config(yaml.safe_dump(from_the_manual(f"{name}.yaml")), f"{name}.yaml")
        wanted.append(f"{name}.example.org:{config.console.port}")
        assert config.mqtt is not None
        for door in config.each_door().values():
            assert config.mqtt.root(door.gate).startswith("mask-gate/")
    assert job["static_configs"] == [{"targets": wanted}]


def test_the_alerts_of_the_manual_ask_for_metrics_that_there_are():
    from mask_gate.gate.console.door_state import DoorState
    from mask_gate.gate.console.metrics import Metrics

    context = SimpleNamespace(gate="a", state=DoorState(), pictures=SimpleNamespace(viewers=0))
    served = {metric.name for metric in Metrics([context]).collect()}
    rules = from_the_manual("alerts.yml")["groups"][0]["rules"]
    asked = set(re.findall(r"mask_gate_\w+", " ".join(rule["expr"] for rule in rules)))
    assert asked
    assert asked <= served
