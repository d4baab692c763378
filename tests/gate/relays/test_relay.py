"""Any kind of relay from its settings alone: the driver, or one sentence about what is wrong."""

import importlib
import inspect
import json
import os
import pty
import select
import subprocess
import sys
import threading
import tty
from http.server import BaseHTTPRequestHandler, HTTPServer

import gpiozero
import pytest
from gpiozero.pins.mock import MockFactory

from mask_gate.gate.errors import GateError, OutputError
from mask_gate.gate.relays import config as relay_config
from mask_gate.gate.relays.relay import Order, Relay, open_relay

ALLOW = Order(unlocks=True, id="a", reason="compliant", until_s=1e9, hold_s=3.0)
DENY = Order(unlocks=False, id="d", reason="no_mask")

DRIVERS = {
    relay_config.CommandRelayConfig: "mask_gate.gate.relays.command:CommandRelay",
    relay_config.GpioRelayConfig: "mask_gate.gate.relays.gpio:GpioRelay",
    relay_config.SerialRelayConfig: "mask_gate.gate.relays.serial_board:SerialRelay",
    relay_config.MqttRelayConfig: "mask_gate.gate.relays.mqtt:MqttRelay",
    relay_config.WebhookRelayConfig: "mask_gate.gate.relays.webhook:WebhookRelay",
    relay_config.RecordingRelayConfig: "mask_gate.gate.relays.recording:RecordingRelay",
    relay_config.PluginRelayConfig: "mask_gate.gate.relays.plugin:PluginRelay",
}
EVERY_KIND = pytest.mark.parametrize(
    ("model", "driver"), list(DRIVERS.items()), ids=[m.__name__ for m in DRIVERS]
)


def go_on():
    return False


def class_of(driver):
    module, name = driver.split(":")
    return getattr(importlib.import_module(module), name)


def opened(settings):
    """A relay from settings that went through JSON, as they do on their way to the guardian."""
    return open_relay(json.loads(json.dumps(settings.model_dump())))


def drive(relay: Relay):
    relay.unlock(ALLOW, go_on)
    relay.lock(DENY, go_on)
    relay.close()
    relay.close()


class TestSettings:
    @EVERY_KIND
    def test_a_driver_takes_what_its_settings_say_and_needs_nothing_else(self, model, driver):
        said = set(model.model_fields) - {"kind", "pulse_s"}
        parameters = inspect.signature(class_of(driver)).parameters
        assert said <= set(parameters)
        for name in set(parameters) - said:
            assert parameters[name].default is not inspect.Parameter.empty, name

    @EVERY_KIND
    def test_where_both_have_a_default_it_is_the_same(self, model, driver):
        parameters = inspect.signature(class_of(driver)).parameters
        for name, field in model.model_fields.items():
            if name in parameters and parameters[name].default is not inspect.Parameter.empty:
                assert parameters[name].default == field.default, name

    @EVERY_KIND
    def test_a_driver_does_all_that_a_relay_must(self, model, driver):
        for name in ("unlock", "lock", "close"):
            reference = inspect.signature(getattr(Relay, name)).parameters
            assert list(inspect.signature(getattr(class_of(driver), name)).parameters) == list(
                reference
            )

    def test_no_driver_is_forgotten_here(self):
        kinds = {model.model_fields["kind"].annotation.__args__[0] for model in DRIVERS}
        assert kinds == set(importlib.import_module("mask_gate.gate.relays.relay")._DRIVERS)


