"""One owner per door: whoever comes second is told who was first, whatever became of that one."""

import contextlib
import gc
import os
import re
import select
import signal
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mask_gate.gate.door import ownership
from mask_gate.gate.door.ownership import Ownership, runtime_folders
from mask_gate.gate.errors import OutputError, OwnedError

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 60.0
LIMITED_S = 0.3

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users: needs root")

# Takes the door when it is told to, says so, and keeps it until its standard input ends. A child,
# where it has one, keeps the descriptor until the pipe whose end it was given is closed.
KEEPER = """
import subprocess, sys
from pathlib import Path
from mask_gate.gate.errors import OutputError
from mask_gate.gate.door.ownership import Ownership

folder, wait_s, *child = sys.argv[1:]
print("there", flush=True)
sys.stdin.readline()
try:
    door = Ownership("lobby", [Path(folder)], wait_s=float(wait_s))
except OutputError as error:
    print(f"refused {error}", flush=True)
    sys.exit(error.exit_code)
if child:
    subprocess.Popen(
        [sys.executable, "-c", "import sys; print('child', flush=True); sys.stdin.read()"],
        stdin=int(child[0]), pass_fds=door.descriptors,
    )
else:
    print("owner", flush=True)
sys.stdin.read()
"""


class Keeper:
    """A process that wants the door."""

    def __init__(self, folder, wait_s, child=()):
        self.process = subprocess.Popen(
            [sys.executable, "-c", KEEPER, str(folder), str(wait_s), *map(str, child)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=child,
            text=True,
        )

    def is_there(self):
        return self.said() == "there"

    def go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self

    def said(self):
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
        assert ready, "the process said nothing in time"
        return self.process.stdout.readline().strip()

    def kill(self):
        self.process.kill()
        self.process.wait()

    @property
    def pid(self):
        return self.process.pid


@pytest.fixture
def keep(tmp_path):
    """Starts processes that want the door of one folder; the folder is `keep.folder`."""
    started = []

    def start(wait_s=0.0, child=()):
        started.append(Keeper(start.folder, wait_s, child))
        return started[-1]

    start.folder = tmp_path / "run"
    yield start
    for controller in started:
        controller.process.kill()
        controller.process.communicate()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def wall():
    return datetime(2024, 5, 1, 8, 30, tzinfo=UTC)


def own(folder, gate="lobby", wait_s=0.0, **options):
    return contextlib.closing(Ownership(gate, [folder], wait_s=wait_s, **options))


class TestOneOwner:
    def test_of_twenty_at_once_exactly_one_gets_the_door(self, keep):
        keepers = [keep() for _ in range(20)]
        assert all(controller.is_there() for controller in keepers)
        for controller in keepers:
            controller.go()
        said = [controller.said() for controller in keepers]
        assert said.count("owner") == 1
        owner = keepers[said.index("owner")]
        others = [words for words in said if words != "owner"]
        assert all(words.startswith("refused door 'lobby' is kept by ") for words in others)
        # Whoever looked before the owner had signed could not know its number.
        assert {found for words in others for found in re.findall(r"process (\d+)", words)} <= {
            str(owner.pid)
        }
        codes = {other.process.wait(PATIENCE_S) for other in keepers if other is not owner}
        assert codes == {OutputError.exit_code}

    def test_the_second_is_told_in_one_sentence_who_was_first_and_since_when(self, folder):
        with own(folder, wall=wall), pytest.raises(OutputError) as told:
            own(folder)
        assert str(told.value) == (
            f"door 'lobby' is kept by process {os.getpid()} since 2024-05-01T08:30:00+00:00; "
            "stop that one, or give this gate another --gate name"
        )
        assert told.value.exit_code == 5

    def test_doors_of_other_names_have_owners_of_their_own(self, folder):
        with own(folder), own(folder, "yard"), own(folder, "lobby.2"):
            assert len(list(folder.iterdir())) == 3

    def test_who_lets_go_can_be_followed(self, folder):
        for _ in range(3):
            with own(folder) as door:
                door.close()
                door.close()

    def test_whoever_is_turned_away_leaves_nothing_open(self, folder):
        with own(folder):
            gc.collect()  # what others left behind may go at any time
            before = len(list(Path("/dev/fd").iterdir()))
            for _ in range(20):
                with pytest.raises(OutputError):
                    own(folder)
            assert len(list(Path("/dev/fd").iterdir())) <= before


class TestAnOwnerThatDies:
    def test_is_followed_by_whoever_waits(self, keep):
        first = keep()
        assert first.is_there()
        assert first.go().said() == "owner"
        second = keep(wait_s=PATIENCE_S)
        assert second.is_there()
        second.go()
        ready, _, _ = select.select([second.process.stdout], [], [], 0.5)
        assert not ready
        os.kill(first.pid, signal.SIGKILL)
        assert second.said() == "owner"

    def test_is_followed_at_once_when_it_is_gone(self, keep):
        first = keep()
        assert first.is_there()
        assert first.go().said() == "owner"
        first.kill()
        with own(keep.folder):
            pass

    def test_leaves_a_file_that_blocks_nobody(self, folder):
        folder.mkdir(mode=0o700)
        gone = subprocess.Popen(["true"])
        gone.wait()
        (folder / "lobby.lock").write_text(f"{gone.pid} 2020-01-01T00:00:00+00:00\n" + "x" * 500)
        with own(folder):
            note = (folder / "lobby.lock").read_text()
            assert note.startswith(f"{os.getpid()} ")
            assert note.count("\n") == 1

    def test_is_waited_for_no_longer_than_asked(self, folder):
        with own(folder):
            began_s = time.monotonic()
            with pytest.raises(OutputError):
                own(folder, wait_s=0.5)
            assert 0.5 <= time.monotonic() - began_s < 0.5 + PATIENCE_S

    def test_is_named_once_while_somebody_waits(self, folder, caplog):
        with own(folder, wall=wall), pytest.raises(OutputError):
            own(folder, wait_s=0.4)
        assert [record.getMessage() for record in caplog.records] == [
            f"door 'lobby' is kept by process {os.getpid()} since 2024-05-01T08:30:00+00:00; "
            "stop that one, or give this gate another --gate name; waiting for it"
        ]


class TestAChildThatInherited:
    @pytest.fixture
    def orphan(self, keep):
        """The owner was killed; its child has the door until `orphan.end()`."""
        read, write = os.pipe()
        parent = keep(child=(read,))
        assert parent.is_there()
        assert parent.go().said() == "child"
        os.close(read)
        parent.kill()
        parent.end = lambda: os.close(write)
        return parent

    def test_keeps_the_door_until_it_ends(self, orphan, keep):
        with pytest.raises(OutputError) as told:
            own(keep.folder, wait_s=0.3)
        assert f"a child that process {orphan.pid} left when it ended" in str(told.value)
        orphan.end()
        with own(keep.folder, wait_s=PATIENCE_S):
            pass

    def test_keeps_it_also_when_the_owner_lets_go_by_itself(self, folder):
        door = Ownership("lobby", [folder], wait_s=0.0)
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=door.descriptors)
        door.close()
        with pytest.raises(OutputError):
            own(folder)
        child.communicate()
        with own(folder):
            pass

    def test_other_children_do_not(self, folder):
        door = Ownership("lobby", [folder], wait_s=0.0)
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
        door.close()
        with own(folder):
            pass
        child.communicate()


