"""The balanced subset: only images with the rare class, an exact split, twins together."""

import shutil

import pytest

from mask_gate.models.labels import MaskLabel
from mask_gate.training.data.balance import balanced_split, images_with
from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.errors import DataError

RARE = MaskLabel.MASK_WEARED_INCORRECT


@pytest.fixture
def dataset(drawn_dataset):
    """Twelve images, of which 0, 1 and 2 show no badly worn mask."""
    for number in range(3):
        file = drawn_dataset / "annotations" / f"face{number}.xml"
        file.write_text(file.read_text().replace("mask_weared_incorrect", "with_mask"))
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
