"""Ten thousand events a minute from one door: through MQTT with a real broker, audit and console.

    .venv/bin/python tests/benchmarks/event_flood.py [--events 5000] [--per-minute 10000]

The events of passages go, evenly spread, to a `StatePublisher` (mosquitto on loopback, somebody who
listens there), to an `Audit` (a file, synced as always) and to a `ConsoleFeed` (the console's own
process, whose `/metrics` tells what came). `processor_ms_an_event` is the processor's time alone,
which hardly depends on what else runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import paho.mqtt.client as paho
from audit_year import PER_PERSON, event

from mask_gate.gate.audit.audit import Audit
from mask_gate.gate.audit.reader import AuditReader
from mask_gate.gate.config.schema import GateConfig
from mask_gate.gate.console.feed import ConsoleFeed
from mask_gate.gate.console.process import Console
from mask_gate.gate.console.wire import DoorSettings, ServerSettings
from mask_gate.gate.mqtt.config import MqttConfig
from mask_gate.gate.mqtt.state_publisher import StatePublisher

HOST = "127.0.0.1"
DRAIN_S = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def broker(folder: Path):
    """A mosquitto of our own: its port and process id."""
    port = free_port()
    config = folder / "mosquitto.conf"
    me = ["user root"] if os.geteuid() == 0 else []
    lines = [f"listener {port} {HOST}", "allow_anonymous true", "persistence false", *me]
    config.write_text("\n".join([*lines, ""]))
    program = ["/usr/sbin/mosquitto", "-c", str(config)]
    with subprocess.Popen(program, stderr=subprocess.DEVNULL) as process:
        try:
            until_s = time.monotonic() + DRAIN_S
            while time.monotonic() < until_s:
                with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
                    break
                time.sleep(0.05)
            yield port, process.pid
        finally:
            process.terminate()


def processor_s(pid: int) -> float:
    """Of one process and its threads, so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def child_called(name: str) -> int:
    """The process of ours whose command says this."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = stat.read_text().rpartition(")")[2].split()[1]
            words = (stat.parent / "cmdline").read_bytes()
            if int(parent) == os.getpid() and name.encode() in words:
                return int(stat.parent.name)
    raise SystemExit(f"no process of {name}")


class Listener:
    """Somebody who listens at the broker, in a thread of paho's.

    Attributes:
        lags_s: of each event that came, from when it was made.
    """

    def __init__(self, port: int, topic: str) -> None:
        self.lags_s: list[float] = []
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.on_message = self._take
        self._client.on_connect = lambda client, *_: client.subscribe(topic)
        self._client.connect(HOST, port)
        self._client.loop_start()

    def _take(self, client, data, message) -> None:
        now_s = time.monotonic()
        self.lags_s.append(now_s - json.loads(message.payload)["made_s"])

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def spread(count: int, per_minute: float, send) -> float:
    """Send so many events at this rate; how long that took."""
    began_s = time.monotonic()
    for number in range(count):
        pause_s = began_s + number * 60 / per_minute - time.monotonic()
        if pause_s > 0:
            time.sleep(pause_s)
        send(number)
    return time.monotonic() - began_s


def made(number: int) -> dict[str, object]:
    wall = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + ".000Z"
    return {
        "schema": 1, "ts": wall, "time_s": time.monotonic(), "gate": "lobby",
        **event(*divmod(number, PER_PERSON)), "made_s": time.monotonic(),
    }  # fmt: skip


def settled(count, limit_s: float = DRAIN_S) -> None:
    """Wait until nothing more comes."""
    until_s, before = time.monotonic() + limit_s, -1
    while (now := count()) != before and time.monotonic() < until_s:
        before = now
        time.sleep(1.0)


def through_mqtt(folder: Path, events: int, per_minute: float) -> dict[str, object]:
    with broker(folder) as (port, pid):
        listener = Listener(port, "mask-gate/lobby/events")
        state = StatePublisher(MqttConfig(host=HOST, port=port, discovery_prefix=None), "lobby")
        time.sleep(2.0)
        before, used_s = processor_s(pid), time.process_time()
        took_s = spread(events, per_minute, lambda number: state.write(made(number)))
        settled(lambda: len(listener.lags_s))
        ours_s, brokers_s = time.process_time() - used_s, processor_s(pid) - before
        state.close()
        listener.close()
    lags_ms = sorted(1000 * lag_s for lag_s in listener.lags_s) or [0.0]
    return {
        "way": "mqtt", "sent": events, "came": len(listener.lags_s), "s": round(took_s, 1),
        "lag_ms": {"p50": round(statistics.median(lags_ms), 1),
                   "p99": round(lags_ms[round(0.99 * (len(lags_ms) - 1))], 1)},
        "processor_ms_an_event": {"publisher and listener": round(1000 * ours_s / events, 3),
                                  "mosquitto": round(1000 * brokers_s / events, 3)},
    }  # fmt: skip


def through_audit(folder: Path, events: int, per_minute: float) -> dict[str, object]:
    audit = Audit(folder / "audit.sqlite", "lobby", wait_s=30.0)
    audit.check(60.0)
    used_s = time.process_time()
    took_s = spread(events, per_minute, lambda number: audit.write(made(number)))
    ended_s = time.monotonic()
    audit.close()
    drained_s, ours_s = time.monotonic() - ended_s, time.process_time() - used_s
    with AuditReader(audit.path) as reader:
        came = sum(row[1] == "event" for row in reader.rows())
    return {
        "way": "audit", "sent": events, "came": came, "s": round(took_s, 1),
        "drained_s": round(drained_s, 2),
        "processor_ms_an_event": round(1000 * ours_s / events, 3),
    }  # fmt: skip


def through_console(folder: Path, events: int, per_minute: float) -> dict[str, object]:
    token = folder / "token"
    token.write_text("0123456789abcdef0123456789abcdef\n")
    token.chmod(0o600)
    port = free_port()
    config = GateConfig.model_validate(
        {"gate": "lobby", "console": {
            "enabled": True, "port": port, "metrics_token_file": str(token)}}
    )  # fmt: skip
    feed = ConsoleFeed(0)
    settings = ServerSettings(
        gate="lobby", language="en", console=config.console, privacy=config.privacy,
        doors={"": DoorSettings(gate="lobby", config={})}, password="x" * 20,
    )  # fmt: skip

    def openings() -> int:
        asked = urllib.request.Request(
            f"http://{HOST}:{port}/metrics",
            headers={"authorization": f"Bearer {token.read_text().strip()}"},
        )
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                found = re.search(
                    r"mask_gate_openings_total\{[^}]*\} (\d+)", answer.read().decode()
                )
        except OSError:
            return -2
        return int(found[1]) if found else -3

    said: list[str] = []
    wanted = sum(made(number).get("signal") == "allow" for number in range(events))
    with contextlib.closing(Console(settings, [feed], said.append)):
        until_s = time.monotonic() + DRAIN_S
        while openings() < 0 and time.monotonic() < until_s:
            time.sleep(0.2)
        pid = child_called("gate.console")
        before, used_s = processor_s(pid), time.process_time()
        took_s = spread(events, per_minute, lambda number: feed.write(made(number)))
        settled(openings)
        came = openings()
        ours_s, consoles_s = time.process_time() - used_s, processor_s(pid) - before
    return {
        "way": "console", "sent": wanted, "came": came, "s": round(took_s, 1),
        "processor_ms_an_event": {"gate": round(1000 * ours_s / events, 3),
                                  "console": round(1000 * consoles_s / events, 3)},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--per-minute", type=float, default=10_000)
    options = parser.parse_args()
    for way in (through_mqtt, through_audit, through_console):
        with tempfile.TemporaryDirectory() as folder:
            line = way(Path(folder), options.events, options.per_minute)
        print(json.dumps(line | {"load": round(os.getloadavg()[0], 1)}), flush=True)


if __name__ == "__main__":
    main()
