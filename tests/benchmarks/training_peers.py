r"""Training beside the loops of pytorchyolo and ultralytics: images a second, and what was learnt.

    python tests/benchmarks/training_peers.py --data DATA --lists DEV --tiny yolov3-tiny.weights \
        --peers PEERS/bin/python --json training-peers.json

PEERS is a Python environment of its own, with the torch that this project uses:

    PEERS/bin/pip install torch torchvision ultralytics 'numpy<1.24' 'pillow<10' imgaug \
        pydantic terminaltables torchsummary tensorboard
    PEERS/bin/pip install --no-deps pytorchyolo

Every trainer reads the same files (`mask-gate-data convert` to YOLO text), batches of 8 at 416 px,
two threads, its own loader, augmentation and optimizer as they come. pytorchyolo trains the same
network as we do, from the same weights to the last one. ultralytics has no such network: its
trainer is given our network with our loss, and, apart from that, its own yolov3-tiny.yaml; it
takes a thread less than there are cores, so it runs once more with two where that is one. They
run in turns, each time in a new process; a run is two epochs, and the second is timed, from the
last batch of the first on, by the clock and by the processor time of all its processes, which other
work on the machine skews less.
`--learn N` trains ours and pytorchyolo for N epochs of all training images instead and gives the
strict mAP@0.5 on the split `valid` of DEV, a dev set carved out of the training images.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from mask_gate.gate.detector.processor import cpu_name
from mask_gate.models.files.strict_yaml import read_config
from mask_gate.training.config import TrainConfig, config_path
from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.data.dataset_writer import convert
from mask_gate.training.learning.start_weights import start_network

SIDE, BATCH, THREADS = 416, 8, 2
REPOSITORY = Path(__file__).resolve().parents[2]
STAMPS = Path(__file__).with_name("trainer_stamps.py")
# YOLOv3-tiny in Darknet's words: filters, side and whether a norm follows; p: a pool's stride.
LAYERS = "16 p2 32 p2 64 p2 128 p2 256 p2 512 p1 1024 256/1 512 head:3,4,5 "
LAYERS += "route:-4 128/1 upsample route:-1,8 256 head:0,1,2"
NET = """[net]
batch={batch}
subdivisions=1
width={side}
height={side}
channels=3
momentum=0.9
decay=0.0005
learning_rate=0.001
burn_in={burn_in}
max_batches=500200
policy=steps
steps=400000,450000
scales=.1,.1
"""
ANCHORS = "10,14, 23,27, 37,58, 81,82, 135,169, 344,319"


def cfg(burn_in: int) -> str:
    """The network for three classes with the published file's settings of training."""
    text = NET.format(batch=BATCH, side=SIDE, burn_in=burn_in)
    plain = "[convolutional]\nsize=1\nstride=1\npad=1\nfilters=24\nactivation=linear\n"
    for word in LAYERS.split():
        kind, _, value = word.partition(":")
        if kind == "route":
            text += f"[route]\nlayers={value}\n"
        elif kind == "upsample":
            text += "[upsample]\nstride=2\n"
        elif kind == "head":
            text += f"{plain}[yolo]\nmask={value}\nanchors={ANCHORS}\nclasses=3\nnum=6\n"
        elif kind.startswith("p"):
            text += f"[maxpool]\nsize=2\nstride={kind[1:]}\n"
        else:
            filters, _, side = kind.partition("/")
            text += "[convolutional]\nbatch_normalize=1\nstride=1\npad=1\nactivation=leaky\n"
            text += f"filters={filters}\nsize={side or 3}\n"
    return text


@dataclass(frozen=True)
class Contender:
    """A trainer and what differs from how it comes."""

    kind: str
    options: dict


CONTENDERS = {
    "mask-gate-train, float32": Contender("ours", {"precision": "float32"}),
    "mask-gate-train, bfloat16": Contender("ours", {"precision": "bfloat16"}),
    "pytorchyolo": Contender("pytorchyolo", {}),
    "pytorchyolo, 2 workers": Contender("pytorchyolo", {"n_cpu": 2}),
    "ultralytics, our network": Contender("ultralytics", {"guest": True}),
    "ultralytics, its own network": Contender("ultralytics", {}),
    "ultralytics, our network, 2 threads": Contender("ultralytics", {"guest": True, "threads": 2}),
    "ultralytics, its own, 2 threads": Contender("ultralytics", {"threads": 2}),
    "pytorchyolo, burn-in 100": Contender("pytorchyolo", {"burn_in": 100}),
}
TIMED = [name for name in CONTENDERS if "burn-in" not in name]
TAUGHT = [name for name in CONTENDERS if not name.startswith("ultra") and "workers" not in name]


