"""What is asked of a record's file when it is opened."""

import sqlite3
import threading

import pytest

from mask_gate.gate.audit import schema


class ReadsForEver(sqlite3.Connection):
    """A file of years on a cold disk: one step of the check does not end by itself."""

    def __init__(self, *args, **named):
        super().__init__(*args, **named)
        self.interrupted = threading.Event()

    def execute(self, sql, *parameters):
        if "quick_check" not in sql:
            return super().execute(sql, *parameters)
        assert self.interrupted.wait(20.0), "nobody ended it"
        error = sqlite3.OperationalError("interrupted")
        error.sqlite_errorcode = sqlite3.SQLITE_INTERRUPT
        raise error

    def interrupt(self):
        self.interrupted.set()


@pytest.fixture
def connection(request, tmp_path):
    made = sqlite3.connect(tmp_path / "file.sqlite", factory=request.param)
    yield made
    made.close()


@pytest.mark.parametrize("connection", [ReadsForEver], indirect=True)
def test_looking_for_damage_keeps_no_gate_from_starting(connection, monkeypatch):
    monkeypatch.setattr(schema, "_CHECK_S", 0.05)
    schema.check_pages(connection)


@pytest.mark.parametrize("connection", [sqlite3.Connection], indirect=True)
def test_a_check_that_has_ended_interrupts_nothing_later(connection, monkeypatch):
    monkeypatch.setattr(schema, "_CHECK_S", 0.2)
    schema.check_pages(connection)
    count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000) "
    assert connection.execute(count + "SELECT count(*) FROM n").fetchone() == (2_000_000,)
