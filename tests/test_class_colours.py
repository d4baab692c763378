"""A class has one colour and one place in the order, in every picture and page."""

import cv2
import numpy as np
import pytest

from mask_gate.gate.console.chart import Bar, draw_chart
from mask_gate.gate.display.overlay import LABEL_STYLES, draw_detections
from mask_gate.gate.display.texts import load_texts
from mask_gate.models.class_colours import CLASS_COLOURS_RGB, class_bgr, class_hex
from mask_gate.models.detections import Detections
from mask_gate.models.labels import CLASS_NAMES, MaskLabel
from mask_gate.training.data.counts import Counts, counts_picture
from mask_gate.training.data.preview import draw_sheet
from mask_gate.training.data.samples import Sample
from mask_gate.training.evaluation.average_precision import PrecisionRecall
from mask_gate.training.evaluation.metrics import ImageResult
from mask_gate.training.evaluation.mistakes import draw_mistakes, find_mistakes
from mask_gate.training.evaluation.plots import (
    AccuracyHistory,
    draw_accuracy,
    draw_confusion,
    draw_precision_recall,
)
from mask_gate.training.evaluation.presentation_plots import draw_shown

BOXES = np.array([(40, 80, 100, 150), (150, 80, 210, 150), (260, 80, 320, 150)], np.float32)
LABELS = np.array(list(MaskLabel), np.int64)
IMAGE = np.full((240, 360, 3), 90, np.uint8)
FOUND = Detections(BOXES, np.full(3, 0.9, np.float32), LABELS, np.full(3, 0.8, np.float32))


def preview(path):
    return draw_sheet([Sample(IMAGE, BOXES, LABELS, "a")], 1)


def overlay(path):
    return draw_detections(IMAGE, FOUND, load_texts("en"))


def counts(path):
    rows = [Counts("train", 3, (2, 2, 2), (2, 2, 2)), Counts("all", 3, (2, 2, 2), (2, 2, 2))]
    return cv2.imdecode(np.frombuffer(counts_picture(rows), np.uint8), cv2.IMREAD_COLOR)


def drawn(draw, path):
    draw(path)
    return cv2.imread(str(path))


def precision_recall(path):
    recall = np.linspace(0, 1, 5)
    curves = {
        name: PrecisionRecall(recall, np.full(5, 0.3 * (place + 1)), recall[::-1], 0.5)
        for place, name in enumerate(CLASS_NAMES)
    }
    return drawn(lambda file: draw_precision_recall(curves, file), path)


def accuracy(path):
    ap50 = {name: [0.2 + 0.2 * place] * 2 for place, name in enumerate(CLASS_NAMES)}
    return drawn(lambda file: draw_accuracy(AccuracyHistory([1, 2], [0.9, 0.9], ap50), file), path)


def confusion(path):
    return drawn(lambda file: draw_confusion(np.eye(4, dtype=int), file), path)


def presentations(path):
    row = {
        name: {"shown": 2, "believed_proper": 1, "named_rightly": 1, "unseen": 0}
        for name in CLASS_NAMES
    }
    summary = {"ways": {"as it is": row}, "totals": {"all": row}}
    return drawn(lambda file: draw_shown(summary, file), path)


def mistakes(path):
    nothing = Detections(BOXES[:0], np.zeros(0, np.float32), LABELS[:0], np.zeros(0, np.float32))
    found = find_mistakes([ImageResult("a", BOXES, LABELS, nothing, (240, 360))], 0.5)
    return drawn(lambda file: draw_mistakes(found, lambda name: IMAGE, file), path)


PICTURES = (
    preview, overlay, counts, precision_recall, accuracy, confusion, presentations, mistakes,
)  # fmt: skip


@pytest.mark.parametrize("picture", PICTURES, ids=lambda draw: draw.__name__)
def test_every_picture_has_the_three_colours(picture, tmp_path):
    seen = picture(tmp_path / "picture.png")
    for label in MaskLabel:
        assert (seen == class_bgr(label)).all(axis=2).sum() > 10, label


def test_the_pages_have_them_too():
    people = dict.fromkeys(CLASS_NAMES, 3)
    page = draw_chart([Bar("8", people)], "people", load_texts("en")).lower()
    for label in MaskLabel:
        red, green, blue = CLASS_COLOURS_RGB[label]
        assert class_hex(label).lower() in page or f"rgb({red},{green},{blue})" in page


def test_the_order_is_that_of_the_labels_and_no_other_thing_has_their_colours():
    assert list(CLASS_COLOURS_RGB) == list(MaskLabel)
    assert [label for label in LABEL_STYLES if label is not None] == list(MaskLabel)
    assert len(set(CLASS_COLOURS_RGB.values())) == len(MaskLabel)


def test_the_colours_are_chosen_in_one_place_only(repo_root):
    """Pictures of training take them from there; the gate has the same ones for its states."""
    for file in (repo_root / "training").rglob("*.py"):
        text = file.read_text(encoding="utf-8").upper()
        for label in MaskLabel:
            assert class_hex(label) not in text, file
            assert str(CLASS_COLOURS_RGB[label]) not in text, file
