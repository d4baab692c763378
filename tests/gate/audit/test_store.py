"""The audit's file: only ever added to, whole after every fault, and set aside when damaged."""

import itertools
import os
import sqlite3
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mask_gate.gate.audit.chain import COLUMNS, START, Row, Tip
from mask_gate.gate.audit.clock import iso_time
from mask_gate.gate.audit.damaged_file import set_aside
from mask_gate.gate.audit.reader import AuditReader
from mask_gate.gate.audit.record_time import Pruning, TimeNote
from mask_gate.gate.audit.store import MAX_SET_ASIDE, PRUNE_ROWS, AuditStore, make_folder
from mask_gate.gate.errors import OutputError

WALL = datetime(2026, 5, 1, 8, 0, 0, tzinfo=UTC)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.sqlite"


@pytest.fixture
def store(path):
    return open_store(path)[0]


def open_store(path, **settings):
    store = AuditStore(path, busy_s=0.1, wall=lambda: WALL, **settings)
    return store, store.open()


def row(number, wall="2026-05-01T08:00:00.000Z", kind="event"):
    return Row(kind, signal_id=f"s{number}", wall=wall, boot_id="b", gate="lobby")


def fill(store, count, **settings):
    store.append([row(number, **settings) for number in range(count)])


def checked(path, anchor=None):
    with AuditReader(path) as reader:
        return reader.check(anchor, now=datetime(2040, 1, 1, tzinfo=UTC))


def values(path, column):
    with AuditReader(path) as reader:
        return [each[COLUMNS.index(column)] for each in reader.rows()]


class TestRows:
    def test_are_on_the_disk_in_order_and_chained(self, store, path):
        fill(store, 3)
        fill(store, 2)
        check = checked(path)
        assert (check.breaks, check.rows, check.tip) == ([], 5, store.tip)
        assert values(path, "seq") == [1, 2, 3, 4, 5]

    def test_go_on_where_another_run_ended(self, store, path):
        fill(store, 3)
        store.close()
        again, alarm = open_store(path)
        assert alarm is None
        assert again.tip == store.tip
        fill(again, 2)
        assert (checked(path).broken, checked(path).rows) == (0, 5)

    def test_are_synced_with_every_commit(self, store):
        connection = store._connection
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL

    def test_are_exactly_what_the_chain_seals(self, store):
        table = store._connection.execute("PRAGMA table_info(rows)").fetchall()
        assert tuple(column[1] for column in table) == COLUMNS

    def test_hold_no_image(self, store):
        """Every column is text or number, so that no bytes can be stored at all."""
        types = {name[2] for name in store._connection.execute("PRAGMA table_info(rows)")}
        assert types == {"INTEGER", "TEXT", "REAL"}
        with pytest.raises(sqlite3.IntegrityError, match="BLOB"):
            store.append([Row("event", detail=b"\xff\xd8\xff")])

    @pytest.mark.parametrize(
        ("sql", "said"),
        [
            ("UPDATE rows SET decision = 'deny' WHERE seq = 2", "never change"),
            ("DELETE FROM rows WHERE seq = 2", "deleted by pruning only"),
            ("DELETE FROM rows", "deleted by pruning only"),
            ("INSERT OR REPLACE INTO rows SELECT * FROM rows WHERE seq = 2", "only added"),
            (
                "INSERT INTO rows SELECT 99, kind, signal_id, decision, reason, faces, classes, "
                "confidences, model, config, relay, outcome, detail, anchor_seq, anchor_hash, "
                "wall, mono_s, boot_id, gate, previous, hash FROM rows WHERE seq = 2",
                "at the end of the chain",
            ),
        ],
    )
    def test_can_only_be_added(self, store, path, sql, said):
        fill(store, 3)
        store.close()
        with sqlite3.connect(path) as connection:
            with pytest.raises(sqlite3.IntegrityError, match=said):
                connection.execute(sql)
            connection.rollback()
        assert (checked(path).broken, checked(path).rows) == (0, 3)

    def test_of_a_failed_batch_leave_no_trace(self, store, path):
        fill(store, 3)
        with pytest.raises(sqlite3.IntegrityError):
            store.append([row(4), Row(None), row(5)])
        assert not store.is_open
        assert store.open() is None
        assert not store.took_failed_batch()
        fill(store, 1)
        assert (checked(path).broken, checked(path).rows) == (0, 4)

    def test_of_a_batch_that_did_not_begin_are_never_taken_for_those_of_another(self, path):
        """A commit that only seemed to fail, and after it a batch that finds the file locked."""

        class Lying(sqlite3.Connection):
            lies = True

            def execute(self, sql, *values):
                found = super().execute(sql, *values)
                if self.lies and sql == "COMMIT" and self.total_changes:
                    raise sqlite3.OperationalError("disk I/O error")
                return found

        store, _ = open_store(path, connect=lambda *w, **h: sqlite3.connect(*w, factory=Lying, **h))
        with pytest.raises(sqlite3.OperationalError, match="I/O"):
            fill(store, 2)
        Lying.lies = False
        assert store.open() is None
        assert checked(path).rows == 2
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            fill(store, 1)
        other.close()
        assert store.open() is None
        assert not store.took_failed_batch()


