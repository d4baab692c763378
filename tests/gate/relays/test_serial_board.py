"""A relay board at the other end of a real pty: what it hears, how it lies, and when it is gone."""

import contextlib
import errno
import fcntl
import gc
import os
import pty
import select
import struct
import sys
import threading
import time
import tty
from pathlib import Path

import pytest
import serial
from hypothesis import given, settings
from hypothesis import strategies as st

from mask_gate.gate.errors import OutputError
from mask_gate.gate.relays.relay import Order
from mask_gate.gate.relays.serial_board import SerialPauses, SerialRelay
from mask_gate.gate.relays.serial_protocols import CustomBoard, LcusBoard, NumatoBoard, board_of

pytestmark = pytest.mark.process

UNHURRIED = settings(deadline=None)
PATIENCE_S = 60.0
LIMIT_S = 20.0
ALLOW = Order(unlocks=True, id="a", reason="compliant", hold_s=3.0)
DENY = Order(unlocks=False, id="d", reason="no_mask")


def go_on():
    return False


def lock_waits():
    return True


def wait_until(condition, what="the condition"):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"gave up waiting for {what}"
        time.sleep(0.005)


def locks(relay):
    try:
        relay.lock(DENY, go_on)
    except OutputError:
        return False
    return True


class FakeBoard:
    """A board with a pty for its USB plug; its one relay keeps its level as long as it is plugged.

    Args:
        energised: how the relay stands when it is plugged in.
        held: bytes that already lie in its buffer then.

    Attributes:
        levels: of the relay, from the first on, changes only.
        heard: every byte that came.
        obeys: whether commands move the relay.
        mangle: makes what is sent of what should be.
    """

    obeys = True
    mangle = staticmethod(bytes)

    def __init__(self, energised=False, held=b""):
        self.levels = [energised]
        self.heard = b""
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.device = os.ttyname(self._slave)
        self._stop, self._stopper = os.pipe()
        self._rest = held
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    @property
    def energised(self):
        return self.levels[-1]

    def unplug(self):
        if self._thread is not None:
            os.close(self._stopper)
            self._thread.join()
            for descriptor in (self._stop, self._master, self._slave):
                os.close(descriptor)
            self._thread = None

    def is_held_exclusively(self):
        answer = fcntl.ioctl(self._slave, 0x80045440, b"\0\0\0\0")  # TIOCGEXCL
        return struct.unpack("i", answer)[0] == 1

    def say(self, data):
        os.write(self._master, self.mangle(data))

    def move(self, energise):
        if self.obeys and energise != self.energised:
            self.levels.append(energise)

    def take(self, data):
        """Act on what is whole of `data`; returns the rest."""
        raise NotImplementedError

    def _work(self):
        while True:
            ready, _, _ = select.select([self._master, self._stop], [], [])
            if self._stop in ready:
                return
            data = os.read(self._master, 4096)
            self.heard += data
            self._rest = self.take(self._rest + data)


class FakeLcus(FakeBoard):
    """Says nothing (`speech` None), or its state as `text` or as `bytes`, of `relays` relays."""

    speech = None
    relays = 1
    channel = 1

    def take(self, data):
        while data:
            if data[0] == 0xFF:
                self.say_state()
                data = data[1:]
            elif data[0] != 0xA0:
                data = data[1:]
            elif len(data) < 4:
                return data
            else:
                frame, data = data[:4], data[4:]
                if sum(frame[:3]) & 0xFF == frame[3] and frame[1] == self.channel:
                    self.move(frame[2] == 1)
        return b""

    def say_state(self):
        states = [self.energised if n == self.channel else False for n in range(1, self.relays + 1)]
        if self.speech == "text":
            lines = (f"CH{n}: {'ON' if on else 'OFF'} \r\n" for n, on in enumerate(states, start=1))
            self.say("".join(lines).encode())
        elif self.speech == "bytes":
            self.say(bytes(states))


class FakeNumato(FakeBoard):
    """Repeats each line, answers, and prompts."""

    channel = b"0"

    def take(self, data):
        *lines, rest = data.split(b"\r")
        for line in lines:
            answer = b""
            if line in (b"relay on " + self.channel, b"relay off " + self.channel):
                self.move(line.startswith(b"relay on"))
            elif line == b"relay read " + self.channel:
                answer = (b"on" if self.energised else b"off") + b"\n\r"
            self.say(line + b"\n\r" + answer + b">")
        return rest


