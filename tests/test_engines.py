"""The engines: on real pictures every one says what torch says, and costs no accuracy."""

from __future__ import annotations

import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.detector.engine_trials import TrialUnfinishedError, try_engine
from mask_gate.gate.detector.engines import engine_options, open_engine
from mask_gate.gate.detector.exported_engine import threads_wanted
from mask_gate.gate.errors import ModelError
from mask_gate.models.detections import Detections
from mask_gate.models.files.digest_file import digest_file
from mask_gate.models.files.export_metadata import ExportedFileError
from mask_gate.models.letterbox import Letterbox
from mask_gate.models.nms import suppress
from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.evaluation.inference import LOWEST_SCORE
from mask_gate.training.evaluation.metrics import ImageResult, evaluate_strict

ROOT = Path(__file__).resolve().parents[1]
BUNDLED = "assets/weights/mask-gate-lite.pth"
needs_openvino = pytest.mark.skipif(
    find_spec("openvino") is None,
    reason="OpenVINO has no wheel for this machine",
)
EXACT = [
    pytest.param(EngineKind.ONNX),
    pytest.param(EngineKind.OPENVINO, marks=needs_openvino),
]
# What float32 in another order of additions may differ by.
SCORES, PIXELS = 1e-4, 1e-2
MAP_LOSS = 0.002
MAP_LOSS_OF_8_BITS = 0.005
AUTO = EngineKind.AUTO


@pytest.fixture(scope="module")
def pictures(real_data):
    """Seventy-five of the training pictures, never those that accuracy is reported on."""
    data = DatasetFolder.open(real_data)
    records = data.split("train")
    chosen = np.random.default_rng(0).permutation(len(records))[:75]
    return [data.load(records[index]) for index in sorted(chosen)]


def mean_ap(engine, samples, *, trimmed) -> float:
    """Of what the gate sees, or as evaluation sees it, in squares."""
    results = []
    for sample in samples:
        box = Letterbox(sample.size_hw, engine.input_size, trimmed=trimmed)
        found = suppress(engine(box.image(sample.image)), LOWEST_SCORE, one_label=False)
        boxes_xyxy = box.inverse_boxes(found.boxes_xyxy)
        seen = Detections(boxes_xyxy, found.scores, found.labels, found.margins)
        results.append(
            ImageResult(sample.name, sample.boxes_xyxy, sample.labels, seen, sample.size_hw)
        )
    return evaluate_strict(results).map50


def if_the_processor_has(kind):
    """The engine; the test is skipped where the processor lacks its precision."""
    try:
        return open_engine(ROOT / BUNDLED, "cpu", kind)[0]
    except ModelError as error:
        pytest.skip(f"{error}; run this test on a processor that has it")


@pytest.mark.parametrize("kind", EXACT)
def test_every_engine_says_what_torch_says(repo_root, pictures, kind):
    torch_engine, _ = open_engine(repo_root / BUNDLED, "cpu", EngineKind.TORCH)
    engine, _ = open_engine(repo_root / BUNDLED, "cpu", kind)
    for sample in pictures[:12]:
        picture = Letterbox(sample.size_hw, engine.input_size, trimmed=True).image(sample.image)
        expected, said = torch_engine(picture), engine(picture)
        np.testing.assert_allclose(said[:, 4:], expected[:, 4:], atol=SCORES)
        faces = expected[:, 4] > 0.1
        np.testing.assert_allclose(said[faces, :4], expected[faces, :4], atol=PIXELS)


@pytest.mark.parametrize("kind", [*EXACT, pytest.param(EngineKind.TORCH)])
def test_several_squares_together_are_what_each_is_alone(repo_root, kind):
    engine, _ = open_engine(repo_root / BUNDLED, "cpu", kind)
    size = engine.input_size
    squares = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8)
    for said, square in zip(engine.run_batch(squares), squares, strict=True):
        np.testing.assert_allclose(said[:, 4:], engine(square)[:, 4:], atol=SCORES)
    assert engine.batch_size == 1  # on a CPU: docs/benchmarks.md


@pytest.mark.parametrize("kind", [*EXACT, pytest.param(EngineKind.TORCH)])
def test_an_engine_takes_smaller_pictures_where_it_is_told_to(repo_root, pictures, kind):
    engine, _ = open_engine(repo_root / BUNDLED, "cpu", kind, 320)
    own, _ = open_engine(repo_root / BUNDLED, "cpu", EngineKind.TORCH)
    assert (engine.input_size, own.input_size) == (320, 512)
    assert engine.name.endswith(", 320 px")
    small = Letterbox(pictures[0].size_hw, 320).image(pictures[0].image)
    np.testing.assert_allclose(engine(small)[:, 4:], own(small)[:, 4:], atol=SCORES)


