"""The event log: whole lines, and neither a slow nor a full disk stops the gate."""

import json
import os
import time
from pathlib import Path

import pytest

from mask_gate.gate.audit.event_log import EventLog
from mask_gate.gate.errors import OutputError


class TestEventLog:
    def test_appends_one_object_a_line(self, tmp_path):
        path = tmp_path / "events.jsonl"
        path.write_text('{"old": 1}\n')
        log = EventLog(str(path))
        log.write({"label": "마스크", "text": "two\nlines"})
        log.write({"n": 2})
        log.close()
        assert [json.loads(line) for line in path.read_text().splitlines()] == [
            {"old": 1},
            {"label": "마스크", "text": "two\nlines"},
            {"n": 2},
        ]

    def test_dash_is_standard_output(self, capfd):
        log = EventLog("-")
        log.write({"n": 1})
        log.close()
        assert capfd.readouterr().out == '{"n": 1}\n'
        assert os.fstat(1)  # it closed its own copy only

    @pytest.mark.parametrize("name", ["missing/events.jsonl", "."])
    def test_a_file_that_cannot_be_opened_is_told_at_start(self, tmp_path, name):
        with pytest.raises(OutputError, match=r"events file .*: cannot be written") as caught:
            EventLog(str(tmp_path / name))
        assert caught.value.exit_code == 5

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_a_full_disk_costs_one_warning_and_no_crash(self, caplog):
        log = EventLog("/dev/full")
        for number in range(50):
            log.write({"n": number})
        log.close()
        assert [record.message for record in caplog.records] == [
            "events cannot be written to /dev/full: No space left on device; they are lost"
        ]

    def test_a_pipe_that_nobody_reads_costs_one_warning_until_somebody_does(self, tmp_path, caplog):
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        log = EventLog(str(pipe))
        for number in range(20):
            log.write({"n": number})
        until_s = time.monotonic() + 60
        while not caplog.records and time.monotonic() < until_s:
            time.sleep(0.01)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        log.write({"last": 1})
        log.close()
        assert os.read(reader, 65536).endswith(b'{"last": 1}\n')
        os.close(reader)
        assert [record.message for record in caplog.records][:1] == [
            f"events cannot be written to {pipe}: Broken pipe; they are lost"
        ]
        assert caplog.text.count("they are lost") == 1
