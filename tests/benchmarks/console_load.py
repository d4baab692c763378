"""What a flood of the console costs the gate: frames per second with and without it, here.

    .venv/bin/python tests/benchmarks/console_load.py [--rounds 8] [--seconds 6] [--viewers 500]
                                                      [--rate 10000]

The whole gate judges the demo as fast as it can (a replay, over and over), with its console on.
Everything that is ours, gate, detector and console's server, has to share ONE core; the attackers
have another one for themselves, for in the world they sit at other machines. A round has three
turns, in an order that changes: nobody; the flood, which is viewers of the live picture that take a
byte a second, and so many requests a second, sent whether or not they are answered, half of them
on new connections, half without a login; and a process on the attackers' core that only spins,
which is what a busy neighbour costs here whatever it does. The console's own cost is the median of
flood against spinner; `console_of_a_core` is the processor time of its server besides, which no
noise of the machine touches. Nothing leaves the loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from pathlib import Path
from statistics import median
from urllib.parse import urlencode

from gate.assembly import (
    Manner,
    keep_in_view,
    open_console,
    open_detector,
    open_entrance,
    views_of,
)
from gate.camera import open_camera
from gate.config import GateConfig
from gate.domain import Frame
from gate.picture import Picture
from gate.quality import FrameGuard
from gate.runtime import Gate, Limits
from gate.tracker import Tracker
from gate.words import load_words

WARM_UP_S = 3.0
OUR_CORE, THEIR_CORE = 0, 1
KINDS = ("alone", "flood", "spin")

_LASTING = 16
_NEW_OPEN = 200
_TICK_S = 0.005


class EndlessDemo:
    """The demo over and over, each frame later than the one before."""

    is_live, ended = False, False

    def __init__(self) -> None:
        clip = open_camera("demo", realtime=False)
        self._images = []
        while (frame := clip.read(1.0)) is not None:
            self._images.append(frame.image)
        clip.close()
        self._count = 0

    def read(self, timeout_s: float) -> Frame:
        self._count += 1
        image = self._images[self._count % len(self._images)]
        return Frame(image, self._count / 15, self._count)


class Terminal:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said = ""

    def say(self, text: str) -> None:
        self.said += text + "\n"

    def status(self, scene: object, is_open: bool) -> None:
        pass

    def wait_for(self, pattern: str) -> str:
        end_s = time.monotonic() + 300.0
        while (found := re.search(pattern, self.said)) is None:
            assert time.monotonic() < end_s, self.said
            time.sleep(0.1)
        return found[1]


def turns(rounds: int) -> list[str]:
    """What happens in which turn: each kind once a round, no kind always first."""
    return [KINDS[(n + shift) % 3] for n in range(rounds) for shift in range(3)]


def ours() -> list[int]:
    """The bench itself and all below it."""
    found = [os.getpid()]
    for stat in sorted(Path("/proc").glob("[0-9]*/stat"), key=lambda path: int(path.parts[2])):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) in found:
                found.append(int(stat.parts[2]))
    return found


def pin_all(core: int) -> None:
    """Keep every thread of ours to a core, whatever they had chosen."""
    for task in (task for pid in ours() for task in Path(f"/proc/{pid}/task").glob("*")):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(int(task.name), {core})


def console_s() -> float:
    """Processor time that the console's server has taken, in seconds."""
    for pid in ours():
        with contextlib.suppress(OSError):
            if b"gate.console_server" in Path(f"/proc/{pid}/cmdline").read_bytes():
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


