"""The whole way: real pixels, the bundled detector, the command, a relay script's record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import groupby, pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

SIZE_WH, FPS = (640, 480), 15

SLOW = ("model_fault", "camera_lost", "uncertain")
"""Why a machine locks that is too slow for a moment; nothing opens because of it."""


def run_gate(repo_root: Path, log: Path, camera: str, *flags: str) -> subprocess.CompletedProcess:
    """`mask-gate` as an integrator starts it, with the sample relay that writes its edges down."""
    relay = f'"{sys.executable}" "{repo_root / "assets/relay/dry_run.py"}" --log "{log}"'
    return subprocess.run(
        [
            sys.executable, "-c",
            "import sys; from mask_gate.gate.commands.gate import main; sys.exit(main())",
            "--camera", camera, "--headless", "--mute", "--device", "cpu", "--engine", "onnx",
            "--on-allow", relay, "--on-deny", relay, *flags,
        ],
        cwd=repo_root,
        env={**os.environ, "PYTHONPATH": str(repo_root)},
        capture_output=True,
        text=True,
        timeout=300,
    )  # fmt: skip


def edges(log: Path) -> list[str]:
    """What the relay did, in order, with reasons: `lock starting`, `unlock compliant`, ..."""
    return [" ".join(line.split()[:2]) for line in log.read_text().splitlines()]


def shown_by(events: Path) -> list[tuple[str, str]]:
    """Signals of a run, (word, reason) in order."""
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    return [(e["signal"], e["reason"]) for e in lines if e["type"] == "signal"]


@pytest.mark.slow
def test_the_demo_moves_the_relay_for_the_right_people_only(repo_root, tmp_path, small_detector):
    """By the clock, three visits of the five: no mask, nose free, proper: one opening."""
    log, events = tmp_path / "edges.txt", tmp_path / "events.jsonl"
    flags = ["--events", str(events), "--seconds", "21", "--weights", str(small_detector)]
    ended = run_gate(repo_root, log, "demo", *flags)
    assert ended.returncode == 0, ended.stderr
    signals = shown_by(events)
    assert edges(log) == edges_of(signals)
    signals = [signal for signal in signals if signal[1] not in SLOW]
    assert [word for word, _ in groupby(word for word, _ in signals)] == ["deny", "allow", "deny"]
    assert signals[:3] == [("deny", "starting"), ("deny", "no_mask"), ("deny", "mask_incorrect")]
    assert signals[-1] == ("deny", "stopping")


@pytest.mark.slow
def test_the_demo_told_frame_by_frame_gives_the_complete_list_of_edges(repo_root, tmp_path):
    """Judged by the clip's own time every machine sees every frame: the list is exact."""
    events = tmp_path / "events.jsonl"
    ended = run_gate(repo_root, tmp_path / "none", "demo", "--fast", "--events", str(events))
    assert ended.returncode == 0, ended.stderr
    signals = shown_by(events)
    assert signals == [
        ("deny", "starting"),
        ("deny", "no_mask"),
        ("deny", "mask_incorrect"),
        ("allow", "compliant"),
        ("deny", "cool_down"),  # one opening a passage, four seconds at most
        ("allow", "compliant"),
        ("deny", "cool_down"),
        ("deny", "group_mixed"),
        ("deny", "no_mask"),  # the one with the mask has left first
        ("deny", "stopping"),
    ]


def edges_of(signals: list[tuple[str, str]]) -> list[str]:
    """What the sample relay does on these signals.

    An opening's own script locks when the gate stops it; then the lock that follows comes.
    """
    found = []
    for (word, reason), before in zip(signals, [None, *signals], strict=False):
        if before is not None and before[0] == "allow":
            found.append(f"lock {before[1]}")
        found.append(f"{'unlock' if word == 'allow' else 'lock'} {reason}")
    return found


def visit(image: np.ndarray, box: np.ndarray, seconds: float, rng: np.random.Generator):
    """Somebody walks up: the picture around a face grows until the face is a third of the frame."""
    width, height = SIZE_WH
    middle = (box[:2] + box[2:]) / 2
    for at in np.linspace(0, 1, round(seconds * FPS)):
        face_px = 60 + 100 * min(1.0, 1.6 * at)
        gain = face_px / (box[3] - box[1])
        sway = 3 * np.sin(at * 9)
        shift = np.array([width / 2 + sway, height / 2]) - middle * gain
        matrix = np.array([[gain, 0, shift[0]], [0, gain, shift[1]]])
        frame = cv2.warpAffine(
            image, matrix, SIZE_WH, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        yield grain(frame, rng)


def empty_hall(seconds: float, rng: np.random.Generator):
    shade = np.linspace(70, 160, SIZE_WH[0], dtype=np.uint8)
    wall = np.repeat(np.repeat(shade[None, :, None], SIZE_WH[1], 0), 3, 2)
    wall[300:] //= 2
    for _ in range(round(seconds * FPS)):
        yield grain(wall, rng)


def grain(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noise = rng.normal(0, 3, frame.shape[:2])[..., None]
    return (frame + noise).clip(0, 255).astype(np.uint8)


@pytest.mark.slow
def test_faces_never_trained_on_open_for_the_one_with_a_mask(repo_root, real_data, tmp_path):
    """Three people of the validation images walk up: bare, masked, bare again."""
    from mask_gate.training.data.dataset import DatasetFolder

    data = DatasetFolder.open(real_data)
    people = {record.stem: data.load(record) for record in data.split("valid")}
    rng = np.random.default_rng(0)
    clip = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*"mp4v"), FPS, SIZE_WH)
    for stem in ("maksssksksss51", "maksssksksss47", "maksssksksss48"):
        for frame in empty_hall(1.5, rng):
            writer.write(frame)
        for frame in visit(people[stem].image, people[stem].boxes_xyxy[0], 3.5, rng):
            writer.write(frame)
    for frame in empty_hall(2.0, rng):
        writer.write(frame)
    writer.release()

    events = tmp_path / "events.jsonl"  # by the clip's own time, so that any machine is fast enough
    ended = run_gate(repo_root, tmp_path / "none", str(clip), "--fast", "--events", str(events))
    assert ended.returncode == 0, ended.stderr
    signals = shown_by(events)
    (end_of_opening,) = [after for before, after in pairwise(signals) if before[0] == "allow"]
    assert signals == [
        ("deny", "starting"),
        ("deny", "no_mask"),
        ("allow", "compliant"),
        end_of_opening,
        ("deny", "no_mask"),
        ("deny", "stopping"),
    ]
