"""The self-test: what is no detector of masks is refused, what is merely weak is remarked on."""

import re
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mask_gate.gate.decision.policy import PolicyConfig
from mask_gate.gate.decision.tracker import TrackerConfig
from mask_gate.gate.decision.vote_thresholds import VoteThresholds
from mask_gate.gate.detector.child import worker_command
from mask_gate.gate.detector.detector import Detector
from mask_gate.gate.detector.detector_process import DetectorProcess, ProcessLimits
from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.detector.selftest import SelfTest
from mask_gate.gate.errors import ModelError
from mask_gate.models.detections import Detections
from mask_gate.models.files.checkpoint import load_checkpoint, save_checkpoint
from mask_gate.models.files.fingerprint import fingerprint
from mask_gate.models.files.onnx_export import export_onnx
from mask_gate.models.labels import MaskLabel
from mask_gate.models.networks.zoo import build

ROOT = Path(__file__).resolve().parents[3]
STILLS = ROOT / "assets/selftest"
BUNDLED = ROOT / "assets/weights/mask-gate-lite"
MASK, BARE, NOSE = MaskLabel.WITH_MASK, MaskLabel.WITHOUT_MASK, MaskLabel.MASK_WEARED_INCORRECT
THRESHOLDS = {
    "high_score": TrackerConfig().scores(None)[0],
    "votes": PolicyConfig().votes(None),
}
REFUSED = "the gate refuses to start with them; give a checkpoint that tells masks from bare faces"

needs_onnx = pytest.mark.skipif(
    find_spec("onnx") is None, reason="needs the train extra: pip install 'mask-gate[train]'"
)


@pytest.fixture(scope="module")
def selftest():
    return SelfTest(STILLS, **THRESHOLDS)


# ------------------------------------------------------------------------ with real networks


@pytest.fixture
def altered(tmp_path):
    """Writes the bundled checkpoint with other weights."""

    def write(change):
        checkpoint = load_checkpoint(BUNDLED.with_suffix(".pth"))
        torch.manual_seed(0)
        change(checkpoint.weights)
        path = tmp_path / "altered.pth"
        save_checkpoint(path, checkpoint)
        return path

    return write


def reorder(*order):
    def change(weights):
        for name in ("class_branch.classes.weight", "class_branch.classes.bias"):
            weights[name] = weights[name].unflatten(0, (3, -1))[list(order)].flatten(0, 1)

    return change


def scrambled(tensor):
    return tensor.flatten()[torch.randperm(tensor.numel())].view_as(tensor)


def each(change, part=""):
    def change_all(weights):
        for name, tensor in weights.items():
            if name.startswith(part) and tensor.is_floating_point():
                weights[name] = change(tensor)

    return change_all


def untrained(part=""):
    def change(weights):
        fresh = build("yolov3_lite").state_dict()
        weights.update({name: fresh[name] for name in weights if name.startswith(part)})

    return change


CHANGES = {
    "proper masks and bare faces swapped": reorder(1, 0, 2),
    "proper and badly worn masks swapped": reorder(2, 1, 0),
    "bare faces and badly worn masks swapped": reorder(0, 2, 1),
    "all three in a circle": reorder(1, 2, 0),
    "all three in the other circle": reorder(2, 0, 1),
    "zeros only": each(torch.zeros_like),
    "every tensor scrambled": each(scrambled),
    "class weights negative": each(torch.neg, "class_branch.classes"),
    "trunk of noise": each(lambda t: torch.randn_like(t) * t.std(correction=0), "trunk"),
    "never trained": untrained(),
    "classes never trained": untrained("class_branch"),
    "class weights scrambled": each(scrambled, "class_branch.classes.weight"),
    "faces zero": each(torch.zeros_like, "face."),
    "trunk scrambled": each(scrambled, "trunk.stages.3"),
    "pyramid zero": each(torch.zeros_like, "pyramid"),
}


