"""What was today survives a restart of the gate; what the audit cannot tell stops nothing."""

import contextlib
import os
import re
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from mask_gate.gate.audit.audit import Audit
from mask_gate.gate.audit.chain import Row
from mask_gate.gate.audit.rows import start_detail
from mask_gate.gate.audit.store import AuditStore
from mask_gate.gate.console.door_history import MOST_S, read_past_days, read_today
from mask_gate.gate.console.door_state import DoorState
from mask_gate.gate.console.login import write_password
from mask_gate.gate.domain import Decision, Reason, Sighting, Signal, SignalKind, State, Track
from mask_gate.gate.errors import OutputError
from mask_gate.gate.events import EventMaker, Scene
from mask_gate.models.labels import CLASS_NAMES, MaskLabel

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[3]
COMMAND = "import sys, mask_gate.gate.commands.gate; sys.exit(mask_gate.gate.commands.gate.main())"
PATIENCE_S = 60.0
NOON = datetime.now().astimezone().replace(hour=12, minute=0, second=0, microsecond=0)
MAKER = EventMaker("lobby", "sha256:x", wall=lambda: NOON)


def scene(label, number=1):
    """Somebody, and what everybody votes for."""
    seen = Sighting(5.0, label, 0.9, margin=0.5)
    track = Track(number, (1.0, 2.0, 3.0, 4.0), (seen,), 4.0, 5.0)
    reason = Reason.COMPLIANT if label is MaskLabel.WITH_MASK else Reason.NO_MASK
    state = State.ALLOW if label is MaskLabel.WITH_MASK else State.DENY
    return Scene(Decision(state, reason, 5.0, votes={number: {label: 3}}), (track,), 0.02)


def signal(label, name, number=1):
    opens = label is MaskLabel.WITH_MASK
    kind = SignalKind.ALLOW if opens else SignalKind.DENY
    one = scene(label, number)
    until_s = 7.0 if opens else None
    return MAKER.of_signal(Signal(kind, one.decision.reason, 5.0, name, until_s), one)


def record(path, *events, wall=NOON):
    """A run of a gate that ends."""
    with contextlib.closing(Audit(path, "lobby", wall=lambda: wall)) as audit:
        audit.check(PATIENCE_S)
        for event in events:
            audit.write(event)


OURS = os.getpid()


def recalled(path, gate_pid=OURS):
    state = DoorState(wall=lambda: NOON)
    for past in read_today(path, NOON, gate_pid):
        state.take_recorded_event(past.event, past.run)
    return state


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.sqlite"


