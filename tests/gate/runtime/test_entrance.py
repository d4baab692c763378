"""The assembly under faults: what cannot be had of one relay never keeps another one unlocked."""

import os
import subprocess
import sys

import pytest

RUN = "import sys; from mask_gate.gate.commands.gate import main; sys.exit(main())"


@pytest.fixture
def gate(repo_root, tmp_path):
    """`gate(config, *flags)`: the real program, in a folder and a home of its own."""

    def run(config, *flags, program=RUN, **environment):
        (tmp_path / "gate.yaml").write_text(config)
        return subprocess.run(
            [sys.executable, "-c", program, "--config", "gate.yaml", *flags],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(repo_root),
                "RUNTIME_DIRECTORY": str(tmp_path / "run"),
                "STATE_DIRECTORY": str(tmp_path / "state"),
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=60,
        )

    (tmp_path / "run").mkdir()
    (tmp_path / "state").mkdir()
    return run


def left_unlocked(path):
    """What a recording relay looks like after a run that was killed with the door open."""
    path.write_text("1.000000 unlocked\n")
    return path


def is_locked(path):
    return path.read_text().splitlines()[-1].split()[1] == "locked"


@pytest.mark.parametrize("missing_first", [True, False])
def test_a_relay_that_is_missing_at_the_start_leaves_the_others_locked(
    gate, tmp_path, missing_first
):
    left = left_unlocked(tmp_path / "door")
    relays = [
        "{kind: recording, path: none/door}",
        f"{{kind: recording, path: {left}}}",
    ]
    listed = "".join(f"  - {relay}\n" for relay in sorted(relays, reverse=not missing_first))
    ended = gate(f"camera: {{source: demo}}\nrelays:\n{listed}", "--headless", "--mute")
    assert ended.returncode == 5, ended.stderr
    assert "none/door" in ended.stderr
    assert is_locked(left)


def test_sounds_that_are_missing_end_the_start_with_the_door_locked(gate, tmp_path):
    left = left_unlocked(tmp_path / "door")
    config = "camera: {source: demo}\noutputs: {sounds: none}\nrelays:\n"
    ended = gate(config + f"  - {{kind: recording, path: {left}}}\n", "--headless")
    assert ended.returncode == 2, ended.stderr
    assert "outputs.sounds" in ended.stderr
    assert is_locked(left)


def test_a_lock_by_hand_needs_no_program_that_opens(gate, tmp_path):
    script = tmp_path / "lock.sh"
    script.write_text(f'#!/bin/sh\necho "$1" >> "{tmp_path}/said"\n')
    script.chmod(0o755)
    ended = gate("gate: a\n", "--lock", "--on-allow", "/none/open", "--on-deny", str(script))
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "said").read_text().split() == ["deny"]


class TestWhatIsMissingAtTheStart:
    """It ends the start, and not before every relay has been told to lock."""

    @pytest.fixture
    def relays(self, tmp_path):
        script = tmp_path / "relay.sh"
        script.write_text(f'#!/bin/sh\necho "$1" >> "{tmp_path}/said"\n')
        script.chmod(0o755)
        return f"  - {{kind: command, on_allow: {script}, on_deny: {script}}}\n"

    def said(self, tmp_path):
        return set((tmp_path / "said").read_text().split())

    def test_a_home_folder_for_the_record(self, gate, relays, tmp_path):
        nowhere = {"STATE_DIRECTORY": "", "XDG_STATE_HOME": "", "HOME": ""}
        config = f"camera: {{source: demo}}\nrelays:\n{relays}"
        ended = gate(config, "--headless", "--mute", **nowhere)
        assert ended.returncode == 2, ended.stderr
        assert "audit.path: no home folder is known" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert self.said(tmp_path) == {"deny"}

    def test_a_folder_that_says_whose_the_door_is(self, gate, relays, tmp_path):
        config = f"camera: {{source: demo}}\nrelays:\n{relays}"
        (tmp_path / "file").touch()
        nowhere = {"RUNTIME_DIRECTORY": str(tmp_path / "file")}
        ended = gate(config, "--headless", "--mute", **nowhere)
        assert ended.returncode == 5, ended.stderr
        assert "cannot be used to keep the door" in ended.stderr
        assert self.said(tmp_path) == {"deny"}


# The real program, whose relays tell on standard output when they begin to close, and when they
# are waited for.
TOLD = """
import sys
from mask_gate.gate.relays.guarded_relay import GuardedRelay
let_go, close = GuardedRelay.let_go, GuardedRelay.close
GuardedRelay.let_go = lambda relay: (print("lets go", relay.name), let_go(relay))[1]
GuardedRelay.close = lambda relay: (print("waits for", relay.name), close(relay))[1]
from mask_gate.gate.commands.gate import main
sys.exit(main())
"""


def test_no_relay_waits_for_another_to_be_given_up(gate, tmp_path):
    """Each may hang for as long as its limit; all are told to lock and end before that."""
    first, second = left_unlocked(tmp_path / "first"), left_unlocked(tmp_path / "second")
    relays = "".join(f"  - {{kind: recording, path: {path}}}\n" for path in (first, second))
    # What is missing ends it at once.
    config = f"camera: {{source: demo}}\noutputs: {{sounds: none}}\nrelays:\n{relays}"
    ended = gate(config, "--headless", program=TOLD)
    assert ended.returncode == 2, ended.stderr
    told = ended.stdout.splitlines()
    first_wait = next(number for number, line in enumerate(told) if line.startswith("waits"))
    assert set(told[:first_wait]) == {f"lets go recording {path}" for path in (first, second)}
    assert is_locked(first)
    assert is_locked(second)