@pytest.mark.parametrize("suffix", [".pth", ".onnx"])
def test_the_bundled_detector_with_its_second_looks_passes_without_a_remark(suffix):
    selftest = SelfTest(STILLS, **THRESHOLDS, second_look_score=PolicyConfig().second_look_score)
    assert selftest(Detector(BUNDLED.with_suffix(suffix), "cpu")) == []


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_weights_that_tell_nothing_or_the_wrong_thing_are_refused(selftest, altered, change):
    with pytest.raises(ModelError) as refusal:
        selftest(Detector(altered(change), "cpu"))
    assert REFUSED in str(refusal.value)
    assert refusal.value.exit_code == 4


@needs_onnx
@pytest.mark.parametrize("name", ["proper masks and bare faces swapped", "every tensor scrambled"])
def test_so_are_exported_ones(selftest, altered, name):
    path = altered(CHANGES[name])
    export_onnx(load_checkpoint(path), path.with_suffix(".onnx"), fingerprint(path))
    detector = Detector(path, "cpu", engine=EngineKind.ONNX)
    assert "ONNX Runtime" in detector.engine.name
    with pytest.raises(ModelError, match=REFUSED):
        selftest(detector)


def test_an_inverted_detector_never_becomes_a_process_of_the_gate(selftest, altered):
    command = worker_command(altered(reorder(1, 0, 2)), "cpu")
    with pytest.raises(ModelError, match=f"with_mask.jpg: .*{REFUSED}"):
        DetectorProcess(
            command, lambda detect, _: selftest(detect), ProcessLimits(result_s=1.0, start_s=300.0)
        )


# ------------------------------------------------------------------------ with made-up answers

FACE, ELSEWHERE = (147.0, 135.0, 274.0, 270.0), (20.0, 20.0, 150.0, 150.0)
SOUND = {
    "empty": [],
    "with_mask": [(MASK, 0.9, 0.8, FACE)],
    "without_mask": [(BARE, 0.9, 0.8, FACE)],
    "mask_weared_incorrect": [(NOSE, 0.9, 0.8, FACE)],
}


BARE_FACE = [(BARE, 0.9, 0.8, FACE)]


def says(answers, otherwise=BARE_FACE, second_look=()):
    """A detector with known answers (label, score, margin, box) about the stills.

    `otherwise` is what it says of them tilted or tinted, `second_look` of a face alone.
    """
    stills = {name: cv2.imread(str(STILLS / f"{name}.jpg")) for name in answers}

    def detect(frame):
        known = [name for name, still in stills.items() if np.array_equal(still, frame.image)]
        if known:
            faces = answers[known[0]]
        else:
            faces = second_look if frame.image.shape == (512, 512, 3) else otherwise
        return Detections(
            np.array([box for *_, box in faces], np.float32).reshape(-1, 4),
            np.array([score for _, score, *_ in faces], np.float32),
            np.array([label for label, *_ in faces], np.int64),
            np.array([margin for *_, margin, _ in faces], np.float32),
        )

    return detect


def test_a_detector_that_knows_passes(selftest):
    assert selftest(says(SOUND)) == []


