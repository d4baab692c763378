"""What the training tests share: data sets drawn on the spot, and detectors' answers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mask_gate.models.boxes import area_xyxy
from mask_gate.models.detections import Detections
from mask_gate.models.labels import CLASS_NAMES, MaskLabel
from mask_gate.training.data.samples import Sample
from mask_gate.training.data.voc import VocAnnotation, write_voc
from mask_gate.training.evaluation.metrics import ImageResult

SKIN_BGR = (150, 180, 225)
CLOTH_BGR = (200, 120, 40)
EYE_BGR = (40, 30, 30)

Draw = Callable[..., Path]


def draw_face(
    image: NDArray[np.uint8], centre_xy: tuple[int, int], half_wh: tuple[int, int], label: MaskLabel
) -> tuple[int, int, int, int]:
    """A skin-coloured oval with eyes, and a mask that covers the mouth, or hangs below it."""
    (x, y), (half_w, half_h) = centre_xy, half_wh
    cv2.ellipse(image, centre_xy, half_wh, 0, 0, 360, SKIN_BGR, cv2.FILLED)
    for side in (-1, 1):
        eye = (x + side * half_w // 2, y - half_h // 3)
        cv2.circle(image, eye, max(1, half_w // 7), EYE_BGR, cv2.FILLED)
    if label is MaskLabel.WITHOUT_MASK:
        mouth = (half_w // 2, max(1, half_h // 8))
        cv2.ellipse(image, (x, y + half_h // 2), mouth, 0, 0, 360, (60, 60, 190), cv2.FILLED)
    else:
        top = y if label is MaskLabel.WITH_MASK else y + half_h // 2
        cloth = np.zeros(image.shape[:2], np.uint8)
        cv2.ellipse(cloth, centre_xy, half_wh, 0, 0, 360, 255, cv2.FILLED)
        cloth[:top] = 0
        image[cloth > 0] = CLOTH_BGR
    return x - half_w, y - half_h, x + half_w + 1, y + half_h + 1


def drawn_sample(rng: np.random.Generator, name: str, size_wh: tuple[int, int]) -> Sample:
    """One picture of up to three faces that do not overlap, one of each class in turn."""
    width, height = size_wh
    coarse = rng.integers(30, 110, (4, 5, 3)).astype(np.uint8)
    image = np.asarray(cv2.resize(coarse, size_wh, interpolation=cv2.INTER_CUBIC), np.uint8)
    boxes, labels = [], []
    for label in rng.permutation(list(MaskLabel)):
        column = len(labels) * width // 3 + width // 6
        half_w = int(rng.integers(width // 16, width // 7))
        half_h = min(half_w * 5 // 4, height // 3)
        y = int(rng.integers(half_h + 1, height - half_h - 1))
        boxes.append(draw_face(image, (column, y), (half_w, half_h), MaskLabel(label)))
        labels.append(int(label))
    return Sample(image, np.array(boxes, np.float32), np.array(labels, np.int64), name)


def draw_dataset(
    folder: Path,
    train: int = 8,
    valid: int = 4,
    seed: int = 0,
    size_wh: tuple[int, int] = (128, 96),
) -> Path:
    """Draw images with VOC annotations and split lists into a folder, and return it."""
    rng = np.random.default_rng(seed)
    for name in ("images", "annotations"):
        (folder / name).mkdir(parents=True)
    stems = [f"face{number}" for number in range(train + valid)]
    for stem in stems:
        sample = drawn_sample(rng, stem, size_wh)
        cv2.imwrite(str(folder / "images" / f"{stem}.png"), sample.image)
        annotation = VocAnnotation(f"{stem}.png", size_wh, sample.boxes_xyxy, sample.labels)
        (folder / "annotations" / f"{stem}.xml").write_bytes(write_voc(annotation))
    (folder / "train.txt").write_text("".join(f"{stem}\n" for stem in stems[:train]))
    (folder / "valid.txt").write_text("".join(f"{stem}\n" for stem in stems[train:]))
    return folder


@pytest.fixture(scope="session")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("drawing") / "drawn")


@pytest.fixture
def drawn_dataset(drawing: Path, tmp_path: Path) -> Path:
    """Twelve drawn images of 128 x 96 px with a face of each class: `face0` to `face11`, 8 + 4."""
    return shutil.copytree(drawing, tmp_path / "drawn")


def draw_samples_in_memory(count: int, size: int = 128, seed: int = 0) -> list[Sample]:
    """Square drawn samples, a face of each class in every one."""
    rng = np.random.default_rng(seed)
    return [drawn_sample(rng, f"drawn{number}", (size, size)) for number in range(count)]


@pytest.fixture(scope="session")
def draw_samples() -> Callable[..., list[Sample]]:
    """`draw_samples(count, size=128, seed=0)`: drawn samples that never touch the disk."""
    return draw_samples_in_memory


@pytest.fixture
def draw() -> Draw:
    """`draw(folder, train=8, valid=4, seed=0, size_wh=(128, 96))`: draws a data set, returns it."""
    return draw_dataset


@pytest.fixture(scope="session")
def drawing_of_a_hundred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("drawing") / "drawn", 99, 1, size_wh=(64, 48))


@pytest.fixture
def draw_hundred(drawing_of_a_hundred: Path) -> Callable[[Path, int], Path]:
    """`draw_hundred(folder, train)`: 64 x 48 px, `face0` to `face99`, the first `train` of them."""

    def copy(folder: Path, train: int) -> Path:
        shutil.copytree(drawing_of_a_hundred, folder)
        stems = [f"face{number}\n" for number in range(100)]
        (folder / "train.txt").write_text("".join(stems[:train]))
        (folder / "valid.txt").write_text("".join(stems[train:]))
        return folder

    return copy


Box = tuple[float, float, float, float]


def build_result(
    truths: Sequence[tuple[int, Box]] = (),
    found: Sequence[tuple[int, float, Box]] = (),
    name: str = "a",
    size_hw: tuple[int, int] = (416, 416),
    objectness: Sequence[float] | None = None,
) -> ImageResult:
    """An evaluated image from (label, box) truths and (label, score, box) detections."""
    scores = np.array([score for _, score, _ in found], np.float32)
    detections = Detections(
        np.array([box for *_, box in found], np.float32).reshape(-1, 4),
        scores,
        np.array([label for label, *_ in found], np.int64),
        scores,
    )
    return ImageResult(
        name,
        np.array([box for _, box in truths], np.float64).reshape(-1, 4),
        np.array([label for label, _ in truths], np.int64),
        detections,
        size_hw,
        None if objectness is None else np.array(objectness, np.float32),
    )


def draw_results(
    seed: int, images: int = 20, detections: int = 40, *, tied: bool = False
) -> list[ImageResult]:
    """Evaluated images with hits, near misses and inventions; `tied` repeats scores."""
    rng = np.random.default_rng(seed)
    results = []
    for index in range(images):
        faces = int(rng.poisson(5))
        sides = np.exp(rng.uniform(np.log(6), np.log(90), (faces, 2)))
        corner = rng.uniform(0, 320, (faces, 2))
        truths, labels = (
            np.hstack([corner, corner + sides]),
            rng.choice(3, faces, p=[0.7, 0.2, 0.1]),
        )
        corner = rng.uniform(0, 320, (detections, 2))
        boxes = np.hstack([corner, corner + rng.uniform(4, 90, (detections, 2))])
        said = rng.integers(0, 3, detections)
        if faces:
            near, aim = rng.random(detections) < 0.4, rng.integers(0, faces, detections)
            shake = rng.normal(0, 0.12, (detections, 4)) * np.tile(sides[aim], 2)
            boxes[near] = (truths[aim] + shake)[near]
            said = np.where(rng.random(detections) < 0.8, labels[aim], said)
        boxes = np.sort(boxes.reshape(-1, 2, 2), axis=1).reshape(-1, 4)  # shaken, not turned over
        scores = rng.random(detections)
        scores = (scores.round(1) if tied else scores).astype(np.float32)
        found = Detections(boxes.astype(np.float32), scores, said.astype(np.int64), scores)
        objectness = rng.random(detections).astype(np.float32)
        name = f"image{index:03d}"
        results.append(ImageResult(name, truths, labels, found, (416, 416), objectness))
    return results


@pytest.fixture(scope="session")
def make_result() -> Callable[..., ImageResult]:
    """`make_result(truths, found, name, size_hw, objectness)`: one evaluated image."""
    return build_result


@pytest.fixture(scope="session")
def random_results() -> Callable[..., list[ImageResult]]:
    """`random_results(seed, images=20, detections=40, tied=False)`: many evaluated images."""
    return draw_results


def build_coco_truths(results: Sequence[ImageResult]) -> dict[str, Any]:
    """All truths as a COCO data set: images (also those without faces), annotations, categories."""
    annotations: list[dict[str, Any]] = []
    for result in results:
        corners = result.truth_boxes_xyxy.astype(np.float64)
        areas = area_xyxy(corners).tolist()
        for row, (left, top, right, bottom) in enumerate(corners.tolist()):
            annotations.append(
                {
                    "id": len(annotations) + 1,  # 0 would read as "unmatched" to pycocotools
                    "image_id": result.name,
                    "category_id": int(result.truth_labels[row]),
                    "bbox": [left, top, right - left, bottom - top],
                    "area": areas[row],
                    "iscrowd": 0,
                }
            )
    images = [{"id": r.name, "height": r.size_hw[0], "width": r.size_hw[1]} for r in results]
    categories = [{"id": index, "name": name} for index, name in enumerate(CLASS_NAMES)]
    return {
        "info": {"description": "mask-gate"},
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }


@pytest.fixture(scope="session")
def coco_truths() -> Callable[[Sequence[ImageResult]], dict[str, Any]]:
    """`coco_truths(results)`: what is true of evaluated images, as a COCO data set."""
    return build_coco_truths
