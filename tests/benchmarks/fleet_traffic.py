"""The traffic of a thousand gates on loopback: a real MQTT broker, and their metrics asked for.

    .venv/bin/python tests/benchmarks/fleet_traffic.py [--gates 1000] [--seconds 20]

Each gate is one connection with a last will and the kept topics of `StatePublisher`; then all of
them together publish as in a rush hour, 75 messages a second for each 100 gates: an event, and a
kept word that it changes, in turns. Somebody listens to every event of all of them. Metrics: what a
gate's `/metrics` says is made as often as a Prometheus that asks every 15 s would ask them all, and
sent through a socket. Processor time is of the broker, and of the gates' side with the listener.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import statistics
import tempfile
import threading
import time
from pathlib import Path

import paho.mqtt.client as paho
from event_flood import HOST, Listener, broker, made, processor_s, settled

from mask_gate.gate.console.door_pages import DoorContext
from mask_gate.gate.console.door_state import DoorState
from mask_gate.gate.console.metrics import Metrics
from mask_gate.gate.mqtt.state_publisher import GateState

PER_GATE_S = 0.75  # messages, in the rush
SCRAPE_S = 15.0


class NoPictures:
    viewers = 0


def connected(gate: str, port: int) -> paho.Client:
    """One gate, with everything that it tells when it comes up."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=gate)
    client.will_set(f"mask-gate/{gate}/availability", "offline", qos=1, retain=True)
    client.connect(HOST, port, keepalive=600)
    client.loop(0.01)
    for key, text in {**GateState().topics, "availability": "online"}.items():
        client.publish(f"mask-gate/{gate}/{key}", text, qos=1, retain=True)
    return client


def mqtt(folder: Path, gates: int, seconds: float) -> dict[str, object]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * gates)), hard))
    with broker(folder) as (port, pid):
        listener = Listener(port, "mask-gate/+/events")
        began_s, used_s = time.monotonic(), processor_s(pid)
        clients = [connected(f"gate-{number}", port) for number in range(gates)]
        for client in clients:
            client.loop(0.0)
        up_s, up_broker_s = time.monotonic() - began_s, processor_s(pid) - used_s
        used_s, ours_s, began_s = processor_s(pid), time.process_time(), time.monotonic()
        rate, sent = PER_GATE_S * gates, 0
        while (passed_s := time.monotonic() - began_s) < seconds:
            while sent < rate * passed_s:
                client, gate = clients[sent // 2 % gates], f"gate-{sent // 2 % gates}"
                if sent % 2:
                    client.publish(f"mask-gate/{gate}/state", "idle", qos=1, retain=True)
                else:
                    client.publish(f"mask-gate/{gate}/events", json.dumps(made(sent)))
                client.loop(0.0)
                sent += 1
            time.sleep(0.001)
        took_s = time.monotonic() - began_s
        settled(lambda: len(listener.lags_s))
        brokers_s, ours_s = processor_s(pid) - used_s, time.process_time() - ours_s
        memory = Path(f"/proc/{pid}/statm").read_text().split()[1]
        listener.close()
    lags_ms = sorted(1000 * lag_s for lag_s in listener.lags_s) or [0.0]
    return {
        "way": "mqtt", "gates": gates, "all_up_s": round(up_s, 1),
        "broker_ms_to_take_a_gate": round(1000 * up_broker_s / gates, 2),
        "messages_per_s": round(sent / took_s), "events": (sent + 1) // 2,
        "came": len(listener.lags_s),
        "lag_ms": {"p50": round(statistics.median(lags_ms), 1),
                   "p99": round(lags_ms[round(0.99 * (len(lags_ms) - 1))], 1)},
        "broker_ms_a_message": round(1000 * brokers_s / sent, 3),
        "gates_and_listener_ms_a_message": round(1000 * ours_s / sent, 3),
        "broker_mb": round(int(memory) * resource.getpagesize() / 2**20, 1),
    }  # fmt: skip


def metrics(gates: int, seconds: float) -> dict[str, object]:
    """One gate's text, made and sent as often as those of all gates would be."""
    state = DoorState()
    for number in range(200):
        state.take_event(made(number))
    text_of = Metrics([DoorContext("", "lobby", {}, state, NoPictures())])  # type: ignore[arg-type]
    near, far = socket.socketpair()
    threading.Thread(target=lambda: [None for _ in iter(lambda: far.recv(65536), b"")]).start()
    began_s, used_s, asked = time.monotonic(), time.process_time(), 0
    while (passed_s := time.monotonic() - began_s) < seconds:
        while asked < passed_s * gates / SCRAPE_S:
            near.sendall(text_of.text())
            asked += 1
        time.sleep(0.005)
    took_s, used_s = time.monotonic() - began_s, time.process_time() - used_s
    near.close()
    text = text_of.text()
    samples = sum(not line.startswith(b"#") for line in text.splitlines())
    return {
        "way": "metrics", "gates": gates, "scrapes_per_s": round(asked / took_s, 1),
        "samples": samples, "bytes": len(text),
        "processor_ms_a_scrape": round(1000 * used_s / asked, 2),
        "samples_per_s_of_all": round(samples * gates / SCRAPE_S),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gates", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as folder:
        line = mqtt(Path(folder), options.gates, options.seconds)
    print(json.dumps(line | {"load": load}), flush=True)
    print(json.dumps(metrics(options.gates, options.seconds) | {"load": load}), flush=True)


if __name__ == "__main__":
    main()
