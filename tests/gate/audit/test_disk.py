"""The audit on disks that fail: full, read-only, limited, or with any single write going wrong.

What would be broken for a whole process runs in one of its own: this file, started as a program.
"""

import contextlib
import ctypes
import errno
import itertools
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from mask_gate.gate.audit.audit import Audit
from mask_gate.gate.audit.chain import COLUMNS
from mask_gate.gate.audit.limits import AuditLimits
from mask_gate.gate.audit.reader import AuditReader
from mask_gate.gate.domain import Reason, Signal, SignalKind
from mask_gate.gate.errors import AuditError

pytestmark = pytest.mark.process

LONG_S = 30.0
PATIENT = AuditLimits(close_s=LONG_S)


def patient_audit(path, **settings):
    """Whatever else the machine does, there is time to write what waits at the end."""
    return Audit(path, "lobby", wait_s=LONG_S, limits=PATIENT, **settings)


def opening(name):
    return Signal(SignalKind.ALLOW, Reason.COMPLIANT, 1.0, name, until_s=6.0)


def event(name):
    return {"id": name, "type": "decision", "state": "deny", "reason": "no_mask"}


def intended(audit, name):
    """Whether an opening may happen."""
    try:
        audit.intend(opening(name), {"id": name})
    except AuditError:
        return False
    return True


def live_through(path, mend, connect=sqlite3.connect):
    """Live with a fault in it somewhere, until `mend` ends the fault; then all is as it must be."""
    audit = patient_audit(path, connect=connect)
    opened = {}
    for number in range(4):
        opened[f"s{number}"] = intended(audit, f"s{number}")
        audit.write(event(f"e{number}"))
    mend()
    deadline_s = time.monotonic() + LONG_S
    for number in itertools.count(4):
        opened[f"s{number}"] = intended(audit, f"s{number}")
        if opened[f"s{number}"]:
            break
        assert time.monotonic() < deadline_s, "it does not recover"
    audit.close()
    assert_truthful(path, opened, [f"e{number}" for number in range(4)])


def assert_truthful(path, opened, events):
    """Every event and every opening (by name, whether allowed) is there once, in a whole chain."""
    with AuditReader(path) as reader:
        assert reader.check().breaks == []
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in reader.rows()]
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    intents = [row["signal_id"] for row in rows if row["kind"] == "intent"]
    refused = [row["signal_id"] for row in rows if row["outcome"] == "not opened"]
    assert sorted(intents) == sorted(opened)
    assert sorted(refused) == sorted(name for name, allowed in opened.items() if not allowed)
    assert [row["signal_id"] for row in rows if row["kind"] == "event"] == events
    assert not list(path.parent.glob("*.corrupt-*")), "a fault of the disk was taken for damage"


@pytest.mark.parametrize("for_ever", [False, True])
def test_any_single_call_of_the_database_may_fail(tmp_path, for_ever):
    for failing in itertools.count(1):
        calls = FailingCalls(failing, for_ever)
        live_through(tmp_path / f"{failing}.sqlite", calls.mend, calls.connect)
        if not calls.failed:
            break
    assert failing > 30


class FailingCalls:
    """Connections of which the n-th call fails, or all from it on."""

    def __init__(self, failing, for_ever):
        self.left = failing
        self.for_ever = for_ever
        self.mended = False
        self.failed = False

    def mend(self):
        self.mended = True

    def look(self):
        self.left -= 1
        if not self.mended and (self.left == 0 or (self.for_ever and self.left < 0)):
            self.failed = True
            raise sqlite3.OperationalError("disk I/O error")

    def connect(self, *where, **how):
        calls = self

        class Connection(sqlite3.Connection):
            def execute(self, *arguments):
                calls.look()
                return super().execute(*arguments)

            def executemany(self, *arguments):
                calls.look()
                return super().executemany(*arguments)

        return sqlite3.connect(*where, factory=Connection, **how)