class TestWhatIsRead:
    def test_nothing_of_nothing(self, path):
        record(path)
        assert read_today(path, NOON, os.getpid()) == []

    def test_events_come_back_as_they_were_as_far_as_the_audit_has_them(self, path):
        told = [
            signal(MaskLabel.WITHOUT_MASK, "a"),
            MAKER.of_decision(scene(MaskLabel.WITH_MASK), is_open=True),
        ]
        record(path, *told)
        kept = [past.event for past in read_today(path, NOON, os.getpid())]
        for key in (
            "id",
            "type",
            "state",
            "reason",
            "door",
            "faces",
            "gate",
            "model",
            "latency_ms",
        ):
            assert [event[key] for event in kept] == [event[key] for event in told]
        assert "signal" not in kept[1]
        assert kept[0]["signal"] == "deny"

    def test_what_was_counted_is_counted_again(self, path):
        record(
            path,
            signal(MaskLabel.WITHOUT_MASK, "a"),
            signal(MaskLabel.WITHOUT_MASK, "b"),  # the same person
            signal(MaskLabel.WITH_MASK, "c", number=2),
        )
        state = recalled(path)
        assert (state.today.openings, state.today.denials) == (1, 2)
        assert state.today.people == {"with_mask": 1, "without_mask": 1, "mask_weared_incorrect": 0}
        assert state.today.people_by_hour()[12]["with_mask"] == 1
        assert [event["id"] for event in state.events.newest_first()] == ["c", "b", "a"]

    def test_the_same_number_in_another_run_is_another_person(self, path):
        for name in "ab":
            record(path, signal(MaskLabel.WITH_MASK, name))
        assert recalled(path).today.people["with_mask"] == 2

    def test_yesterday_is_not_read(self, path):
        record(path, signal(MaskLabel.WITH_MASK, "a"), wall=NOON - timedelta(days=1))
        record(path, signal(MaskLabel.WITH_MASK, "b"))
        assert [past.event["id"] for past in read_today(path, NOON, 1)] == ["b"]

    def test_the_days_before_are_counted_each_for_itself(self, path):
        for days, name in ((3, "a"), (1, "b"), (1, "c"), (0, "d")):
            record(path, signal(MaskLabel.WITH_MASK, name), wall=NOON - timedelta(days=days))
        tally = read_past_days(path, NOON.date())
        openings = [
            tally.day((NOON - timedelta(days=days)).date().isoformat()).openings
            for days in range(4)
        ]
        assert openings == [0, 2, 0, 1]

    def test_the_newest_are_known_where_there_are_too_many(self, path):
        record(path, *(signal(MaskLabel.WITH_MASK, str(n)) for n in range(9)))
        # the row that ends the run is one of the three
        newest = read_today(path, NOON, 1, most_rows=3)
        assert [past.event["id"] for past in newest] == ["7", "8"]

    def test_time_is_bounded(self, path):
        record(path, *(signal(MaskLabel.WITH_MASK, str(n)) for n in range(9)))
        ticks = iter([0.0, *(n * MOST_S / 4 for n in range(99))])
        assert len(read_today(path, NOON, 1, clock=lambda: next(ticks))) == 3

    def test_rows_that_say_nothing_of_ours_are_left_out(self, path):
        store = AuditStore(path, busy_s=1.0, wall=lambda: NOON)
        store.open()
        said = "type signal, state deny, door locked"
        wall = NOON.astimezone(UTC).isoformat(timespec="milliseconds")
        whole = {"signal_id": "x", "decision": "deny", "reason": "no_mask", "wall": wall}
        odd = [{"detail": None}, {"detail": "type"}, {"reason": "odd"}, {"wall": "9999"},
               {"decision": "maybe"}, {"detail": said.replace("deny", "odd")}, {}]  # fmt: skip
        rows = [Row("event", **{"detail": said, **whole, **change}) for change in odd]
        with contextlib.closing(store):
            store.append(rows)
        assert [past.event["id"] for past in read_today(path, NOON, 1)] == ["x"]

    @pytest.mark.parametrize("what", ["missing", "empty", "other", "cut"])
    def test_what_is_no_audit_is_told(self, path, what):
        if what == "other":
            sqlite3.connect(path).close()
        elif what == "empty":
            path.touch()
        elif what == "cut":
            record(path, *(signal(MaskLabel.WITH_MASK, str(n)) for n in range(99)))
            path.write_bytes(path.read_bytes()[:8192])
        with pytest.raises(OutputError, match="cannot be read as an audit"):
            read_today(path, NOON, 1)


class TestDoorState:
    def test_what_the_gate_tells_again_is_not_counted_again(self, path):
        first = signal(MaskLabel.WITH_MASK, "a")
        record(path, first)
        state = recalled(path)
        state.take_event(first)  # which the gate keeps for a console that was replaced
        state.take_event(signal(MaskLabel.WITH_MASK, "b"))  # of the same person
        assert state.today.openings == 2
        assert state.today.people["with_mask"] == 1
        assert len(list(state.events.newest_first())) == 2

    def test_a_run_before_has_persons_of_its_own(self, path):
        record(path, signal(MaskLabel.WITH_MASK, "a"))
        state = recalled(path, gate_pid=1)
        state.take_event(signal(MaskLabel.WITH_MASK, "b"))
        assert state.today.people["with_mask"] == 2

    def test_counters_since_the_start_and_the_state_know_nothing_of_it(self, path):
        record(path, signal(MaskLabel.WITH_MASK, "a"))
        state = recalled(path)
        assert (state.totals.openings, state.totals.people["with_mask"]) == (0, 0)
        assert (state.live.state, state.live.reason) == (State.IDLE, Reason.STARTING)
        assert not state.live.is_open

    def test_a_day_ends(self, path):
        record(path, signal(MaskLabel.WITH_MASK, "a"))
        now = [NOON]
        state = DoorState(wall=lambda: now[0])
        for past in read_today(path, NOON, 1):
            state.take_recorded_event(past.event, past.run)
        now[0] = NOON + timedelta(days=1)
        assert state.today.openings == 0
        assert state.today.people == dict.fromkeys(CLASS_NAMES, 0)


