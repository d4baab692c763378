"""A real gate that tells somebody that its camera is away."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

pytestmark = pytest.mark.process

PATIENCE_S = 300.0


def test_a_camera_that_is_away_is_told_to_whoever_wants_to_know(gate_bench, tmp_path):
    came = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            came.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words):
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        urls = tmp_path / "urls"
        urls.write_text(f"json://127.0.0.1:{server.server_port}/\n")
        urls.chmod(0o600)
        notify = f"notify: {{urls_file: {urls}, fault_s: 0.0}}\n"
        with gate_bench.Gate(tmp_path, "http://127.0.0.1:9/none.mjpg", config=notify) as gate:
            gate_bench.wait_until(lambda: came, PATIENCE_S, f"a message ({gate.said})")
            assert gate.end(limit_s=PATIENCE_S) == 0
            gate.check()
        server.shutdown()
    assert came[0]["title"] == "mask-gate entrance"
    assert "entrance: out of order: the camera is away" in came[0]["message"]