def as_program(repo_root, what, folder, *before):
    """Run one of the programs below on this very file; what it reports."""
    ended = subprocess.run(
        [*before, sys.executable, __file__, what, str(folder)],
        env={**os.environ, "PYTHONPATH": str(repo_root)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    if ended.returncode == 77:
        pytest.skip(ended.stderr.strip().splitlines()[-1])
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def skip(why):
    sys.stderr.write(f"{why}\n")
    raise SystemExit(77)


@pytest.mark.slow
def test_any_single_write_of_the_database_may_fail(repo_root, tmp_path):
    tried = as_program(repo_root, "writes", tmp_path)
    assert min(tried.values()) > 20, tried


def writes(folder):
    """Let SQLite's n-th write fail, n = 1, 2, ... until a life has fewer, in three ways."""
    faults = FailingWrites()
    tried = {}
    ways = [("once", errno.EIO, False), ("full", errno.ENOSPC, True), ("broken", errno.EIO, True)]
    for name, code, for_ever in ways:
        for failing in itertools.count(1):
            faults.arm(failing, code, for_ever)
            live_through(folder / f"{name}-{failing}.sqlite", faults.mend)
            if not faults.failed:
                break
        tried[name] = failing
    return tried


class FailingWrites:
    """In place of the system calls by which SQLite writes, as its own tests do it."""

    def __init__(self):
        self.mend()
        self.failed = False
        import _sqlite3

        library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
        try:
            find = library.sqlite3_vfs_find
        except AttributeError:
            skip("needs a Python whose sqlite3 can be reached by ctypes")
        find.restype = ctypes.c_void_p
        vfs = find(None)
        self._system = ctypes.CDLL(None, use_errno=True)
        self._kept = []
        set_call = self._set_system_call(vfs)
        for name in (b"write", b"pwrite", b"pwrite64", b"ftruncate"):
            call = self._call(name.decode().removesuffix("64"))
            self._kept.append(call)
            set_call(vfs, name, ctypes.cast(call, ctypes.c_void_p))

    def arm(self, failing, code, for_ever):
        self.left, self.code, self.for_ever, self.failed = failing, code, for_ever, False

    def mend(self):
        self.left, self.for_ever = 0, False

    def _fails(self):
        self.left -= 1
        if self.left == 0 or (self.for_ever and self.left < 0):
            self.failed = True
            ctypes.set_errno(self.code)
            return True
        return False

    def _call(self, name):
        file, data, size, place = ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64
        types = {
            "write": [file, data, size],
            "pwrite": [file, data, size, place],
            "ftruncate": [file, place],
        }
        kind = ctypes.CFUNCTYPE(ctypes.c_ssize_t, *types[name], use_errno=True)
        real = kind((name, self._system))
        return kind(lambda *given: -1 if self._fails() else real(*given))

    def _set_system_call(self, vfs):
        class Head(ctypes.Structure):
            _fields_ = [
                ("version", ctypes.c_int),
                ("file_size", ctypes.c_int),
                ("longest_path", ctypes.c_int),
                ("next", ctypes.c_void_p),
                ("name", ctypes.c_char_p),
                ("data", ctypes.c_void_p),
                ("methods", ctypes.c_void_p * 12),
                ("current_time_64", ctypes.c_void_p),
                ("set_system_call", ctypes.c_void_p),
            ]

        head = Head.from_address(vfs)
        assert head.version >= 3
        prototype = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
        )
        return prototype(head.set_system_call)


def test_files_may_not_grow_beyond_any_size(repo_root, tmp_path):
    assert as_program(repo_root, "sizes", tmp_path)["refused"] > 5


def sizes(folder):
    """Let every file end at n bytes, for n in steps, as a quota does."""
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    refused = 0
    for limit in [*range(0, 40_000, 3_000), 60_000, 90_000]:
        path = folder / f"{limit}.sqlite"
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, unlimited[1]))
        live_through(path, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, unlimited))
        with AuditReader(path) as reader:
            refused += any("not opened" in row for row in reader.rows())
    return {"refused": refused}


def test_the_database_may_not_grow_beyond_some_pages(tmp_path):
    def connect(*where, **how):
        connection = sqlite3.connect(*where, **how)
        connection.execute(f"PRAGMA max_page_count = {100_000 if mended else 12}")
        return connection

    mended = []
    path = tmp_path / "audit.sqlite"
    audit = patient_audit(path, connect=connect)
    audit.check(LONG_S)
    names = [f"e{number}" for number in range(200)]
    for name in names:
        audit.write(event(name))
    opened = {"s1": intended(audit, "s1")}
    assert opened == {"s1": False}
    assert "database or disk is full" in audit.fault
    mended.append(True)
    opened["s2"] = intended(audit, "s2")
    assert opened["s2"]
    audit.close()
    assert_truthful(path, opened, names)