@pytest.mark.parametrize("size", [0, 100, 4128])
def test_a_size_that_no_network_takes_is_refused(repo_root, size):
    with pytest.raises(ModelError, match=f"input size {size}: expected a multiple of 32 up to"):
        open_engine(repo_root / BUNDLED, "cpu", input_size=size)


@pytest.fixture(scope="module")
def torch_map(repo_root, pictures):
    engine = open_engine(repo_root / BUNDLED, "cpu", EngineKind.TORCH)[0]
    return mean_ap(engine, pictures, trimmed=False)


@pytest.mark.slow
def test_pictures_without_their_grey_bars_cost_no_accuracy(repo_root, pictures, torch_map):
    engine, _ = open_engine(repo_root / BUNDLED, "cpu", EngineKind.ONNX)
    assert engine.takes_trimmed
    assert mean_ap(engine, pictures, trimmed=True) >= torch_map - MAP_LOSS


@pytest.mark.slow
@needs_openvino
def test_bfloat16_costs_no_accuracy(pictures, torch_map):
    """The other engines say what torch says, number for number."""
    engine = if_the_processor_has(EngineKind.OPENVINO_BF16)
    assert mean_ap(engine, pictures, trimmed=False) == pytest.approx(torch_map, abs=MAP_LOSS)


@pytest.mark.slow
@needs_openvino
def test_8_bits_cost_no_accuracy(pictures, torch_map):
    engine = if_the_processor_has(EngineKind.OPENVINO_INT8)
    assert engine.takes_trimmed
    assert mean_ap(engine, pictures, trimmed=False) >= torch_map - MAP_LOSS_OF_8_BITS


@needs_openvino
class TestInt8:
    @pytest.fixture
    def twin(self):
        return (ROOT / BUNDLED).with_suffix(".int8.onnx")

    @pytest.fixture
    def processor(self, monkeypatch):
        def has(vnni):
            for where in ("engines", "exported_engine"):
                monkeypatch.setattr(f"mask_gate.gate.detector.{where}.has_vnni", lambda: vnni)

        return has

    def test_it_is_offered_where_the_processor_adds_exactly(self, processor):
        processor(True)
        assert EngineKind.OPENVINO_INT8 in engine_options(ROOT / BUNDLED, "cpu", AUTO).kinds

    def test_it_is_not_the_default_before_it_was_measured(self, processor):
        processor(True)
        assert engine_options(ROOT / BUNDLED, "cpu", AUTO).kinds[0] is EngineKind.ONNX

    def test_a_processor_that_does_not_is_never_given_it(self, processor, twin):
        processor(False)
        assert EngineKind.OPENVINO_INT8 not in engine_options(ROOT / BUNDLED, "cpu", AUTO).kinds
        with pytest.raises(ModelError, match="this processor has no VNNI; take openvino"):
            open_engine(ROOT / BUNDLED, "cpu", EngineKind.OPENVINO_INT8)
        for kind in (EngineKind.ONNX, EngineKind.OPENVINO):
            with pytest.raises(ModelError, match="calculates in 8 bits, wrongly on a processor"):
                open_engine(twin, "cpu", kind)

    def test_a_model_without_such_a_twin_says_how_to_make_one(self, processor, tmp_path):
        processor(True)
        for suffix in (".pth", ".onnx", ".onnx.sha256"):
            name = f"mask-gate-lite{suffix}"
            (tmp_path / name).write_bytes((ROOT / BUNDLED).with_name(name).read_bytes())
        weights = tmp_path / "mask-gate-lite.pth"
        with pytest.raises(ModelError, match=r"needs its twin in 8 bits: mask-gate-export --int8"):
            open_engine(weights, "cpu", EngineKind.OPENVINO_INT8)
        assert EngineKind.OPENVINO_INT8 not in engine_options(weights, "cpu", AUTO).kinds

    def test_an_edited_twin_is_refused(self, processor, tmp_path, twin):
        processor(True)
        weights = tmp_path / "mask-gate-lite.pth"
        for path in (twin.with_name(weights.name), twin, digest_file(twin)):
            (tmp_path / path.name).write_bytes(path.read_bytes())
        (tmp_path / twin.name).write_bytes(twin.read_bytes() + b"x")
        with pytest.raises(ModelError, match=r"int8\.onnx: is not the file that was exported"):
            open_engine(weights, "cpu", EngineKind.OPENVINO_INT8)