@pytest.mark.parametrize(
    ("name", "faces", "complaint"),
    [
        ("empty", [(MASK, 0.2, 0.2, FACE)], "in empty.jpg, where nobody is"),
        ("with_mask", [], "sees no face in with_mask.jpg"),
        ("with_mask", [(MASK, 0.19, 0.19, FACE)], "sees no face in with_mask.jpg"),
        ("with_mask", [(BARE, 0.5, 0.4, FACE)], "sees without_mask with score 0.50"),
        ("with_mask", [(NOSE, 0.5, 0.4, FACE)], "sees mask_weared_incorrect with score 0.50"),
        ("with_mask", [(MASK, 0.9, 0.8, ELSEWHERE)], r"at 20,20 to 150,150 in with_mask.jpg"),
        ("with_mask", [(MASK, 0.9, 0.8, (0.0, 0.0, 416.0, 416.0))], r"at 0,0 to 416,416"),
        ("with_mask", [(MASK, 0.9, 0.8, (200.0, 190.0, 220.0, 210.0))], "at 200,190"),
        ("with_mask", [(MASK, 0.9, 0.1, FACE)], "cannot tell the class in with_mask.jpg"),
        ("without_mask", [], "sees no face in without_mask.jpg"),
        ("without_mask", [(MASK, 0.3, 0.2, FACE)], "sees with_mask with score 0.30"),
        ("without_mask", [(NOSE, 0.9, 0.8, FACE)], "sees mask_weared_incorrect with score 0.90"),
        ("without_mask", [(BARE, 0.9, 0.01, FACE)], "only 0.01 behind"),
        (
            "without_mask",
            [(MASK, 0.5, 0.4, ELSEWHERE), (BARE, 0.9, 0.8, FACE)],
            "also takes the bare face for one that wears a mask",
        ),
    ],
)
def test_each_way_to_be_wrong_is_refused(selftest, name, faces, complaint):
    with pytest.raises(ModelError, match=complaint) as refusal:
        selftest(says(SOUND | {name: faces}))
    assert REFUSED in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "faces", "remark"),
    [
        (
            "with_mask",
            [(MASK, 0.25, 0.2, FACE)],
            "unsure of a plain face: .*for with_mask count from 0.35",
        ),
        ("without_mask", [(BARE, 0.34, 0.2, FACE)], "unsure of a plain face: .*without_mask"),
        ("mask_weared_incorrect", [(MASK, 0.4, 0.2, FACE)], "may miss badly worn masks: it sees w"),
        ("mask_weared_incorrect", [], "may miss badly worn masks: it sees no face"),
    ],
)
def test_each_way_to_be_weak_is_a_remark(selftest, name, faces, remark):
    (said,) = selftest(says(SOUND | {name: faces}))
    assert re.search(remark, said)


def test_a_tilted_or_tinted_bare_face_taken_for_a_masked_one_is_a_remark(selftest):
    (said,) = selftest(says(SOUND, otherwise=[(MASK, 0.9, 0.8, FACE)]))
    assert "a bare face for a masked one when it is tilted by -45 degrees, " in said
    assert said.endswith("in blue light, in red light")


@pytest.mark.parametrize(
    "otherwise", [[], [(MASK, 0.3, 0.2, FACE)], [*BARE_FACE, (MASK, 0.9, 0.8, ELSEWHERE)]]
)
def test_what_opens_no_door_is_no_remark(selftest, otherwise):
    assert selftest(says(SOUND, otherwise=otherwise)) == []


@pytest.mark.parametrize(("label", "remarks"), [(BARE, 0), (MASK, 1)])
def test_a_second_look_may_find_it_out(label, remarks):
    careful = SelfTest(STILLS, **THRESHOLDS, second_look_score=0.3)
    view = [(label, 0.9, 0.8, (64.0, 64.0, 192.0, 192.0))]
    detector = says(SOUND, otherwise=[(MASK, 0.9, 0.8, FACE)], second_look=view)
    assert len(careful(detector)) == remarks


def test_doubtful_specks_that_the_gate_would_not_follow_are_no_ghosts(selftest):
    assert selftest(says(SOUND | {"empty": [(BARE, 0.19, 0.1, ELSEWHERE)]})) == []


def test_a_gate_that_asks_for_no_margin_still_asks_for_one_here():
    lenient = SelfTest(STILLS, high_score=0.2, votes=VoteThresholds.of(None, 0.35, 0.0))
    with pytest.raises(ModelError, match="cannot tell the class"):
        lenient(says(SOUND | {"with_mask": [(MASK, 0.9, 0.04, FACE)]}))


def test_what_the_detector_raises_comes_through(selftest):
    def broken(frame):
        raise ModelError("the network's output is not finite")

    with pytest.raises(ModelError, match="not finite"):
        selftest(broken)


@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_a_picture_that_is_not_there_is_a_sentence(tmp_path, content):
    if content is not None:
        (tmp_path / "empty.jpg").write_bytes(content)
    with pytest.raises(ModelError, match=r"empty\.jpg: missing or damaged"):
        SelfTest(tmp_path, **THRESHOLDS)
