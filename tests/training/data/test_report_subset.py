"""The report's subset: the rare class, an exact split, twins together, three images for each."""

import shutil

import numpy as np
import pytest

from mask_gate.models.labels import MaskLabel
from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.data.report_subset import (
    Recipe,
    balanced_split,
    images_with,
    write_augmented,
)
from mask_gate.training.errors import DataError, OutputError

RARE = MaskLabel.MASK_WEARED_INCORRECT


@pytest.fixture
def dataset(drawn_dataset):
    """Twelve images, of which 0, 1 and 2 show no badly worn mask."""
    for number in range(3):
        file = drawn_dataset / "annotations" / f"face{number}.xml"
        file.write_text(file.read_text().replace("mask_weared_incorrect", "with_mask"))
    return DatasetFolder.open(drawn_dataset)


@pytest.fixture
def whole(drawn_dataset):
    return DatasetFolder.open(drawn_dataset)


def test_only_images_with_the_rare_class_are_taken(dataset):
    chosen = images_with(dataset.images, RARE)
    assert len(chosen) == 9
    assert not {"face0", "face1", "face2"} & {image.stem for image in chosen}


@pytest.mark.parametrize("valid_images", [1, 4, 8])
def test_the_split_is_exact_seeded_and_complete(dataset, valid_images):
    train, valid = balanced_split(dataset, dataset.images, RARE, valid_images, seed=1)
    assert (len(train), len(valid)) == (9 - valid_images, valid_images)
    stems = {image.stem for image in (*train, *valid)}
    assert stems == {image.stem for image in images_with(dataset.images, RARE)}
    again = balanced_split(dataset, dataset.images, RARE, valid_images, seed=1)
    assert [image.stem for image in again[1]] == [image.stem for image in valid]


@pytest.mark.parametrize("valid_images", [0, 9, 15])
def test_a_split_that_leaves_one_side_empty_is_refused(dataset, valid_images):
    with pytest.raises(DataError, match=f"9 images show .*, {valid_images} asked for"):
        balanced_split(dataset, dataset.images, RARE, valid_images)


def test_twins_stay_on_one_side(drawn_dataset):
    for number in range(4, 8):  # 4 to 7 become copies of 3
        target = drawn_dataset / "images" / f"face{number}.png"
        shutil.copy(drawn_dataset / "images" / "face3.png", target)
    dataset = DatasetFolder.open(drawn_dataset)
    for seed in range(4):
        _, valid = balanced_split(dataset, dataset.images, RARE, 5, seed)
        assert len({f"face{n}" for n in range(3, 8)} & {i.stem for i in valid}) in (0, 5)


def grow(dataset, out, recipe=None):
    recipe = recipe or Recipe()
    return write_augmented(dataset, dataset.split("train"), dataset.split("valid"), out, recipe)


def test_every_training_image_becomes_three_and_validation_stays(whole, tmp_path):
    train, valid = grow(whole, tmp_path / "grown")
    assert (train.images, valid.images) == (24, 4)
    assert train.boxes == (24, 24, 24)
    grown = DatasetFolder.open(tmp_path / "grown")
    assert len(grown.split("train")) == 24
    assert [image.stem for image in grown.split("train")[:3]] == [
        "face0",
        "face0-scaled",
        "face0-noisy",
    ]
    assert grown.stems_of_split["valid"] == whole.stems_of_split["valid"]


def test_what_is_written_is_what_the_recipe_makes(whole, tmp_path):
    recipe = Recipe(scale=0.5, rotation_deg=-30, outline="corners", max_noise_sigma=10, seed=3)
    grow(whole, tmp_path / "grown", recipe)
    grown = DatasetFolder.open(tmp_path / "grown")
    record_of = {image.stem: image for image in grown.images}
    original = whole.load(whole.images[0])
    np.testing.assert_array_equal(grown.load(record_of["face0"]).image, original.image)
    for variant in recipe.variants(original):
        written = grown.load(record_of[variant.name])
        np.testing.assert_array_equal(written.image, variant.image)
        np.testing.assert_array_equal(written.boxes_xyxy, variant.boxes_xyxy)
        np.testing.assert_array_equal(written.labels, variant.labels)


def test_noise_depends_on_the_seed_and_the_image_alone(whole):
    first, second = (whole.load(record) for record in whole.images[:2])
    noisy = [Recipe(seed=seed).variants(first)[1].image for seed in (1, 1, 2)]
    np.testing.assert_array_equal(noisy[0], noisy[1])
    assert not np.array_equal(noisy[0], noisy[2])
    moved = Recipe(seed=1).variants(second)[1].image.astype(int) - second.image
    assert not np.array_equal(moved, noisy[0].astype(int) - first.image)


def test_growing_a_grown_set_is_refused_rather_than_overwriting(whole, tmp_path):
    grow(whole, tmp_path / "once")
    with pytest.raises(OutputError, match="two images would have this name"):
        grow(DatasetFolder.open(tmp_path / "once"), tmp_path / "twice")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drawn", "once"]
