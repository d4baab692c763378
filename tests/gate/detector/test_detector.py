"""The detector: a checkpoint and frames in, faces in frame pixels out; nothing odd gets through."""

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mask_gate.gate.detector.detector import Detector
from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.domain import Frame
from mask_gate.gate.errors import ModelError
from mask_gate.models.files.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mask_gate.models.files.digest_file import digest_file
from mask_gate.models.files.fingerprint import fingerprint, joined
from mask_gate.models.files.onnx_export import export_onnx
from mask_gate.models.networks.zoo import build

needs_onnx = pytest.mark.skipif(
    find_spec("onnx") is None, reason="needs the train extra: pip install 'mask-gate[train]'"
)


def edit(exported):
    """Another weight somewhere in the middle; the file can still be read."""
    content = bytearray(exported.read_bytes())
    content[len(content) // 2] ^= 0x40
    exported.write_bytes(content)


def frame(height=120, width=160, seed=0):
    image = np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)
    return Frame(image, 0.0, 0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A network that sees faces everywhere: its objectness bias is turned up."""
    torch.manual_seed(0)
    network = build("yolov3_tiny")
    with torch.no_grad():
        for output in network.head_outputs():
            output.bias.view(3, 8)[:, 4] = 3.0
    path = tmp_path_factory.mktemp("weights") / "a.pth"
    save_checkpoint(path, Checkpoint("yolov3_tiny", network.state_dict(), network.scales, 96))
    return path


def test_faces_come_in_frame_pixels_best_first(weights):
    found = Detector(weights, "cpu")(frame())
    assert len(found) > 0
    assert (found.boxes_xyxy >= 0).all()
    assert (found.boxes_xyxy <= [160, 120, 160, 120]).all()
    assert (np.diff(found.scores) <= 0).all()


def test_the_same_frame_gives_the_same_answer_whatever_came_between(weights):
    detector = Detector(weights, "cpu")
    first = detector(frame())
    detector(frame(200, 100, seed=1))
    again = detector(frame())
    np.testing.assert_array_equal(first.boxes_xyxy, again.boxes_xyxy)
    np.testing.assert_array_equal(first.scores, again.scores)


def test_the_frame_is_not_written_to(weights):
    shown = frame()
    before = shown.image.copy()
    Detector(weights, "cpu")(shown)
    np.testing.assert_array_equal(shown.image, before)


def test_a_high_threshold_leaves_nothing(weights):
    assert len(Detector(weights, "cpu", score_threshold=0.999)(frame())) == 0


@pytest.mark.parametrize(("own", "used"), [(None, 0.1), (0.06, 0.03), (0.2, 0.1), (0.25, 0.1)])
def test_a_checkpoints_threshold_never_hides_unsure_faces(tmp_path, operating_point, own, used):
    network = build("yolov3_tiny")
    checkpoint = Checkpoint("yolov3_tiny", network.state_dict(), network.scales, 96)
    if own is not None:
        checkpoint.operating_point = operating_point.model_copy(update={"face_score": own})
    save_checkpoint(tmp_path / "b.pth", checkpoint)
    assert Detector(tmp_path / "b.pth", "cpu").score_threshold == used


def test_the_model_id_is_the_files_fingerprint(weights):
    detector = Detector(weights, "cpu")
    assert detector.model_id.startswith("sha256:")
    assert len(detector.model_id) == len("sha256:") + 64


def test_an_answer_that_is_not_a_number_rejects_the_whole_frame(weights):
    detector = Detector(weights, "cpu")
    real = detector.engine

    class OneNan:
        input_size, takes_trimmed = real.input_size, False

        def __call__(self, square):
            rows = real(square)
            rows[-1, 4] = np.nan
            return rows

    detector.engine = OneNan()
    with pytest.raises(ModelError, match="not finite; this frame does not count"):
        detector(frame())


def test_a_network_is_spared_the_grey_where_it_takes_oblong_pictures(weights):
    detector = Detector(weights, "cpu")
    real, shown = detector.engine, []

    class Watched:
        input_size, takes_trimmed = real.input_size, True

        def __call__(self, picture):
            shown.append(picture.shape[:2])
            return real(picture)

    detector.engine = Watched()
    oblong = detector(frame(90, 160))
    Watched.takes_trimmed = False
    detector._fits.clear()
    square = detector(frame(90, 160))
    assert shown == [(64, 96), (96, 96)]
    assert abs(len(oblong) - len(square)) < 0.5 * len(square)


@needs_onnx
def test_a_file_exported_for_squares_is_given_squares_of_its_own_size(weights, tmp_path):
    import onnx

    path = tmp_path / "a.onnx"
    export_onnx(load_checkpoint(weights), path, fingerprint(weights))
    model = onnx.load(str(path))  # as earlier versions have written it
    for side in model.graph.input[0].type.tensor_type.shape.dim[1:3]:
        side.dim_value = 96
    onnx.save(model, str(path))
    digest_file(path).unlink()
    found = Detector(path, "cpu", engine=EngineKind.ONNX)(frame(90, 160))
    assert len(found) > 0
    with pytest.raises(ModelError, match="was exported for 96 px alone; export it again"):
        Detector(path, "cpu", engine=EngineKind.ONNX, input_size=64)


class TestTogether:
    """What a model call for the frames of several cameras says of each."""

    def test_is_what_each_frame_is_told_alone(self, weights):
        detector = Detector(weights, "cpu")
        frames = [frame(), frame(200, 100, seed=1), frame(480, 640, seed=2)]
        together = detector.run_batch(frames)
        for found, alone in zip(together, map(detector, frames), strict=True):
            np.testing.assert_allclose(found.boxes_xyxy, alone.boxes_xyxy, atol=0.01)
            np.testing.assert_allclose(found.scores, alone.scores, atol=1e-4)
            np.testing.assert_array_equal(found.labels, alone.labels)

    def test_is_one_call_and_a_frame_that_is_not_finite_costs_no_other(self, weights):
        detector = Detector(weights, "cpu")
        real, calls = detector.engine, []

        def run(squares):
            calls.append(len(squares))
            rows = real.run_batch(squares)
            rows[1, -1, 4] = np.nan
            return rows

        detector.engine = SimpleNamespace(
            input_size=real.input_size, takes_trimmed=False, run_batch=run
        )
        first, second, third = detector.run_batch([frame(), frame(), frame(seed=1)])
        assert calls == [3]
        assert "not finite" in str(second)
        assert len(first) > 0
        assert len(third) > 0

    def test_keeps_what_fits_a_size_for_as_many_cameras_as_there_may_be(self, weights):
        detector = Detector(weights, "cpu")
        for height in range(100, 140):
            detector(frame(height))
        assert len(detector._fits) <= 16


def test_a_box_in_the_grey_bars_is_no_face(weights):
    detector = Detector(weights, "cpu")
    real = detector.engine

    class OneInTheBar:
        input_size, takes_trimmed = real.input_size, False

        def __call__(self, square):
            rows = np.zeros((2, 8), np.float32)
            rows[:, 4:6] = 0.9
            rows[0, :4] = [10, 2, 30, 9]  # a wide frame leaves 12 rows of grey above
            rows[1, :4] = [10, 20, 40, 60]
            return rows

    detector.engine = OneInTheBar()
    assert len(detector(frame())) == 1


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "no such file"),
        (b"", "is empty"),
        (b"not weights at all", "is a text that begins with 'not weights at all'"),
        (b"\xff not weights", "damaged|refused"),
    ],
)
def test_a_file_that_is_no_model_is_refused(tmp_path, content, complaint):
    path = tmp_path / "a.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=complaint):
        Detector(path, "cpu")


@needs_onnx
def test_on_a_cpu_the_exported_twin_runs_and_says_the_same(weights, tmp_path):
    copy = tmp_path / "a.pth"
    copy.write_bytes(weights.read_bytes())
    by_torch = Detector(copy, "cpu")
    export_onnx(load_checkpoint(copy), tmp_path / "a.onnx", fingerprint(copy))
    by_onnx = Detector(copy, "cpu", engine=EngineKind.ONNX)
    assert "torch" in by_torch.engine.name
    assert "ONNX Runtime" in by_onnx.engine.name
    assert by_torch.model_id == fingerprint(copy)
    assert by_onnx.model_id == joined(fingerprint(copy), fingerprint(tmp_path / "a.onnx"))
    square = frame(96, 96).image
    ours, theirs = by_onnx.engine(square), by_torch.engine(square)
    np.testing.assert_allclose(ours, theirs, atol=1e-3, rtol=1e-4)
    np.testing.assert_allclose(by_onnx(frame()).scores, by_torch(frame()).scores, atol=1e-4)


@needs_onnx
def test_an_export_of_another_checkpoint_is_left_alone(weights, tmp_path, caplog):
    copy = tmp_path / "a.pth"
    copy.write_bytes(weights.read_bytes())
    export_onnx(load_checkpoint(copy), tmp_path / "a.onnx", "sha256:another")
    assert "torch" in Detector(copy, "cpu").engine.name
    assert "from another checkpoint" in caplog.text


def test_a_folder_is_called_a_folder(tmp_path):
    with pytest.raises(ModelError, match="is a folder; give the path of a file in it"):
        Detector(tmp_path, "cpu")


@needs_onnx
def test_an_exported_twin_that_nobody_can_vouch_for_is_left_alone(weights, tmp_path, caplog):
    copy = tmp_path / "a.pth"
    copy.write_bytes(weights.read_bytes())
    export_onnx(load_checkpoint(copy), tmp_path / "a.onnx", fingerprint(copy))
    digest_file(tmp_path / "a.onnx").unlink()
    assert "torch" in Detector(copy, "cpu").engine.name
    assert "a.onnx has no a.onnx.sha256 beside it and is left alone" in caplog.text
    with pytest.raises(ModelError, match="needs its exported twin: mask-gate-export"):
        Detector(copy, "cpu", engine=EngineKind.ONNX)


@needs_onnx
@pytest.mark.parametrize("engine", [EngineKind.AUTO, EngineKind.ONNX, EngineKind.OPENVINO])
def test_an_edited_twin_is_refused_though_it_names_its_checkpoint(weights, tmp_path, engine):
    copy, twin = tmp_path / "a.pth", tmp_path / "a.onnx"
    copy.write_bytes(weights.read_bytes())
    export_onnx(load_checkpoint(copy), twin, fingerprint(copy))
    edit(twin)
    assert fingerprint(copy).encode() in twin.read_bytes()
    with pytest.raises(ModelError, match=r"a\.onnx: is not the file that was exported"):
        Detector(copy, "cpu", engine=engine)
    Detector(copy, "cpu", engine=EngineKind.TORCH)  # runs the checkpoint itself


@needs_onnx
@pytest.mark.parametrize("name", ["b.onnx", "BEST.ONNX"])
def test_an_exported_file_runs_on_its_own_but_not_on_cuda(weights, tmp_path, name):
    path = tmp_path / name
    export_onnx(load_checkpoint(weights), path, fingerprint(weights))
    assert len(Detector(path)(frame())) > 0
    with pytest.raises(ModelError, match=r"run on the CPU; give a \.pth for cuda"):
        Detector(path, "cuda")


@pytest.mark.parametrize("device", ["cuda:9", "gpu", "cpu:x"])
def test_a_device_that_is_not_there_is_refused(weights, device):
    with pytest.raises(ModelError, match="device"):
        Detector(weights, device)
