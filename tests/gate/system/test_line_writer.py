"""Lines that are written whole and in order, or lost aloud, and that never hold anybody up."""

import os
import select
import threading
import time
from pathlib import Path

import pytest

from mask_gate.gate.system import line_writer
from mask_gate.gate.system.line_writer import BACKLOG, LineWriter

pytestmark = pytest.mark.process


@pytest.fixture
def losses():
    return []


@pytest.fixture
def recoveries():
    return []


@pytest.fixture
def writer(losses, recoveries):
    """Makes writers on a descriptor."""
    return lambda descriptor: LineWriter(descriptor, losses.append, recoveries.append)


def test_writes_lines_in_order(tmp_path, writer, losses):
    path = tmp_path / "lines"
    one = writer(os.open(path, os.O_WRONLY | os.O_CREAT))
    for number in range(500):
        one.put(f"line {number}")
    one.close()
    assert path.read_text().splitlines() == [f"line {number}" for number in range(500)]
    assert losses == []


def test_a_line_is_there_before_the_writer_is_closed(writer):
    ear, mouth = os.pipe()
    one = writer(mouth)
    one.put("now")
    with os.fdopen(ear) as lines:
        assert lines.readline() == "now\n"
        one.close()
        assert lines.read() == ""


def test_letters_that_are_none_are_written_as_their_code(tmp_path, writer):
    path = tmp_path / "lines"
    one = writer(os.open(path, os.O_WRONLY | os.O_CREAT))
    one.put("\udcff 마스크")
    one.close()
    assert path.read_text() == "\\udcff 마스크\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_once(writer, losses, recoveries):
    one = writer(os.open("/dev/full", os.O_WRONLY))
    for _ in range(100):
        one.put("lost")
    one.close()
    assert losses == ["No space left on device"]
    assert recoveries == []


def test_a_reader_that_went_away_is_told_once(writer, losses):
    ear, mouth = os.pipe()
    os.close(ear)
    one = writer(mouth)
    one.put("lost")
    one.put("lost")
    one.close()
    assert losses == ["Broken pipe"]


def test_a_reader_that_stands_still_holds_up_nobody(writer, losses):
    ear, mouth = os.pipe()
    one = writer(mouth)
    done = threading.Event()

    def put_too_many():
        for _ in range(3 * BACKLOG):
            one.put("x" * 200)
        done.set()

    threading.Thread(target=put_too_many, daemon=True).start()
    assert done.wait(20.0)
    assert losses == ["it does not take them fast enough"]
    os.close(ear)
    one.close()


def test_a_reader_that_goes_on_after_the_close_comes_to_an_end(monkeypatch, writer):
    monkeypatch.setattr(line_writer, "CLOSE_S", 0.1)
    ear, mouth = os.pipe()
    one = writer(mouth)
    while select.select([], [mouth], [], 0.0)[1]:  # until the pipe has hardly any room
        one.put("x" * 200)
    for _ in range(2 * BACKLOG):
        one.put("x" * 200)
    one.close()
    while (ready := select.select([ear], [], [], 20.0)[0]) and os.read(ear, 65536):
        pass
    os.close(ear)
    assert ready, "neither a line nor the end"


def test_after_a_loss_lines_stand_alone_again_and_the_loss_is_counted(losses, recoveries):
    class TornFile:
        """Takes a piece, fails twice, then works."""

        def __init__(self):
            self.data = b""
            self.answers = [3, OSError(28, "full"), OSError(28, "full")]

        def write(self, data):
            answer = self.answers.pop(0) if self.answers else len(data)
            if isinstance(answer, OSError):
                raise answer
            self.data += bytes(data[:answer])
            return answer

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    file = TornFile()
    ear, mouth = os.pipe()
    one = LineWriter(mouth, losses.append, recoveries.append)
    one._file.close()
    one._file = file
    for line in ("first", "second", "third"):
        one.put(line)
    deadline = time.monotonic() + 20.0
    while not recoveries:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    one.close()
    os.close(ear)
    assert file.data == b"fir\nthird\n"
    assert losses == ["full"]
    assert recoveries == [2]


def test_closing_twice_is_harmless(writer):
    ear, mouth = os.pipe()
    one = writer(mouth)
    one.close()
    one.close()
    os.close(ear)
