"""The audit: no opening before its row is on the disk, and nobody else ever waits for the disk."""

import contextlib
import json
import re
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mask_gate.gate.audit.audit import Audit
from mask_gate.gate.audit.chain import COLUMNS, Tip
from mask_gate.gate.audit.clock import AuditClock
from mask_gate.gate.audit.limits import AuditLimits
from mask_gate.gate.audit.reader import AuditReader
from mask_gate.gate.audit.store import AuditStore
from mask_gate.gate.domain import Decision, Reason, Sighting, Signal, SignalKind, State, Track
from mask_gate.gate.door.reporter import EventSink
from mask_gate.gate.errors import AuditError, OutputError
from mask_gate.gate.events import EventMaker, Scene
from mask_gate.models.labels import MaskLabel

pytestmark = pytest.mark.process

LONG_S = 30.0
"""Long enough for any machine; a test that waits so long has failed."""

PATIENT = AuditLimits(close_s=LONG_S, retry_s=0.1, idle_s=0.05)
"""Whatever else the machine does, there is time to write what waits at the end."""

SHORT_END = replace(PATIENT, close_s=0.3)
SELDOM_RETRIED = replace(PATIENT, retry_s=LONG_S)
"""What recovers does so because somebody asked, not because time passed."""


class Wall:
    """The time of day; goes with the clock until somebody sets it."""

    def __init__(self, clock):
        self.clock = clock
        self.begin = datetime(2026, 5, 1, 8, 0, 0, tzinfo=UTC)

    def __call__(self):
        return self.begin + timedelta(seconds=self.clock() - 1000.0)

    def step(self, seconds):
        self.begin += timedelta(seconds=seconds)


class Disk:
    """A disk under the test's control, between the audit and SQLite."""

    def __init__(self):
        self.error = None
        self.lies = False  # a commit is carried out, and reported as failed
        self.committing = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def hold(self):
        """From now on, commits wait for `go`."""
        self.committing.clear()
        self.go.clear()

    def mend(self):
        self.error = None
        self.go.set()

    def connect(self, *where, **how):
        disk = self

        class Connection(sqlite3.Connection):
            def execute(self, sql, *values):
                if disk.error is not None and sql.startswith("BEGIN"):
                    raise sqlite3.OperationalError(disk.error)
                if sql == "COMMIT":
                    disk.committing.set()
                    disk.go.wait(LONG_S)
                    if disk.lies:
                        disk.lies = False
                        super().execute(sql)
                        raise sqlite3.OperationalError("disk I/O error")
                return super().execute(sql, *values)

        return sqlite3.connect(*where, factory=Connection, **how)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.sqlite"


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def wall(clock):
    return Wall(clock)


@pytest.fixture
def begin(path, clock, wall, disk):
    """Begins an audit whose file can be written, and ends it after the test."""
    with contextlib.ExitStack() as stack:

        def begun(**settings):
            settings = {"clock": clock, "wall": wall, "connect": disk.connect} | settings
            audit = Audit(path, "lobby", **{"wait_s": LONG_S, "limits": PATIENT} | settings)
            stack.callback(audit.close)
            stack.callback(disk.mend)
            audit.check(LONG_S)
            return audit

        yield begun


@pytest.fixture
def audit(begin):
    return begin()


def opening(number=1):
    return Signal(SignalKind.ALLOW, Reason.COMPLIANT, 1000.0, f"s{number}", until_s=1005.0)


def event(number=1):
    seen = Sighting(1000.0, MaskLabel.WITH_MASK, 0.93, margin=0.5)
    track = Track(1, (1.0, 2.0, 3.0, 4.0), (seen,), 990.0, 1000.0)
    scene = Scene(Decision(State.ALLOW, Reason.COMPLIANT, 1000.0), (track,), 0.1)
    return EventMaker("lobby", "sha256:abc").of_signal(opening(number), scene)


def denial(number):
    return {"id": f"d{number}", "type": "decision", "state": "deny", "reason": "no_mask"}


def rows(path):
    """Every row on the disk now, by column, of a chain that is whole."""
    with AuditReader(path) as reader:
        assert reader.check().breaks == []
        return [dict(zip(COLUMNS, row, strict=True)) for row in reader.rows()]


