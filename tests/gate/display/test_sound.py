"""Sounds: the right one, the newest only, never blocking, and none without a player."""

import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mask_gate.gate.display.sound import (
    FILES,
    LATE_S,
    REPEAT_S,
    Sound,
    SoundOutput,
    check_sounds,
    find_player,
    sound_for,
)
from mask_gate.gate.domain import Reason, Signal, SignalKind
from mask_gate.gate.errors import ConfigError

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[3]


def signal(kind, reason):
    return Signal(kind, reason, 0.0, "id", until_s=1.0 if kind is SignalKind.ALLOW else None)


ALLOW = signal(SignalKind.ALLOW, Reason.COMPLIANT)
DENY = signal(SignalKind.DENY, Reason.NO_MASK)


class FakePlayer:
    """Plays until it is told to stop, and writes down what it was asked for."""

    def __init__(self):
        self.started = []
        self.stopped = []
        self.alive = True
        self.changed = threading.Condition()

    def __call__(self, path):
        with self.changed:
            self.started.append(path.name)
            self.alive = True
            self.changed.notify_all()
        return _Sound(self, path.name)

    def end(self):
        """What sounds comes to its end."""
        self.alive = False

    def wait_for(self, names):
        with self.changed:
            assert self.changed.wait_for(lambda: self.started == names, 60.0), self.started


class _Sound:
    def __init__(self, player, name):
        self.player = player
        self.name = name

    def is_alive(self):
        return self.player.alive

    def stop(self):
        self.player.stopped.append(self.name)


@pytest.mark.parametrize(
    ("kind", "reason", "name"),
    [
        (SignalKind.ALLOW, Reason.COMPLIANT, "allow"),
        (SignalKind.ALLOW, Reason.LET_IN, "allow"),
        (SignalKind.DENY, Reason.NO_MASK, "deny"),
        (SignalKind.DENY, Reason.MASK_INCORRECT, "deny"),
        (SignalKind.DENY, Reason.GROUP_MIXED, "deny"),
        (SignalKind.DENY, Reason.CAMERA_LOST, "fault"),
        (SignalKind.DENY, Reason.OUTPUT_FAULT, "fault"),
        (SignalKind.DENY, Reason.NO_FACE, None),
        (SignalKind.DENY, Reason.UNCERTAIN, None),
        (SignalKind.DENY, Reason.COOL_DOWN, None),
        (SignalKind.DENY, Reason.STARTING, None),
        (SignalKind.DENY, Reason.STOPPING, None),
    ],
)
def test_each_signal_has_its_sound_and_a_door_that_just_closes_has_none(kind, reason, name):
    assert sound_for(signal(kind, reason)) == name


@pytest.mark.parametrize(
    ("kind", "reason", "name"),
    [
        (SignalKind.ALLOW, Reason.COMPLIANT, "compliant"),
        (SignalKind.ALLOW, Reason.LET_IN, "compliant"),
        (SignalKind.DENY, Reason.LOCKED_DOWN, None),
        (SignalKind.DENY, Reason.NO_MASK, "no_mask"),
        (SignalKind.DENY, Reason.MASK_INCORRECT, "mask_incorrect"),
        (SignalKind.DENY, Reason.GROUP_MIXED, "group_mixed"),
        (SignalKind.DENY, Reason.COOL_DOWN, "cool_down"),
        (SignalKind.DENY, Reason.CAMERA_LOST, "fault"),
        (SignalKind.DENY, Reason.NO_FACE, None),
        (SignalKind.DENY, Reason.STOPPING, None),
    ],
)
def test_the_voice_says_what_to_do(kind, reason, name):
    assert sound_for(signal(kind, reason), Sound.VOICE) == name


@pytest.mark.parametrize("sound", [Sound.TONES, Sound.VOICE])
def test_every_sound_is_in_the_repository(sound):
    names = {sound_for(signal(kind, reason), sound) for kind in SignalKind for reason in Reason}
    assert names - {None} == set(FILES[sound])
    folders = {Sound.TONES: ["sounds"], Sound.VOICE: ["voice/en", "voice/ko"]}[sound]
    for folder in folders:
        check_sounds(ROOT / "assets" / folder, sound)


def test_a_newer_sound_cuts_the_older_short(tmp_path):
    player = FakePlayer()
    output = SoundOutput(tmp_path, player)
    output.send(ALLOW, {})
    player.wait_for(["allow.wav"])
    output.send(DENY, {})
    player.wait_for(["allow.wav", "deny.wav"])
    output.close()
    assert player.stopped == ["allow.wav", "deny.wav"]