def test_a_disk_of_one_megabyte_that_is_full(repo_root, tmp_path):
    told = as_program(repo_root, "full", tmp_path, *in_a_small_disk(tmp_path))
    assert told["refused"] >= 3
    assert told["recovered_s"] <= LONG_S


def in_a_small_disk(folder):
    """Texts before a command that give it a disk of 1 MB at the folder, without being root."""
    mount = f"mount -t tmpfs -o size=1m none '{folder}' && exec \"$@\""
    words = ["unshare", "-rm", "sh", "-c", mount, "sh"]
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare for a disk of its own: install util-linux")
    if subprocess.run([*words, "true"], capture_output=True).returncode:
        pytest.skip("needs user namespaces for a disk of its own: sysctl user.max_user_namespaces")
    return words


def full(folder):
    """Fill the disk, go on for a while, make room again."""
    path = folder / "audit.sqlite"
    audit = patient_audit(path)
    audit.check(LONG_S)
    opened = {"first": intended(audit, "first")}
    fill_up(folder / "ballast")
    names = []
    for number in range(1000):
        names.append(f"e{number}")
        audit.write(event(names[-1]))
        opened[f"s{number}"] = intended(audit, f"s{number}")
        if list(opened.values()).count(False) >= 3:
            break
    late = patient_audit(folder / "begun-on-a-full-disk.sqlite")
    assert not intended(late, "s1")
    for _ in range(10):
        names.append(f"e{len(names)}")
        audit.write(event(names[-1]))
        time.sleep(0.1)
    (folder / "ballast").unlink()
    began_s = time.monotonic()
    while audit.fault or late.fault:  # nobody asks: it must recover by itself
        assert time.monotonic() < began_s + LONG_S
        time.sleep(0.01)
    recovered_s = time.monotonic() - began_s
    opened["last"] = intended(audit, "last")
    assert opened["last"]
    assert intended(late, "s2")
    audit.close()
    late.close()
    assert_truthful(path, opened, names)
    assert_truthful(late.path, {"s1": False, "s2": True}, [])
    return {"refused": list(opened.values()).count(False), "recovered_s": recovered_s}


def fill_up(path):
    with path.open("wb", buffering=0) as file:
        for size in (4096, 1):
            with contextlib.suppress(OSError):
                while file.write(b"\0" * size):
                    pass


def test_a_file_and_folder_that_may_only_be_read(repo_root, tmp_path):
    told = as_program(repo_root, "readonly", tmp_path)
    assert told["said"]
    assert all("audit" in said for said in told["said"])


def readonly(_):
    """Take the right to write away from file, then folder; as root, become nobody first."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "state"
        folder.mkdir()
        path = folder / "audit.sqlite"
        live_through(Path(name) / "loads-what-nobody-may-read.sqlite", lambda: None)
        as_root = os.geteuid() == 0
        if as_root:
            Path(name).chmod(0o755)
            os.chown(folder, 65534, 65534)
            os.setresuid(65534, 65534, 0)
        said = []
        try:
            audit = patient_audit(path)
            assert intended(audit, "s1")
            audit.close()
            for harmed in (path, folder):
                mode = harmed.stat().st_mode
                harmed.chmod(mode & ~0o222)
                audit = patient_audit(path)
                try:
                    audit.intend(opening("s2"), {})
                except AuditError as error:
                    said.append(str(error))
                with AuditReader(path) as reader:  # even where nothing can be written
                    assert reader.check().breaks == []
                harmed.chmod(mode)
                assert intended(audit, "s3")
                audit.close()
            assert [each.name for each in folder.iterdir()] == ["audit.sqlite"]
            with AuditReader(path) as reader:
                assert reader.check().breaks == []
        finally:
            if as_root:
                os.setresuid(0, 0, 0)
    return {"said": said}


if __name__ == "__main__":
    program = {"writes": writes, "sizes": sizes, "full": full, "readonly": readonly}[sys.argv[1]]
    print(json.dumps(program(Path(sys.argv[2]))))
