"""Labels: three classes, one order."""

from mask_gate.models.labels import CLASS_NAMES, MaskLabel


def test_names_and_order_are_those_of_the_data_set():
    assert CLASS_NAMES == ("with_mask", "without_mask", "mask_weared_incorrect")


def test_a_label_is_its_index():
    assert [MaskLabel(i).name.lower() for i in range(3)] == list(CLASS_NAMES)
