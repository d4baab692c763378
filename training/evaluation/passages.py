"""Passages: people walk up to the real gate; how often it lets in the wrong ones, or not the right.

A door is judged by people passing, not by boxes. Every passage is played to `mask-gate` itself, in
processes of their own and by the clip's own time, with its default rules; what counts is whether an
opening came. Nothing of the gate is imported or imitated here. One process plays several passages
one after the other, with as much time between them as it takes to forget everybody.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from mask_gate.models.labels import CLASS_NAMES, MaskLabel
from mask_gate.models.rate import wilson
from mask_gate.training.data.samples import Sample
from mask_gate.training.errors import UsageError
from mask_gate.training.evaluation.passage_video import FPS, SECONDS, Approach

_PASSAGES_A_RUN = 20  # starting a gate takes as long as playing two of them
_APART_S = 20.0  # from one to the next; what a gate remembers of people, it remembers for 4 s


@dataclass(frozen=True, slots=True)
class Passage:
    """What became of one approach.

    Attributes:
        kind: `alone WITH_MASK` and so on, `group` or `group mixed`.
        may_pass: whether all of them wear their mask properly.
        names: of the people.
        granted_s: from when the last was near enough to the opening; None when there was none.
        refused_s: the same to the first denial for what they wear.
    """

    kind: str
    may_pass: bool
    names: tuple[str, ...]
    granted_s: float | None
    refused_s: float | None


def plan(people: Sequence[Sample], count: int, seed: int) -> list[tuple[str, Approach]]:
    """`count` approaches of each kind: alone in each class, two masked, one of two not so.

    Everybody of a class comes about equally often. A class without people has no passages.
    """
    rng = np.random.default_rng(seed)
    of_class = [[p for p in people if p.labels[0] == label] for label in MaskLabel]
    masked = of_class[MaskLabel.WITH_MASK]
    others = [p for label in MaskLabel if label is not MaskLabel.WITH_MASK for p in of_class[label]]
    kinds: dict[str, Sequence[Sequence[Sample]]] = {
        **{f"alone, {CLASS_NAMES[label]}": (of_class[label],) for label in MaskLabel},
        "two, both with_mask": (masked, masked),
        "two, one of them not": (masked, others),
    }
    planned = []
    for kind, pools in kinds.items():
        if not all(pools):
            continue
        turns = [rng.permutation(np.arange(count) % len(pool)) for pool in pools]
        if len(pools) > 1 and pools[0] is pools[1]:  # nobody comes with oneself
            turns[1] = (turns[0] + 1) % len(pools[0])
        for chosen in zip(*turns, strict=True):
            group = [pool[at] for pool, at in zip(pools, chosen, strict=True)]
            people_here = tuple(group[at] for at in rng.permutation(len(group)))
            planned.append((kind, Approach(people_here, int(rng.integers(2**32)))))
    return planned


def play(
    planned: Sequence[tuple[str, Approach]],
    weights: Path,
    progress: Callable[[Iterable[Passage]], Iterable[Passage]] = lambda done: done,
    engine: str = "auto",
    input_size: int | None = None,
) -> list[Passage]:
    """Play approaches to the gate, as many at once as there are processors.

    Args:
        planned: kinds and approaches, as from `plan`.
        weights: the gate's.
        progress: shows how far it is.
        engine: the gate's `--engine`.
        input_size: the gate's `detector.input_size`.

    Raises:
        UsageError: there is no `mask-gate` to play to, or it does not run.
    """
    command = shutil.which("mask-gate", path=str(Path(sys.executable).parent))
    if command is None:
        raise UsageError("--passages plays to mask-gate, which is not installed; pip install it")
    gate = [command, "--weights", str(weights.absolute()), "--engine", engine, "--device", "cpu"]
    at_once = os.cpu_count() or 1
    length = min(math.ceil(len(planned) / at_once), _PASSAGES_A_RUN) or 1
    runs = [planned[begin : begin + length] for begin in range(0, len(planned), length)]
    with ThreadPoolExecutor(at_once) as pool:
        done = pool.map(lambda run: _play(run, gate, input_size), runs)
        return list(progress(chain.from_iterable(done)))


def _play(
    planned: Sequence[tuple[str, Approach]], gate: Sequence[str], input_size: int | None
) -> list[Passage]:
    with tempfile.TemporaryDirectory(prefix="mask-gate-passage-") as name:
        folder = Path(name)
        frames, events, config = folder / "frames", folder / "events.jsonl", folder / "gate.yaml"
        frames.mkdir()
        for place, (_, approach) in enumerate(planned):
            for number, jpeg in enumerate(approach.frames(), round(place * _APART_S * FPS)):
                (frames / f"{number:06d}.jpg").write_bytes(jpeg)
        camera = {"source": str(frames), "folder_fps": FPS, "folder_is_numbered": True}
        config.write_text(json.dumps({"camera": camera, "detector": {"input_size": input_size}}))
        ended = subprocess.run(
            [*gate, "--config", config, "--fast", "--headless", "--mute", "--events", events],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            raise UsageError(f"mask-gate ended with {ended.returncode}: {ended.stderr.strip()}")
        told = [json.loads(line) for line in events.read_text().splitlines()]
    signals = [event for event in told if event["type"] == "signal"]
    return [
        _judged(kind, approach, signals, place * _APART_S)
        for place, (kind, approach) in enumerate(planned)
    ]


def _judged(
    kind: str, approach: Approach, signals: Sequence[Mapping[str, object]], begin_s: float
) -> Passage:
    """What became of an approach that began at `begin_s` of a run with these signals."""
    near_s = begin_s + approach.near_s
    signals = [s for s in signals if begin_s <= float(str(s["time_s"])) < begin_s + _APART_S]
    return Passage(
        kind,
        set(approach.labels) == {MaskLabel.WITH_MASK},
        tuple(person.name for person in approach.people),
        _first(signals, near_s, lambda event: event["signal"] == "allow"),
        _first(signals, near_s, lambda event: event["reason"] in _REFUSALS),
    )


_REFUSALS = frozenset({"no_mask", "mask_incorrect", "group_mixed"})


def _first(
    signals: Sequence[Mapping[str, object]],
    near_s: float,
    wanted: Callable[[Mapping[str, object]], bool],
) -> float | None:
    times = (float(str(event["time_s"])) - near_s for event in signals if wanted(event))
    return next(times, None)


def summarise(passages: Sequence[Passage]) -> dict[str, object]:
    """Errors and times, over all and by kind, with 95 % bounds.

    Returns:
        `false_accepts` and `false_rejects` over all passages that could have had one; `kinds` the
        same for each; every rate as {wrong, of, people, rate, low, high}. The bounds are Wilson's,
        as if each passage were another person: with few people they are too narrow.
    """
    kinds = list(dict.fromkeys(passage.kind for passage in passages))
    return {
        "seconds": SECONDS,
        "fps": FPS,
        "false_accepts": _rate([p for p in passages if not p.may_pass]),
        "false_rejects": _rate([p for p in passages if p.may_pass]),
        "granted_s": _times([p.granted_s for p in passages if p.may_pass]),
        "refused_s": _times([p.refused_s for p in passages if not p.may_pass]),
        "kinds": {kind: _rate([p for p in passages if p.kind == kind]) for kind in kinds},
    }


def _rate(passages: Sequence[Passage]) -> dict[str, float]:
    """How often the gate was wrong about passages that are all of one side."""
    wrong = sum((p.granted_s is not None) != p.may_pass for p in passages)
    low, high = wilson(wrong, len(passages))
    people = len({name for p in passages for name in p.names})
    rate = wrong / len(passages) if passages else math.nan
    return {
        "wrong": wrong,
        "of": len(passages),
        "people": people,
        "rate": rate,
        "low": low,
        "high": high,
    }


def _times(times_s: Sequence[float | None]) -> dict[str, float]:
    known = [time_s for time_s in times_s if time_s is not None]
    if not known:
        return {"median": math.nan, "p95": math.nan}
    return {"median": float(np.median(known)), "p95": float(np.quantile(known, 0.95))}


def passages_table(summary: Mapping[str, object]) -> str:
    """The summary for people."""
    lines = [f"{'passages':28} {'wrong':>6} {'of':>5} {'people':>7}   rate (95 %)"]
    kinds = summary["kinds"]
    assert isinstance(kinds, dict)
    rows = {
        **kinds,
        "false accepts": summary["false_accepts"],
        "false rejects": summary["false_rejects"],
    }
    for name, row in rows.items():
        bounds = f"{100 * row['rate']:.1f} % ({100 * row['low']:.1f} to {100 * row['high']:.1f})"
        lines.append(f"{name:28} {row['wrong']:6} {row['of']:5} {row['people']:7}   {bounds}")
    for name, key in (("grant", "granted_s"), ("refusal", "refused_s")):
        times = summary[key]
        assert isinstance(times, dict)
        lines.append(f"time to a {name}: median {times['median']:.2f} s, p95 {times['p95']:.2f} s")
    lines.append("simulated from still faces: an estimate of the rules and the detector together")
    return "\n".join(lines)