def test_a_trial_measures_in_a_process_of_its_own(repo_root, tmp_path):
    weights = (repo_root / BUNDLED).with_suffix(".onnx")
    ending = threading.Event()
    assert try_engine(weights, EngineKind.ONNX, ending) > 0
    assert try_engine(weights, EngineKind.TORCH, ending) is None  # torch runs no exported file
    assert try_engine(tmp_path / "none.onnx", EngineKind.ONNX, ending) is None
    with pytest.raises(TrialUnfinishedError):
        try_engine(weights, EngineKind.ONNX, ending, limit_s=0.0)
    ending.set()
    with pytest.raises(TrialUnfinishedError):
        try_engine(weights, EngineKind.ONNX, ending)


def test_an_engine_that_cannot_run_the_file_is_refused(repo_root, tmp_path):
    checkpoint = tmp_path / "a.pth"
    checkpoint.write_bytes((repo_root / BUNDLED).read_bytes())
    with pytest.raises(ModelError, match=r"needs its exported twin: mask-gate-export --weights"):
        open_engine(checkpoint, "cpu", EngineKind.ONNX)
    with pytest.raises(ModelError, match=r"not for engine torch; give the \.pth checkpoint"):
        open_engine((repo_root / BUNDLED).with_suffix(".onnx"), "cpu", EngineKind.TORCH)
    with pytest.raises(ModelError, match="engine onnx runs on the CPU; take torch for cuda"):
        open_engine(checkpoint, "cuda", EngineKind.ONNX)


def test_an_engine_that_is_not_installed_says_how_to(repo_root, monkeypatch):
    monkeypatch.setattr("mask_gate.gate.detector.engines.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="not installed: pip install openvino"):
        open_engine(repo_root / BUNDLED, "cpu", EngineKind.OPENVINO)


class TestWithoutTorch:
    @pytest.fixture(autouse=True)
    def absent(self, monkeypatch):
        monkeypatch.setattr(
            "mask_gate.gate.detector.engines.find_spec",
            lambda name: None if name == "torch" else find_spec(name),
        )

    def test_an_exported_twin_runs_and_torch_is_no_choice(self, repo_root):
        assert "ONNX" in open_engine(repo_root / BUNDLED, "cpu", EngineKind.ONNX)[0].name
        with pytest.raises(ModelError, match=r"needs PyTorch: pip install 'mask-gate\[cuda\]'"):
            open_engine(repo_root / BUNDLED, "cpu", EngineKind.TORCH)

    @pytest.mark.parametrize("kind", [EngineKind.AUTO, EngineKind.TORCH])
    def test_a_checkpoint_without_a_twin_says_what_is_missing(self, tmp_path, kind):
        path = tmp_path / "best.pth"
        path.write_bytes(b"weights")
        with pytest.raises(ModelError, match=r"needs PyTorch: .*; or give the \.onnx"):
            open_engine(path, "auto", kind)

    def test_cuda_says_what_is_missing(self, repo_root):
        with pytest.raises(ModelError, match=r"device cuda:1 needs PyTorch: pip install"):
            open_engine(repo_root / BUNDLED, "cuda:1")


@needs_openvino
def test_openvinos_own_files_carry_their_description(repo_root, tmp_path):
    from mask_gate.models.files.openvino_file import OpenVinoFile, save_openvino

    onnx = (repo_root / BUNDLED).with_suffix(".onnx")
    save_openvino(onnx, tmp_path / "a.xml")
    ours, theirs = OpenVinoFile(tmp_path / "a.xml"), OpenVinoFile(onnx)
    assert ours.about == theirs.about
    side = ours.about.input_size
    assert ours.takes_trimmed
    for height in (side, side * 3 // 4):
        pictures = np.random.default_rng(0).integers(0, 256, (1, height, side, 3)).astype(np.uint8)
        np.testing.assert_allclose(ours(pictures), theirs(pictures), atol=1e-4)
    (tmp_path / "a.bin").unlink()
    with pytest.raises(ExportedFileError, match=r"its \.bin is missing"):
        OpenVinoFile(tmp_path / "a.xml")


@needs_openvino
def test_openvino_reports_to_nobody():
    """Its package tells its makers of every import, unless what tells them is not there."""
    code = (
        "import sys\n"
        "from mask_gate.models.files.openvino_file import openvino_runtime\n"
        "openvino_runtime().Core()\n"
        "from openvino.tools.ovc import telemetry_utils\n"
        "assert telemetry_utils.tm.__name__.endswith('telemetry_stub'), telemetry_utils.tm\n"
        "sys.exit(any(name.startswith('openvino_telemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize(
    ("said", "threads"), [({}, 0), ("1", 1), ("16", 16), ("", 0), ("many", 0), ("-1", 0), ("²", 0)]
)
def test_engines_take_as_many_threads_as_the_usual_variable_allows(said, threads):
    environment = {"OMP_NUM_THREADS": said} if isinstance(said, str) else said
    assert threads_wanted(environment) == threads
