"""Exported files: opened only when everything about them is as it should be."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from mask_gate.models.files.checkpoint import Checkpoint
from mask_gate.models.files.export_metadata import METADATA_KEY, ExportedFileError
from mask_gate.models.files.onnx_export import export_onnx
from mask_gate.models.files.onnx_file import OnnxFile
from mask_gate.models.labels import CLASS_NAMES
from mask_gate.models.networks.zoo import build

pytestmark = pytest.mark.skipif(
    find_spec("onnx") is None, reason="needs the train extra: pip install 'mask-gate[train]'"
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(0)
    network = build("yolov3_lite")
    path = tmp_path_factory.mktemp("onnx") / "a.onnx"
    checkpoint = Checkpoint("yolov3_lite", network.state_dict(), network.scales, 64)
    export_onnx(checkpoint, path, "sha256:0")
    return path


def rewritten(exported, path, change):
    """A copy whose metadata went through `change`."""
    import onnx

    model = onnx.load(str(exported))
    about = json.loads(model.metadata_props[0].value)
    changed = change(about)
    props = {} if changed is None else {METADATA_KEY: json.dumps(changed)}
    onnx.helper.set_model_props(model, props)
    onnx.save(model, str(path))
    return path


def test_it_opens_without_torch_in_sight(exported):
    assert OnnxFile(exported).about.input_size == 64


def test_it_takes_oblong_pictures(exported):
    file = OnnxFile(exported)
    assert file.takes_trimmed
    cells = [
        file(np.zeros((1, *size_hw, 3), np.uint8)).shape[1] for size_hw in ((64, 64), (32, 64))
    ]
    assert cells[0] == 2 * cells[1]


def test_a_file_of_an_earlier_version_takes_squares(exported, tmp_path):
    import onnx

    model = onnx.load(str(exported))
    for side in model.graph.input[0].type.tensor_type.shape.dim[1:3]:
        side.dim_value = 64
    onnx.save(model, str(tmp_path / "b.onnx"))
    file = OnnxFile(tmp_path / "b.onnx")
    assert not file.takes_trimmed
    assert file(np.zeros((1, 64, 64, 3), np.uint8)).shape[1] == 256


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda a: a | {"classes": list(CLASS_NAMES[::-1])}, "expected the classes"),
        (lambda a: a | {"format": "other"}, "expected 'mask-gate onnx 1'"),
        (lambda a: {k: v for k, v in a.items() if k != "classes"}, "not exported by this project"),
        (lambda a: a | {"operating_point": {}}, "operating_point.classes: Field required"),
        (lambda a: a | {"operating_point": 0.5}, "operating_point: Input should be"),
        (lambda a: [a], "not exported by this project"),
        (lambda _: None, "not exported by this project"),
    ],
)
def test_odd_metadata_is_refused(exported, tmp_path, change, complaint):
    with pytest.raises(ExportedFileError, match=complaint):
        OnnxFile(rewritten(exported, tmp_path / "b.onnx", change))


@pytest.mark.parametrize("part", [0.0, 0.3, 0.95])
def test_a_truncated_file_is_refused(exported, tmp_path, part):
    path = tmp_path / "b.onnx"
    path.write_bytes(exported.read_bytes()[: int(exported.stat().st_size * part)])
    with pytest.raises(ExportedFileError, match=r"damaged|not exported|is empty"):
        OnnxFile(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ExportedFileError, match=r"none\.onnx: no such file"):
        OnnxFile(tmp_path / "none.onnx")


def test_opening_one_gives_the_machine_no_number_and_leaves_nothing_to_report(repo_root, tmp_path):
    """ONNX Runtime reports to its makers unless it is told not to before it is loaded."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from mask_gate.models.files.onnx_file import OnnxFile\n"
        "OnnxFile(Path('assets/weights/mask-gate-lite.onnx'))\n"
        "assert 'onnxruntime' in sys.modules"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ORT_", "XDG_"))}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(repo_root)}
    command = [sys.executable, "-c", code]
    subprocess.run(command, cwd=repo_root, env=environment, check=True, timeout=120)
    assert list(tmp_path.iterdir()) == []
