"""Files that hold weights or settings: checkpoints, Darknet, ONNX, OpenVINO, YAML."""
