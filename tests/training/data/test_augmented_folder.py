"""The grown data set: three images for each, labels that read back, noise that a seed repeats."""

import numpy as np
import pytest

from mask_gate.training.data.augmented_folder import Recipe, write_augmented
from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.errors import OutputError


@pytest.fixture
def dataset(drawn_dataset):
    return DatasetFolder.open(drawn_dataset)


def grow(dataset, out, recipe=None):
    recipe = recipe or Recipe()
    return write_augmented(dataset, dataset.split("train"), dataset.split("valid"), out, recipe)


def test_every_training_image_becomes_three_and_validation_stays(dataset, tmp_path):
    train, valid = grow(dataset, tmp_path / "grown")
    assert (train.images, valid.images) == (24, 4)
    assert train.boxes == (24, 24, 24)
    grown = DatasetFolder.open(tmp_path / "grown")
    assert len(grown.split("train")) == 24
    assert [image.stem for image in grown.split("train")[:3]] == [
        "face0",
        "face0-scaled",
        "face0-noisy",
    ]
    assert grown.stems_of_split["valid"] == dataset.stems_of_split["valid"]


def test_what_is_written_is_what_the_recipe_makes(dataset, tmp_path):
    recipe = Recipe(scale=0.5, rotation_deg=-30, outline="corners", max_noise_sigma=10, seed=3)
    grow(dataset, tmp_path / "grown", recipe)
    grown = DatasetFolder.open(tmp_path / "grown")
    record_of = {image.stem: image for image in grown.images}
    original = dataset.load(dataset.images[0])
    np.testing.assert_array_equal(grown.load(record_of["face0"]).image, original.image)
    for variant in recipe.variants(original):
        written = grown.load(record_of[variant.name])
        np.testing.assert_array_equal(written.image, variant.image)
        np.testing.assert_array_equal(written.boxes_xyxy, variant.boxes_xyxy)
        np.testing.assert_array_equal(written.labels, variant.labels)


def test_noise_depends_on_the_seed_and_the_image_alone(dataset):
    first, second = (dataset.load(record) for record in dataset.images[:2])
    noisy = [Recipe(seed=seed).variants(first)[1].image for seed in (1, 1, 2)]
    np.testing.assert_array_equal(noisy[0], noisy[1])
    assert not np.array_equal(noisy[0], noisy[2])
    moved = Recipe(seed=1).variants(second)[1].image.astype(int) - second.image
    assert not np.array_equal(moved, noisy[0].astype(int) - first.image)


def test_growing_a_grown_set_is_refused_rather_than_overwriting(dataset, tmp_path):
    grow(dataset, tmp_path / "once")
    with pytest.raises(OutputError, match="two images would have this name"):
        grow(DatasetFolder.open(tmp_path / "once"), tmp_path / "twice")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drawn", "once"]
