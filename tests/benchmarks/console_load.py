"""What a flood of the console costs the gate: frames per second with and without it, here.

    .venv/bin/python tests/benchmarks/console_load.py [--rounds 6] [--seconds 6] [--viewers 500]

The gate with all its processes, the console's among them, has one core of this machine to itself,
and those who flood have another: in the world they sit at other machines. The whole gate judges the
demo as fast as that core can (a replay, over and over), so that whatever else runs there takes from
its frames. In turns there is

- nobody;
- a flood: so many viewers of the live picture that take a byte now and then, and `--requests` a
  second over 64 connections, half without a login, whether or not the ones before are answered;
- a process that spins on the core of those who flood: what work there costs the gate through what
  the cores have in common (caches, memory, the host), without any console.

The cost is the median of the ratios of turns of one round; the order of turns changes from round to
round. Nothing leaves the loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from statistics import median
from urllib.parse import urlencode

from mask_gate.gate.camera.camera import open_camera
from mask_gate.gate.config.schema import GateConfig
from mask_gate.gate.domain import Frame
from mask_gate.gate.runtime.doors import Doors
from mask_gate.gate.runtime.parts import Parts
from mask_gate.gate.runtime.run_mode import RunMode
from mask_gate.gate.system.systemd import Supervisor

CONNECTIONS = 64
BATCH = 10
"""Requests in one packet."""

STUCK_S = 1.0
"""A connection that takes nothing for so long is given up for another."""

WARM_UP_S = 3.0
ARMS = ("quiet", "flood", "spin")


class EndlessDemo:
    """The demo over and over, each frame later than the one before, until all turns are over.

    Args:
        begin: makes the turns, once the gate asks for its first frame.
    """

    is_live = False

    def __init__(self, begin: Callable[[], Turns]) -> None:
        self._begin = begin
        clip = open_camera("demo", realtime=False)
        self._images = []
        while (frame := clip.read(1.0)) is not None:
            self._images.append(frame.image)
        clip.close()
        self._count = 0
        self.ended = False

    @cached_property
    def turns(self) -> Turns:
        return self._begin()

    def read(self, timeout_s: float) -> Frame | None:
        self.ended = self.turns.frame()
        if self.ended:
            return None
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

    def heard(self, pattern: str) -> str:
        end_s = time.monotonic() + 60
        while (found := re.search(pattern, self.said)) is None:
            assert time.monotonic() < end_s, self.said
            time.sleep(0.1)
        return found[1]


class Turns:
    """One arm after the other, each with a warm-up; frames are counted after that.

    Attributes:
        rates: frames per second of each arm, round by round.
        counted: what the flood says of itself, round by round.
    """

    def __init__(self, options: argparse.Namespace, flood: list[str], spin: list[str]) -> None:
        self._options = options
        self._commands = {"flood": flood, "spin": spin}
        order = [ARMS[number % 3 :] + ARMS[: number % 3] for number in range(options.rounds)]
        self._left = [arm for arms in order for arm in arms]
        self._stamps: list[float] = []
        self._helper: subprocess.Popen[bytes] | None = None
        self._arm = ""
        self._ends_s = time.perf_counter() + WARM_UP_S
        self.rates: dict[str, list[float]] = {arm: [] for arm in ARMS}
        self.counted: list[dict[str, int]] = []

    def frame(self) -> bool:
        """Note a frame; whether all turns are over."""
        now_s = time.perf_counter()
        self._stamps.append(now_s)
        if now_s < self._ends_s:
            return False
        stamps = [at_s for at_s in self._stamps if at_s > self._ends_s - self._options.seconds]
        if self._arm:
            self.rates[self._arm].append((len(stamps) - 1) / (stamps[-1] - stamps[0]))
        if self._helper is not None:
            self._helper.terminate()
            said = self._helper.communicate()[0]
            if self._arm == "flood":
                self.counted.append(json.loads(said))
            self._helper = None
        if not self._left:
            return True
        self._arm = self._left.pop(0)
        if self._arm in self._commands:
            self._helper = subprocess.Popen(self._commands[self._arm], stdout=subprocess.PIPE)
            assert self._helper.stdout is not None
            self._helper.stdout.readline()  # it has begun
        self._stamps.clear()
        self._ends_s = time.perf_counter() + WARM_UP_S + self._options.seconds
        return False


def measure(options: argparse.Namespace, others_core: int) -> dict[str, object]:
    """Run the gate through all turns."""
    config = GateConfig.model_validate(
        {"quality": {"loop_window_s": 0.0}, "console": {"enabled": True, "port": 0}}
    )
    terminal = Terminal()

    def begin() -> Turns:
        address, password = terminal.heard(r"console: (http\S+)"), terminal.heard(r"run is (\S+)")
        me = [sys.executable, __file__, "--core", str(others_core)]
        told = [address, password, str(options.viewers), str(options.requests)]
        return Turns(options, [*me, "--flood", *told], [*me, "--spin"])

    demo = EndlessDemo(begin)
    parts = Parts(open_source=lambda config, mode: contextlib.nullcontext(demo))
    mode = RunMode(replay=True, headless=True)
    Doors(config, mode, terminal, Supervisor({}), parts=parts).watch()
    turns = demo.turns
    lasted_s = WARM_UP_S + options.seconds
    pairs = (("flood", "quiet"), ("spin", "quiet"), ("flood", "spin"))
    return {
        "fps": {arm: [round(rate, 1) for rate in rates] for arm, rates in turns.rates.items()},
        "ratio": {f"{a}/{b}": _ratio(turns.rates[a], turns.rates[b]) for a, b in pairs},
        "sent_per_s": [round(each["sent"] / lasted_s) for each in turns.counted],
        "answered_per_s": [round(each["answered"] / lasted_s) for each in turns.counted],
        "refused_per_s": [round(each["refused"] / lasted_s) for each in turns.counted],
        "viewers": options.viewers,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


def _ratio(over: list[float], under: list[float]) -> list[float]:
    """Median, least and greatest of the ratios of each round."""
    ratios = sorted(a / b for a, b in zip(over, under, strict=True))
    return [round(value, 3) for value in (median(ratios), ratios[0], ratios[-1])]


class Flood:
    """Viewers that take nothing, and requests that wait for no answer.

    Attributes:
        counts: requests sent, answers that came, and those of them that were refusals.
    """

    def __init__(self, address: str) -> None:
        self._port = int(address.rstrip("/").rsplit(":", 1)[1])
        self._host = f"127.0.0.1:{self._port}"
        self.counts = dict.fromkeys(("sent", "answered", "refused"), 0)

    async def log_in(self, password: str) -> str:
        body = urlencode({"password": password})
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(
            f"POST /login HTTP/1.1\r\nHost: {self._host}\r\nOrigin: http://{self._host}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
        )
        found = re.search(rb"set-cookie: ([^;]+)", await reader.read())
        writer.close()
        return found[1].decode() if found else ""

    async def look(self, cookie: str) -> None:
        """One viewer, for ever; it comes back when it is sent away."""
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1024)
                writer.write(self._asked("/live.mjpg", cookie))
                while await reader.read(1):
                    await asyncio.sleep(1.0)
                writer.close()
            await asyncio.sleep(1.0)

    async def ask(self, cookie: str, per_s: float) -> None:
        """One connection after the other, each with so many requests a second."""
        batch = self._asked("/api/state", cookie) * BATCH
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                hearing = asyncio.create_task(self._hear(reader))
                taken_s = due_s = time.monotonic()
                while not hearing.done() and time.monotonic() - taken_s < STUCK_S:
                    if writer.transport.get_write_buffer_size() == 0:
                        taken_s = time.monotonic()
                        writer.write(batch)
                        self.counts["sent"] += BATCH
                    due_s += BATCH / per_s
                    await asyncio.sleep(max(due_s - time.monotonic(), 0.0))
                hearing.cancel()
                writer.transport.abort()
            await asyncio.sleep(0.01)

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                self.counts["answered"] += data.count(b"HTTP/1.1 ")
                self.counts["refused"] += data.count(b"HTTP/1.1 429") + data.count(b"HTTP/1.1 503")

    def _asked(self, path: str, cookie: str) -> bytes:
        return f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\nCookie: {cookie}\r\n\r\n".encode()


async def flood(address: str, password: str, viewers: int, requests: int) -> None:
    """Flood until told to end; then print what came of it."""
    crowd = Flood(address)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(15, ended.set)
    cookie = await crowd.log_in(password)
    print("begun", flush=True)
    per_s = requests / CONNECTIONS
    tasks = [
        asyncio.create_task(crowd.ask(cookie if number % 2 else "", per_s))
        for number in range(CONNECTIONS)
    ]
    tasks += [asyncio.create_task(crowd.look(cookie)) for _ in range(viewers)]
    await ended.wait()
    sys.stdout.write(json.dumps(crowd.counts))
    sys.stdout.flush()
    os._exit(0)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what a flood of the console costs.")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--viewers", type=int, default=500)
    parser.add_argument("--requests", type=int, default=10_000, help="a second")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--flood", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--spin", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    if options.spin:
        print("begun", flush=True)
        while True:
            pass
    if options.flood:
        address, password, viewers, requests = options.flood
        asyncio.run(flood(address, password, int(viewers), int(requests)))
        return 0
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        parser.error("needs two cores: one for the gate, one for those who flood")
    os.sched_setaffinity(0, {cores[0]})  # and with it every process of the gate
    found = measure(options, cores[1])
    text = json.dumps(found)
    if options.json is not None:
        options.json.write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
