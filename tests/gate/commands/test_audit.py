"""mask-gate-audit: says whether the chain is whole, and hands out only what is."""

import contextlib
import csv
import io
import json
import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mask_gate.gate.audit.audit import Audit
from mask_gate.gate.audit.chain import COLUMNS, Row, row_hash
from mask_gate.gate.audit.chain_check import ChainCheck
from mask_gate.gate.audit.clock import iso_time
from mask_gate.gate.audit.record_time import TimeNote
from mask_gate.gate.audit.store import AuditStore
from mask_gate.gate.commands.audit import main

pytestmark = pytest.mark.process

ROWS = 10_000


def make(path, rows):
    store = AuditStore(path, busy_s=1.0, wall=lambda: datetime(2026, 5, 1, tzinfo=UTC))
    store.open()
    store.append(rows)
    store.close()
    return store.tip


def row(number):
    wall = f"2026-05-{number * 20 // ROWS + 1:02d}T08:00:00.000Z"
    return Row(
        "event",
        signal_id=f"s{number}",
        decision="deny",
        reason="no_mask",
        faces=1,
        classes='{"without_mask":1}',
        confidences="[0.9]",
        wall=wall,
        gate="lobby",
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("audit") / "whole.sqlite"
    return path, make(path, [row(number) for number in range(ROWS)])


@pytest.fixture
def path(whole, tmp_path):
    """A copy of an audit of 10 000 rows, to be tampered with."""
    return shutil.copy(whole[0], tmp_path / "audit.sqlite")


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.sqlite"
    make(path, [row(number) for number in range(0, ROWS, ROWS // 20)])
    return path


def make_noted(path, days, events):
    """Days of so many events, the first row of each a note of the record's time; these, as tips."""
    tips = []
    store = AuditStore(path, busy_s=1.0, wall=lambda: datetime(2026, 5, 1, tzinfo=UTC))
    store.open()
    for day in range(days):
        begin, boot = datetime(2026, 5, 1 + day, tzinfo=UTC), {"boot_id": "b", "gate": "lobby"}
        note = str(TimeNote(iso_time(begin), 365.0))
        times = {"wall": iso_time(begin), "mono_s": 86400.0 * day + 10}
        store.append([Row("clock", detail=note, **times, **boot)])
        tips.append(str(store.tip))
        store.append([Row("event", detail=f"e{n}", **times, **boot) for n in range(events)])
    store.close()
    return tips


@pytest.fixture
def noted(tmp_path):
    path = tmp_path / "noted.sqlite"
    return path, make_noted(path, 10, 5)


def tamper(path, *statements):
    """Write to the file as somebody does who knows SQLite and has the rights."""
    with sqlite3.connect(path) as connection:
        for rule in ("rows_never_change", "rows_stay", "rows_are_only_added"):
            connection.execute(f"DROP TRIGGER {rule}")
        for statement in statements:
            connection.execute(statement)
    connection.close()


@pytest.fixture
def run(capsys):
    def runs(*words):
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return runs


class TestVerify:
    def test_a_whole_chain_ends_with_0_and_names_its_last_row(self, run, whole):
        code, out, err = run("verify", "--file", whole[0])
        assert (code, err) == (0, "")
        assert out == f"whole: rows 1 to {ROWS}\nlast row {whole[1]}\n"

    def test_an_edited_row_is_named(self, run, path):
        tamper(path, "UPDATE rows SET decision = 'allow' WHERE seq = 5000")
        code, out, err = run("verify", "--file", path)
        assert (code, out) == (1, "")
        assert err == "broken: row 5000: does not match its own hash; it was changed\n"

    def test_a_deleted_row_is_named(self, run, path):
        tamper(path, "DELETE FROM rows WHERE seq = 5000")
        assert run("verify", "--file", path) == (1, "", "broken: row 5000: missing\n")

    def test_rows_that_changed_places_are_named(self, run, path):
        tamper(
            path,
            "UPDATE rows SET seq = 99999 WHERE seq = 5000",
            "UPDATE rows SET seq = 5000 WHERE seq = 7000",
            "UPDATE rows SET seq = 7000 WHERE seq = 99999",
        )
        code, _, err = run("verify", "--file", path)
        assert code == 1
        assert "row 5000: does not match its own hash" in err
        assert "row 7000: does not match its own hash" in err

    def test_a_row_that_was_edited_and_sealed_anew_is_found_at_the_next(self, run, path):
        with sqlite3.connect(path) as connection:
            found = connection.execute("SELECT * FROM rows WHERE seq = 5000")
            names = [column[0] for column in found.description]
            named = dict(zip(names, found.fetchone(), strict=True)) | {"decision": "allow"}
        connection.close()
        sealed = row_hash([named[name] for name in COLUMNS[:-1]])
        edit = f"UPDATE rows SET decision = 'allow', hash = '{sealed}' WHERE seq = 5000"
        tamper(path, edit)
        code, _, err = run("verify", "--file", path)
        assert code == 1
        assert err == "broken: row 5001: does not follow row 5000; one was replaced\n"

    def test_rows_cut_off_at_the_end_are_found_with_an_anchor_only(self, run, path, whole):
        tamper(path, "DELETE FROM rows WHERE seq > 9000")
        assert run("verify", "--file", path)[0] == 0
        code, _, err = run("verify", "--file", path, "--anchor", whole[1])
        assert code == 1
        assert "row 9001: missing; the anchor names row 10000, the last row is 9000" in err

    def test_goes_on_after_the_row_that_an_earlier_one_named(self, run, noted):
        path, days = noted
        row = run("verify", "--file", path)[1].split()[-1]
        assert run("verify", "--file", path, "--after", days[5]) == (
            0, f"whole: rows {int(days[5].partition(':')[0])} to 60\nlast row {row}\n", "",
        )  # fmt: skip

    def test_goes_on_after_no_other_row(self, run, noted):
        path, days = noted
        forged = f"{days[5].partition(':')[0]}:{'0' * 64}"
        code, _, err = run("verify", "--file", path, "--after", forged)
        assert code == 1
        assert "is not the row the anchor names" in err

    def test_after_a_row_finds_what_was_done_to_those_that_follow_and_no_others(self, run, noted):
        path, days = noted
        tamper(path, "UPDATE rows SET decision = 'allow' WHERE seq = 3")
        assert run("verify", "--file", path, "--after", days[5])[0] == 0
        assert run("verify", "--file", path)[0] == 1
        tamper_again = "UPDATE rows SET decision = 'allow' WHERE seq = 50"
        with sqlite3.connect(path) as connection:
            connection.execute(tamper_again)
        connection.close()
        code, _, err = run("verify", "--file", path, "--after", days[5])
        assert (code, err) == (1, "broken: row 50: does not match its own hash; it was changed\n")

    def test_after_and_anchor_do_not_go_together(self, run, noted):
        path, days = noted
        code, _, err = run("verify", "--file", path, "--after", days[5], "--anchor", days[5])
        assert code == 2
        assert "leave out --anchor" in err

    def test_what_is_no_value_of_ours_is_a_break_not_a_crash(self, run, small):
        tamper(
            small,
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_schema SET sql = replace(sql, ') STRICT', ')') WHERE name = 'rows'",
        )
        with sqlite3.connect(small) as connection:
            connection.execute("UPDATE rows SET detail = X'FFD8FF' WHERE seq = 3")
            connection.execute("UPDATE rows SET mono_s = 9e999 WHERE seq = 5")
            connection.execute("UPDATE rows SET reason = CAST(X'ff' AS TEXT) WHERE seq = 7")
        connection.close()
        code, _, err = run("verify", "--file", small)
        assert code == 1
        for seq in (3, 5, 7):
            assert f"row {seq}: does not match its own hash" in err

    def test_works_while_the_gate_writes(self, run, tmp_path):
        audit = Audit(tmp_path / "audit.sqlite", "lobby")
        audit.check(30.0)
        assert run("verify", "--file", audit.path)[0] == 0
        audit.write({"id": "e1"})
        audit.close()
        assert run("verify", "--file", audit.path)[1].startswith("whole: rows 1 to 3\n")

    def test_leaves_nothing_beside_the_file(self, run, small):
        run("verify", "--file", small)
        assert list(small.parent.iterdir()) == [small]

    def test_while_a_gate_begins_to_write_gives_no_false_alarm(self, run, small, monkeypatch):
        take = ChainCheck.take

        def take_slowly(self, sealed):
            if sealed[0] == 10:
                make(small, [row(1)])
            take(self, sealed)

        monkeypatch.setattr(ChainCheck, "take", take_slowly)
        code, _, err = run("verify", "--file", small)
        assert code == 5
        assert "a gate began to write to it meanwhile; try again" in err

    def test_takes_the_default_file_of_a_gate(self, run, monkeypatch, tmp_path):
        monkeypatch.delenv("STATE_DIRECTORY", raising=False)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        make(tmp_path / "mask-gate" / "east.sqlite", [row(1)])
        assert run("verify", "--gate", "east")[0] == 0
        code, _, err = run("verify", "--gate", "west")
        assert code == 5
        assert "west.sqlite: cannot be read as an audit (No such file or directory)" in err

    def test_an_empty_audit_is_whole(self, run, tmp_path):
        make(tmp_path / "audit.sqlite", [])
        code, out, _ = run("verify", "--file", tmp_path / "audit.sqlite")
        assert (code, out.splitlines()[0]) == (0, "whole: no rows")


class TestExport:
    def test_of_some_days_verifies_them_and_what_follows(self, run, tmp_path):
        """A file of some thousand rows is looked through in steps, not row by row."""
        path = tmp_path / "large.sqlite"
        make_noted(path, 5, 1199)
        some = "--file", path, "--from", "2026-05-04", "--to", "2026-05-05"
        tamper(path, "UPDATE rows SET decision = 'allow' WHERE seq = 3")
        code, out, err = run("export", *some)
        assert code == 0
        assert [json.loads(line)["seq"] for line in out.splitlines()] == list(range(3601, 4801))
        assert err.startswith("whole: rows 2401 to 6000; last row 6000:")
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE rows SET decision = 'allow' WHERE seq = 5000")
        connection.close()
        code, out, err = run("export", *some)
        assert (code, out) == (1, "")
        assert "row 5000: does not match its own hash" in err

    def test_writes_every_row_as_json(self, run, small):
        code, out, err = run("export", "--file", small)
        rows = [json.loads(line) for line in out.splitlines()]
        assert code == 0
        assert [each["seq"] for each in rows] == list(range(1, 21))
        assert list(rows[0]) == list(COLUMNS)
        assert (rows[0]["classes"], rows[0]["confidences"]) == ({"without_mask": 1}, [0.9])
        assert err == f"whole: rows 1 to 20; last row 20:{rows[-1]['hash']}\n"

    def test_writes_every_row_as_csv(self, run, small):
        code, out, _ = run("export", "--file", small, "--format", "csv")
        rows = list(csv.DictReader(io.StringIO(out, newline="")))
        assert code == 0
        assert [each["signal_id"] for each in rows] == [f"s{n}" for n in range(0, ROWS, 500)]
        assert rows[0]["classes"] == '{"without_mask":1}'

    @pytest.mark.parametrize(
        ("words", "count"),
        [
            (["--from", "2026-05-03"], 18),
            (["--to", "2026-05-03"], 2),
            (["--from", "2026-05-03", "--to", "2026-05-05"], 2),
            (["--from", "2026-05-03T08:00:00Z", "--to", "2026-05-03T08:00:01+00:00"], 1),
            (["--from", "2026-05-03T17:00:00+09:00", "--to", "2026-05-03T17:01+09:00"], 1),
            (["--from", "2027-01-01"], 0),
        ],
    )
    def test_writes_the_rows_of_a_time(self, run, small, words, count):
        code, out, _ = run("export", "--file", small, *words)
        assert (code, len(out.splitlines())) == (0, count)

    def test_makes_a_file_for_owner_and_group(self, run, small, tmp_path):
        target = tmp_path / "out" / "rows.jsonl"
        target.parent.mkdir()
        target.write_text("before")
        code, out, _ = run("export", "--file", small, "--out", target)
        assert (code, out) == (0, "")
        assert len(target.read_text().splitlines()) == 20
        assert stat.S_IMODE(target.stat().st_mode) == 0o640
        assert list(target.parent.iterdir()) == [target]

    def test_of_a_broken_chain_writes_nothing(self, run, small, tmp_path):
        tamper(small, "UPDATE rows SET reason = 'compliant' WHERE seq = 7")
        target = tmp_path / "rows.jsonl"
        code, out, err = run("export", "--file", small, "--out", target)
        assert (code, out) == (1, "")
        assert "broken: row 7" in err
        assert not target.exists()

    @pytest.mark.parametrize("target", ["missing/rows.csv", "."])
    def test_that_cannot_be_written_is_one_sentence(self, run, small, tmp_path, target):
        code, _, err = run("export", "--file", small, "--out", tmp_path / target)
        assert code == 5
        assert "cannot be written" in err
        assert len(err.splitlines()) == 1

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_to_a_full_disk_is_one_sentence(self, run, small):
        code, _, err = run("export", "--file", small, "--out", "/dev/full")
        assert code == 5
        assert "--out /dev/full: cannot be written (No space left on device)" in err

    def test_gives_a_spreadsheet_no_formula(self, run, tmp_path):
        path = tmp_path / "audit.sqlite"
        make(path, [Row("result", relay='=HYPERLINK("http://x")', outcome="+1", detail="a=1")])
        out = run("export", "--file", path, "--format", "csv")[1]
        (cells,) = csv.DictReader(io.StringIO(out, newline=""))
        assert (cells["relay"], cells["outcome"]) == ('\'=HYPERLINK("http://x")', "'+1")
        assert cells["detail"] == "a=1"


class TestTail:
    def test_shows_the_newest_rows_and_the_last_hash(self, run, small):
        code, out, _ = run("tail", "--file", small, "-n", "3")
        lines = out.splitlines()
        assert code == 0
        assert [line.split()[0] for line in lines[:3]] == ["18", "19", "20"]
        assert lines[0].split(maxsplit=1)[1] == "2026-05-18T08:00:00.000Z  event  deny  no_mask"
        assert lines[3].startswith("last row 20:")
        assert run("verify", "--file", small, "--anchor", lines[3].split()[-1])[0] == 0

    def test_shows_twenty_unless_told(self, run, path):
        assert len(run("tail", "--file", path)[1].splitlines()) == 21

    def test_of_an_empty_audit_is_empty(self, run, tmp_path):
        make(tmp_path / "audit.sqlite", [])
        assert run("tail", "--file", tmp_path / "audit.sqlite") == (0, "", "")

    def test_cannot_be_made_to_steer_the_terminal(self, run, small):
        tamper(small, "UPDATE rows SET detail = char(27) || '[2J' || char(10) WHERE seq = 20")
        out = run("tail", "--file", small)[1]
        assert "\\x1b[2J\\n" in out
        assert "\x1b" not in out


class TestWhatCannotBeRead:
    @pytest.mark.parametrize("command", ["verify", "export", "tail"])
    @pytest.mark.parametrize("kind", ["missing", "folder", "text", "empty", "foreign", "damaged"])
    def test_is_one_sentence_and_5(self, run, path, tmp_path, command, kind):
        if kind == "missing":
            path = tmp_path / "missing.sqlite"
        elif kind == "folder":
            path = tmp_path
        elif kind == "text":
            path.write_text("what somebody wrote here\n" * 100)
        elif kind == "empty":
            path.write_bytes(b"")
        elif kind == "foreign":
            path.unlink()
            with sqlite3.connect(path) as connection:
                connection.execute("CREATE TABLE theirs (x)")
            connection.close()
        else:
            data = path.read_bytes()
            path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
        code, out, err = run(command, "--file", path)
        assert (code, out) == (5, "")
        assert err.startswith(f"mask-gate-audit: {path}: cannot be read as an audit (")
        assert len(err.splitlines()) == 1

    @pytest.mark.parametrize(
        "words",
        [
            [],
            ["verify", "--anchor", "7"],
            ["verify", "--anchor", "7:abc"],
            ["verify", "--gate", "../x"],
            ["verify", "--file", "a", "--gate", "b"],
            ["tail", "-n", "0"],
            ["tail", "-n", "many"],
            ["export", "--from", "yesterday"],
            ["export", "--to", "9999-12-31T23:59:59-23:00"],
            ["export", "--format", "xml"],
            ["delete"],
        ],
    )
    def test_words_that_make_no_sense_are_2(self, run, words):
        assert run(*words)[0] == 2

    def test_help_is_0_and_names_the_exit_codes(self, run):
        code, out, _ = run("--help")
        assert code == 0
        assert "1 the chain is broken" in out


def test_a_reader_that_has_seen_enough_gets_no_complaint(repo_root, path):
    with subprocess.Popen(
        [sys.executable, "-m", "mask_gate.gate.commands.audit", "export", "--file", path],
        env={**os.environ, "PYTHONPATH": str(repo_root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as command:
        assert json.loads(command.stdout.readline())["seq"] == 1
        command.stdout.close()
        assert command.stderr.read() == b""
    assert command.returncode == 0


def test_letters_that_a_terminal_lacks_are_shown_as_their_code(repo_root, tmp_path):
    make(tmp_path / "audit.sqlite", [Row("result", relay="문 1")])
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "mask_gate.gate.commands.audit",
            "tail",
            "--file",
            tmp_path / "audit.sqlite",
        ],
        env={**os.environ, "PYTHONPATH": str(repo_root), "PYTHONIOENCODING": "ascii"},
        capture_output=True,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b"\\ubb38 1" in ended.stdout


class TestFollowing:
    @pytest.fixture
    def following(self, tmp_path):
        """`tail --follow` of a file, and its lines as they come."""
        path = tmp_path / "audit.sqlite"
        Audit(path, "lobby").close()
        code = "import sys, mask_gate.gate.commands.audit as a; sys.exit(a.main())"
        command = [sys.executable, "-c", code, "tail", "-n", "1", "--follow", "--file", str(path)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            yield path, process
            process.kill()

    def test_shows_rows_as_they_come_also_after_the_file_was_set_aside(self, following):
        path, process = following
        assert "stop" in process.stdout.readline()
        with contextlib.closing(Audit(path, "lobby")) as audit:
            audit.alarm("while it runs")
            assert "start" in process.stdout.readline()
            assert "while it runs" in process.stdout.readline()
        assert "stop" in process.stdout.readline()
        path.rename(path.with_suffix(".aside"))
        with contextlib.closing(Audit(path, "lobby")) as audit:
            audit.check(30.0)
            line = process.stdout.readline()
            assert re.match(r" +1 .* start ", line), line

    def test_ends_with_ctrl_c(self, following):
        _, process = following
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30.0) == 130
        assert process.stderr.read() == ""


class TestReport:
    @pytest.fixture
    def path(self, tmp_path):
        path = tmp_path / "audit.sqlite"
        now = datetime.now(UTC)
        for days, reason in ((2, "no_mask"), (0, "mask_incorrect")):
            wall = now - timedelta(days=days)
            with contextlib.closing(Audit(path, "lobby", wall=lambda wall=wall: wall)) as audit:
                audit.check(30.0)
                votes = {"without_mask": 3}
                event = {
                    "id": "d1", "type": "signal", "signal": "deny", "state": "deny", "door":
                    "locked", "reason": reason, "faces": 1, "latency_ms": 1.0,
                    "tracks": [{"id": 1, "label": "without_mask", "score": 0.9, "votes": votes}],
                }  # fmt: skip
                audit.write(event)
        return path

    def report(self, path, *flags):
        return main(["report", "--file", str(path), *flags])

    def test_counts_each_day_and_says_why(self, path, capsys):
        assert self.report(path, "--days", "3") == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split() == ["Date", "Openings", "Denials", "Faults", "Mask", "No", "mask",
                                    "Worn", "wrong"]  # fmt: skip
        assert [line.split()[2] for line in lines[1:4]] == ["1", "0", "1"]
        assert lines[4].split()[:3] == ["Total", "0", "2"]
        assert {line.rsplit(None, 1)[0] for line in lines[6:]} == {
            "somebody wears no mask", "a mask leaves nose or mouth free"
        }  # fmt: skip

    def test_is_a_spreadsheet_or_a_page_by_the_name_of_its_file(self, path, tmp_path):
        assert self.report(path, "--days", "3", "--out", str(tmp_path / "r.csv")) == 0
        days = list(csv.DictReader((tmp_path / "r.csv").open(newline="")))
        assert [day["without_mask"] for day in days] == ["1", "0", "1"]
        page = tmp_path / "r.html"
        assert self.report(path, "--days", "3", "--out", str(page), "--language", "ko") == 0
        text = page.read_text(encoding="utf-8")
        assert text.count("<svg ") == 2
        assert '<html lang="ko">' in text
        assert "미착용 2" in text
        assert not re.search(r"https?://(?!www\.w3\.org)|<script", text)

    def test_of_a_day_without_anything_is_a_row_of_zeros(self, path, capsys):
        assert self.report(path, "--days", "40", "--format", "csv") == 0
        rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
        assert len(rows) == 41
        assert rows[1][1:] == ["0"] * 6

    def test_of_a_broken_chain_is_none(self, path, capsys):
        with sqlite3.connect(path) as connection:
            connection.execute("DROP TRIGGER rows_never_change")
            connection.execute("UPDATE rows SET decision = 'allow' WHERE kind = 'event'")
        connection.close()
        assert self.report(path) == 1
        assert "it was changed" in capsys.readouterr().err

    @pytest.mark.parametrize("days", ["0", "-1", "x", "999999999"])
    def test_of_days_that_cannot_be_is_refused_in_a_sentence(self, path, days, capsys):
        with contextlib.suppress(SystemExit):
            assert self.report(path, "--days", days) == 2
        assert "expected" in capsys.readouterr().err
