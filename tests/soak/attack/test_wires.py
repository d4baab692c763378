"""What goes over wires: calls to a lock that are played back, a camera that loses packets."""

import contextlib
import http.server
import json
import random
import socket
import threading
import time
from pathlib import Path

import pytest

from mask_gate.gate.clock import uptime_s
from mask_gate.gate.errors import OutputError
from mask_gate.gate.relays.relay import Order
from mask_gate.gate.relays.webhook import WebhookRelay

pytestmark = pytest.mark.soak

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 300.0

# ------------------------------------------------------------------------------ a webhook


class Lock:
    """A receiver as docs/events.md says it must be: no signature, all else."""

    OLD_S = 5.0

    def __init__(self):
        self._sequences = {}
        self._session = None
        self._changing = threading.Lock()
        self.is_open = False
        self.moves = []  # (what, id of the call)

    def take(self, headers, body):
        """Carry out a call, or refuse it; the status."""
        told = json.loads(body)
        with self._changing:
            last = self._sequences.get(told["session"])
            if last is None:
                if time.time() - float(headers["webhook-timestamp"]) > self.OLD_S:
                    return 409
            elif told["session"] != self._session or told["sequence"] <= last:
                return 409
            self._session = told["session"]
            self._sequences[told["session"]] = told["sequence"]
            self.is_open = told["action"] == "unlock"
            self.moves.append((told["action"], headers["webhook-id"]))
            return 204


class Tap(http.server.BaseHTTPRequestHandler):
    """Between gate and lock: notes each call, and may lose it, or its answer, or keep it back."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        server = self.server
        server.seen.append((headers, body))
        if server.fate() == "lost":
            self.close_connection = True
            return
        status = server.lock.take(headers, body)
        if server.fate() == "answer lost":
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words):
        pass


def test_a_call_that_is_played_back_opens_nothing(times, attacked, seed):
    rng, lock = random.Random(seed), Lock()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tap)
    server.lock, server.seen = lock, []
    fates = {"whole": 0.9}
    server.fate = lambda: "whole" if rng.random() < fates["whole"] else rng.choice(
        ("lost", "answer lost")
    )  # fmt: skip
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/door"
    count, wrong, missing, relay = times(1500), [], [], None
    for number in range(count):
        if relay is None or rng.random() < 0.02:  # a start of the gate: a session of its own
            fates["whole"] = 1.0
            relay = WebhookRelay(url, limit_s=30.0)
            fates["whole"] = 0.9
        until_s = uptime_s() + 5.0
        unlock = Order(unlocks=True, id="a", reason="x", until_s=until_s, hold_s=5.0)
        with contextlib.suppress(OutputError):
            relay.unlock(unlock, lambda: False)
        deny = Order(unlocks=False, id="d", reason="x")
        while True:  # as the guardian does, until it works
            with contextlib.suppress(OutputError):
                relay.lock(deny, lambda: False)
                break
        if lock.is_open:
            missing.append(f"{seed} {number}")
        for _ in range(3):
            played = rng.choice(server.seen)
            lock.take(*played)
            if lock.is_open:
                wrong.append(f"{seed} {number}: {played[1]!r}")
                lock.is_open = False
    moves = [name for what, name in lock.moves if what == "unlock"]
    wrong += [f"{seed}: {name} moved it twice" for name in set(moves) if moves.count(name) > 1]
    server.shutdown()
    server.server_close()
    attacked(
        f"calls to a webhook's lock lost, their answers lost, {3 * count} of them played back "
        f"({len(moves)} openings)",
        count,
        openings=wrong,
        missing=missing,
    )


# ------------------------------------------------------------------------------ RTSP


class LossyRoad:
    """Between a gate and an RTSP server: drops packets of pictures, and lets words through.

    RTP comes within the RTSP connection, each packet as `$`, a channel and its length.
    """

    def __init__(self, port, rng):
        self._to = port
        self._rng = rng
        self.lost_share = 0.0
        self.lost = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to), 5.0)
                far.settimeout(None)
                for work in (self._forward, self._back):
                    threading.Thread(target=work, args=(near, far), daemon=True).start()

    @staticmethod
    def _forward(near, far):
        with contextlib.suppress(OSError):
            while data := near.recv(65536):
                far.sendall(data)
        with contextlib.suppress(OSError):
            far.shutdown(socket.SHUT_RDWR)

    def _back(self, near, far):
        with contextlib.suppress(OSError), near, far, far.makefile("rb") as server:
            while first := server.read(1):
                if first != b"$":
                    near.sendall(first + server.readline())
                    continue
                head = server.read(3)
                packet = server.read(int.from_bytes(head[1:], "big"))
                if head[0] % 2 == 0 and self._rng.random() < self.lost_share:
                    self.lost += 1
                    continue
                near.sendall(first + head + packet)

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()


@pytest.fixture
def rtsp(load):
    """The RTSP server of the tests, and its module."""
    module = load("gate/whole/test_rtsp.py")
    if not module.gstreamer_is_there():
        pytest.skip(f"needs an RTSP server: apt-get install {module.PACKAGES}")
    return module


def test_pictures_with_lost_packets_show_nobody_a_mask(
    rtsp, gate_bench, mqtt_bench, repo_root, tmp_path, times, attacked, seed
):
    """A bare face stays one, whatever is lost of its pictures; a masked one opens as it may."""
    rng, wrong, missing, lost = random.Random(seed), [], [], 0
    count = times(8)
    for number in range(count):
        who = ("without_mask", "with_mask")[number % 2]
        folder = tmp_path / str(number)
        folder.mkdir()
        picture = repo_root / f"assets/selftest/{who}.jpg"
        server = rtsp.RtspServer(mqtt_bench.free_port(), picture)
        server.start()
        road = LossyRoad(server.port, rng)
        try:
            with gate_bench.Gate(folder, f"rtsp://127.0.0.1:{road.port}/door") as gate:
                gate_bench.wait_until(lambda gate=gate: gate.reason is not None, PATIENCE_S)
                if who == "with_mask":
                    gate.wait_for_opening(PATIENCE_S)
                for share in (0.02, 0.2, 0.5, 0.9):
                    road.lost_share = share
                    time.sleep(2.0)
                if gate.end() != 0 or gate.edges[-1][1] != "locked":
                    missing.append(f"{seed} {number}: {who}")
                gate.check()
                if who == "without_mask" and any(to == "unlocked" for _, to, _ in gate.edges):
                    wrong.append(f"{seed} {number}: {gate.said[-1000:]}")
                wrong += [f"{seed} {number}"] * gate.wrong_openings
        finally:
            server.kill()
            road.close()
        lost += road.lost
    attacked(
        f"RTSP pictures (H.264) of which 2 to 90 of 100 packets are lost ({lost} packets)",
        count,
        openings=wrong,
        missing=missing,
    )