class TestTheFile:
    def test_and_its_folders_are_for_owner_and_group_only(self, tmp_path):
        before = os.umask(0)
        try:
            path = tmp_path / "state" / "mask-gate" / "audit.sqlite"
            store, _ = open_store(path)
            fill(store, 1)
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert stat.S_IMODE(path.with_name("audit.sqlite-wal").stat().st_mode) == 0o640
        for folder in (path.parent, path.parent.parent):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o750

    def test_gets_its_rights_whatever_the_umask(self, tmp_path):
        before = os.umask(0o777)
        try:
            path = tmp_path / "state" / "audit.sqlite"
            open_store(path)
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750

    def test_leaves_folders_alone_that_were_there(self, tmp_path):
        tmp_path.chmod(0o705)
        make_folder(tmp_path)
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o705

    def test_that_vanished_is_not_the_one_at_its_path(self, store, path):
        fill(store, 3)
        known = store.tip
        for each in path.parent.iterdir():
            each.unlink()
        assert not store.is_open
        alarm = store.open()
        assert alarm.detail == "the file was gone"
        assert Tip(alarm.anchor_seq, alarm.anchor_hash) == known
        fill(store, 1)
        assert checked(path).rows == 1

    def test_that_was_replaced_is_not_the_one_at_its_path(self, store, path):
        fill(store, 3)
        known = store.tip
        other, _ = open_store(path.with_name("other.sqlite"))
        other.close()
        for ending in ("-wal", "-shm"):
            path.with_name(path.name + ending).unlink()
        other.path.replace(path)
        assert not store.is_open
        alarm = store.open()
        assert alarm.detail == "the last rows are not those that were written"
        assert Tip(alarm.anchor_seq, alarm.anchor_hash) == known

    def test_that_lost_its_end_is_told(self, store, path):
        fill(store, 5)
        known = store.tip
        store.close()
        with sqlite3.connect(path) as connection:
            connection.execute("DROP TRIGGER rows_stay")
            connection.execute("DELETE FROM rows WHERE seq > 3")
        connection.close()
        restore_rules(path)
        alarm = store.open()
        assert alarm.detail == "the last rows are not those that were written"
        assert Tip(alarm.anchor_seq, alarm.anchor_hash) == known

    def test_that_somebody_else_writes_to_is_told(self, store, path):
        fill(store, 1)
        other, _ = open_store(path)
        fill(other, 1)
        with pytest.raises(sqlite3.OperationalError, match="somebody else wrote"):
            fill(store, 1)
        assert store.open().detail == "the last rows are not those that were written"
        fill(store, 1)
        assert (checked(path).broken, checked(path).rows) == (0, 3)

    def test_that_is_empty_is_told(self, path):
        path.touch()
        _, alarm = open_store(path)
        assert alarm.detail == "the file was there already, but empty"

    def test_begun_by_a_run_that_could_not_go_on_is_nothing_odd(self, path):
        class FullDisk(sqlite3.Connection):
            full = True

            def execute(self, sql, *arguments):
                if self.full and sql.startswith("CREATE"):
                    raise sqlite3.OperationalError("database or disk is full")
                return super().execute(sql, *arguments)

        store = AuditStore(
            path,
            busy_s=0.1,
            wall=lambda: WALL,
            connect=lambda *where, **how: sqlite3.connect(*where, factory=FullDisk, **how),
        )
        with pytest.raises(sqlite3.OperationalError):
            store.open()
        FullDisk.full = False
        assert store.open() is None
        fill(store, 1)
        assert checked(path).rows == 1

    def test_locked_by_another_process_is_given_up_soon(self, store, path):
        fill(store, 1)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            fill(store, 1)
        other.execute("ROLLBACK")
        other.close()
        assert store.open() is None
        fill(store, 1)
        assert checked(path).rows == 2


