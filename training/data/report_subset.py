"""The report's subset: images that show a rare class, split, and grown by two augmentations."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from mask_gate.models.labels import MaskLabel
from mask_gate.training.data.counts import Counts, count
from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.data.dataset_writer import DatasetWriter
from mask_gate.training.data.near_duplicates import perceptual_hash, twin_groups, twin_pairs
from mask_gate.training.data.report_augment import (
    MAX_NOISE_SIGMA,
    ROTATION_DEG,
    SCALE,
    Outline,
    gaussian_noise,
    scale_rotate,
)
from mask_gate.training.data.samples import AnnotatedImage, Sample
from mask_gate.training.data.splits import stratified_parts
from mask_gate.training.errors import DataError, Problem

SCALED_SUFFIX = "-scaled"
NOISY_SUFFIX = "-noisy"
VALID_IMAGES = 15  # the report kept 15 of its 97 images for validation


def images_with(images: Sequence[AnnotatedImage], label: MaskLabel) -> tuple[AnnotatedImage, ...]:
    """The images that show at least one face of class `label`."""
    return tuple(image for image in images if label in image.labels)


def balanced_split(
    dataset: DatasetFolder,
    images: Sequence[AnnotatedImage],
    label: MaskLabel = MaskLabel.MASK_WEARED_INCORRECT,
    valid_images: int = VALID_IMAGES,
    seed: int = 0,
) -> tuple[tuple[AnnotatedImage, ...], tuple[AnnotatedImage, ...]]:
    """Train and valid parts of the images that show class `label`; near twins stay together.

    Args:
        dataset: what the images are from.
        images: those to choose from.
        label: the rare class.
        valid_images: how many images to keep for validation.
        seed: the same seed gives the same parts.

    Raises:
        DataError: fewer images show the class than a split needs, or one cannot be read.
    """
    chosen = images_with(images, label)
    if not 0 < valid_images < len(chosen):
        what = (
            f"{len(chosen)} images show {label.name.lower()}, {valid_images} asked for validation"
        )
        raise DataError(
            Problem(str(dataset.files.root), what, "ask for at least 1 and fewer than all")
        )
    hashes = [perceptual_hash(dataset.load(image).image) for image in chosen]
    groups = twin_groups(len(chosen), twin_pairs(hashes))
    train, valid = stratified_parts(
        chosen, (len(chosen) - valid_images, valid_images), seed, groups
    )
    return train, valid


@dataclass(frozen=True, slots=True)
class Recipe:
    """How much the two augmentations change; the defaults are the report's.

    Attributes:
        scale: factor of the first.
        rotation_deg: clockwise turn of the first.
        outline: how boxes follow a turn, see `training.data.report_augment.scale_rotate`.
        max_noise_sigma: largest deviation of the second, in grey levels of 255.
        seed: of the noise; each image's noise depends on the seed and its stem alone.
    """

    scale: float = SCALE
    rotation_deg: float = ROTATION_DEG
    outline: Outline = "ellipse"
    max_noise_sigma: float = MAX_NOISE_SIGMA
    seed: int = 0

    def variants(self, sample: Sample) -> tuple[Sample, Sample]:
        """The scaled and turned sample, and the noisy one; each named after what it is."""
        rng = np.random.default_rng([self.seed, zlib.crc32(sample.name.encode())])
        scaled = scale_rotate(sample, self.scale, self.rotation_deg, self.outline)
        noisy = gaussian_noise(sample, rng, self.max_noise_sigma)
        return _renamed(scaled, SCALED_SUFFIX), _renamed(noisy, NOISY_SUFFIX)


def write_augmented(
    dataset: DatasetFolder,
    train: Iterable[AnnotatedImage],
    valid: Sequence[AnnotatedImage],
    out: Path,
    recipe: Recipe,
) -> tuple[Counts, Counts]:
    """Write `train` with both variants of each image, and `valid` as it is, to a new folder.

    Args:
        dataset: what the images are from; their files are copied byte for byte.
        train: the images to grow.
        valid: the images to keep.
        out: must not exist yet, or be empty.
        recipe: how much to change.

    Returns:
        What the new train and valid splits hold.

    Raises:
        DataError: an image cannot be read.
        OutputError: `out` is taken or cannot be written.
    """
    grown: list[AnnotatedImage] = []
    with DatasetWriter(out, "voc") as writer:
        for image in train:
            writer.copy(image, dataset.read_image(image))
            grown.append(image)
            for variant in recipe.variants(dataset.load(image)):
                grown.append(_write_variant(variant, out, writer))
        for image in valid:
            writer.copy(image, dataset.read_image(image))
        splits = {"train": grown, "valid": valid}
        writer.write_lists({name: [i.stem for i in images] for name, images in splits.items()})
    return count("train", grown), count("valid", valid)


def _renamed(sample: Sample, suffix: str) -> Sample:
    return replace(sample, name=sample.name + suffix)


def _write_variant(sample: Sample, out: Path, writer: DatasetWriter) -> AnnotatedImage:
    name = f"{sample.name}.png"
    encoded = cv2.imencode(".png", sample.image)[1].tobytes()
    size_wh = (sample.size_hw[1], sample.size_hw[0])
    writer.add(name, encoded, size_wh, sample.boxes_xyxy, sample.labels)
    places = (out / "images" / name, out / "annotations" / f"{sample.name}.xml")
    return AnnotatedImage(*places, size_wh, sample.boxes_xyxy, sample.labels, sample.name)
