"""Console: its process serves what the gate says, and whatever happens to it holds up no door."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

import cv2
import numpy as np
import pytest

from mask_gate.gate.config.schema import GateConfig
from mask_gate.gate.console.config import ConsoleConfig, Timeouts
from mask_gate.gate.console.feed import ConsoleFeed, PictureDemand
from mask_gate.gate.console.process import Console
from mask_gate.gate.console.rate_limit import MOST_CONNECTIONS, MOST_OF_ONE_ADDRESS
from mask_gate.gate.console.server import RANK
from mask_gate.gate.console.wire import DoorSettings, ServerSettings
from mask_gate.gate.display.config import PrivacyConfig
from mask_gate.gate.domain import Decision, Frame, Reason, State
from mask_gate.gate.events import EventMaker, Scene
from mask_gate.gate.runtime.parts import aim_limits

pytestmark = pytest.mark.process

pytest.importorskip("uvicorn", reason="needs the console extra: pip install -e '.[console]'")

ROOT = Path(__file__).resolve().parents[3]
PASSWORD = "password for this test"
AIM = aim_limits(GateConfig())
PATIENCE_S = 60.0
MAKER = EventMaker("lobby", "sha256:x")
DENIED = Scene(Decision(State.DENY, Reason.NO_MASK, 5.0))


def until(condition):
    end_s = time.monotonic() + PATIENCE_S
    while not (met := condition()) and time.monotonic() < end_s:
        time.sleep(0.05)
    return met


def servers_below(processes_below, pid):
    """Process ids of the consoles that a process has started."""
    found = []
    for child in processes_below(pid):
        with contextlib.suppress(OSError):
            if b"gate.console.server" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found


def settings_for(names=("",), timeouts=None, **config):
    return ServerSettings(
        gate="lobby",
        language="en",
        console=ConsoleConfig(enabled=True, **{"port": 0, **config}),
        privacy=PrivacyConfig(),
        doors={
            name: DoorSettings(gate=f"lobby-{name}" if name else "lobby", config={}, aim=AIM)
            for name in names
        },
        password=PASSWORD,
        timeouts=timeouts or Timeouts(),
    )


class Served:
    """A console, a loop that feeds it with pictures, and a browser of sorts."""

    def __init__(self, gate_bench, names=("",), **options):
        self.said = []
        self.stillness = gate_bench.Stillness()
        self.processes_below = gate_bench.processes_below
        self.feeds = [ConsoleFeed(number) for number in range(len(names))]
        self.feed = self.feeds[0]
        self.console = Console(settings_for(names, **options), self.feeds, self.said.append)
        self.stop = threading.Event()
        self.longest_s = 0.0
        threading.Thread(target=self._loop, daemon=True).start()
        assert self.console.wait_until_served(PATIENCE_S)
        self.port = int(self.console.address.rstrip("/").rsplit(":", 1)[1])
        self.cookie = self.log_in()

    def _loop(self):
        """What the gate does, as fast as a camera; notes the longest call."""
        noise = np.random.default_rng(1)
        number = 0
        while not self.stop.wait(0.03):
            number += 1
            image = noise.integers(0, 256, (480, 640, 3), np.uint8)
            frame = Frame(image, float(number), number)
            began_s = time.monotonic()
            for feed in self.feeds:
                feed.show(frame, DENIED)
                feed.turn()
            ended_s = time.monotonic()
            took_s = ended_s - began_s - self.stillness.between(began_s, ended_s)
            self.longest_s = max(self.longest_s, took_s)

    @property
    def server_pid(self):
        """The process that serves the console; None between two of them."""
        return next(iter(servers_below(self.processes_below, os.getpid())), None)

    def request(self, path, how="GET", body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        headers = {"Cookie": getattr(self, "cookie", ""), **headers}
        connection.request(how, path, body, headers)
        return connection.getresponse()

    def log_in(self):
        answer = self.request(
            "/login", "POST", urlencode({"password": PASSWORD}),
            Origin=f"http://127.0.0.1:{self.port}",
        )  # fmt: skip
        assert answer.status == 303
        return answer.getheader("set-cookie").partition(";")[0]

    def close(self):
        self.stop.set()
        self.console.close()
        self.stillness.close()


@pytest.fixture
def served(gate_bench):
    with contextlib.closing(Served(gate_bench, viewers=2)) as served:
        yield served


def test_it_says_where_it_is_and_shows_what_the_gate_says(served):
    assert served.said == [f"console: {served.console.address}"]
    assert served.request("/api/state", Cookie="").status == 401
    served.feed.write(MAKER.of_decision(DENIED, is_open=False))
    assert until(lambda: b'"somebody wears no mask"' in served.request("/api/state").read())
    assert until(lambda: served.request("/healthz").status == 200)


def test_pictures_are_drawn_only_while_somebody_looks_and_for_no_more_than_the_cap(served):
    assert served.feed.demand is PictureDemand.NONE
    viewers = [served.request("/live.mjpg"), served.request("/kiosk.mjpg")]
    for viewer in viewers:
        data = viewer.read(40_000)
        assert data.startswith(b"--mask-gate-picture\r\nContent-Type: image/jpeg")
        assert b"\xff\xd8\xff" in data
    assert served.request("/live.mjpg").status == 503
    for viewer in viewers:
        viewer.close()
    assert until(lambda: served.feed.demand is PictureDemand.NONE)
    assert served.request("/live.mjpg").status == 200


@pytest.fixture
def impatient(gate_bench):
    """Waits for browsers no longer than it takes to see that it does not wait for ever."""
    timeouts = Timeouts(slow_viewer_s=1.0, idle_connection_s=2.0, login_form_s=1.0)
    with contextlib.closing(Served(gate_bench, viewers=2, timeouts=timeouts)) as served:
        yield served


def test_a_viewer_that_takes_nothing_is_dropped_and_makes_room(impatient):
    served = impatient
    stuck = []
    for _ in range(2):
        connection = socket.create_connection(("127.0.0.1", served.port))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(
            f"GET /live.mjpg HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n"
            f"Cookie: {served.cookie}\r\n\r\n".encode()
        )
        stuck.append(connection)
    assert until(lambda: served.request("/kiosk.mjpg").status == 503)
    assert until(lambda: served.request("/kiosk.mjpg").status == 200)
    for connection in stuck:
        connection.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="has 127.0.0.2: needs Linux")
def test_one_address_that_takes_every_connection_leaves_room_for_another(impatient):
    """As 500 viewers from one machine would."""
    served = impatient

    def connect(source):
        return socket.create_connection(("127.0.0.1", served.port), source_address=(source, 0))

    def is_held(connection):
        try:
            return connection.recv(1) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(connect("127.0.0.2")) for _ in range(2 * MOST_CONNECTIONS)]
        for connection in crowd:
            connection.setblocking(False)
        assert until(lambda: sum(map(is_held, crowd)) <= MOST_OF_ONE_ADDRESS)
        assert served.request("/api/state").status == 200
        assert until(lambda: not any(map(is_held, crowd)))  # who asks for nothing has to go


def test_addresses_that_take_every_connection_leave_room_for_strangers_and_for_guards(impatient):
    """As a few machines that open connections and send nothing."""
    served = impatient
    assert served.request("/api/state").status == 200
    with contextlib.ExitStack() as stack:
        for _ in range(MOST_OF_ONE_ADDRESS):
            for source in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
                with contextlib.suppress(OSError):
                    there = ("127.0.0.1", served.port)
                    stack.enter_context(socket.create_connection(there, source_address=(source, 0)))
        stranger = stack.enter_context(
            socket.create_connection(("127.0.0.1", served.port), source_address=("127.0.0.9", 0))
        )
        stranger.settimeout(PATIENCE_S)
        host = f"127.0.0.1:{served.port}"
        stranger.sendall(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert stranger.recv(4096).startswith((b"HTTP/1.1 200", b"HTTP/1.1 503"))
        assert served.request("/api/state").status == 200


def test_a_form_that_does_not_come_keeps_nobody_from_logging_in(impatient):
    served = impatient
    host = f"127.0.0.1:{served.port}"
    with socket.create_connection(("127.0.0.1", served.port)) as slow:
        slow.sendall(
            f"POST /login HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n"
            "Content-Length: 100\r\n\r\npassword=".encode()
        )
        assert served.log_in()
        slow.settimeout(PATIENCE_S)
        assert b"400 Bad Request" in slow.recv(4096)


def test_logging_out_ends_the_pictures_too(served):
    viewer = served.request("/live.mjpg")
    viewer.read(1000)
    assert served.request(
        "/logout", "POST", Origin=f"http://127.0.0.1:{served.port}"
    ).status == 303  # fmt: skip
    viewer.read()


def test_a_tile_gets_small_pictures_while_it_asks_for_them_and_its_door_alone_is_drawn(gate_bench):
    with contextlib.closing(Served(gate_bench, ("north", "south"))) as served:
        assert served.request("/doors/north/tile.jpg", Cookie="").status == 401
        for _ in range(3):
            answer = served.request("/doors/north/tile.jpg")
            assert (answer.status, answer.getheader("content-type")) == (200, "image/jpeg")
            image = cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR)
            assert image.shape == (360, 480, 3)
        assert [feed.demand for feed in served.feeds] == [PictureDemand.TILE, PictureDemand.NONE]
        viewer = served.request("/doors/north/live.mjpg")
        viewer.read(1000)
        assert until(lambda: served.feeds[0].demand is PictureDemand.LIVE)
        assert served.request("/doors/north/tile.jpg").status == 200
        viewer.close()
        assert until(lambda: served.feeds[0].demand is PictureDemand.NONE)


def test_a_door_out_of_service_is_told_of_at_its_own_tile(gate_bench):
    with contextlib.closing(Served(gate_bench, ("north", "south"))) as served:
        served.stop.set()
        south = threading.Event()

        def turn():
            while not south.wait(0.05):
                served.feeds[1].turn()
                served.feeds[0].out_of_service(Reason.AUDIT_UNAVAILABLE)

        turning = threading.Thread(target=turn)
        turning.start()

        def told():
            doors = json.loads(served.request("/api/doors").read())["doors"]
            told = [(doors[name]["state"], doors[name]["reason"]) for name in ("north", "south")]
            return told == [("fault", "audit_unavailable"), ("deny", "no_mask")]

        assert until(told)
        south.set()
        turning.join()
        served.stop.set()


def test_a_server_that_is_killed_is_replaced_and_knows_what_happened_before(served):
    served.feed.write(MAKER.of_decision(DENIED, is_open=False))
    first = served.server_pid
    os.kill(first, signal.SIGKILL)
    assert until(lambda: served.server_pid not in (None, first))

    def knows():
        with contextlib.suppress(OSError, AssertionError, ValueError):
            served.port = int(served.console.address.rstrip("/").rsplit(":", 1)[1])
            served.cookie = served.log_in()
            return b'"somebody wears no mask"' in served.request("/api/events").read()
        return False

    assert until(knows)
    assert served.longest_s < 0.5


def test_a_server_that_is_stopped_holds_nobody_up(served):
    os.kill(served.server_pid, signal.SIGSTOP)
    for _ in range(3000):
        served.feed.write(MAKER.of_decision(DENIED, is_open=False))
    time.sleep(1.0)
    assert served.longest_s < 0.5
    began_s = time.monotonic()
    served.console.close()
    assert time.monotonic() - began_s < 20.0


# A gate with nothing but a console; it says when that is served, and hangs.
GATE = """
import time
from mask_gate.gate.console.config import ConsoleConfig
from mask_gate.gate.console.feed import ConsoleFeed
from mask_gate.gate.console.process import Console
from mask_gate.gate.console.wire import DoorSettings, ServerSettings
from mask_gate.gate.display.config import PrivacyConfig
from mask_gate.gate.config.schema import GateConfig
from mask_gate.gate.runtime.parts import aim_limits
settings = ServerSettings(
    gate="lobby", language="en", console=ConsoleConfig(enabled=True, port=0),
    privacy=PrivacyConfig(),
    doors={"": DoorSettings(gate="lobby", config={}, aim=aim_limits(GateConfig()))},
    password="a long password",
)
console = Console(settings, [ConsoleFeed(0)], lambda text: None)
assert console.wait_until_served(60.0)
print("served", flush=True)
time.sleep(600)
"""


def test_the_server_ends_with_the_gate(gate_bench):
    gate = subprocess.Popen([sys.executable, "-c", GATE], cwd=ROOT, stdout=subprocess.PIPE)
    with gate, contextlib.closing(gate.stdout) as said:
        assert said.readline() == b"served\n"
        (server,) = servers_below(gate_bench.processes_below, gate.pid)
        gate.kill()
    assert until(lambda: not Path(f"/proc/{server}").exists())


def test_a_port_that_is_taken_is_told(caplog):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = settings_for(port=taken.getsockname()[1])
        with contextlib.closing(Console(settings, [ConsoleFeed(0)], print)) as console:
            assert until(lambda: "the console cannot be served: " in caplog.text)
            assert not console.wait_until_served(0.0)


def test_it_has_a_lower_rank_than_the_gate_in_the_same_session(served):
    """Linux may share the processor among sessions first; a rank counts within one."""
    assert os.getpriority(os.PRIO_PROCESS, served.server_pid) >= RANK
    assert os.getsid(served.server_pid) == os.getsid(0)
