"""A picture of milliseconds against strict mAP@0.5: ours as measured, others' as published.

    python tests/benchmarks/speed_accuracy.py --times peers.json --accuracy FILE --out FILE.png

`peers.json` is written by tests/benchmarks/peers.py. The accuracies lie in
docs/accuracy-of-peers.json: whose, at which size, on which split, measured here or published.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[2]
TO_THE_LEFT = ("ours 608",)  # of their points stands what would hide others
COLOURS = {True: "#b5442e", False: "#3b6ea5"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw speed against accuracy.")
    parser.add_argument("--times", type=Path, required=True)
    parser.add_argument("--accuracy", type=Path, default=ROOT / "docs/accuracy-of-peers.json")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    times = json.loads(options.times.read_text(encoding="utf-8"))["contenders"]
    models = json.loads(options.accuracy.read_text(encoding="utf-8"))["models"]
    figure, axes = plt.subplots(figsize=(9, 5.5), layout="constrained")
    for number, model in enumerate(models):
        low, high = model["map50"]
        colour = COLOURS[model["measured_here"]]
        for engine, marker in (("ONNX Runtime", "o"), ("OpenVINO bf16", "s")):
            ms = times[f"{model['contender']}, {engine}"]["median_ms"]
            axes.plot([ms, ms], [low, high], color=colour, linewidth=2, alpha=0.6)
            axes.plot(ms, (low + high) / 2, marker, color=colour, markersize=8)
            if marker == "o":
                leftwards = model["contender"] in TO_THE_LEFT
                offset = (-7 if leftwards else 7, 6 if number % 2 == 0 else -16)
                axes.annotate(
                    model["label"],
                    (ms, (low + high) / 2),
                    offset,
                    textcoords="offset points",
                    ha="right" if leftwards else "left",
                )
    axes.set_xscale("log")
    axes.set_xticks([5, 10, 20, 50, 100], ["5", "10", "20", "50", "100"])
    axes.minorticks_off()
    axes.set_xlabel("milliseconds a picture, two cores (log)")
    axes.set_ylabel("strict mAP@0.5")
    axes.set_title("Speed and accuracy on the face-mask set")
    axes.grid(alpha=0.25)
    whose = {True: "measured here", False: "published, other splits"}
    for is_ours, text in whose.items():
        axes.plot([], [], color=COLOURS[is_ours], linewidth=4, label=text)
    axes.plot([], [], "o", color="grey", label="ONNX Runtime")
    axes.plot([], [], "s", color="grey", label="OpenVINO bfloat16")
    axes.legend(loc="center left", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(4, 150)
    axes.set_ylim(0.3, 0.95)
    figure.savefig(options.out, dpi=110)


if __name__ == "__main__":
    main()