class TestEachKind:
    def test_recording(self, tmp_path):
        path = tmp_path / "edges"
        drive(opened(relay_config.RecordingRelayConfig(kind="recording", path=str(path))))
        levels = [line.split()[1] for line in path.read_text().splitlines()]
        assert levels == ["locked", "unlocked", "locked", "locked"]

    def test_command(self, tmp_path):
        script = tmp_path / "relay.sh"
        script.write_text(f"#!/bin/sh\necho $1 >> {tmp_path / 'log'}\n")
        script.chmod(0o755)
        settings = relay_config.CommandRelayConfig(
            kind="command", on_allow=str(script), on_deny=str(script), pulse_s=2.0
        )
        relay = opened(settings)
        relay.lock(DENY, go_on)
        assert (tmp_path / "log").read_text().split() == ["deny"]

    @pytest.mark.parametrize("energised", ["unlocked", "locked"])
    @pytest.mark.parametrize("active_high", [True, False])
    def test_gpio(self, monkeypatch, energised, active_high):
        monkeypatch.setattr(gpiozero.Device, "pin_factory", MockFactory())
        settings = relay_config.GpioRelayConfig(
            kind="gpio", pin="GPIO17", energised=energised, active_high=active_high
        )
        relay = opened(settings)
        pin = gpiozero.Device.pin_factory.pin(17)
        locked = (energised == "locked") == active_high
        assert pin.state is locked
        relay.unlock(ALLOW, go_on)
        assert pin.state is not locked
        relay.close()
        assert pin.state is locked

    @pytest.mark.parametrize("energised", ["unlocked", "locked"])
    def test_serial(self, energised):
        board, plug = pty.openpty()
        tty.setraw(plug)
        settings = relay_config.SerialRelayConfig(
            kind="serial", port=os.ttyname(plug), energised=energised, read_back=False
        )
        relay = opened(settings)
        drive(relay)
        heard = b""
        while select.select([board], [], [], 0.5)[0]:
            heard += os.read(board, 4096)
        on, off = b"\xa0\x01\x01\xa2", b"\xa0\x01\x00\xa1"
        unlock, lock = (on, off) if energised == "unlocked" else (off, on)
        assert heard == 2 * lock + unlock + 2 * lock
        os.close(board)
        os.close(plug)

    def test_webhook(self):
        told = []

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self):
                told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *words):
                pass

        with HTTPServer(("127.0.0.1", 0), Receiver) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{server.server_port}/"
            drive(opened(relay_config.WebhookRelayConfig(kind="webhook", url=url, limit_s=5.0)))
            server.shutdown()
        assert [call["action"] for call in told] == ["lock", "unlock", "lock"]


class TestWhatIsMissing:
    @pytest.mark.parametrize(
        ("settings", "package", "extra"),
        [
            ({"kind": "gpio", "pin": 17}, "gpiozero", "gpio"),
            ({"kind": "serial", "port": "/dev/ttyUSB0"}, "serial", "serial"),
        ],
    )
    def test_a_package_is_one_sentence_with_the_command(
        self, monkeypatch, settings, package, extra
    ):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(OutputError) as said:
            open_relay(settings)
        assert f'run pip install "mask-gate[{extra}]"' in str(said.value)
        assert "\n" not in str(said.value)
        assert said.value.exit_code == 5

    @pytest.mark.parametrize(
        "settings",
        [
            {"kind": "recording", "path": "/nowhere/edges"},
            {"kind": "serial", "port": "/dev/serial/by-id/nothing"},
            {"kind": "webhook", "url": "http://127.0.0.1:9/", "limit_s": 2.0},
            {"kind": "webhook", "url": "https://localhost/", "secret_file": "/nowhere/key"},
            {"kind": "webhook", "url": "https://localhost/", "ca_file": "/nowhere/ca"},
            {"kind": "command", "on_deny": "/nowhere/relay"},
        ],
    )
    def test_a_device_or_file_is_one_sentence(self, settings):
        with pytest.raises(GateError) as said:
            open_relay(settings)
        assert "\n" not in str(said.value)
        assert said.value.__cause__ is None

    def test_this_machine_s_missing_pins_are_one_sentence(self, monkeypatch):
        def none_found():
            raise gpiozero.BadPinFactory("Unable to load any default pin factory!")

        monkeypatch.setattr(gpiozero.Device, "pin_factory", None)
        monkeypatch.setattr(gpiozero.Device, "_default_pin_factory", none_found)
        with pytest.raises(OutputError, match="found no pins on this machine"):
            open_relay({"kind": "gpio", "pin": 17})


@pytest.mark.parametrize("module", ["relay", "gpio", "serial_board", "webhook", "plugin"])
def test_a_driver_starts_light(repo_root, module):
    """The guardian is there soon, and has little in it that can break."""
    heavy = (
        "pydantic yaml numpy cv2 torch gpiozero serial paho "
        "mask_gate.gate.config.schema mask_gate.gate.relays.config"
    )
    code = (
        f"import sys, mask_gate.gate.relays.{module}\n"
        f"sys.exit(' '.join(sorted(set({heavy!r}.split()) & set(sys.modules))))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=repo_root, capture_output=True)
    assert ended.stderr.decode().strip() == ""
