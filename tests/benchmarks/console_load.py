"""What a flood of the console costs the gate: frames per second with and without it, here.

    .venv/bin/python tests/benchmarks/console_load.py [--pairs 6] [--seconds 6] [--viewers 500]

The whole gate judges the demo as fast as it can (a replay, over and over), with its console on. In
turns there is nobody, and there are so many viewers of the live picture that take a byte now and
then, besides as many requests as 32 connections get answered, half without a login. The cost is the
median of the ratios of neighbouring turns.

Those who flood run at the lowest rank (SCHED_IDLE): in the world they sit at other machines. What
they cost here all the same is what `--control` measures: a process of that rank that only spins.
Nothing leaves the loopback.
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
from pathlib import Path
from statistics import median
from urllib.parse import urlencode

from gate.assembly import Manner, open_console, open_detector, open_entrance
from gate.camera import open_camera
from gate.config import GateConfig
from gate.domain import Frame
from gate.picture import Picture
from gate.quality import FrameGuard
from gate.runtime import Gate, Limits
from gate.tracker import Tracker
from gate.words import load_words

FLOODERS = 32
WARM_UP_S = 3.0


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


def measure(options: argparse.Namespace) -> dict[str, object]:
    config = GateConfig.model_validate(
        {"quality": {"loop_window_s": 0.0}, "console": {"enabled": True, "port": 0}}
    )
    manner, terminal = Manner(replay=True), Terminal()
    turns = 2 * options.pairs
    stamps: list[float] = []
    counted: list[list[float]] = []
    answered: list[int] = []
    with contextlib.ExitStack() as stack:
        say, tell = terminal.say, terminal.status
        entrance = stack.enter_context(open_entrance(config, manner, say, tell))
        detector = stack.enter_context(contextlib.closing(open_detector(config, manner)))
        console = stack.enter_context(open_console(config, entrance, say))
        assert console is not None
        assert console.wait_until_served(60)
        found = re.search(r"run is (\S+)", terminal.said)
        assert found
        picture = Picture(None, None, load_words("en"), config.privacy, watcher=console)
        crowd: subprocess.Popen[bytes] | None = None
        turn_ends_s = time.perf_counter() + WARM_UP_S

        def next_turn() -> None:
            nonlocal crowd, turn_ends_s
            counted.append([t for t in stamps if t > turn_ends_s - options.seconds])
            stamps.clear()
            if crowd is not None:
                crowd.terminate()
                answered.append(int(crowd.communicate()[0] or 0))
                crowd = None
            elif len(counted) < turns:
                what = "--spin" if options.control else "--crowd"
                command = [sys.executable, __file__, what, console.address, found[1]]
                crowd = subprocess.Popen([*command, str(options.viewers)], stdout=subprocess.PIPE)
            turn_ends_s = time.perf_counter() + WARM_UP_S + options.seconds

        def stop() -> bool:
            now_s = time.perf_counter()
            stamps.append(now_s)
            if now_s >= turn_ends_s:
                next_turn()
            return len(counted) > turns

        entrance.keeper.policy.votes = config.policy.votes(detector.operating_point)
        gate = Gate(
            camera=EndlessDemo(),
            guard=FrameGuard(config.quality),
            detector=detector,
            tracker=Tracker(config.tracker, detector.operating_point),
            keeper=entrance.keeper,
            limits=Limits(1.0, 10.0, 3),
            show=picture,
            on_turn=console.turn,
        )
        gate.run(stop)
    rates = [(len(turn) - 1) / (turn[-1] - turn[0]) for turn in counted[1:]]
    quiet, loud = rates[1::2], rates[0::2]
    ratios = sorted(b / a for a, b in zip(quiet, loud, strict=True))
    return {
        "fps_quiet": [round(rate, 1) for rate in quiet],
        "fps_flooded": [round(rate, 1) for rate in loud],
        "ratio_median": round(median(ratios), 3),
        "ratio_range": [round(ratios[0], 3), round(ratios[-1], 3)],
        "answered_per_s": [round(n / (WARM_UP_S + options.seconds)) for n in answered],
        "viewers": options.viewers,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


async def crowd(address: str, password: str, viewers: int) -> None:
    """Viewers that take nothing, and requests without end; the number answered, at the end."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    port = int(address.rstrip("/").rsplit(":", 1)[1])
    host = f"127.0.0.1:{port}"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = urlencode({"password": password})
    writer.write(
        f"POST /login HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
    )
    found = re.search(rb"set-cookie: ([^;]+)", await reader.read())
    assert found
    cookie = found[1].decode()
    count = 0

    async def look() -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
                writer.write(
                    f"GET /live.mjpg HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n".encode()
                )
                while await reader.read(1):
                    await asyncio.sleep(1.0)
                writer.close()
            await asyncio.sleep(1.0)

    async def flood(cookie: str) -> None:
        nonlocal count
        asked = f"GET /api/state HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n".encode()
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                while True:
                    writer.write(asked)
                    head = await reader.readuntil(b"\r\n\r\n")
                    size = re.search(rb"content-length: (\d+)", head)
                    await reader.readexactly(int(size[1]) if size else 0)
                    count += 1
                    if b"connection: close" in head:
                        break
            await asyncio.sleep(0)

    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(15, ended.set)
    tasks = [asyncio.create_task(flood(cookie if n % 2 else "")) for n in range(FLOODERS)]
    tasks += [asyncio.create_task(look()) for _ in range(viewers)]
    await ended.wait()
    sys.stdout.write(str(count))
    sys.stdout.flush()
    os._exit(0)


def main() -> int:
    if sys.argv[1:2] == ["--spin"]:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        while True:
            pass
    if sys.argv[1:2] == ["--crowd"]:
        asyncio.run(crowd(sys.argv[2], sys.argv[3], int(sys.argv[4])))
        return 0
    parser = argparse.ArgumentParser(description="Measure what a flood of the console costs.")
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--viewers", type=int, default=500)
    text = "in place of a crowd, a process of its rank that spins: what any work here costs"
    parser.add_argument("--control", action="store_true", help=text)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = measure(options)
    text = json.dumps(found)
    if options.json is not None:
        options.json.write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