def save_darknet(network: nn.Module, path: Path) -> None:
    """Write Darknet's format, version 0.2.5: of each layer norm or bias first, then the kernel."""
    kinds = ("bias", "weight", "running_mean", "running_var")
    layers: list[list[Tensor]] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            layers.append([module.bias, module.weight])
        elif isinstance(module, nn.BatchNorm2d):
            layers[-1][:1] = [getattr(module, kind) for kind in kinds]
    with path.open("wb") as file:
        np.array([0, 2, 5, 0, 0], "<i4").tofile(file)
        for tensor in (tensor for layer in layers for tensor in layer):
            tensor.detach().numpy().astype("<f4").tofile(file)


class Arena:
    """The data and start weights that all share, and jobs for them.

    Args:
        folder: everything is written here.
        options: of the command line.
    """

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options = folder, options
        self.data = folder / "data"
        convert(DatasetFolder.open(options.data, options.lists), self.data, "yolo")
        self.start = folder / "start.weights"
        wanted = [f"start={options.tiny.resolve()}"]
        self.config = read_config(TrainConfig, config_path("tiny"), wanted)
        network, _, _ = start_network(self.config)
        save_darknet(network, self.start)
        self.counted = 0

    def lists(self, images: int | None) -> Path:
        """A folder of lists, the first `images` to learn from: by stem, and as `.paths`."""
        folder = self.folder / f"lists-{images}"
        folder.mkdir(exist_ok=True)
        found = {path.stem: str(path) for path in (self.data / "images").iterdir()}
        for split, count in (("train", images), ("valid", None)):
            names = (self.data / f"{split}.txt").read_text().split()[:count]
            stems = [Path(name).stem for name in names]
            (folder / f"{split}.txt").write_text("\n".join(stems) + "\n")
            paths = [found[stem] for stem in stems]
            (folder / f"{split}.paths.txt").write_text("\n".join(paths) + "\n")
        return folder

    def run(self, contender: Contender, images: int | None, epochs: int) -> dict:
        """Train; returns what trainer_stamps.py found, and the folder and weights of the run."""
        self.counted += 1
        folder = self.folder / f"{self.counted}-{contender.kind}"
        folder.mkdir()
        make = {
            "ours": self._ours,
            "pytorchyolo": self._pytorchyolo,
            "ultralytics": self._ultralytics,
        }
        job, weights = make[contender.kind](contender.options, folder, self.lists(images), epochs)
        steps = -(-images // BATCH) if images else 0
        job |= {"kind": contender.kind, "size": SIDE, "out": str(folder / "stamps.json")}
        job["marks"] = [steps, 2 * steps]
        job_file = folder / "job.json"
        job_file.write_text(json.dumps(job))
        python = sys.executable if contender.kind == "ours" else str(self.options.peers.absolute())
        environment = os.environ | {
            "OMP_NUM_THREADS": str(THREADS),
            "YOLO_OFFLINE": "true",
            "YOLO_CONFIG_DIR": str(folder),
        }
        if contender.kind != "pytorchyolo":
            environment["PYTHONPATH"] = str(REPOSITORY)
        with (folder / "log.txt").open("w") as log:
            done = subprocess.run(
                [python, str(STAMPS), str(job_file)],
                cwd=REPOSITORY if contender.kind == "ours" else folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
                start_new_session=True,
            )
        if done.returncode:
            raise SystemExit(
                f"{contender.kind} failed:\n{(folder / 'log.txt').read_text()[-3000:]}"
            )
        return json.loads((folder / "stamps.json").read_text()) | {"weights": str(weights)}

    def _ours(self, options, folder: Path, lists: Path, epochs: int):
        settings = [
            f"start={self.options.tiny.resolve()}",
            f"input_size={SIDE}",
            "multi_scale=null",
            f"batch_size={BATCH}",
            "watch_split=null",
            f"precision={options['precision']}",
            *options.get("set", ()),
        ]
        arguments = [
            "--config",
            "configs/tiny.yaml",
            "--data",
            str(self.data),
            "--lists",
            str(lists),
        ]
        arguments += ["--out", str(folder), "--epochs", str(epochs), "--set", *settings]
        return {"arguments": arguments}, folder / "tiny/last.pth"

    def _pytorchyolo(self, options, folder: Path, lists: Path, epochs: int):
        model, data, names = folder / "tiny.cfg", folder / "faces.data", self.data / "classes.names"
        model.write_text(cfg(options.get("burn_in", 1000)))
        data.write_text(
            f"train={lists}/train.paths.txt\nvalid={lists}/valid.paths.txt\nnames={names}\n"
        )
        arguments = ["--model", str(model), "--data", str(data), "--epochs", str(epochs)]
        arguments += ["--pretrained_weights", str(self.start), "--seed", "0"]
        arguments += [
            "--evaluation_interval",
            str(epochs + 1),
            "--checkpoint_interval",
            str(epochs),
        ]
        if "n_cpu" in options:
            arguments += ["--n_cpu", str(options["n_cpu"])]
        job = {"arguments": arguments, "cfg": str(model), "folder": str(folder)}
        return job, folder / f"checkpoints/yolov3_ckpt_{epochs}.pth"

    def _ultralytics(self, options, folder: Path, lists: Path, epochs: int):
        data = folder / "faces.yaml"
        classes = (self.data / "classes.names").read_text().split()
        text = f"train: {lists}/train.paths.txt\nval: {lists}/valid.paths.txt\nnames:\n"
        data.write_text(text + "".join(f"  {i}: {name}\n" for i, name in enumerate(classes)))
        arguments = {
            "data": str(data),
            "epochs": epochs,
            "imgsz": SIDE,
            "batch": BATCH,
            "device": "cpu",
            "seed": 0,
            "project": str(folder),
            "val": False,
            "save": False,
            "plots": False,
        }
        job = {"arguments": arguments}
        if options.get("guest"):
            job["config"] = self.config.model_dump(mode="json")
        if "threads" in options:
            job["threads"] = options["threads"]
        return job, None


def costs(found: dict, images: int) -> tuple[float, float]:
    """Of the second of two epochs: seconds and processor seconds an image."""
    steps = -(-images // BATCH)
    stamps_s, cpu_s = found["stamps_s"], found["cpu_s"]
    assert len(stamps_s) == 2 * steps, (len(stamps_s), steps)
    return (stamps_s[-1] - stamps_s[steps - 1]) / images, (cpu_s[1] - cpu_s[0]) / images


def compare_speed(arena: Arena, chosen: dict[str, Contender], options) -> dict:
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in chosen}
    about: dict[str, dict] = {}
    for turn in range(options.rounds):
        for name, contender in chosen.items():
            found = arena.run(contender, options.images, epochs=2)
            taken[name].append(costs(found, options.images))
            about[name] = {key: found[key] for key in ("parameters", "gflop", "threads", "torch")}
            told = "{:.3f} s, {:.3f} of processors an image".format(*taken[name][-1])
            print(f"round {turn + 1}, {name}: {told}", flush=True)
    base = np.array(taken[next(iter(chosen))])
    rows = {}
    head = f"{'images/s':>24}{'time':>24}{'processors':>24}{'GFLOP':>8}{'parameters':>12}"
    print(f"{'':36}{head}")
    for name, pairs in taken.items():
        each = np.array(pairs)
        ratio, speed = each / base, 1 / each[:, 0]
        rows[name] = about[name] | {
            "images_per_s": spread(speed),
            "time_to_first": spread(ratio[:, 0]),
            "processor_time_to_first": spread(ratio[:, 1]),
            "rounds": [[round(value, 4) for value in pair] for pair in pairs],
        }
        row = "".join(
            f"{middle:9.2f} ({least:.2f} to {most:.2f})"
            for middle, least, most in (spread(x) for x in (speed, ratio[:, 0], ratio[:, 1]))
        )
        work = f"{about[name]['gflop']:8.2f}{about[name]['parameters']:12,}"
        print(f"{name:36}{row}{work}")
    return rows


def spread(values: np.ndarray) -> list[float]:
    """Median, least and most."""
    return [round(float(value), 3) for value in (np.median(values), values.min(), values.max())]


def compare_learning(arena: Arena, chosen: dict[str, Contender], options) -> dict:
    rows = {}
    for name, contender in chosen.items():
        began_s = time.monotonic()
        found = arena.run(contender, None, options.learn)
        taken_s = time.monotonic() - began_s
        report = Path(found["weights"]).with_suffix(".json")
        command = [
            sys.executable,
            "-m",
            "mask_gate.training.commands.evaluate",
            "--weights",
            found["weights"],
        ]
        command += [
            "--data",
            str(arena.data),
            "--lists",
            str(arena.lists(None)),
            "--split",
            "valid",
        ]
        command += ["--imgsz", str(SIDE), "--json", str(report)]
        told = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
        print(f"{name}: {taken_s:.0f} s\n{told.stdout}", flush=True)
        rows[name] = {
            "epochs": options.learn,
            "seconds": round(taken_s, 1),
            "learning_s": round(found["stamps_s"][-1] - found["stamps_s"][0], 1),
            "evaluation": json.loads(report.read_text()),
        }
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--lists", type=Path, required=True, help="of a dev set")
    parser.add_argument("--tiny", type=Path, required=True, help="yolov3-tiny.weights")
    parser.add_argument("--peers", type=Path, required=True, help="the other environment's Python")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, metavar="NAME")
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--learn", type=int, metavar="N", help="epochs of a run for quality")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    wanted = options.only or (TAUGHT if options.learn else TIMED)
    chosen = {name: CONTENDERS[name] for name in wanted}
    report = {"cpu": cpu_name(), "threads": THREADS, "load_before": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as folder:
        arena = Arena(Path(folder), options)
        if options.learn:
            report["learning"] = compare_learning(arena, chosen, options)
        else:
            report["images"] = options.images
            report["contenders"] = compare_speed(arena, chosen, options)
    report["load_after"] = os.getloadavg()[0]
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
