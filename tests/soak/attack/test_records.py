"""Forged and exchanged files: the model, the record, two names of one relay, clocks that jump."""

import contextlib
import hashlib
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from mask_gate.gate.audit.audit import Audit
from mask_gate.gate.audit.chain import tip_of
from mask_gate.gate.audit.chain_check import ChainCheck
from mask_gate.gate.audit.limits import AuditLimits
from mask_gate.gate.audit.reader import AuditReader
from mask_gate.gate.errors import ConfigError

pytestmark = pytest.mark.soak

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 300.0
WATCHED_S = 8.0
"""A door is watched for so long after its model was exchanged."""


@pytest.fixture
def chains(load):
    return load("gate/audit/test_chain_check.py")


@pytest.fixture
def names(load):
    return load("gate/config/test_resolved_names.py")


# ------------------------------------------------------------------------------ the model


def evil_twin(model):
    """The same network, but that it takes bare faces for masked ones and the other way round."""
    onnx = pytest.importorskip("onnx", reason="pip install -e '.[train]'")

    loaded = onnx.load(str(model))
    graph = loaded.graph
    name = graph.output[0].name
    for node in graph.node:
        for place, output in enumerate(node.output):
            if output == name:
                node.output[place] = "as_it_was"
    columns = onnx.numpy_helper.from_array(np.array([0, 1, 2, 3, 4, 6, 5, 7]), "columns")
    graph.initializer.append(columns)
    graph.node.append(onnx.helper.make_node("Gather", ["as_it_was", "columns"], [name], axis=2))
    return loaded.SerializeToString()