# Takes the door, beats while it is told to, and starts a child that works at the door and hangs:
# `marked` as a guardian is, or not.
HANGING = """
import os, subprocess, sys, time
from pathlib import Path
from mask_gate.gate.door.ownership import Ownership
door = Ownership("lobby", [Path(sys.argv[1])])
marks = {**os.environ, **(door.marks if "marked" in sys.argv else {})}
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
child = subprocess.Popen(sleep, env=marks, pass_fds=door.descriptors)
print(child.pid, flush=True)
while True:
    if "beating" in sys.argv:
        door.beat()
    time.sleep(0.05)
"""


class TestAnOwnerThatHangs:
    """Nobody who wants to lock is kept from it by what does not answer."""

    @pytest.fixture
    def hanging(self, folder):
        """Starts one, with words for what it does; its process, and the pid of its child."""
        made = []

        def start(*words):
            process = subprocess.Popen(
                [sys.executable, "-c", HANGING, str(folder), *words],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                text=True,
            )
            made.append((process, int(process.stdout.readline())))
            return made[-1]

        yield start
        for process, child in made:
            process.kill()
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            process.communicate()

    def test_is_ended_where_it_is_what_a_gate_has_left(self, hanging, folder):
        gate, child = hanging("marked")
        os.kill(child, signal.SIGSTOP)
        gate.kill()
        gate.wait()
        with own(folder, wait_s=LIMITED_S):
            assert state_of(child) in ("", "Z")

    def test_is_not_ended_where_it_is_not_known_to_be_of_the_gate(self, hanging, folder):
        gate, child = hanging()
        gate.kill()
        gate.wait()
        with pytest.raises(OwnedError, match=f"a child that process {gate.pid} left"):
            own(folder, wait_s=LIMITED_S)
        assert "Z" not in state_of(child)

    def test_is_ended_where_it_is_a_gate_that_does_not_beat(self, hanging, folder, caplog):
        gate, child = hanging("marked", "beating")
        for pid in (gate.pid, child):
            os.kill(pid, signal.SIGSTOP)
        with own(folder, wait_s=LIMITED_S, silent_s=LIMITED_S):
            assert gate.wait(PATIENCE_S) == -signal.SIGKILL
        assert f"process {gate.pid} does not answer: killed" in caplog.text

    def test_is_left_alone_while_it_beats(self, hanging, folder):
        gate, _ = hanging("marked", "beating")
        with pytest.raises(OwnedError) as told:
            own(folder, wait_s=3.0, silent_s=PATIENCE_S)
        assert told.value.works
        assert gate.poll() is None

    def test_is_left_alone_by_who_only_wants_the_door(self, hanging, folder):
        gate, _ = hanging("marked")
        with pytest.raises(OwnedError, match=f"is kept by process {gate.pid}"):
            own(folder, wait_s=LIMITED_S)
        assert gate.poll() is None

    def test_has_nothing_left_that_goes_on_when_another_has_the_door(self, folder, tmp_path):
        """Such as a command that would open: it does not have the file open."""
        code = HANGING.replace(", pass_fds=door.descriptors", "")
        said = tmp_path / "said"  # a pipe would end only with the child
        with said.open("wb") as output:
            subprocess.run(
                [sys.executable, "-c", code.split("while True")[0], str(folder), "marked"],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=output,
                check=True,
            )
        child = int(said.read_text())
        assert "Z" not in state_of(child)
        with own(folder):
            assert state_of(child) in ("", "Z")


