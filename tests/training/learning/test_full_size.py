"""Full-size YOLOv3 on a CPU: the report's own configuration trains on real images, within 6 GB."""

import csv
import json
import math
import shutil
import subprocess
import sys

import pytest

# A process of its own tells how much memory it ever held.
TRAIN = """
import json, resource, sys
from mask_gate.training.commands.train import main
code = main(sys.argv[1:])
held_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"code": code, "held_gb": held_kb * 1024 / 1e9}))
"""

STEMS = {
    "train": ["maksssksksss104", "maksssksksss108", "maksssksksss112", "maksssksksss130"],
    "valid": ["maksssksksss2", "maksssksksss9"],
}


def few_of(data, folder):
    """Six images of the set, with both lists."""
    for kind in ("images", "annotations"):
        (folder / kind).mkdir(parents=True)
    for split, stems in STEMS.items():
        (folder / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems))
        for stem in stems:
            for kind in ("images", "annotations"):
                (path,) = (data / kind).glob(f"{stem}.*")
                shutil.copy(path, folder / kind)
    return folder


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts KiB on Linux")
def test_an_epoch_of_the_reports_network_on_real_images_fits_into_six_gigabytes(
    repo_root, real_data, tmp_path
):
    """`focal.yaml` as it is but for its start weights and length; losses are finite and fall."""
    out = tmp_path / "runs"
    command = [sys.executable, "-c", TRAIN, "--config", "configs/focal.yaml"]
    command += ["--data", few_of(real_data, tmp_path / "few"), "--out", out, "--device", "cpu"]
    command += ["--set", "start=scratch", "epochs=2", "epoch_images=8", "multi_scale=null"]
    command += ["precision=float32"]  # the larger one
    ended = subprocess.run(command, cwd=repo_root, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    assert told["code"] == 0, ended.stdout + ended.stderr
    assert told["held_gb"] < 6
    with (out / "focal/results.csv").open() as file:
        first, second = csv.DictReader(file)
    losses = [
        sum(float(row[n]) for n in ("box", "objectness", "classes")) for row in (first, second)
    ]
    assert all(map(math.isfinite, losses))
    assert losses[1] < losses[0]
    assert (out / "focal/best.pth").stat().st_size > 61_534_504 * 4
    print(f"held {told['held_gb']:.2f} GB, loss {losses[0]:.1f} then {losses[1]:.1f}")
