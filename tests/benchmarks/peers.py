"""Our detector and what a user might take instead, timed in turns in one run, as one table.

    python tests/benchmarks/peers.py --tiny yolov3-tiny.weights [--peers FOLDER] [--json FILE]

YOLOv3-tiny with its authors' weights runs by ONNX Runtime, OpenVINO and torch; full
YOLOv3, with random weights, by ONNX Runtime; FOLDER holds other packages' networks as ONNX files
(tests/benchmarks/peer_networks.py). Every contender is called once in each round, so that a busy
machine slows all alike; the figures are medians with the least and the most.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import torch

from mask_gate.gate.detector.processor import cpu_name
from mask_gate.models.files.darknet_weights import load_darknet
from mask_gate.models.files.export_metadata import METADATA_KEY, ExportMetadata
from mask_gate.models.files.openvino_file import openvino_runtime
from mask_gate.models.networks.fusion import fuse_norms
from mask_gate.models.networks.zoo import build

BUNDLED = Path(__file__).resolve().parents[2] / "assets/weights/mask-gate-lite.pth"
THREADS, SIDE, WARM_UP = 2, 416, 3
COCO_CLASSES = 80


class Decoded(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network.predict(images)


def exported(network, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Decoded(network),
            (torch.zeros(1, 3, SIDE, SIDE),),
            str(path),
            dynamo=False,
            opset_version=17,
        )
    return path


def input_of(path: Path) -> np.ndarray:
    """A random picture in the shape and kind the file asks for."""
    session = onnxruntime.InferenceSession(str(path))
    wanted = session.get_inputs()[0]
    stored = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    own = {"batch": 1}  # ours take any size: the square of their own
    if stored:
        own |= dict.fromkeys(("height", "width"), ExportMetadata.from_json(stored, path).input_size)
    shape = [side if isinstance(side, int) else own.get(side, 1) for side in wanted.shape]
    rng = np.random.default_rng(0)
    if wanted.type == "tensor(uint8)":
        return rng.integers(0, 256, shape).astype(np.uint8)
    return rng.random(shape, np.float32)


def by_onnx(path: Path) -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = {session.get_inputs()[0].name: input_of(path)}
    return lambda: session.run(None, given)


def by_openvino(path: Path, precision: str) -> Callable[[], object]:
    core, given = openvino_runtime().Core(), input_of(path)
    model = core.read_model(path)
    model.reshape(list(given.shape))
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": THREADS,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return lambda: request.infer({0: given})


def by_torch(network, *, tuned: bool) -> Callable[[], object]:
    images = torch.rand(1, 3, SIDE, SIDE)
    if tuned:
        fuse_norms(network)
        network = network.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run():
        return network.predict(images)

    return run


def gflop(path: Path) -> float:
    """Twice the multiply-adds of a file's convolutions, for one picture."""
    model = openvino_runtime().Core().read_model(path)
    model.reshape(list(input_of(path).shape))
    total = 0.0
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind not in ("Convolution", "GroupConvolution", "ConvolutionBackpropData"):
            continue
        weights = list(node.input(1).get_shape())
        if kind == "ConvolutionBackpropData":  # each input pixel meets every weight
            total += np.prod(node.input(0).get_shape()) * np.prod(weights[1:])
        else:  # each output pixel meets the weights of its channel
            total += np.prod(node.output(0).get_shape()) * np.prod(weights[-3:])
    return float(2e-9 * total)


def product_rate(dtype, side: int = 2048) -> float:
    """GFLOP/s of a large matrix product."""
    a, b = (torch.rand(side, side).to(dtype) for _ in range(2))
    least = np.inf
    for _ in range(6):
        began_s = time.perf_counter()
        a @ b
        least = min(least, time.perf_counter() - began_s)
    return float(2e-9 * side**3 / least)