def state_of(pid):
    """As /proc has it; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


class TestTraps:
    """Whoever may write where the lock is could take the door away, or have us write elsewhere."""

    def test_the_folder_and_the_file_are_for_nobody_else(self, folder):
        with own(folder):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            mode = stat.S_IMODE((folder / "lobby.lock").stat().st_mode)
            assert mode == 0o600 | stat.S_ISVTX

    def test_a_link_in_place_of_the_file_is_not_followed(self, folder, tmp_path):
        folder.mkdir()
        victim = tmp_path / "victim"
        victim.write_text("precious")
        (folder / "lobby.lock").symlink_to(victim)
        with pytest.raises(OutputError, match=r"lobby\.lock: cannot be used"):
            own(folder)
        assert victim.read_text() == "precious"

    def test_nor_a_second_name_of_another_file(self, folder, tmp_path):
        folder.mkdir()
        victim = tmp_path / "victim"
        victim.write_text("precious")
        (folder / "lobby.lock").hardlink_to(victim)
        with pytest.raises(OutputError, match="is not a file of this gate; remove it"):
            own(folder)
        assert victim.read_text() == "precious"

    def test_a_link_in_place_of_the_folder_is_not_followed(self, folder, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(OutputError, match="cannot be used to keep the door"):
            own(folder)
        assert list((tmp_path / "elsewhere").iterdir()) == []

    @pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
    def test_what_is_no_file_is_refused_and_hangs_nobody(self, folder, make):
        folder.mkdir()
        make(folder / "lobby.lock")
        with pytest.raises(OutputError, match=r"lobby\.lock: "):
            own(folder)

    def test_a_folder_that_anybody_may_write_to_is_refused(self, folder):
        folder.mkdir()
        folder.chmod(0o777)
        with pytest.raises(OutputError, match="others may write there"):
            own(folder)

    @needs_root
    def test_a_folder_that_another_user_made_where_anybody_may_is_refused(self, tmp_path):
        tmp_path.chmod(0o1777)
        (tmp_path / "mask-gate-0").mkdir()
        os.chown(tmp_path / "mask-gate-0", 12345, 12345)
        with pytest.raises(
            OutputError, match="others may write there, so it cannot say who keeps a door; remove"
        ):
            own(tmp_path / "mask-gate-0")

    @needs_root
    def test_root_leaves_the_file_to_the_user_whose_folder_it_is(self, folder):
        folder.mkdir()
        os.chown(folder, 12345, 12346)
        with own(folder):
            found = (folder / "lobby.lock").stat()
            assert (found.st_uid, found.st_gid) == (12345, 12346)

    def test_a_place_that_is_not_there_is_one_sentence(self, tmp_path):
        with pytest.raises(OutputError, match=r"cannot be used to keep the door \(No such file"):
            own(tmp_path / "no" / "run")

    def test_a_file_that_is_removed_keeps_nobody_out_and_lets_nobody_in_twice(
        self, folder, monkeypatch
    ):
        """It is removed between the look for it and the lock on it: that lock is worth nothing."""
        lock, removed = ownership.fcntl.flock, []

        def slow_lock(file, operation):
            if not removed:
                removed.append((folder / "lobby.lock").unlink())
            lock(file, operation)

        monkeypatch.setattr(ownership.fcntl, "flock", slow_lock)
        with own(folder, wait_s=PATIENCE_S), pytest.raises(OutputError):
            own(folder)

    def test_a_full_disk_costs_only_the_name_of_the_owner(self, folder, monkeypatch):
        def full(*arguments):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(ownership.os, "pwrite", full)
        with own(folder), pytest.raises(OutputError, match="is kept by another process"):
            own(folder)


class TestTheFolders:
    """Whatever the environment, two processes of one user have one of them in common."""

    def folders(self, tmp_path, **environment):
        return runtime_folders(environment, tmp_path / "run", tmp_path / "tmp")

    def own(self, tmp_path):
        return tmp_path / "tmp" / f"mask-gate-{os.geteuid()}"

    def test_are_the_one_that_systemd_made_and_that_of_the_user(self, tmp_path):
        made = tmp_path / "run" / "mask-gate"
        found = self.folders(tmp_path, RUNTIME_DIRECTORY=f"{made}:/run/other")
        assert found == (made, self.own(tmp_path))

    def test_are_those_of_machine_and_user_where_we_may_write_to_the_first(self, tmp_path):
        (tmp_path / "run").mkdir()
        shared = tmp_path / "run" / "mask-gate"
        assert self.folders(tmp_path) == (shared, self.own(tmp_path))
        shared.mkdir()
        assert self.folders(tmp_path) == (shared, self.own(tmp_path))

    @pytest.mark.parametrize("variable", ["XDG_RUNTIME_DIR", "TMPDIR", "HOME"])
    def test_are_the_same_whatever_else_the_environment_says(self, tmp_path, variable):
        assert self.folders(tmp_path, **{variable: str(tmp_path)}) == (self.own(tmp_path),)

    def test_are_others_for_who_wants_to_be_apart(self, tmp_path):
        elsewhere = tmp_path / "elsewhere"
        assert self.folders(tmp_path, RUNTIME_DIRECTORY=str(elsewhere)) == (elsewhere,)

    @pytest.mark.parametrize("shared", [0, 1])
    def test_of_which_one_is_shared_are_enough_for_one_owner(self, tmp_path, shared):
        common, others = tmp_path / "common", [tmp_path / "one", tmp_path / "two"]
        first, second = [[other] for other in others]
        first.insert(shared, common)
        second.insert(1 - shared, common)
        with contextlib.closing(Ownership("lobby", first, wait_s=0.0)):
            with pytest.raises(OwnedError):
                Ownership("lobby", second, wait_s=0.0)
            with own(tmp_path / "two"):
                pass  # whoever is turned away keeps none of them
        with contextlib.closing(Ownership("lobby", second, wait_s=0.0)):
            pass

    def test_of_which_one_cannot_be_trusted_are_those_that_can(self, tmp_path, folder, caplog):
        trap = tmp_path / "trap"
        trap.mkdir()
        trap.chmod(0o777)
        with contextlib.closing(Ownership("lobby", [folder, trap])) as door:
            assert len(door.descriptors) == 1
        assert "others may write there" in caplog.text


@settings(deadline=None)
@given(st.binary(max_size=120) | st.from_regex(ownership._NOTE, fullmatch=True))
def test_whatever_stands_in_the_file_there_is_one_sentence(note):
    with TemporaryFile() as file:
        os.pwrite(file.fileno(), note, 0)
        said = str(ownership._owner(file.fileno()))
    assert said.startswith("is ")
    assert said.isprintable()