class Crowd:
    """Who is there besides the gate, in a process of its own."""

    def __init__(self, kind: str, address: str, password: str, options: argparse.Namespace) -> None:
        more = [address, password, str(options.viewers), str(options.rate)]
        self._process = subprocess.Popen(
            [sys.executable, __file__, f"--as-{kind}", *more],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def end(self) -> dict[str, float]:
        """Send it away; what it has counted."""
        self._process.terminate()
        said = self._process.communicate()[0]
        return dict(json.loads(said)) if said else {}


def measure(options: argparse.Namespace) -> dict[str, object]:
    os.sched_setaffinity(0, {OUR_CORE})
    config = GateConfig.model_validate(
        {"quality": {"loop_window_s": 0.0}, "console": {"enabled": True, "port": 0}}
    )
    manner, terminal = Manner(replay=True), Terminal()
    plan = turns(options.rounds)
    stamps: list[float] = []
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    shares: dict[str, list[float]] = {kind: [] for kind in KINDS}
    counted: list[dict[str, float]] = []
    with contextlib.ExitStack() as stack:
        say, tell = terminal.say, terminal.status
        entrance = stack.enter_context(open_entrance(config, manner, say, tell))
        detector = stack.enter_context(contextlib.closing(open_detector(config, manner)))
        (view,) = views_of(config) or ()
        keep_in_view(entrance, view)
        stack.enter_context(open_console(config, [view], say))
        address = terminal.wait_for(r"console: (http\S+)")
        password = terminal.wait_for(r"run is (\S+)")
        picture = Picture(None, None, load_words("en"), config.privacy, watcher=view)
        pin_all(OUR_CORE)
        crowd: Crowd | None = None
        turn, turn_ends_s = -1, time.perf_counter() + WARM_UP_S
        used_s = console_s()

        def next_turn() -> None:
            nonlocal crowd, turn, turn_ends_s, used_s
            counting = [t for t in stamps if t > turn_ends_s - options.seconds]
            stamps.clear()
            if turn >= 0:
                rates[plan[turn]].append((len(counting) - 1) / (counting[-1] - counting[0]))
                share = (console_s() - used_s) / (WARM_UP_S + options.seconds)
                shares[plan[turn]].append(share)
            if crowd is not None:
                counted.append(crowd.end())
                crowd = None
            turn += 1
            if turn < len(plan) and plan[turn] != "alone":
                crowd = Crowd(plan[turn], address, password, options)
            turn_ends_s = time.perf_counter() + WARM_UP_S + options.seconds
            used_s = console_s()

        def stop() -> bool:
            now_s = time.perf_counter()
            stamps.append(now_s)
            if now_s >= turn_ends_s:
                next_turn()
            return turn >= len(plan)

        entrance.keeper.policy.votes = config.policy.votes(detector.operating_point)
        gate = Gate(
            camera=EndlessDemo(),
            guard=FrameGuard(config.quality),
            detector=detector,
            tracker=Tracker(config.tracker, detector.operating_point),
            keeper=entrance.keeper,
            limits=Limits(1.0, 10.0, 3),
            show=picture,
            on_turn=view.turn,
        )
        gate.run(stop)
        if crowd is not None:
            crowd.end()
    floods = [one for one in counted if one]
    return {
        "fps": {kind: [round(rate, 2) for rate in rates[kind]] for kind in KINDS},
        "flood/spin": ratios(rates["flood"], rates["spin"]),
        "flood/alone": ratios(rates["flood"], rates["alone"]),
        "spin/alone": ratios(rates["spin"], rates["alone"]),
        "console_of_a_core": {kind: round(median(shares[kind]), 4) for kind in KINDS},
        "a_second": {key: round(median(one[key] for one in floods)) for key in floods[0]},
        "viewers": options.viewers,
        "engine": detector.engine_name,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


def ratios(these: list[float], those: list[float]) -> dict[str, object]:
    """Of neighbouring turns, with their median."""
    found = sorted(a / b for a, b in zip(these, those, strict=True))
    return {"median": round(median(found), 3), "range": [round(found[0], 3), round(found[-1], 3)]}


def log_in(port: int, password: str) -> str:
    """A guard's cookie."""
    body, host = urlencode({"password": password}), f"127.0.0.1:{port}"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(
            f"POST /login HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
        )
        said = b""
        while part := connection.recv(4096):
            said += part
    found = re.search(rb"set-cookie: ([^;]+)", said)
    assert found, said
    return found[1].decode()


async def look_on(port: int, cookie: str, viewers: int) -> None:
    """Viewers who take a byte of the picture a second, and come back when they are sent away."""
    asked = (
        f"GET /live.mjpg HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookie}\r\n\r\n".encode()
    )

    async def look() -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
                writer.write(asked)
                while await reader.read(1):
                    await asyncio.sleep(1.0)
                writer.close()
            await asyncio.sleep(1.0)

    await asyncio.gather(*(look() for _ in range(viewers)))


class Flood:
    """Requests at a steady rate, whether or not anybody answers.

    Attributes:
        counts: requests offered; of these, those that found room in a connection; and answers.
    """

    def __init__(self, port: int, cookie: str) -> None:
        self.counts = Counter(offered=0, sent=0, answered=0)
        self._port = port
        host = f"127.0.0.1:{port}"
        self._asked = [
            f"GET /api/state HTTP/1.1\r\nHost: {host}\r\nCookie: {who}\r\n\r\n".encode()
            for who in (cookie, "")
        ]
        self._lasting: list[socket.socket | None] = [None] * _LASTING
        self._new: deque[socket.socket] = deque()

    def run(self, rate: float, ended: threading.Event) -> None:
        """Until it is ended."""
        began_s = time.perf_counter()
        while not ended.wait(_TICK_S):
            due = int((time.perf_counter() - began_s) * rate)
            for number in range(self.counts["offered"], due):
                self._ask(number)
            self.counts["offered"] = max(due, self.counts["offered"])
            for connection in (*self._new, *filter(None, self._lasting)):
                self._hear(connection)

    def _ask(self, number: int) -> None:
        asked = self._asked[number // 2 % 2]
        try:
            if number % 2:
                connection = self._connected()
                self._new.append(connection)
                if len(self._new) > _NEW_OPEN:
                    self._new.popleft().close()
            else:
                seat = number // 4 % _LASTING
                connection = self._lasting[seat] or self._connected()
                self._lasting[seat] = connection
            sent = connection.send(asked)
            self.counts["sent"] += sent == len(asked)
            if sent < len(asked):  # what follows would make no sense
                self._forget(connection)
        except BlockingIOError:
            return
        except OSError:
            self._forget(connection)

    def _connected(self) -> socket.socket:
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(("127.0.0.1", self._port))
        return connection

    def _hear(self, connection: socket.socket) -> None:
        try:
            said = connection.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        self.counts["answered"] += said.count(b"HTTP/1.1 ")
        if not said:
            self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        connection.close()
        self._lasting = [None if one is connection else one for one in self._lasting]
        with contextlib.suppress(ValueError):
            self._new.remove(connection)


def flood(address: str, password: str, viewers: int, rate: float) -> None:
    """The attackers; say on standard output what was counted, at the end."""
    port = int(address.rstrip("/").rsplit(":", 1)[1])
    cookie = log_in(port, password)
    if not os.fork():  # who looks on has a process to himself
        asyncio.run(look_on(port, cookie, viewers))
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    attack, began_s = Flood(port, cookie), time.perf_counter()
    attack.run(rate, ended)
    took_s = time.perf_counter() - began_s
    print(json.dumps({key: count / took_s for key, count in attack.counts.items()}), flush=True)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)


def main() -> int:
    if sys.argv[1:2] in (["--as-spin"], ["--as-flood"]):
        os.sched_setaffinity(0, {THEIR_CORE})
        if sys.argv[1] == "--as-flood":
            flood(sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))
            return 0
        while True:
            pass
    parser = argparse.ArgumentParser(description="Measure what a flood of the console costs.")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--viewers", type=int, default=500)
    parser.add_argument("--rate", type=float, default=10_000.0, help="requests a second")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not {OUR_CORE, THEIR_CORE} <= os.sched_getaffinity(0):
        parser.error("needs two cores: one for the gate with its console, one for the attackers")
    found = measure(options)
    text = json.dumps(found)
    if options.json is not None:
        options.json.write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
