"""A real gate at whose console guards give orders: what opens, stays locked, and lasts."""

import contextlib
import http.client
import os
import re
import signal
import sqlite3
import subprocess
import time
from urllib.parse import urlencode

import pytest

from mask_gate.gate.console.login import write_password
from mask_gate.gate.door.guard_desk import LET_IN_PAUSE_S

pytestmark = pytest.mark.process

pytest.importorskip("uvicorn", reason="needs the console extra: pip install -e '.[console]'")

KIM, VISITOR = "kim's long password", "visitor's long password"
_TOO_LATE = "it took too long"
CONSOLE = """
console:
  enabled: true
  port: 0
  guard_password_files: {{kim: {folder}/kim}}
  kiosk_password_file: {folder}/kiosk
  guard_may: [lock_down, let_in_once]
"""


class Console:
    """A browser of sorts at the console of a gate that runs.

    Args:
        gate: of `gate_bench`.
        wait_until: of `gate_bench`.
    """

    def __init__(self, gate, wait_until):
        def find():
            assert gate.process.poll() is None, gate.said
            return re.findall(r"console: http://127\.0\.0\.1:(\d+)/", gate.said)

        self.port = int(wait_until(find, what="a console")[-1])
        self.home = f"http://127.0.0.1:{self.port}"

    def request(self, how, path, form=None, cookie=""):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60.0)
        headers = {"Origin": self.home, "Cookie": cookie}
        with contextlib.closing(connection):
            connection.request(how, path, form and urlencode(form), headers)
            answer = connection.getresponse()
            return answer.status, answer.getheader("set-cookie"), answer.read().decode()

    def log_in(self, password, name=""):
        status, cookie, _ = self.request("POST", "/login", {"name": name, "password": password})
        assert status == 303
        return cookie.partition(";")[0]

    def order(self, act, cookie, *, door="", order_id=None, password=KIM):
        """What an order is answered; by the form of the page, unless its number is given.

        One that came too late, because the machine was busy, is given again.
        """
        for _ in range(20):
            number = order_id
            if number is None:
                page = self.request("GET", f"{door}/", cookie=cookie)[2]
                number = re.search(r'name="id" value="(\w+)"', page)[1]
            form = {"act": act, "id": number, "why": "parcel, for the lab", "password": password}
            status, _, said = self.request("POST", f"{door}/orders", form, cookie)
            if _TOO_LATE not in said:
                break
        return status, said


TWO_DOORS = """\
detector: {{device: cpu, engine: onnx, weights: "{weights}"}}
policy: {{hold_s: 9.0, lease_s: 1.0, cool_down_s: 0.2}}
door: {{max_open_s: 10.0}}
outputs: {{sound: false}}
doors:
  north:
    camera: {{source: "{url}"}}
    relays: [{{kind: recording, path: "{folder}/door"}}]
    audit: {{path: "{folder}/audit.sqlite"}}
  south:
    camera: {{source: "{url}south"}}
    relays: [{{kind: recording, path: "{folder}/south.door"}}]
    audit: {{path: "{folder}/south.sqlite"}}
"""


@pytest.fixture
def start(gate_bench, camera, tmp_path):
    """`start()`: a gate with a console, of which more keys may be given, and a browser there."""
    write_password(tmp_path / "kim", KIM)
    write_password(tmp_path / "kiosk", VISITOR)
    with contextlib.ExitStack() as stack:

        def run(template=gate_bench.CONFIG, console=""):
            (tmp_path / "log").unlink(missing_ok=True)
            more = CONSOLE.format(folder=tmp_path) + console
            gate = gate_bench.Gate(tmp_path, camera.url, config=more, template=template)
            stack.enter_context(gate)
            return gate, Console(gate, gate_bench.wait_until)

        yield run


def rows_of(folder, kind):
    with contextlib.closing(sqlite3.connect(folder / "audit.sqlite")) as database:
        rows = "SELECT decision, reason, detail FROM rows WHERE kind = ? ORDER BY seq"
        return database.execute(rows, (kind,)).fetchall()


def test_a_guard_lets_in_once_also_without_a_camera(start, gate_bench, camera, tmp_path):
    camera.mode = "bare"
    gate, console = start()
    gate.wait_for_event(reason="no_mask")
    kim, visitor = console.log_in(KIM, "kim"), console.log_in(VISITOR)
    assert console.order("let_in_once", visitor, order_id="0" * 32)[0] == 403
    assert console.order("let_in_once", "", order_id="0" * 32)[0] == 401
    assert console.order("let_in_once", kim, password="wrong")[0] == 401
    assert not gate.is_open

    camera.mode = "close"
    camera.vanish()
    gate.wait_for_event(reason="camera_lost")
    status, said = console.order("let_in_once", kim, order_id="a" * 32)
    assert (status, "opened once" in said) == (200, True), (said, gate.said)
    opened = gate.wait_for_event(type="signal", signal="allow", reason="let_in")
    assert opened["guard"] == {"name": "kim", "reason": "parcel, for the lab"}
    assert console.order("let_in_once", kim, order_id="a" * 32)[0] == 409
    gate_bench.wait_until(lambda: not gate.is_open)
    assert [level for _, level, _ in gate.edges].count("unlocked") == 1
    assert gate.end() == 0
    gate.check()
    ((decision, reason, detail),) = rows_of(tmp_path, "intent")
    assert (decision, reason) == ("allow", "let_in")
    assert "guard kim: parcel; for the lab" in detail


