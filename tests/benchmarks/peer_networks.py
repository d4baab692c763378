"""Networks of other packages as ONNX files, for tests/benchmarks/peers.py to time.

    python -m venv PEERS && PEERS/bin/pip install torch onnx ultralytics
    PEERS/bin/python tests/benchmarks/peer_networks.py --out FOLDER

Run by a Python environment of its own: these packages never enter the project's. The networks are
built from their published descriptions with random weights, for three classes: for timing only.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from ultralytics import YOLO

NETWORKS = (
    ("yolov8n", 416),
    ("yolo11n", 416),
    ("yolov8s", 416),
    ("yolov8n", 640),
    ("yolo11n", 640),
    ("yolo11s", 640),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write peers as ONNX files.")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, size in NETWORKS:
        network = YOLO(f"{name}.yaml").model.eval().fuse()
        head = network.model[-1]
        head.export, head.format = True, "onnx"
        for parameter in network.parameters():
            parameter.requires_grad_(False)
        path = options.out / f"{name}-{size}.onnx"
        torch.onnx.export(
            network, (torch.zeros(1, 3, size, size),), str(path), dynamo=False, opset_version=17
        )
        print(path)


if __name__ == "__main__":
    main()