def bit_rot(model, rng):
    """One bit of the file is another."""
    data = bytearray(model.read_bytes())
    data[rng.randrange(len(data) // 4, len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


EXCHANGES = ("twin", "twin and digest", "bit", "twin, before the start", "bit, before the start")


def test_an_exchanged_model_opens_for_no_bare_face(
    gate_bench, camera, tmp_path, times, attacked, seed, repo_root, small_detector
):
    camera.mode = "bare"
    count, wrong = times(10), []
    for number in range(count):
        rng, kind = random.Random(f"{seed} {number}"), EXCHANGES[number % len(EXCHANGES)]
        folder = tmp_path / str(number)
        folder.mkdir()
        model = folder / "m.onnx"
        weights = model
        if number % 2 or "before" in kind:  # a checkpoint with its exported twin
            weights = folder / "m.pth"
            shipped = repo_root / "assets/weights"
            shutil.copy(shipped / "mask-gate-lite.pth", weights)
            shutil.copy(shipped / "mask-gate-lite.onnx", model)
            shutil.copy(shipped / "mask-gate-lite.onnx.sha256", folder / "m.onnx.sha256")
        else:
            shutil.copy(small_detector, model)

        def exchange(kind=kind, model=model, rng=rng):
            content = evil_twin(model) if "twin" in kind else bit_rot(model, rng)
            part = model.with_suffix(".part")
            part.write_bytes(content)
            part.replace(model)
            if "digest" in kind:
                digest = hashlib.sha256(content).hexdigest()
                model.with_name("m.onnx.sha256").write_text(f"{digest}  m.onnx\n")

        if "before" in kind:
            exchange()
        with gate_bench.Gate(folder, camera.url, flags=("--weights", str(weights))) as gate:
            if "before" not in kind:
                gate_bench.wait_until(
                    lambda gate=gate: gate.reason in ("no_mask", "uncertain"), PATIENCE_S
                )
                exchange()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(gate.child("mask_gate.gate.detector.worker"), signal.SIGKILL)
            until_s = time.monotonic() + WATCHED_S
            while time.monotonic() < until_s and gate.process.poll() is None:
                time.sleep(0.1)
            openings = [at for at, level, _ in gate.edges if level == "unlocked"]
            if openings and "bit" not in kind:
                wrong.append(f"{seed} {number}: {kind}: {gate.said[-1000:]}")
            if not (gate.said.count("sha256") or gate.process.poll() or "weights" in gate.said):
                wrong.append(f"{seed} {number}: {kind} went unnoticed")
            gate.end() if gate.process.poll() is None else None
    attacked(
        "the model exchanged or damaged, before the start and while the gate runs, before it a "
        "bare face",
        count,
        openings=wrong,
    )


# ------------------------------------------------------------------------------ one relay, twice


def respelled(path, rng):
    """The same path in other words."""
    words = rng.choices((".", "folder/..", "./folder/./..", "folder/../."), k=rng.randint(0, 3))
    return "/".join([*words, path]).replace("/", rng.choice(("/", "//")))


def test_one_relay_by_two_names_is_refused(names, tmp_path, monkeypatch, times, attacked, seed):
    names.enter_folder(tmp_path, monkeypatch)
    pairs = list(names.SAME)
    relay = "relays: [{{kind: recording, path: '{}'}}]".format
    command = "outputs: {{on_allow: '{} x'}}".format
    for number in range(times(400)):
        rng = random.Random(f"{seed} {number}")
        first, second = (rng.choice(("a", "link", "hard")) for _ in range(2))
        pairs.append((relay(respelled(first, rng)), relay(respelled(second, rng))))
        ways = [rng.choice(("", "sh ", "env ", "nice ", "setsid sh ")) for _ in range(2)]
        scripts = [f"{way}./{respelled('folder/open.sh', rng)}" for way in ways]
        pairs.append(tuple(map(command, scripts)))
    passed = []
    for north, south in pairs:
        try:
            names.read(north, south)
        except ConfigError:
            continue
        passed.append(f"{north} and {south}")
    attacked("one camera, relay or record for two doors, by two names", len(pairs), openings=passed)


# ------------------------------------------------------------------------------ the record


def forge(chains, rng):
    """Rows taken away, and what somebody who can write to the file adds to explain it.

    Returns:
        What is left of the rows, the last one that is said to be deleted, and how many young rows
        are gone: by more than a day, for the clock of the machine that checks may be wrong.
    """
    whole, days, keep = chains.WHOLE, chains.DAYS, chains.KEEP_DAYS
    cut = rng.randrange(1, len(whole))
    last = tip_of(whole[cut - 1])
    chain = whole
    keep_days = rng.choice((keep, keep, 1.0, 5.0, 0.01, 36500.0))
    day = days + rng.choice((0.0, 0.5, 1.0, 30.0, 300.0))
    if rng.random() < 0.7:
        note = chains.note_of(day - rng.choice((0.0, 0.5)), keep_days)
        kind = rng.choice(("start", "clock"))
        said = f"process 2; {note}" if kind == "start" else str(note)
        row = chains.row(kind, day, said)
        if rng.random() < 0.5:
            row = replace(row, boot_id="another", mono_s=rng.uniform(0.0, 400 * 86400.0))
        chain = chains.add(chain, row)
    rows = rng.choice((last.seq, last.seq, last.seq - 1, 1))
    told = chains.pruned(last, rows, day, day - keep_days, keep_days)
    is_told = rng.random() < 0.8
    if is_told:
        chain = chains.add(chain, told)
    left = chains.without(chain, last)
    return (
        left,
        (last if is_told else None),
        max(0, last.seq - chains.last_before(whole, days - keep + 1).seq),
    )


def test_rows_taken_away_with_any_explanation_are_missed(chains, times, attacked, seed):
    count, unseen, told = times(4000), [], 0
    for number in range(count):
        left, last, young = forge(chains, random.Random(f"{seed} {number}"))
        check = ChainCheck(last, None, chains.NOW)
        for row in left:
            check.take(row)
        check.end()
        told += bool(check.shortened and not check.breaks)
        if young and not check.breaks and not check.shortened:
            unseen.append(f"{seed} {number}: {young} rows")
    attacked(
        f"rows of the record taken away, with forged rows that explain it ({told} not broken, but "
        "told as kept for less): not noticed",
        count,
        openings=unseen,
    )


class JumpingClocks:
    """A machine's clock that runs on, and a wall clock that anybody sets."""

    def __init__(self):
        self.mono_s = 1000.0
        self.off = timedelta()

    def mono(self):
        return self.mono_s

    def wall(self):
        return datetime(2026, 5, 1, tzinfo=UTC) + timedelta(seconds=self.mono_s) + self.off


def test_a_wall_clock_that_jumps_deletes_no_row(tmp_path, times, attacked, seed):
    """Months of jumps, in which no row grows as old as it must."""
    rng, clocks, path = random.Random(seed), JumpingClocks(), tmp_path / "audit.sqlite"
    limits = AuditLimits(prune_after_s=3600.0)
    count, written = times(200), 0
    audit = None
    for number in range(count):
        if audit is None or rng.random() < 0.1:  # a start, as after a power cut
            if audit is not None:
                audit.close()
            audit = Audit(path, "lobby", clock=clocks.mono, wall=clocks.wall, limits=limits)
            audit.check(PATIENCE_S)
        jump = rng.choice((3600.0, 86400.0, 400 * 86400.0, 9000 * 86400.0)) * rng.choice((-1, 1))
        clocks.off = timedelta(seconds=rng.choice((0.0, jump)))
        clocks.mono_s += rng.uniform(0.0, 3 * 3600.0)
        audit.alarm(f"row {number}")
        written += 1
        deadline_s = time.monotonic() + PATIENCE_S
        while _alarms(path) < written:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
    audit.close()
    with AuditReader(path) as reader:
        check = reader.check()
        first = check.first_seq
    lost = [f"{seed}: rows before {first}"] if first != 1 or _alarms(path) != written else []
    attacked("the wall clock set at random, runs of a record", count, openings=lost + check.breaks)


def _alarms(path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        (count,) = database.execute(
            "SELECT count(*) FROM rows WHERE kind = 'alarm' AND detail LIKE 'row %'"
        ).fetchone()
        return count


# Under libfaketime Python's own sleep fails (EINVAL), so the clock is set where the gate reads it.
CLOCK_DRIVER = """
import functools, os, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from mask_gate.gate.runtime import entrance
from mask_gate.gate.commands.gate import main

def wall():
    off_s = float(Path(os.environ["ATTACK_CLOCK"]).read_text() or 0)
    return datetime.now(UTC) + timedelta(seconds=off_s)

entrance.Audit = functools.partial(entrance.Audit, wall=wall)
entrance.EventMaker = functools.partial(entrance.EventMaker, wall=wall)
sys.exit(main())
"""


def test_a_gate_whose_wall_clock_jumps_goes_on(
    gate_bench, camera, tmp_path, monkeypatch, times, attacked, seed
):
    monkeypatch.setattr(gate_bench, "COMMAND", (sys.executable, "-c", CLOCK_DRIVER))
    rng, count, missing = random.Random(seed), times(60), []
    said = tmp_path / "clock"
    said.write_text("0")
    environment = {"ATTACK_CLOCK": str(said)}
    with gate_bench.Gate(tmp_path, camera.url, environment=environment) as gate:
        gate.wait_for_opening(PATIENCE_S)
        for number in range(count):
            days = rng.choice((0, 1 / 24, -1 / 24, 400, -400, 9000, -9000))
            said.write_text(str(days * 86400.0))
            time.sleep(rng.uniform(0.1, 0.8))
            if number % 10 == 9:
                gate.meets_a_bare_face(camera, PATIENCE_S)
        if gate.end() != 0 or gate.is_open:
            missing.append(seed)
        gate.check()
        wrong = gate.wrong_openings
    attacked(
        "a gate whose wall clock is set at random",
        count,
        openings=[seed] * wrong,
        missing=missing,
    )