def test_a_gate_that_is_killed_and_started_has_no_new_hour(start, camera):
    camera.mode = "nobody"
    gate, console = start(console="  let_in_per_h: 1\n")
    gate.wait_for_event(reason="no_face")
    assert console.order("let_in_once", console.log_in(KIM, "kim"))[0] == 200, gate.said
    again_s = time.monotonic() + LET_IN_PAUSE_S + 0.5
    gate.process.kill()
    gate.process.wait()

    gate, console = start(console="  let_in_per_h: 1\n")
    gate.wait_for_event(reason="no_face")
    kim = console.log_in(KIM, "kim")
    time.sleep(max(0.0, again_s - time.monotonic()))
    status, said = console.order("let_in_once", kim)
    assert (status, "within this hour" in said) == (409, True), said
    assert gate.end() == 0


def test_nobody_is_let_in_whose_row_cannot_be_written(start, gate_bench, camera, tmp_path):
    camera.mode = "nobody"
    gate, console = start()
    gate.wait_for_event(reason="no_face")
    kim = console.log_in(KIM, "kim")
    with contextlib.closing(
        sqlite3.connect(tmp_path / "audit.sqlite", isolation_level=None)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        status, said = console.order("let_in_once", kim)
        assert (status, "the record cannot be written" in said) == (409, True), said
        other.execute("ROLLBACK")
    gate_bench.wait_until(lambda: gate.reason != "audit_unavailable")
    time.sleep(1.0)  # it is not made up for
    assert "unlocked" not in {level for _, level, _ in gate.edges}
    assert gate.end() == 0
    gate.check()


def test_a_lockdown_outlives_the_console_and_the_gate_and_ends_by_hand(
    start, gate_bench, camera, tmp_path
):
    gate, console = start()
    gate.wait_for_opening()
    kim = console.log_in(KIM, "kim")
    ordered_s = time.monotonic()
    status, said = console.order("lock_down", kim)
    assert status == 200, said
    assert not gate.is_open
    locked_s = time.monotonic()
    gate.wait_for_event(reason="locked_down")
    assert console.order("let_in_once", kim)[0] == 409

    os.kill(gate.child("mask_gate.gate.console.server"), signal.SIGKILL)
    time.sleep(1.5)
    gate.process.kill()  # somebody with a mask stands there all the time
    gate.process.wait()

    gate, console = start()
    gate_bench.wait_until(lambda: "LOCKED DOWN" in gate.said)
    (path,) = set(re.findall(r"mask-gate --end-lock-down (\S+)", gate.said))
    kim = console.log_in(KIM, "kim")
    gate_bench.wait_until(lambda: "kim: parcel" in console.request("GET", "/", cookie=kim)[2])
    gate_bench.wait_until(lambda: gate.reason == "locked_down")
    time.sleep(1.5)
    gate.stays_locked(locked_s, time.monotonic())
    assert ordered_s < locked_s

    command = [*gate_bench.COMMAND, "--end-lock-down", path]
    ended_s = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=60)
    assert done.returncode == 0, done.stderr
    gate.wait_for_new_opening(ended_s)
    assert gate.end() == 0
    gate.check()
    told = rows_of(tmp_path, "guard")
    assert [decision for decision, *_ in told] == ["lock_down", "end_lock_down"]
    assert told[0][2] == "kim: parcel, for the lab"
    assert "ended from the command line" in told[1][2]


def test_a_console_that_is_forged_opens_nothing_but_by_the_gates_own_rules(
    start, gate_bench, camera
):
    """Whoever has the console's process has its pipe, and no more than its rules."""
    camera.mode = "bare"
    gate, console = start()
    gate.wait_for_event(reason="no_mask")
    server = gate.child("mask_gate.gate.console.server")
    with open(f"/proc/{server}/fd/1", "wb", buffering=0) as pipe:  # noqa: PTH123 - no file
        for line in (
            b"\xff\x00" * 100,
            b"order " + b"x" * 100_000,
            b"order {}",
            b'order {"id": "%s", "door": 0, "act": "let_in_once", "name": "kim", '
            b'"why": "late", "asked_s": 1.0}' % (b"a" * 32),
            b'order {"id": "%s", "door": 7, "act": "let_in_once", "name": "kim", '
            b'"why": "elsewhere", "asked_s": 1.0}' % (b"b" * 32),
            b'order {"id": "%s", "door": 0, "act": "let_in_once", "name": "mallory", '
            b'"why": "nobody", "asked_s": 1.0}' % (b"c" * 32),
        ):
            pipe.write(line + b"\n")
        gate_bench.wait_until(lambda: "asked by mallory" in gate.said)
    gate_bench.wait_until(lambda: "(too_late), asked by kim: late" in gate.said)
    assert gate.said.count("what is no order") == 3
    assert not gate.is_open
    kim = console.log_in(KIM, "kim")
    assert console.order("let_in_once", kim)[0] == 200, gate.said
    gate_bench.wait_until(lambda: not gate.is_open)
    assert gate.end() == 0
    gate.check()


def test_of_two_doors_one_is_locked_down_and_the_other_goes_on(start, gate_bench, camera, tmp_path):
    gate, console = start(TWO_DOORS)

    def is_open(name):
        lines = gate_bench.whole_lines(tmp_path / name)
        return bool(lines) and lines[-1].split()[1] == "unlocked"

    gate_bench.wait_until(lambda: is_open("door") and is_open("south.door"), what=gate.said)
    kim = console.log_in(KIM, "kim")
    assert console.order("lock_down", kim, door="/doors/south")[0] == 200, gate.said
    assert not is_open("south.door")
    assert (tmp_path / "south.sqlite.lockdown").exists()
    assert not (tmp_path / "audit.sqlite.lockdown").exists()
    gate.wait_for_new_opening(time.monotonic())
    assert not is_open("south.door")
    assert console.order("let_in_once", kim, door="/doors/south")[0] == 409
    assert console.order("lock_down", kim, door="/doors/west", order_id="0" * 32)[0] == 404
    assert gate.end() == 0
    assert "Traceback" not in gate.said