class FakeCustom(FakeBoard):
    """D0 01 energises, D0 00 releases, and `OK` is the answer to both."""

    def take(self, data):
        while len(data) >= 2:
            if data[:2] in (b"\xd0\x00", b"\xd0\x01"):
                self.move(data[1] == 1)
                self.say(b"OK")
            data = data[2:] if data[0] == 0xD0 else data[1:]
        return data


PATIENT = SerialPauses(settle_s=1.0)
"""Time for an answer that is still under way, for a board that is a thread may rest."""


@pytest.fixture
def plug():
    """Makes boards that are unplugged after the test."""
    made = []

    def make(kind=FakeLcus, *, energised=False, held=b"", **traits):
        kind = type(kind.__name__, (kind,), traits)
        made.append(kind(energised, held))
        return made[-1]

    yield make
    for board in made:
        board.unplug()


@pytest.fixture
def connect():
    """Makes relays that are closed after the test; tries again where the machine is slow."""
    made = []

    def make(board, **settings):
        port = board if isinstance(board, str) else board.device
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                made.append(SerialRelay(port, **{"limit_s": LIMIT_S, "pauses": PATIENT} | settings))
                return made[-1]
            except OutputError as error:
                if "makes no sense" not in str(error) or time.monotonic() > deadline:
                    raise

    yield make
    for relay in made:
        relay._let_go()


KINDS = pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (FakeLcus, {}),
        (type("TextLcus", (FakeLcus,), {"speech": "text", "relays": 4, "channel": 3}), {}),
        (type("BytesLcus", (FakeLcus,), {"speech": "bytes", "relays": 8, "channel": 3}), {}),
        (FakeNumato, {"protocol": "numato", "channel": 0}),
        (type("Numato31", (FakeNumato,), {"channel": b"V"}), {"protocol": "numato", "channel": 31}),
        (
            FakeCustom,
            {"protocol": "custom", "energise": "D001", "release": "d0 00", "reply": "4F4B"},
        ),
        (FakeCustom, {"protocol": "custom", "energise": "D001", "release": "D000"}),
    ],
    ids=["lcus", "lcus-text", "lcus-bytes", "numato", "numato-31", "custom-reply", "custom"],
)


def fitting(kind, settings):
    """Settings for a fast test: a silent board is waited for only this long."""
    if kind is FakeLcus:
        return settings | {"limit_s": 0.1}
    return {"channel": kind.channel} | settings if issubclass(kind, FakeLcus) else settings


class TestEveryBoard:
    @KINDS
    @pytest.mark.parametrize("energised", ["unlocked", "locked"])
    def test_is_locked_from_the_start_and_moves_as_ordered(
        self, plug, connect, kind, settings, energised
    ):
        locked = energised == "locked"
        board = plug(kind, energised=not locked)  # it is found unlocked
        relay = connect(board, energised=energised, **fitting(kind, settings))
        wait_until(lambda: board.energised is locked, "the lock")
        for _ in range(2):
            relay.unlock(ALLOW, go_on)
            wait_until(lambda: board.energised is not locked, "the opening")
            relay.lock(DENY, go_on)
            wait_until(lambda: board.energised is locked, "the lock")
        relay.unlock(ALLOW, go_on)
        relay.close()
        relay.close()
        wait_until(lambda: board.levels == 4 * [not locked, locked], "the last lock")

    @KINDS
    def test_found_with_half_a_message_in_its_buffer_it_locks_all_the_same(
        self, plug, connect, kind, settings
    ):
        for held in (b"\xa0", b"\xa0\x01", b"\xa0\x01\x01", b"relay on", b"relay on 0", b"\xd0"):
            board = plug(kind, energised=True, held=held)
            relay = connect(board, **fitting(kind, settings))
            wait_until(lambda board=board: not board.energised, f"the lock after {held!r}")
            relay.close()
            board.unplug()

    @KINDS
    def test_an_opening_that_a_lock_waits_for_is_not_sent(self, plug, connect, kind, settings):
        board = plug(kind)
        relay = connect(board, **fitting(kind, settings))
        relay.unlock(ALLOW, lock_waits)
        relay.lock(DENY, go_on)
        assert board.levels == [False]