class TestNotAFile:
    def test_a_folder_is_refused(self, path):
        path.mkdir()
        with pytest.raises(OutputError, match="not a file"):
            open_store(path)

    def test_a_pipe_is_refused_and_nothing_waits_for_it(self, path):
        os.mkfifo(path)
        with pytest.raises(OutputError, match="not a file"):
            open_store(path)

    def test_the_database_of_another_program_is_left_as_it_is(self, path):
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE theirs (x)")
        connection.close()
        before = path.read_bytes()
        store = AuditStore(path, busy_s=0.1, wall=lambda: WALL)
        for _ in range(2):
            with pytest.raises(OutputError, match="another program"):
                store.open()
            assert not store.is_open
        assert path.read_bytes() == before
        assert list(path.parent.iterdir()) == [path]


def restore_rules(path):
    """Put back the rules of the table, as somebody does who wants to leave no trace."""
    donor = path.with_name("donor.sqlite")
    store, _ = open_store(donor)
    store.close()
    with sqlite3.connect(donor) as connection:
        rules = [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_schema")]
    connection.close()
    with sqlite3.connect(path) as connection:
        present = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_schema")}
        for sql in rules:
            if sql not in present:
                connection.execute(sql)
    connection.close()
    donor.unlink()


def in_header(path):
    damage(path, 0, b"no database")


def in_root_page(path):
    damage(path, 100, b"\xff" * 300)


def in_the_middle(path):
    size = path.stat().st_size
    damage(path, size // 2 // 4096 * 4096, b"\xff" * 64)


def cut_in_half(path):
    os.truncate(path, path.stat().st_size // 2)


def text(path):
    path.write_text("what somebody wrote here\n" * 100)


def without_a_rule(path):
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER rows_never_change")
    connection.close()


def with_another_column(path):
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE rows ADD COLUMN picture BLOB")
    connection.close()


def of_another_version(path):
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()


def damage(path, offset, data):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


DAMAGES = [
    in_header,
    in_root_page,
    in_the_middle,
    cut_in_half,
    text,
    without_a_rule,
    with_another_column,
    of_another_version,
]
STILL_READABLE = [without_a_rule, with_another_column, of_another_version]


class TestDamage:
    @pytest.mark.parametrize("harm", DAMAGES)
    def test_found_at_the_start_sets_the_file_aside(self, store, path, harm, caplog):
        fill(store, 300)
        known = store.tip
        store.close()
        harm(path)
        harmed = path.read_bytes()
        again, alarm = open_store(path)
        aside = path.with_name("audit.sqlite.corrupt-20260501T080000Z")
        assert alarm.kind == "alarm"
        assert f"set aside as {aside.name}" in alarm.detail
        if harm in STILL_READABLE:
            assert Tip(alarm.anchor_seq, alarm.anchor_hash) == known
        assert aside.read_bytes() == harmed
        assert again.tip == START
        fill(again, 1)
        assert (checked(path).broken, checked(path).rows) == (0, 1)
        assert "damaged" in caplog.text

    def test_found_while_writing_sets_the_file_aside_and_names_the_last_row(self, store, path):
        fill(store, 300)
        known = store.tip
        store.close()
        store.open()
        store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        damage(path, 4096, b"\xff" * (path.stat().st_size - 4096))
        store._connection.execute("PRAGMA cache_size = 0")
        store._connection.execute("PRAGMA shrink_memory")
        with pytest.raises(sqlite3.DatabaseError):
            fill(store, 10_000)
        alarm = store.open()
        assert "malformed" in alarm.detail
        assert Tip(alarm.anchor_seq, alarm.anchor_hash) == known
        fill(store, 1)
        assert checked(path).rows == 1

    def test_takes_along_what_is_kept_beside_the_file(self, path):
        for ending in ("", "-wal", "-shm"):
            path.with_name(path.name + ending).write_text(f"damaged{ending}")
        aside = set_aside(path, WALL)
        kept = {each.name: each.read_text() for each in path.parent.iterdir()}
        assert kept == {f"{aside.name}{end}": f"damaged{end}" for end in ("", "-wal", "-shm")}

    def test_loses_no_row_that_was_still_in_the_log(self, store, path):
        fill(store, 3)
        store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        store.append([Row("event", detail="only in the log")])
        copy = path.parent / "copy"
        copy.mkdir()
        for each in list(path.parent.glob("audit.sqlite*")):
            (copy / each.name).write_bytes(each.read_bytes())
        assert b"only in the log" not in path.read_bytes()
        in_header(copy / path.name)
        again, _ = open_store(copy / path.name)
        aside = copy / "audit.sqlite.corrupt-20260501T080000Z"
        assert any(b"only in the log" in each.read_bytes() for each in copy.glob(f"{aside.name}*"))
        fill(again, 1)
        assert (checked(again.path).broken, checked(again.path).rows) == (0, 1)

    def test_twice_in_a_second_overwrites_nothing(self, path):
        for number in range(3):
            path.write_text(f"no database {number}, but a text that somebody wrote here\n" * 50)
            open_store(path)[0].close()
        kept = sorted(path.parent.glob("*.corrupt-*"))
        assert [each.read_text()[:13] for each in kept] == [f"no database {n}" for n in range(3)]

    def test_again_and_again_ends_in_an_error_not_in_a_full_folder(self, store, path):
        for _ in range(MAX_SET_ASIDE):
            store.close()
            text(path)
            assert store.open() is not None
        store.close()
        text(path)
        with pytest.raises(OutputError, match="check the disk"):
            store.open()
        assert len(list(path.parent.glob("*.corrupt-*"))) == MAX_SET_ASIDE

    def test_whose_new_file_cannot_be_made_is_still_told_later(self, store, path, monkeypatch):
        fill(store, 3)
        known = store.tip
        store.close()
        text(path)
        make_file = AuditStore._make_file
        calls = []

        def full_at_second(self):
            calls.append(self)
            if len(calls) == 2:
                raise OSError(28, "No space left on device")
            make_file(self)

        monkeypatch.setattr(AuditStore, "_make_file", full_at_second)
        with pytest.raises(OSError, match="No space"):
            store.open()
        alarm = store.open()
        assert "set aside" in alarm.detail
        assert Tip(alarm.anchor_seq, alarm.anchor_hash) == known


class TestPruning:
    OLD, KEPT = "2025-01-01T00:00:00.000Z", "2026-04-01T00:00:00.000Z"
    LIMIT = "2025-05-01T00:00:00.000Z"

    def prune(self, store, limit=LIMIT):
        rounds = 0
        while store.prune(limit, self.note):
            rounds += 1
        return rounds

    def note(self, rows, last, before):
        now = datetime.fromisoformat(before) + timedelta(days=365)
        said = str(Pruning(rows, last.seq, before, TimeNote(iso_time(now), 365)))
        anchor = {"anchor_seq": last.seq, "anchor_hash": last.hash}
        return Row("pruned", detail=said, mono_s=now.timestamp(), boot_id="b", **anchor)

    def run(self, store, time, count):
        """A run of the gate: what time it was by the record, and what happened."""
        mono_s = datetime.fromisoformat(time).timestamp()
        start = Row("start", detail=f"process 1; {TimeNote(time, 365)}", mono_s=mono_s, boot_id="b")
        store.append([start, *(replace(row(n, wall=time), mono_s=mono_s) for n in range(count))])

    def test_deletes_old_rows_and_says_which(self, store, path):
        self.run(store, self.OLD, 2)
        deleted = store.tip
        self.run(store, self.LIMIT, 3)
        assert self.prune(store) == 2
        check = checked(path)
        assert (check.breaks, check.first_seq, check.rows) == ([], 4, 5)
        with AuditReader(path) as reader:
            pruned = dict(zip(COLUMNS, list(reader.rows())[-1], strict=True))
        assert pruned["kind"] == "pruned"
        assert pruned["detail"].startswith("3 rows up to 3 are older than 2025-05-01T00:00:00.000Z")
        assert Tip(pruned["anchor_seq"], pruned["anchor_hash"]) == deleted
        assert checked(path, anchor=deleted).broken == 0

    def test_is_whole_after_every_step(self, store, path):
        self.run(store, self.OLD, 3 * PRUNE_ROWS + 6)
        self.run(store, self.KEPT, 1)
        counts = []
        assert not store.prune(self.LIMIT, self.note)  # what is kept must tell how old it is
        while store.prune(self.KEPT, self.note):
            check = checked(path)
            assert check.breaks == []
            counts.append(check.rows)
        assert counts[0] == 3 * PRUNE_ROWS + 10
        assert counts == sorted(counts, reverse=True)
        assert all(a - b <= PRUNE_ROWS for a, b in itertools.pairwise(counts))
        assert counts[-1] == 3

    def test_goes_on_where_another_run_was_stopped(self, store, path):
        self.run(store, self.OLD, 2 * PRUNE_ROWS)
        self.run(store, self.LIMIT, 0)
        store.prune(self.LIMIT, self.note)
        store.prune(self.LIMIT, self.note)
        store.close()
        again, alarm = open_store(path)
        assert alarm is None
        self.prune(again)
        assert (checked(path).broken, checked(path).rows) == (0, 2)

    def test_day_after_day_keeps_the_chain_whole(self, store, path):
        days = [f"2025-05-{day:02}T00:00:00.000Z" for day in range(1, 11)]
        for day in days:
            self.run(store, day, 4)
        for day in days[1:]:
            assert self.prune(store, day) == 2
            assert checked(path).breaks == []
        assert values(path, "kind").count("start") == 1

    def test_takes_many_old_runs_at_once(self, store, path):
        for _ in range(50):
            self.run(store, self.OLD, 1)
        self.run(store, self.LIMIT, 1)
        assert self.prune(store) == 2
        assert values(path, "kind") == ["start", "event", "pruned"]

    def test_of_nothing_does_nothing(self, store, path):
        assert self.prune(store) == 0
        self.run(store, self.OLD, 3)
        assert self.prune(store) == 0
        assert checked(path).rows == 4

    def test_looks_at_the_time_of_the_record_not_at_the_wall_clock_of_a_row(self, store, path):
        self.run(store, self.KEPT, 3)
        fill(store, 3, wall=self.OLD)
        self.run(store, self.KEPT, 3)
        assert self.prune(store) == 0

    def test_overwrites_what_it_deletes(self, store, path):
        store.append([Row("event", detail="whom nobody may find again", wall=self.OLD)])
        self.run(store, self.LIMIT, 1)
        self.prune(store)
        store.close()
        assert b"whom nobody" not in path.read_bytes()

    def test_cannot_be_used_to_delete_more_than_it_names(self, store, path):
        self.run(store, self.OLD, 2)
        self.run(store, self.LIMIT, 3)
        self.prune(store)
        store.close()
        with (
            sqlite3.connect(path) as connection,
            pytest.raises(sqlite3.IntegrityError, match="pruning only"),
        ):
            connection.execute("DELETE FROM rows WHERE seq = 4")
        connection.close()