def kinds(path):
    return [row["kind"] for row in rows(path)]


def eventually(condition):
    deadline_s = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline_s, "it never happened"
        time.sleep(0.01)


class TestAnOpening:
    def test_is_on_the_disk_when_it_may_happen(self, audit, path):
        audit.intend(opening(), event())
        assert [row["signal_id"] for row in rows(path) if row["kind"] == "intent"] == ["s1"]

    def test_leaves_a_row_that_says_everything(self, audit, path, clock):
        audit.stamp.config = "sha256:def"
        clock.advance(0.25)
        audit.intend(opening(), event())
        row = rows(path)[-1]
        assert re.fullmatch(r"[0-9a-f-]{36}|unknown", row.pop("boot_id"))
        assert len(row.pop("hash")) == len(row.pop("previous")) == 64
        assert row == {
            "seq": 2,
            "kind": "intent",
            "signal_id": "s1",
            "decision": "allow",
            "reason": "compliant",
            "faces": 1,
            "classes": '{"with_mask":1}',
            "confidences": "[0.93]",
            "model": "sha256:abc",
            "config": "sha256:def",
            "relay": None,
            "outcome": None,
            "detail": "type signal, state allow, door open, until_s 1005.0, latency_ms 100.0",
            "anchor_seq": None,
            "anchor_hash": None,
            "wall": "2026-05-01T08:00:00.250Z",
            "mono_s": 1000.25,
            "gate": "lobby",
        }

    def test_is_followed_by_what_the_relays_did(self, audit, path):
        audit.intend(opening(), event())
        audit.result("s1", "gpio pin 17", "unlocked")
        audit.write(event())
        audit.close()
        told = [(row["kind"], row["relay"], row["outcome"]) for row in rows(path)]
        assert told == [
            ("start", None, None),
            ("intent", None, None),
            ("result", "gpio pin 17", "unlocked"),
            ("event", None, None),
            ("stop", None, None),
        ]

    def test_waits_for_its_own_row_whoever_else_waits(self, audit, path):
        def open_often(who):
            for number in range(10):
                audit.intend(opening(f"{who}-{number}"), event())

        threads = [threading.Thread(target=open_often, args=(who,)) for who in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG_S)
        assert kinds(path).count("intent") == 40


class TestASlowDisk:
    def test_means_no_opening_and_the_trail_says_so(self, begin, disk, path):
        audit = begin(wait_s=0.05)
        disk.hold()
        with pytest.raises(AuditError, match=r"audit .*: no row on the disk within 0.05 s"):
            audit.intend(opening(), event())
        assert not disk.go.is_set(), "the opening waited for the disk"
        disk.go.set()
        eventually(lambda: kinds(path)[-1] == "result")
        intent, refusal = rows(path)[-2:]
        assert (intent["kind"], intent["signal_id"]) == ("intent", "s1")
        assert (refusal["signal_id"], refusal["outcome"]) == ("s1", "not opened")
        assert (refusal["decision"], refusal["reason"]) == ("deny", "audit_unavailable")

    def test_gives_the_refusal_with_the_row_when_the_time_was_up_before(self, begin, disk, path):
        audit = begin(wait_s=0.05)
        disk.hold()
        audit.write(denial(1))
        assert disk.committing.wait(LONG_S)
        for number in (1, 2):
            with pytest.raises(AuditError):
                audit.intend(opening(number), event())
        disk.go.set()
        eventually(lambda: kinds(path)[-1] == "result")
        told = [(row["kind"], row["signal_id"]) for row in rows(path)[2:]]
        assert told == [("intent", "s1"), ("result", "s1"), ("intent", "s2"), ("result", "s2")]

    def test_holds_up_no_event(self, audit, disk):
        disk.hold()
        done = threading.Event()

        def write_many():
            for number in range(2000):
                audit.write(denial(number))
                audit.result("s1", "relay", "locked")
            done.set()

        threading.Thread(target=write_many, daemon=True).start()
        assert done.wait(LONG_S)
        assert not disk.go.is_set()

    def test_does_not_hold_up_the_end_for_long(self, begin, disk):
        audit = begin(limits=SHORT_END)
        disk.hold()
        audit.write(denial(1))
        began_s = time.monotonic()
        audit.close()
        assert time.monotonic() - began_s < LONG_S / 2
        assert not disk.go.is_set()


