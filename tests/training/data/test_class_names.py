"""Class names: exact, of the data set's own by a map, and near misses get a suggestion."""

import pytest

from mask_gate.models.labels import CLASS_NAMES, MaskLabel
from mask_gate.training.data.class_names import (
    LEFT_OUT,
    ClassMap,
    class_names_text,
    labels_of_numbers,
    read_class_names,
)
from mask_gate.training.errors import DataError, UsageError

OWN = ClassMap.parse(["mask=with_mask", "no mask=without_mask", "person=-"])


def test_every_name_gives_its_label():
    assert [ClassMap().label_of(name) for name in CLASS_NAMES] == list(MaskLabel)
    assert ClassMap().label_of("With_Mask") is None


def test_own_names_mean_what_the_map_says_and_ours_keep_their_meaning():
    names = ("mask", "no mask", "person", "mask_weared_incorrect", "dog")
    assert [OWN.label_of(name) for name in names] == [0, 1, LEFT_OUT, 2, None]
    assert OWN.told() == "mask is with_mask, no mask is without_mask, person is left out"
    assert OWN.heading("with_mask") == "with_mask (mask)"
    assert OWN.heading("mask_weared_incorrect") == "mask_weared_incorrect"


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("mask", "expected OWN=OURS"),
        ("=with_mask", "expected OWN=OURS"),
        ("mask=", "expected OWN=OURS"),
        ("mask=witmask", "did you mean with_mask?"),
        ("mask=0", "expected one of with_mask, without_mask, mask_weared_incorrect, or - to leave"),
    ],
)
def test_a_map_that_says_nothing_is_refused(pair, said):
    with pytest.raises(UsageError) as error:
        ClassMap.parse([pair])
    assert said in str(error.value)


def test_a_name_with_two_meanings_is_refused():
    with pytest.raises(UsageError, match="mask already means with_mask"):
        ClassMap.parse(["mask=with_mask", "mask=without_mask"])
    assert ClassMap.parse(["a=b=with_mask"]).meant == {"a=b": "with_mask"}


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("With_Mask", "did you mean with_mask?"),
        ("mask_worn_incorrect", "did you mean mask_weared_incorrect?"),
        ("without mask", "did you mean without_mask?"),
        ("dog", "the classes are with_mask, without_mask, mask_weared_incorrect"),
    ],
)
def test_a_misspelt_name_gets_the_nearest_one_and_the_way_to_say_what_it_means(name, mend):
    problem = ClassMap().unknown(name, "a.xml", 3)
    assert problem.what == f"unknown class {name!r}"
    assert problem.mend.startswith(mend)
    assert "--map" in problem.mend
    assert problem.line == 3


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_file_of_names_reads_back(encoding):
    text = class_names_text().replace("\n", "\r\n")
    assert read_class_names(text.encode(encoding), "classes.names") == CLASS_NAMES


def test_numbers_mean_the_names_in_their_order():
    assert labels_of_numbers(("no mask", "person", "mask"), OWN, "n") == ((1, LEFT_OUT, 0), [])
    labels, (problem,) = labels_of_numbers(("mask", "dog"), OWN, "n")
    assert labels == (0, LEFT_OUT)
    assert str(problem).startswith("n:2: unknown class 'dog'")


@pytest.mark.parametrize(
    ("text", "what"), [("", "names no class"), ("a\nb\na\n", "class 'a' twice")]
)
def test_a_list_without_sense_is_refused(text, what):
    with pytest.raises(DataError, match=what):
        read_class_names(text.encode(), "classes.names")