def contenders(options, folder: Path):
    """Name to call and GFLOP, the base of the ratios first."""
    found = {}

    def add(name, path, call):
        found[name] = (call, gflop(path))

    for side in (416, 320, 512, 608):
        ours = resized(options.weights, folder / f"ours-{side}.onnx", side)
        add(f"ours {side}, ONNX Runtime", ours, by_onnx(ours))
        add(f"ours {side}, OpenVINO", ours, by_openvino(ours, "f32"))
        add(f"ours {side}, OpenVINO bf16", ours, by_openvino(ours, "bf16"))
    torch.manual_seed(0)
    networks = {}
    for name in ("plain", "tuned", "export"):
        network = build("yolov3_tiny", COCO_CLASSES)
        load_darknet(network, "yolov3_tiny", options.tiny)
        networks[name] = network.eval()
    tiny = exported(networks["export"], folder / "tiny.onnx")
    add("YOLOv3-tiny 416, ONNX Runtime", tiny, by_onnx(tiny))
    add("YOLOv3-tiny 416, OpenVINO", tiny, by_openvino(tiny, "f32"))
    add("YOLOv3-tiny 416, OpenVINO bf16", tiny, by_openvino(tiny, "bf16"))
    add("YOLOv3-tiny 416, torch", tiny, by_torch(networks["plain"], tuned=False))
    add("YOLOv3-tiny 416, torch tuned", tiny, by_torch(networks["tuned"], tuned=True))
    full = exported(build("yolov3").eval(), folder / "full.onnx")
    add("YOLOv3 416, ONNX Runtime", full, by_onnx(full))
    for path in sorted(options.peers.glob("*.onnx")) if options.peers else ():
        name = path.stem.replace("-", " ")
        add(f"{name}, ONNX Runtime", path, by_onnx(path))
        add(f"{name}, OpenVINO bf16", path, by_openvino(path, "bf16"))
    return found


def resized(path: Path, to: Path, side: int) -> Path:
    """Our checkpoint exported for pictures of one size; its constants are rebuilt."""
    from mask_gate.models.files.onnx_export import export_onnx
    from mask_gate.models.files.open_weights import open_weights

    checkpoint = open_weights(path)
    checkpoint.input_size = side
    export_onnx(checkpoint, to, "sha256:timing")
    return to


def main() -> int:
    parser = argparse.ArgumentParser(description="Time our detector beside others.")
    parser.add_argument("--weights", type=Path, default=BUNDLED, help="our checkpoint")
    parser.add_argument("--tiny", type=Path, required=True, help="yolov3-tiny.weights")
    parser.add_argument("--peers", type=Path, help="folder of other packages' networks")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    cv2.setNumThreads(THREADS)
    report = {
        "cpu": cpu_name(),
        "threads": THREADS,
        "load_before": os.getloadavg()[0],
        "product_gflop_s": {
            "float32": round(product_rate(torch.float32)),
            "bfloat16": round(product_rate(torch.bfloat16)),
        },
        "versions": {
            "onnxruntime": onnxruntime.__version__,
            "openvino": openvino_runtime().__version__,
            "opencv": cv2.__version__,
            "torch": torch.__version__,
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        runs = contenders(options, Path(folder))
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(options.rounds):
            for name, (call, _) in runs.items():
                for _ in range(WARM_UP):  # threads of the one before spin for a while
                    call()
                began_s = time.perf_counter()
                call()
                times[name].append(1000 * (time.perf_counter() - began_s))
    base = np.array(next(iter(times.values())))
    report["contenders"] = {}
    print(json.dumps(report, indent=1))
    print(f"{'':34}{'median':>9}{'min':>9}{'max':>9}{'ratio':>8}{'GFLOP':>8}{'GFLOP/s':>9}")
    for name, (_, work) in runs.items():
        ms = times[name]
        row = {
            "median_ms": round(statistics.median(ms), 2),
            "min_ms": round(min(ms), 2),
            "max_ms": round(max(ms), 2),
            "ratio": round(float(np.median(np.array(ms) / base)), 2),
            "gflop": round(work, 2),
            "gflop_s": round(1000 * work / statistics.median(ms)),
        }
        report["contenders"][name] = row
        print(
            f"{name:34}{row['median_ms']:9.2f}{row['min_ms']:9.2f}{row['max_ms']:9.2f}"
            f"{row['ratio']:8.2f}{row['gflop']:8.2f}{row['gflop_s']:9d}"
        )
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
