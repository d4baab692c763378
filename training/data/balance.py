"""The report's balanced subset: only the images that show at least one face of a rare class."""

from __future__ import annotations

from collections.abc import Sequence

from mask_gate.models.labels import MaskLabel
from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.data.near_duplicates import perceptual_hash, twin_groups, twin_pairs
from mask_gate.training.data.samples import AnnotatedImage
from mask_gate.training.data.splits import stratified_parts
from mask_gate.training.errors import DataError, Problem

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