def test_the_present_run_is_known_by_its_process():
    assert start_detail(17) == "process 17;"


class RunningGate:
    """`mask-gate --camera demo` with a console, its record in `folder`; ends by SIGKILL."""

    def __init__(self, folder, weights):
        (folder / "run").mkdir(mode=0o700, exist_ok=True)
        config, log = folder / "gate.yaml", folder / "log"
        config.write_text(
            f"gate: lobby\nconsole: {{enabled: true, port: 0, password_file: {folder}/guard}}\n"
            f"audit: {{path: {folder}/audit.sqlite}}\n"
        )
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", COMMAND, "--config", str(config), "--camera", "demo",
                 "--headless", "--mute", "--weights", str(weights), "--engine", "onnx"],
                cwd=ROOT, stderr=file,
                env={**os.environ, "RUNTIME_DIRECTORY": str(folder / "run"), "HOME": str(folder)},
            )  # fmt: skip
        self.log = log
        address = self.until(lambda: re.search(r"console: (http\S+)/", log.read_text()))[1]
        self.client = httpx.Client(base_url=address, timeout=PATIENCE_S)
        answer = self.client.post(
            "/login", data={"password": "guard of this test"}, headers={"Origin": address}
        )
        assert answer.status_code == 303

    def until(self, condition):
        end_s = time.monotonic() + PATIENCE_S
        while not (met := condition()) and time.monotonic() < end_s:
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        assert met, self.log.read_text()
        return met

    def state(self):
        return self.client.get("/api/state").json()

    def events(self):
        return self.client.get("/events.json").json()

    def people(self):
        title = re.search(r"<title>(.*?)</title>", self.client.get("/api/chart.svg").text)[1]
        return sum(map(int, re.findall(r"\d+", title)))

    def kill(self):
        self.client.close()
        self.process.kill()
        self.process.wait()


@pytest.mark.slow
def test_a_gate_that_was_killed_knows_its_day_and_one_with_a_damaged_record_works(
    tmp_path, small_detector
):
    write_password(tmp_path / "guard", "guard of this test")
    with contextlib.closing(contextlib.ExitStack()) as gates:
        first = RunningGate(tmp_path, small_detector)
        gates.callback(first.kill)
        first.until(lambda: first.state()["denials"])
        first.until(lambda: any(person_of(e) == "without_mask" for e in first.events()))
        people = first.people()
        assert people
        denials, before = first.state()["denials"], {event["id"] for event in first.events()}
        first.kill()

        second = RunningGate(tmp_path, small_detector)
        gates.callback(second.kill)
        second.until(lambda: before <= {event["id"] for event in second.events()})
        assert second.state()["denials"] >= denials
        assert second.people() >= people
        second.kill()

        path = tmp_path / "audit.sqlite"
        data = bytearray(path.read_bytes())
        data[4096:] = b"\xa5" * (len(data) - 4096)
        path.write_bytes(data)
        for ending in ("-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
        third = RunningGate(tmp_path, small_detector)
        gates.callback(third.kill)
        third.until(lambda: third.client.get("/healthz").status_code == 200)
        assert not before & {event["id"] for event in third.events()}


def person_of(event):
    return next((track["label"] for track in event["tracks"]), None)