class TestTheVoice:
    """One prompt at a time, nothing old, and nothing again and again."""

    @pytest.fixture
    def player(self):
        return FakePlayer()

    @pytest.fixture
    def voice(self, player, clock, tmp_path):
        output = SoundOutput(tmp_path, player, Sound.VOICE, clock)
        yield output
        output.close()

    def test_finishes_what_it_says_before_it_asks_for_something_else(self, voice, player):
        voice.send(DENY, {})
        player.wait_for(["no_mask.wav"])
        voice.send(signal(SignalKind.DENY, Reason.MASK_INCORRECT), {})
        voice.send(ALLOW, {})  # but nobody who may come in is kept waiting
        player.wait_for(["no_mask.wav", "compliant.wav"])
        assert player.stopped == ["no_mask.wav"]

    def test_does_not_repeat_itself_at_once(self, voice, player, clock):
        voice.send(DENY, {})
        player.wait_for(["no_mask.wav"])
        player.end()
        clock.advance(REPEAT_S / 2)
        voice.send(DENY, {})
        voice.send(ALLOW, {})
        player.wait_for(["no_mask.wav", "compliant.wav"])

    def test_says_it_again_to_whoever_does_not_hear(self, voice, player, clock):
        voice.send(DENY, {})
        player.wait_for(["no_mask.wav"])
        player.end()
        clock.advance(REPEAT_S)
        voice.send(DENY, {})
        player.wait_for(["no_mask.wav", "no_mask.wav"])

    def test_welcomes_everybody(self, voice, player, clock):
        for number in range(1, 4):
            voice.send(ALLOW, {})
            player.wait_for(["compliant.wav"] * number)

    def test_says_nothing_late(self, tmp_path, clock):
        begun, release, started = threading.Event(), threading.Event(), []

        def slow(path):
            started.append(path.name)
            begun.set()
            release.wait(60.0)
            raise OSError("released")

        voice = SoundOutput(tmp_path, slow, Sound.VOICE, clock)
        voice.send(ALLOW, {})
        assert begun.wait(60.0)
        voice.send(DENY, {})  # while the player hangs
        clock.advance(2 * LATE_S)
        release.set()
        time.sleep(0.3)  # it would be said by now
        voice.close()
        assert started == ["compliant.wav"]


def test_sending_never_waits_for_the_player(tmp_path):
    begun, release = threading.Event(), threading.Event()

    def stuck(path):
        begun.set()
        release.wait(30.0)
        raise OSError("released")

    output = SoundOutput(tmp_path, stuck)
    output.send(ALLOW, {})
    assert begun.wait(20.0)
    for _ in range(1000):
        output.send(DENY, {})
    release.set()
    output.close()


def test_a_player_that_fails_costs_one_warning(tmp_path, caplog):
    tries = []

    def broken(path):
        tries.append(path)
        raise OSError("no sound card")

    output = SoundOutput(tmp_path, broken)
    deadline = time.monotonic() + 20.0
    while len(tries) < 3:
        output.send(DENY, {})
        time.sleep(0.01)
        assert time.monotonic() < deadline
    output.close()
    assert [record.message for record in caplog.records] == ["no sound: no sound card"]


def test_closing_twice_and_sending_after_that_are_harmless(tmp_path):
    player = FakePlayer()
    output = SoundOutput(tmp_path, player)
    output.close()
    output.send(ALLOW, {})
    output.close()
    assert player.started == []


FIND = """
import logging, sys
from mask_gate.gate.display.sound import find_player
player = find_player()
print("none" if player is None else player)
"""


def run_python(code, path):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": str(path), "PYTHONPATH": str(ROOT), "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_machine_without_a_player_has_none_and_says_nothing_itself(tmp_path):
    done = run_python(FIND, tmp_path)
    assert (done.stdout.strip(), done.stderr) == ("none", "")


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_the_real_player_gets_the_real_file(tmp_path):
    tool = tmp_path / "ffplay"
    tool.write_text(f'#!/bin/sh\n[ "$1" = -version ] || echo "$@" >> {tmp_path}/played\n')
    tool.chmod(0o755)
    code = f"""
import time
from pathlib import Path
from mask_gate.gate.display.sound import SoundOutput, find_player
from mask_gate.gate.domain import Reason, Signal, SignalKind
output = SoundOutput(Path({str(ROOT / "assets" / "sounds")!r}), find_player())
output.send(Signal(SignalKind.DENY, Reason.NO_MASK, 0.0, "id"), {{}})
played, deadline = Path({str(tmp_path / "played")!r}), time.monotonic() + 60
while not (played.exists() and played.read_text()) and time.monotonic() < deadline:
    time.sleep(0.01)
output.close()
"""
    done = run_python(code, tmp_path)
    assert done.stderr == ""
    assert (tmp_path / "played").read_text().split()[-1].endswith("assets/sounds/deny.wav")


def test_looking_for_a_player_leaves_the_log_of_others_alone():
    before = logging.getLogger().level
    find_player()
    assert logging.getLogger().level == before


@pytest.mark.parametrize("sound", [Sound.TONES, Sound.VOICE, Sound.OFF])
def test_a_folder_with_all_sounds_is_taken_and_one_without_is_refused_by_name(tmp_path, sound):
    for name in FILES[sound] or FILES[Sound.VOICE]:
        (tmp_path / f"{name}.wav").touch()
    check_sounds(tmp_path, sound)
    (tmp_path / "fault.wav").unlink()
    with pytest.raises(ConfigError, match=r"\.wav is not there; the folder needs \w+\.wav"):
        check_sounds(tmp_path, sound)
