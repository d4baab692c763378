"""Who has a door, and who locks it: owners at once, and `mask-gate --lock` against what hangs."""

import contextlib
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 300.0

KEEPER = """
import os, sys
from mask_gate.gate.door.ownership import Ownership, runtime_folders
from mask_gate.gate.errors import OutputError
if uid := int(sys.argv[2]):
    os.setgid(uid)
    os.setuid(uid)
print("there", flush=True)
sys.stdin.readline()
try:
    door = Ownership(sys.argv[1], runtime_folders(os.environ), wait_s=0.2)
except OutputError:
    print("refused", flush=True)
else:
    print("owner", flush=True)
sys.stdin.read()
"""

NOBODY = 65534
AT_ONCE = 6

SETTINGS = {
    "XDG_RUNTIME_DIR": (None, "{folder}/xdg", "/nowhere", ""),
    "TMPDIR": (None, "{folder}", "/nowhere"),
    "HOME": (None, "{folder}", ""),
    "XDG_STATE_HOME": (None, "{folder}/state"),
}


def an_environment(rng, folder):
    """One that a user's shell, cron or a service might have."""
    kept = {
        name: text
        for name, text in os.environ.items()
        if name not in {*SETTINGS, "RUNTIME_DIRECTORY", "STATE_DIRECTORY"}
    }
    for name, texts in SETTINGS.items():
        if (text := rng.choice(texts)) is not None:
            kept[name] = text.format(folder=folder)
    return {**kept, "PYTHONPATH": str(ROOT)}


def test_of_several_at_once_one_has_the_door(tmp_path, times, attacked, seed):
    count, doubled, nobody = times(40), [], []
    uid = NOBODY if os.geteuid() == 0 else 0
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        environments = [an_environment(rng, tmp_path) for _ in range(AT_ONCE)]
        keepers = [
            subprocess.Popen(
                [sys.executable, "-c", KEEPER, f"attack-{os.getpid()}-{number}", str(uid)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for environment in environments
        ]
        assert [keeper.stdout.readline() for keeper in keepers] == ["there\n"] * AT_ONCE
        for keeper in keepers:
            keeper.stdin.write("\n")
            keeper.stdin.flush()
        owners = [keeper.stdout.readline() for keeper in keepers].count("owner\n")
        if owners > 1:
            doubled.append(f"{seed} {number}: {owners} owners, {environments}")
        if owners == 0:
            nobody.append(f"{seed} {number}: {environments}")
        for keeper in keepers:
            keeper.kill()
            keeper.communicate()
    attacked(
        f"{AT_ONCE} owners of one user at once, in environments of their own: more than one, none",
        count,
        openings=doubled,
        missing=nobody,
    )


REDIRECTIONS = (
    "",
    "<&-",
    ">&-",
    "2>&-",
    "<&- >&- 2>&-",
    ">/dev/full 2>/dev/full",
    "</dev/null >&- 2>/dev/full",
)
AGAINST = ("nobody", "a guardian that stands still", "a gate and a guardian that stand still")


@pytest.fixture
def hung_gate(gate_bench, patient_gate, camera, tmp_path):
    """Starts a gate whose door is open, in a place of its own."""

    def start(number):
        folder = tmp_path / str(number)
        folder.mkdir()
        places = {}
        for name in ("RUNTIME_DIRECTORY", "STATE_DIRECTORY"):
            place = folder / name.lower()
            place.mkdir(mode=0o700)
            places[name] = str(place)
        gate = gate_bench.Gate(folder, camera.url, template=patient_gate, environment=places)
        return gate, places

    return start


def test_lock_by_hand_locks_whatever_hangs_and_is_closed(
    gate_bench, hung_gate, times, attacked, seed
):
    missing, count = [], times(len(REDIRECTIONS) * len(AGAINST))
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        words, against = REDIRECTIONS[number % len(REDIRECTIONS)], AGAINST[number % len(AGAINST)]
        gate, places = hung_gate(number)
        with gate:
            gate.wait_for_opening(PATIENCE_S)
            guardian = gate.child("mask_gate.gate.relays.guardian")
            if against == "nobody":  # gate and guardian are killed, the door is left open
                victims = [(gate.pid, signal.SIGKILL), (guardian, signal.SIGKILL)]
            elif against == "a guardian that stands still":
                victims = [(guardian, signal.SIGSTOP), (gate.pid, signal.SIGKILL)]
            else:
                victims = [(guardian, signal.SIGSTOP), (gate.pid, signal.SIGSTOP)]
            for pid, what in victims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, what)
                time.sleep(rng.uniform(0.0, 0.05))
            command = shlex.join([*gate_bench.COMMAND, "--lock", "--config", str(gate.config)])
            subprocess.run(
                ["sh", "-c", f"{command} {words}"],
                env={**os.environ, "PYTHONPATH": str(ROOT), **places},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=PATIENCE_S,
                check=False,
            )
            if gate.is_open:
                missing.append(f"{seed} {number}: --lock {words}, against {against}")
    attacked(
        "`mask-gate --lock` against nobody, a hung guardian, a hung gate and guardian, with "
        "standard streams closed or full",
        count,
        missing=missing,
    )


def test_a_start_with_few_descriptors_locks(gate_bench, tmp_path, times, attacked, seed):
    """A door that was left open, and a start or a `--lock` that can open hardly any file."""
    missing, count = [], times(24)
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        folder = tmp_path / str(number)
        (folder / "run").mkdir(parents=True, mode=0o700)
        door = folder / "door"
        door.write_text("1.0 unlocked a\n")
        most, lock = rng.randint(8, 40), rng.choice(("--lock", "--headless --seconds 1"))
        config = folder / "gate.yaml"
        config.write_text(
            f"camera: {{source: demo}}\nrelays: [{{kind: recording, path: {door}}}]\n"
            f"audit: {{path: {folder}/audit.sqlite}}\n"
        )
        command = shlex.join([*gate_bench.COMMAND, "--config", str(config), *lock.split()])
        done = subprocess.run(
            ["sh", "-c", f"ulimit -n {most}; exec {command}"],
            env={
                **os.environ, "PYTHONPATH": str(ROOT), "RUNTIME_DIRECTORY": str(folder / "run"),
            },
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )  # fmt: skip
        is_locked = door.read_text().split()[-2] == "locked"
        print(number, most, lock, done.returncode, is_locked, done.stderr[-200:], flush=True)
        if not is_locked:
            missing.append(f"{seed} {number}: {lock} with {most} descriptors: {done.stderr[-500:]}")
    attacked("starts and `--lock` with 8 to 40 file descriptors", count, missing=missing)
