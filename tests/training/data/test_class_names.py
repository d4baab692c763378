"""Class names are exact; near misses get a suggestion."""

import pytest

from mask_gate.models.labels import CLASS_NAMES, MaskLabel
from mask_gate.training.data.class_names import (
    check_class_names,
    class_names_text,
    label_of,
    unknown_class,
)
from mask_gate.training.errors import DataError


def test_every_name_gives_its_label():
    assert [label_of(name) for name in CLASS_NAMES] == list(MaskLabel)
    assert label_of("With_Mask") is None


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("With_Mask", "did you mean with_mask?"),
        ("mask_worn_incorrect", "did you mean mask_weared_incorrect?"),
        ("without mask", "did you mean without_mask?"),
        ("dog", "the classes are with_mask, without_mask, mask_weared_incorrect"),
    ],
)
def test_a_misspelt_name_gets_the_nearest_one(name, mend):
    problem = unknown_class(name, "a.xml", 3)
    assert problem.what == f"unknown class {name!r}"
    assert problem.mend == mend
    assert problem.line == 3


def test_the_file_of_names_reads_back():
    check_class_names(class_names_text().encode(), "classes.names")
    check_class_names(b"\xef\xbb\xbf" + class_names_text().replace("\n", "\r\n").encode(), "n")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("without_mask\nwith_mask\nmask_weared_incorrect\n", "expected with_mask, without_mask"),
        ("with_mask\nwithout_mask\n", "classes are with_mask, without_mask, expected"),
        ("", "classes are none"),
        ("with_mask\nwithout_mask\nmask_incorrect\n", "unknown class 'mask_incorrect'"),
    ],
)
def test_another_order_or_number_of_classes_is_refused(text, what):
    with pytest.raises(DataError, match=what):
        check_class_names(text.encode(), "classes.names")