class TestADiskThatRefuses:
    @pytest.fixture
    def audit(self, begin):
        return begin(limits=SELDOM_RETRIED)

    def test_means_no_opening_at_once(self, audit, disk, path):
        disk.error = "database or disk is full"
        began_s = time.monotonic()
        with pytest.raises(AuditError, match="database or disk is full; see that") as caught:
            audit.intend(opening(), event())
        assert time.monotonic() - began_s < LONG_S / 2
        assert isinstance(caught.value, OutputError)
        assert caught.value.exit_code == 5
        assert "database or disk is full" in audit.fault

    def test_is_asked_again_for_the_next_opening(self, audit, disk, path):
        disk.error = "database or disk is full"
        with pytest.raises(AuditError):
            audit.intend(opening(1), event())
        disk.error = None
        audit.intend(opening(2), event())
        told = [(row["kind"], row["signal_id"]) for row in rows(path)[1:4]]
        assert told == [("intent", "s1"), ("result", "s1"), ("intent", "s2")]
        eventually(lambda: audit.fault is None)

    def test_loses_no_row_and_is_told_once(self, audit, disk, path, clock, caplog):
        disk.error = "database or disk is full"
        audit.write(denial(0))
        eventually(lambda: audit.fault is not None)
        clock.advance(7.5)
        for number in range(1, 700):
            audit.write(denial(number))
            if number % 100 == 0:
                with pytest.raises(AuditError):
                    audit.intend(opening(number), event())
        disk.error = None
        with contextlib.suppress(AuditError):  # the rows before it may take a while
            audit.intend(opening("last"), event())
        audit.close()
        kept = rows(path)
        assert [row["signal_id"] for row in kept if row["kind"] == "event"] == [
            f"d{number}" for number in range(700)
        ]
        alarms = [row["detail"] for row in kept if row["kind"] == "alarm"]
        assert len(alarms) == 1
        assert "nothing could be written for 7.5 s (database or disk is full" in alarms[0]
        assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
        assert "nothing can be recorded: database or disk is full" in caplog.text
        assert "rows are written again" in caplog.text

    def test_for_too_long_loses_the_newest_rows_and_counts_them(self, begin, disk, path, caplog):
        audit = begin(limits=replace(SELDOM_RETRIED, backlog_rows=20))
        disk.error = "database or disk is full"
        for number in range(30):
            audit.write(denial(number))
        with pytest.raises(AuditError, match="no more rows are taken"):
            audit.intend(opening(), event())
        disk.error = None
        audit.close()
        told = [row["signal_id"] or row["detail"] or row["kind"] for row in rows(path)[1:]]
        assert told[:22] == [*(f"d{number}" for number in range(20)), "11 rows lost", "stop"]
        assert caplog.text.count("rows are lost, 20 wait already") == 1

    def test_and_lost_rows_says_so_even_when_nothing_happens_any_more(self, begin, disk, path):
        audit = begin(limits=replace(PATIENT, backlog_rows=5, retry_s=0.05))
        disk.error = "database or disk is full"
        for number in range(8):
            audit.write(denial(number))
        disk.error = None
        eventually(lambda: any(row["detail"] == "3 rows lost" for row in rows(path)))

    def test_until_the_end_costs_rows_but_not_the_end(self, begin, disk, caplog):
        audit = begin(limits=replace(SELDOM_RETRIED, close_s=0.3))
        disk.error = "disk I/O error"
        audit.write(denial(1))
        began_s = time.monotonic()
        audit.close()
        assert time.monotonic() - began_s < LONG_S / 2
        assert "2 rows could not be written before the end" in caplog.text

    def test_before_the_end_is_given_another_chance(self, audit, disk, path):
        disk.error = "disk I/O error"
        audit.write(denial(1))
        threading.Timer(0.3, lambda: setattr(disk, "error", None)).start()
        audit.close()
        assert kinds(path)[:3] == ["start", "event", "stop"]


def test_a_refusing_disk_is_asked_again_by_itself(begin, disk, path):
    audit = begin()
    disk.error = "database or disk is full"
    audit.write(denial(1))
    eventually(lambda: audit.fault is not None)
    began_s = time.monotonic()
    disk.error = None
    eventually(lambda: audit.fault is None)
    assert time.monotonic() - began_s < LONG_S / 2
    audit.close()
    assert kinds(path) == ["start", "event", "alarm", "stop"]