SPEAKING = pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (type("TextLcus", (FakeLcus,), {"speech": "text", "relays": 2}), {}),
        (type("BytesLcus", (FakeLcus,), {"speech": "bytes", "relays": 2}), {}),
        (FakeNumato, {"protocol": "numato", "channel": 0}),
        (
            FakeCustom,
            {"protocol": "custom", "energise": "D001", "release": "D000", "reply": "4F4B"},
        ),
    ],
    ids=["lcus-text", "lcus-bytes", "numato", "custom"],
)


class TestAnswers:
    """R3: what a board does not plainly confirm did not happen."""

    @SPEAKING
    @pytest.mark.parametrize(
        ("mangle", "said"),
        [
            (lambda data: b"", "did not answer in"),
            (lambda data: data[: len(data) // 2], "makes no sense"),
            (lambda data: data + b"\x55", "makes no sense"),
            (lambda data: bytes(byte ^ 0x40 for byte in data), "makes no sense"),
            (lambda data: b"\x8f" + data, "makes no sense"),
            (lambda data: 200 * b"x", "makes no sense"),
        ],
        ids=["absent", "short", "longer", "garbled", "noise-first", "flood"],
    )
    def test_an_answer_that_makes_no_sense_is_an_error(
        self, plug, connect, kind, settings, mangle, said
    ):
        board = plug(kind)
        relay = connect(board, **settings)
        relay._limit_s = 0.08
        said = f"^serial /dev/.*({said}|did not answer in)"  # where the machine is slow
        board.mangle = mangle
        with pytest.raises(OutputError, match=said) as unlocking:
            relay.unlock(ALLOW, go_on)
        with pytest.raises(OutputError, match=said):
            relay.lock(DENY, go_on)
        assert "\n" not in str(unlocking.value)
        wait_until(lambda: not board.energised, "the lock: it was sent, if not confirmed")
        board.mangle = bytes
        relay._limit_s = LIMIT_S
        wait_until(lambda: locks(relay), "a lock that is confirmed")

    @SPEAKING
    def test_an_answer_may_come_in_pieces(self, plug, connect, kind, settings):
        board = plug(kind)  # a thread, which may rest
        relay = connect(board, pauses=SerialPauses(quiet_s=0.2, settle_s=1.0), **settings)

        def dribble(data):
            for byte in data[:-1]:
                os.write(board._master, bytes((byte,)))
                time.sleep(0.002)
            return data[-1:]

        board.mangle = dribble
        relay.unlock(ALLOW, go_on)
        relay.lock(DENY, go_on)
        assert board.levels == [False, True, False]

    @SPEAKING
    def test_an_answer_may_come_late(self, plug, kind, settings):
        def late(data):
            time.sleep(0.05)
            return data

        board = plug(kind, mangle=staticmethod(late))
        relay = SerialRelay(board.device, pauses=PATIENT, limit_s=LIMIT_S, **settings)
        for _ in range(2):
            relay.unlock(ALLOW, go_on)
            relay.lock(DENY, go_on)
        relay.close()
        assert board.levels == [False, True, False, True, False]

    @pytest.mark.parametrize("speech", ["text", "bytes"])
    @pytest.mark.parametrize("energised", ["unlocked", "locked"])
    def test_a_relay_that_does_not_move_is_an_error(self, plug, connect, speech, energised):
        board = plug(speech=speech)
        relay = connect(board, energised=energised)
        board.obeys = False
        with pytest.raises(OutputError, match="the board says that its relay did not change"):
            relay.unlock(ALLOW, go_on)
        relay.lock(DENY, go_on)  # it stands as it should

    def test_a_relay_that_sticks_open_is_an_error_at_every_lock(self, plug, connect):
        board = plug(FakeNumato)
        relay = connect(board, protocol="numato", channel=0)
        relay.unlock(ALLOW, go_on)
        board.obeys = False
        for _ in range(3):
            with pytest.raises(OutputError, match=r"its relay did not change|no sense"):
                relay.lock(DENY, go_on)
        board.obeys = True
        wait_until(lambda: locks(relay), "a lock that is confirmed")
        assert not board.energised

    def test_a_board_that_cannot_lock_is_no_relay(self, plug):
        board = plug(speech="text", energised=True, obeys=False)
        with pytest.raises(OutputError, match="the board says that its relay did not change"):
            SerialRelay(board.device, pauses=PATIENT, limit_s=LIMIT_S)
        assert not board.is_held_exclusively()

    def test_what_a_numato_board_repeats_is_no_answer(self, plug, connect):
        board = plug(FakeNumato)
        relay = connect(board, protocol="numato", channel=0)
        relay._limit_s = 0.2
        board.mangle = lambda data: data.partition(b"\n\r")[0] + b"\n\r>"  # and only the echo
        with pytest.raises(OutputError, match="makes no sense"):
            relay.unlock(ALLOW, go_on)

    def test_what_was_said_before_the_question_is_no_answer(self, plug, connect):
        board = plug(speech="text")
        relay = connect(board)
        board.obeys = False
        board.say(b"CH1: ON \r\n")
        wait_until(lambda: select.select([relay._port._descriptor], [], [], 0)[0])
        with pytest.raises(OutputError, match="the board says that its relay did not change"):
            relay.unlock(ALLOW, go_on)

    def test_a_lock_ends_the_wait_for_an_answer_and_hears_its_own(self, plug, connect):
        board = plug(FakeNumato)
        relay = connect(board, protocol="numato", channel=0, limit_s=PATIENCE_S)
        asked = []
        board.mangle = lambda data: asked.append(data) or b""
        began_s = time.monotonic()
        relay.unlock(ALLOW, lambda: bool(asked))
        board.mangle = bytes
        board.say(asked[0])  # late, and still under way when the lock is sent
        assert time.monotonic() - began_s < PATIENCE_S / 2
        with pytest.raises(OutputError, match="not known to be locked"):
            relay.unlock(ALLOW, go_on)
        wait_until(lambda: locks(relay), "a lock that is confirmed")
        assert board.levels == [False, True, False]

    def test_time_that_is_up_ends_a_lock_with_an_error(self, plug, connect):
        board = plug(FakeNumato)
        relay = connect(board, protocol="numato", channel=0)
        relay.unlock(ALLOW, go_on)
        board.mangle = lambda data: b""
        with pytest.raises(OutputError, match="did not answer"):
            relay.lock(DENY, lock_waits)
        wait_until(lambda: not board.energised, "the lock: it was sent all the same")


class TestSilentBoards:
    def test_a_board_that_never_answers_is_believed_and_this_is_said(self, plug, connect, caplog):
        board = plug()
        relay = connect(board, limit_s=0.2)
        assert [r.getMessage() for r in caplog.records] == [
            f"{relay.name}: the board does not tell its state; nothing shows if it obeys"
        ]
        relay.unlock(ALLOW, go_on)
        relay.lock(DENY, go_on)
        wait_until(lambda: board.levels == [False, True, False])
        assert board.heard.count(b"\xff") == 1

    def test_a_board_that_answered_once_must_go_on_answering(self, plug, connect, tmp_path):
        board = plug(speech="text")
        relay = connect(board)
        relay._limit_s = 0.2
        board.mangle = lambda data: b""
        for _ in range(3):  # the port is opened anew each time
            with pytest.raises(OutputError, match=r"did not answer in 0\.2 s"):
                relay.lock(DENY, go_on)

    def test_a_board_is_not_asked_where_the_operator_says_so(self, plug, connect):
        board = plug(speech="text", mangle=staticmethod(lambda data: b"nonsense"))
        relay = connect(board, read_back=False)
        relay.unlock(ALLOW, go_on)
        relay.lock(DENY, go_on)
        wait_until(lambda: board.levels == [False, True, False])
        assert b"\xff" not in board.heard

    def test_one_that_babbles_at_the_start_is_no_relay(self, plug):
        board = plug(speech="text", mangle=staticmethod(lambda data: b"\xa0\x01\x00\xa1"))
        with pytest.raises(OutputError, match=r"makes no sense \(a0 01 00 a1\); .*read_back: fal"):
            SerialRelay(board.device, limit_s=0.2)

    def test_a_numato_board_answers_even_when_it_is_not_asked_for_its_state(self, plug, connect):
        board = plug(FakeNumato)
        relay = connect(board, protocol="numato", channel=0, read_back=False)
        assert b"read" not in board.heard
        relay._limit_s = 0.2
        board.mangle = lambda data: b""
        with pytest.raises(OutputError, match="did not answer"):
            relay.unlock(ALLOW, go_on)


@pytest.fixture
def by_id(tmp_path):
    """The stable name of a board; `by_id.means(board)` lets it name that one, None none."""

    class Name:
        path = str(tmp_path / "usb-1a86_USB_Serial-if00-port0")

        def means(self, board):
            if board is None:
                Path(self.path).unlink()
            else:
                coming = tmp_path / "next"
                coming.symlink_to(board.device)
                coming.replace(self.path)

    return Name()


class TestUnplugged:
    """R1: unplugged, and back as another device behind the same name."""

    def test_a_board_that_comes_back_is_locked_before_anything_else(self, plug, connect, by_id):
        first = plug(speech="text")
        by_id.means(first)
        relay = connect(by_id.path)
        relay.unlock(ALLOW, go_on)
        by_id.means(None)
        first.unplug()
        with pytest.raises(OutputError, match="not connected"):
            relay.unlock(ALLOW, go_on)
        with pytest.raises(OutputError, match="no such device; plug the board in"):
            relay.lock(DENY, go_on)
        with pytest.raises(OutputError, match="not connected"):
            relay.unlock(ALLOW, go_on)
        second = plug(speech="text", energised=True)
        by_id.means(second)
        with pytest.raises(OutputError, match="not connected"):
            relay.unlock(ALLOW, go_on)
        assert second.heard == b""
        relay.lock(DENY, go_on)
        assert second.levels == [True, False]
        relay.unlock(ALLOW, go_on)
        assert second.levels == [True, False, True]

    def test_a_name_that_means_another_board_now_is_noticed_before_it_is_used(
        self, plug, connect, by_id
    ):
        first, second = plug(speech="text"), plug(speech="text", energised=True)
        by_id.means(first)
        relay = connect(by_id.path)
        by_id.means(second)  # the first is still there, under another name
        heard = first.heard
        with pytest.raises(OutputError, match="not connected"):
            relay.unlock(ALLOW, go_on)
        relay.lock(DENY, go_on)
        assert second.levels == [True, False]
        assert first.heard == heard
        assert not first.is_held_exclusively()

    @pytest.mark.parametrize("orders", [("unlock",), ("lock",), ("unlock", "lock")])
    def test_a_board_pulled_out_while_it_is_open_is_an_error_at_once(
        self, plug, connect, by_id, orders
    ):
        board = plug(speech="text")
        by_id.means(board)
        relay = connect(by_id.path)
        board.unplug()  # and its name is still there for a moment
        began_s = time.monotonic()
        for order in orders:
            with pytest.raises(OutputError, match=r"^serial .* relay 1: "):
                getattr(relay, order)(DENY, go_on)
        assert time.monotonic() - began_s < PATIENCE_S

    def test_thirty_times_out_and_in_never_leaves_it_open(self, plug, connect, by_id):
        board = plug(speech="text")
        by_id.means(board)
        relay = connect(by_id.path)
        for index in range(30):
            if index % 3:
                relay.unlock(ALLOW, go_on)
            board.unplug()
            board = plug(speech="text", energised=index % 2 == 0)
            by_id.means(board)
            with pytest.raises(OutputError):
                relay.unlock(ALLOW, go_on)
            wait_until(lambda: locks(relay), "the lock")
            assert not board.energised
            assert not any(board.levels[1:])

    def test_nothing_leaks_over_it(self, plug, connect, by_id):
        board = plug(speech="text")
        by_id.means(board)
        relay = connect(by_id.path)
        gc.collect()  # what others left behind may go at any time
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(20):
            relay._let_go()
            relay.lock(DENY, go_on)
        assert len(list(Path("/proc/self/fd").iterdir())) <= before


class TestThePort:
    def test_it_is_ours_alone(self, plug, connect):
        board = plug(speech="text")
        relay = connect(board)
        assert board.is_held_exclusively()
        with pytest.raises(OutputError, match="another program uses it"):
            connect(board)
        with pytest.raises(serial.SerialException):
            serial.Serial(board.device, exclusive=True)
        assert board.levels == [False]
        relay.close()
        assert not board.is_held_exclusively()
        connect(board)

    def test_dtr_and_rts_are_low_before_it_is_opened(self, plug, connect, monkeypatch):
        """R2: a pty has no such lines; what counts is that pyserial never raises them."""
        board = plug(speech="text")
        calls = []

        class Recorded(serial.Serial):
            def __setattr__(self, name, value):
                if name in ("_dtr_state", "_rts_state"):
                    calls.append((name, value))
                super().__setattr__(name, value)

            def open(self):
                calls.append(("open", self.exclusive))
                super().open()

            def _update_dtr_state(self):
                calls.append(("dtr line", self._dtr_state))

            def _update_rts_state(self):
                calls.append(("rts line", self._rts_state))

        monkeypatch.setattr(serial, "Serial", Recorded)
        relay = connect(board)
        relay.unlock(ALLOW, go_on)
        relay.lock(DENY, go_on)
        opened = calls.index(("open", True))
        assert dict(calls[:opened]) == {"_dtr_state": False, "_rts_state": False}
        assert calls[opened + 1 :] == [("dtr line", False), ("rts line", False)]

    def test_a_board_that_takes_no_bytes_is_an_error_in_time(self, plug, connect):
        board = plug(speech="text")
        relay = connect(board)
        relay._limit_s = 0.2
        fill(relay._port._descriptor, board)
        began_s = time.monotonic()
        with pytest.raises(OutputError, match="takes no more bytes"):
            relay.lock(DENY, go_on)
        assert time.monotonic() - began_s < PATIENCE_S

    def test_an_opening_that_did_not_go_out_in_time_never_does(self, plug, connect):
        relay = connect(plug(speech="text"))
        thrown_away = []

        class Stuck:
            """The kernel's end of a plug that takes no bytes."""

            out_waiting = 4

            def reset_input_buffer(self):
                pass

            def reset_output_buffer(self):
                thrown_away.append(self.out_waiting)

        relay._port._serial, kept = Stuck(), relay._port._serial
        relay._limit_s = 0.1
        with pytest.raises(OutputError, match="takes no more bytes"):
            relay.unlock(ALLOW, go_on)
        relay._port._serial = kept
        assert thrown_away == [4]

    @pytest.mark.parametrize(
        ("port", "said"),
        [
            ("/dev/serial/by-id/usb-nothing", "no such device; plug the board in, and check"),
            ("/dev/null", "is no serial port; give the one of the board"),
            ("/", "cannot be opened|is no serial port"),
        ],
    )
    def test_what_is_no_port_is_one_sentence(self, port, said):
        with pytest.raises(OutputError, match=f"^serial {port} relay 1: .*({said})"):
            SerialRelay(port)

    def test_a_file_is_no_port(self, tmp_path):
        path = tmp_path / "port"
        path.write_bytes(b"")
        with pytest.raises(OutputError, match="is no serial port"):
            SerialRelay(str(path))
        assert path.read_bytes() == b""

    def test_a_port_without_the_right_to_it_says_what_to_do(self, monkeypatch):
        def refuse(self):
            raise serial.SerialException(errno.EACCES, "could not open port")

        monkeypatch.setattr(serial.Serial, "open", refuse)
        with pytest.raises(OutputError, match="no right to use it; add the user to group dialout"):
            SerialRelay("/dev/ttyUSB0")

    def test_a_missing_package_is_one_sentence(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "serial", None)
        with pytest.raises(OutputError, match=r'pyserial; run pip install "mask-gate\[serial\]"'):
            SerialRelay("/dev/ttyUSB0")


def fill(descriptor, board):
    """Stop the board, and fill the pipe to it until it takes no more."""
    os.close(board._stopper)
    board._thread.join()
    board._stop, board._stopper = os.pipe()
    board._thread = threading.Thread(target=lambda: None)
    board._thread.start()
    while select.select([], [descriptor], [], 0.2)[1]:
        with contextlib.suppress(BlockingIOError):
            os.write(descriptor, bytes(4096))


class TestProtocols:
    def test_lcus_is_a0_relay_state_and_their_sum(self):
        said = [LcusBoard(n).change(energise=on)[0].message for n in (1, 8) for on in (True, False)]
        assert [m.hex() for m in said] == ["a00101a2", "a00100a1", "a00801a9", "a00800a8"]

    def test_numato_is_a_command_line(self):
        for channel, name in [(0, b"0"), (9, b"9"), (10, b"A"), (31, b"V")]:
            on, read = NumatoBoard(channel).change(energise=True)
            assert (on.message, read.message) == (
                b"relay on %s\r" % name,
                b"relay read %s\r" % name,
            )
        assert NumatoBoard(0).change(energise=False)[0].message == b"relay off 0\r"

    def test_custom_is_what_the_operator_says(self):
        board = board_of("custom", 1, True, "D001", "d0 00", "4F4B")
        assert board == CustomBoard(b"\xd0\x01", b"\xd0\x00", b"OK")

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"protocol": "lcus", "channel": 0}, "counts from 1: expected channel 1 to 64, got 0"),
            ({"protocol": "lcus", "channel": 65}, "got 65"),
            ({"protocol": "numato", "channel": 32}, "counts from 0: expected channel 0 to 31, got"),
            ({"protocol": "custom"}, "needs energise and release"),
        ],
    )
    def test_a_relay_that_cannot_be_is_refused_before_the_port_is_touched(self, settings, said):
        with pytest.raises(OutputError, match=said):
            SerialRelay("/dev/nothing", **settings)

    @UNHURRIED
    @given(st.integers(1, 64), st.booleans())
    def test_every_lcus_message_has_its_sum(self, channel, energise):
        *head, total = LcusBoard(channel).change(energise)[0].message
        assert head == [0xA0, channel, energise]
        assert total == sum(head) % 256

    @UNHURRIED
    @given(st.binary(max_size=40), st.integers(1, 4), st.booleans())
    def test_no_bytes_confirm_an_lcus_change_but_a_whole_list_of_states(self, came, n, energise):
        said = LcusBoard(n).change(energise)[1].understand(came)
        if said is not None:
            states = list(came) if set(came) <= {0, 1} else read_lines(came)
            assert states[n - 1] is None or states[n - 1] == (energise is said)

    @UNHURRIED
    @given(
        st.lists(st.booleans(), min_size=1, max_size=8),
        st.sampled_from(["CH{}: {} \r\n", "CH{}:{}\r\n", "CH{}:{} \r\n"]),
        st.data(),
    )
    def test_a_list_of_states_is_understood_only_when_it_is_whole(self, states, form, data):
        lines = [form.format(n, "ON" if on else "OFF") for n, on in enumerate(states, start=1)]
        whole = "".join(lines).encode()
        n = data.draw(st.integers(1, len(states)))
        understand = LcusBoard(n).change(energise=True)[1].understand
        assert understand(whole) is states[n - 1]
        assert understand(bytes(states)) is states[n - 1]
        cut = data.draw(st.integers(0, len("".join(lines[:n]).rstrip("\n")) - 0))
        assert understand(whole[:cut]) is None
        assert understand(whole[1:]) is None

    @UNHURRIED
    @given(st.text("relay ondf0123>\r\n", max_size=40), st.booleans())
    def test_numato_is_believed_only_after_its_echo_and_before_its_prompt(self, text, energise):
        exchange = NumatoBoard(0).change(energise)[1]
        said = exchange.understand(text.encode())
        if said is not None:
            word = "on" if energise is said else "off"
            assert text.strip().strip(">").split() == ["relay", "read", "0", word]
            assert text.strip().endswith(">")

    @UNHURRIED
    @given(st.binary(max_size=4))
    def test_a_custom_answer_is_exactly_the_one_that_was_told(self, came):
        understand = board_of("custom", 1, True, "01", "00", "4F4B").change(True)[0].understand
        assert understand(came) is (True if came == b"OK" else None)


def read_lines(came):
    """The reference: states by line, None where a line is something else."""
    table = {b"ON": 1, b"OFF": 0}
    return [table.get(line.partition(b":")[2].strip()) for line in came.split(b"\n")]


def test_the_pause_for_quiet_is_longer_than_a_character_at_every_usual_speed():
    assert SerialPauses().quiet_s > 10 / 1200
