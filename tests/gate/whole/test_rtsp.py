"""A real RTSP server as the camera: killed, stopped, started again, with a password.

Needs, on Debian: apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base
gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
"""

import os
import signal
import subprocess
import time
from itertools import islice
from pathlib import Path

import pytest

from mask_gate.gate.camera.camera import open_camera
from mask_gate.gate.clock import uptime_s

SERVER = Path(__file__).with_name("rtsp_server.py")
PYTHON = "/usr/bin/python3"
PATIENCE_S = 60.0
PACKAGES = (
    "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad"
)


def gstreamer_is_there():
    program = (
        "import gi; gi.require_version('GstRtspServer', '1.0')\n"
        "from gi.repository import Gst, GstRtspServer; Gst.init(None)\n"
        "raise SystemExit(not Gst.ElementFactory.find('openh264enc'))"
    )
    if not Path(PYTHON).exists():
        return False
    return subprocess.run([PYTHON, "-c", program], capture_output=True).returncode == 0


pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        not gstreamer_is_there(), reason=f"needs an RTSP server: apt-get install {PACKAGES}"
    ),
]


class RtspServer:
    """One on the loopback device, on a port that stays the same."""

    def __init__(self, port, picture, codec="h264", login=()):
        self.port = port
        self._words = (str(self.port), str(picture), codec, *login)
        user = f"{':'.join(login)}@" if login else ""
        self.url = f"rtsp://{user}127.0.0.1:{self.port}/door"
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [PYTHON, str(SERVER), *self._words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdout.readline() == b"listening\n"

    def send(self, number):
        os.kill(self.process.pid, number)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None


@pytest.fixture
def serve(repo_root, mqtt_bench):
    """Starts servers, and leaves none behind."""
    servers = []

    def serve(*options):
        picture = repo_root / "assets/selftest/with_mask.jpg"
        server = RtspServer(mqtt_bench.free_port(), picture, *options)
        servers.append(server)
        server.start()
        return server

    yield serve
    for server in servers:
        server.kill()


def frames(camera, seconds):
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        if (frame := camera.read(0.2)) is not None:
            yield frame


@pytest.mark.parametrize("codec", ["h264", "mjpeg"])
def test_gives_fresh_pictures_in_order(serve, codec):
    camera = open_camera(serve(codec).url, first_frame_s=PATIENCE_S)
    try:
        coming = islice(frames(camera, PATIENCE_S), 20)
        found = [(frame.time_s, uptime_s(), frame) for frame in coming]
    finally:
        camera.close()
    assert len(found) == 20
    assert all(frame.image.shape == (416, 416, 3) for *_, frame in found)
    times = [taken_s for taken_s, *_ in found]
    assert times == sorted(set(times))
    assert max(read_s - taken_s for taken_s, read_s, _ in found) <= 0.5 + 0.2


def test_that_refuses_the_password_is_told_without_it(serve, caplog):
    server = serve("h264", ("admin", "S3cret"))
    right = open_camera(server.url, first_frame_s=PATIENCE_S)
    try:
        assert next(frames(right, PATIENCE_S)).image.shape == (416, 416, 3)
    finally:
        right.close()
    open_camera(server.url.replace("S3cret", "wr0ng"), first_frame_s=1.0).close()
    assert "no picture from rtsp://" in caplog.text
    assert "wr0ng" not in caplog.text


@pytest.mark.slow
def test_that_is_killed_or_stopped_keeps_the_door_locked_until_it_is_back(
    serve, gate_bench, tmp_path
):
    server = serve()
    with gate_bench.Gate(tmp_path, server.url) as gate:
        gate.wait_for_opening()
        for fault in ("killed", "stopped"):
            fault_s = time.monotonic()
            if fault == "killed":
                server.kill()
            else:
                server.send(signal.SIGSTOP)
            gate.locked_within(fault_s, gate_bench.LEASE_S)
            gate_bench.wait_until(lambda: gate.reason == "camera_lost", what=fault)
            time.sleep(1.0)
            gate.stays_locked(fault_s + 1.5, time.monotonic())
            back_s = time.monotonic()
            if fault == "killed":
                server.start()
            else:
                server.send(signal.SIGCONT)
            gate.wait_for_new_opening(back_s)
        assert gate.end() == 0
        gate.check()