def test_rows_are_not_written_twice_when_a_commit_only_seemed_to_fail(audit, disk, path):
    disk.lies = True
    with pytest.raises(AuditError, match="disk I/O error"):
        audit.intend(opening(1), event())
    audit.intend(opening(2), event())
    audit.close()
    told = [(row["kind"], row["signal_id"]) for row in rows(path)]
    assert sorted(told[1:4]) == [("intent", "s1"), ("intent", "s2"), ("result", "s1")]
    assert [kind for kind, _ in told].count("intent") == 2


def test_whatever_breaks_in_the_writer_it_goes_on(audit, path, monkeypatch, caplog):
    append = AuditStore.append
    answers = [RuntimeError("not foreseen at all"), KeyError("nor this")]

    def breaks(self, rows):
        if answers:
            raise answers.pop(0)
        append(self, rows)

    monkeypatch.setattr(AuditStore, "append", breaks)
    for number in (1, 2):
        with pytest.raises(AuditError):
            audit.intend(opening(number), event())
    audit.intend(opening(3), event())
    assert [row["signal_id"] for row in rows(path) if row["kind"] == "intent"] == ["s1", "s2", "s3"]
    assert caplog.text.count("Traceback") == 1


def test_a_file_that_another_process_keeps_locked_means_no_opening(begin, path):
    audit = begin(wait_s=1.0)
    code = (
        "import sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('BEGIN EXCLUSIVE')\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(AuditError, match=r"locked|no row on the disk"):
            audit.intend(opening(1), event())
        other.stdin.close()

    def opens():
        with contextlib.suppress(AuditError):
            audit.intend(opening(2), event())
            return True

    eventually(opens)
    told = [kind for kind in kinds(path) if kind != "alarm"]  # of the outage, before or after
    assert told[:4] == ["start", "intent", "result", "intent"]


class TestTheStart:
    def test_tells_when_the_file_cannot_be_used(self, tmp_path):
        (tmp_path / "file").touch()
        audit = Audit(tmp_path / "file" / "audit.sqlite", "lobby", limits=SHORT_END)
        with pytest.raises(AuditError, match=r"audit .*: Not a directory; see that"):
            audit.check(LONG_S)
        with pytest.raises(AuditError, match="Not a directory"):
            audit.intend(opening(), event())
        audit.close()

    def test_does_not_wait_for_ever(self, path, disk):
        disk.hold()
        audit = Audit(path, "lobby", connect=disk.connect, limits=PATIENT)
        with pytest.raises(AuditError, match=r"not written within 0\.05 s"):
            audit.check(0.05)
        disk.go.set()
        audit.check(LONG_S)
        audit.close()

    def test_on_a_damaged_file_begins_another_whose_first_row_tells(self, begin, path):
        first = begin()
        first.intend(opening(), event())
        first.close()
        known = first.tip
        connection = sqlite3.connect(path)
        connection.execute("DROP TRIGGER rows_stay")
        connection.close()
        second = begin()
        second.intend(opening(), event())
        alarm = rows(path)[0]
        assert (alarm["kind"], alarm["seq"]) == ("alarm", 1)
        assert Tip(alarm["anchor_seq"], alarm["anchor_hash"]) == known
        (aside,) = path.parent.glob("*.corrupt-*")
        assert aside.name in alarm["detail"]
        assert kinds(path) == ["alarm", "start", "intent"]

    def test_of_another_run_continues_the_chain(self, begin, path):
        for number in range(3):
            audit = begin()
            audit.intend(opening(number), event())
            audit.close()
        assert kinds(path) == ["start", "intent", "stop"] * 3

    def test_names_the_process(self, audit, path):
        assert re.match(
            r"process \d+; by the record it is 2026-05-01T08:00:00", rows(path)[0]["detail"]
        )


class TestTheEnd:
    def test_is_a_row_and_comes_once(self, audit, path):
        audit.close()
        audit.close()
        assert kinds(path) == ["start", "stop"]

    def test_leaves_one_file_and_no_thread(self, audit, path):
        audit.close()
        assert "audit" not in {thread.name for thread in threading.enumerate()}
        assert [each.name for each in path.parent.iterdir()] == ["audit.sqlite"]

    def test_lets_nothing_open_after_it(self, audit, path):
        audit.close()
        with pytest.raises(AuditError, match="no more rows are taken"):
            audit.intend(opening(), event())
        audit.write(denial(1))
        audit.result("s1", "relay", "locked")
        assert kinds(path) == ["start", "stop"]

    def test_writes_what_still_waits(self, audit, path):
        for number in range(1200):
            audit.write(denial(number))
        audit.close()
        assert kinds(path).count("event") == 1200
        assert kinds(path)[-1] == "stop"


class TestTheWallClock:
    @pytest.mark.parametrize("step_s", [3600.0, -3600.0, 10 * 365 * 86400.0, 2.5, -2.5])
    def test_that_steps_is_told_before_the_next_row(self, audit, path, wall, clock, step_s):
        clock.advance(100.0)
        wall.step(step_s)
        audit.intend(opening(), event())
        audit.close()
        told = [row for row in rows(path) if row["kind"] == "clock_step"]
        assert [row["detail"] for row in told] == [f"the wall clock stepped by {step_s:+.3f} s"]
        assert told[0]["seq"] < rows(path)[-2]["seq"]

    def test_that_steps_while_nothing_happens_is_told_too(self, audit, path, wall):
        wall.step(-86400.0)
        eventually(lambda: kinds(path)[-1] == "clock_step")

    def test_that_is_slowly_adjusted_is_not(self, audit, path, wall, clock):
        for _ in range(100):
            clock.advance(1.0)
            wall.step(1.9)
            audit.write(denial(1))
        audit.close()
        assert "clock_step" not in kinds(path)

    def test_from_before_the_clock_was_set_is_recorded_as_it_is(self, begin, path, wall, clock):
        wall.begin = datetime(1970, 1, 1, tzinfo=UTC)
        audit = begin()
        wall.step(56 * 365 * 86400.0)
        audit.intend(opening(), event())
        audit.close()
        walls = [row["wall"] for row in rows(path)]
        assert walls[0] == "1970-01-01T00:00:00.000Z"
        assert walls[-1].startswith("2025-")
        assert len({row["mono_s"] for row in rows(path)}) == 1

    def test_read_around_a_pause_of_the_process_is_no_step(self):
        """Stopped between two readings, the clocks disagree though nobody set them."""
        now = {"s": 1000.0}
        pauses = []

        def clock():
            now["s"] += pauses.pop() if pauses else 0.0
            return now["s"]

        def wall():
            return datetime(2026, 5, 1, tzinfo=UTC) + timedelta(seconds=clock())

        clocks = AuditClock(clock, wall, AuditLimits())
        pauses.extend([60.0, 0.0])
        assert clocks.step_s() is None
        assert clocks.step_s() is None


class TestOldRows:
    """Which rows are old is known by the time that really passed, never by the wall clock alone."""

    KEEP_DAYS = 30.0
    DAY_S = 86400.0

    @pytest.fixture
    def audit(self, begin):
        return begin(keep_days=self.KEEP_DAYS)

    def day(self, audit, path, clock, days=1.0):
        """Let time pass, with a sign of life at its end."""
        clock.advance(days * self.DAY_S)
        before = rows(path)[-1]["seq"]
        audit.alarm("a day has passed")
        eventually(lambda: rows(path)[-1]["seq"] > before)

    def settled(self, audit, path):
        """All that the writer had to do at this moment is done."""
        for _ in range(3):
            audit.intend(opening(), event())

    def test_are_deleted_a_day_at_once_when_they_are_old(self, audit, path, clock):
        audit.alarm("the first")
        for days in range(1, 4):
            self.day(audit, path, clock)
            eventually(lambda days=days: kinds(path).count("clock") == days)
            self.settled(audit, path)  # or it would put off the next look from after the next day
        self.day(audit, path, clock, self.KEEP_DAYS - 1.5)
        eventually(lambda: "pruned" in kinds(path))
        eventually(lambda: rows(path)[0]["kind"] == "clock")
        kept = rows(path)
        assert "the first" not in [row["detail"] for row in kept]
        pruned = next(row for row in kept if row["kind"] == "pruned")
        assert (
            f"{kept[0]['seq'] - 1} rows up to {kept[0]['seq'] - 1} are older than"
            in (pruned["detail"])
        )

    @pytest.mark.parametrize("days", [400.0, -400.0, 20_000.0])
    def test_are_none_because_the_wall_clock_is_wrong(self, audit, path, clock, wall, days, caplog):
        for _ in range(3):
            self.day(audit, path, clock)
        wall.step(days * self.DAY_S)
        self.settled(audit, path)
        for _ in range(5):
            clock.advance(PATIENT.prune_after_s + 1.0)
            self.settled(audit, path)
        wall.step(-days * self.DAY_S)
        self.settled(audit, path)
        assert rows(path)[0]["seq"] == 1
        assert "pruned" not in kinds(path)
        assert kinds(path).count("clock_step") == 2
        assert caplog.text.count("the wall clock stepped by") == 2

    def test_are_none_because_the_clock_was_set_between_two_runs(self, begin, path, clock, wall):
        first = begin(keep_days=self.KEEP_DAYS)
        self.day(first, path, clock)
        first.close()
        wall.step(400 * self.DAY_S)
        second = begin(keep_days=self.KEEP_DAYS)
        eventually(lambda: kinds(path)[-1] == "clock_step")
        assert "+34560000.000 s while no gate ran" in rows(path)[-1]["detail"]
        for _ in range(3):
            clock.advance(PATIENT.prune_after_s + 1.0)
            self.settled(second, path)
        assert rows(path)[0]["seq"] == 1

    def test_are_so_by_the_time_in_several_runs_together(self, begin, path, clock):
        for _ in range(5):
            audit = begin(keep_days=self.KEEP_DAYS)
            self.day(audit, path, clock, days=10.0)
            audit.close()
        audit = begin(keep_days=self.KEEP_DAYS)
        clock.advance(PATIENT.prune_after_s + 1.0)
        eventually(lambda: rows(path)[0]["seq"] > 1)
        assert kinds(path).count("start") == 4


class TestWhatIsKept:
    def test_is_text_that_cannot_fool_a_terminal(self, path, disk):
        audit = Audit(path, "lob\x1b[2Jby\n", wait_s=LONG_S, limits=PATIENT)
        audit.result("s\0", "relay\r\n2026-01-01 forged", "\u202edekcolnu")
        audit.alarm("two\nlines")
        audit.close()
        for row in rows(path):
            assert all(str(value).isprintable() for value in row.values())
        assert rows(path)[0]["gate"] == "lob\\x1b[2Jby\\n"
        assert rows(path)[1]["relay"] == "relay\\r\\n2026-01-01 forged"

    def test_is_no_image_and_far_below_64_kb_a_row(self, audit, path):
        crowd = dict(event(), tracks=[{"label": "x" * 99, "score": 0.5}] * 5000, reason="y" * 9999)
        audit.intend(opening(), crowd)
        for row in rows(path):
            assert not any(isinstance(value, bytes) for value in row.values())
            assert len(json.dumps(row)) < 64 * 1024
        audit.close()
        with sqlite3.connect(path) as connection:
            types = {
                each
                for name in COLUMNS
                for (each,) in connection.execute(f"SELECT DISTINCT typeof({name}) FROM rows")
            }
        connection.close()
        assert types <= {"integer", "text", "real", "null"}

    def test_names_model_and_configuration_from_when_they_are_known(self, audit, path):
        audit.write({"id": "d1"})
        audit.stamp.model, audit.stamp.config = "sha256:m", "sha256:c"
        audit.write({"id": "d2"})
        audit.write({"id": "d3", "model": "sha256:other"})
        audit.close()
        told = [(row["model"], row["config"]) for row in rows(path)[1:4]]
        assert told == [
            (None, None),
            ("sha256:m", "sha256:c"),
            ("sha256:other", "sha256:c"),
        ]

    def test_can_be_anchored_elsewhere(self, audit, path):
        audit.intend(opening(), event())
        assert audit.tip == Tip(rows(path)[-1]["seq"], rows(path)[-1]["hash"])


def test_the_audit_is_a_sink_of_events(audit):
    sink: EventSink = audit
    sink.write(denial(1))
