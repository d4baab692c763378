"""Pascal VOC: strict reading, exact writing, every fault named with its line."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.training.data.voc import MAX_XML_BYTES, VocAnnotation, read_voc, write_voc
from mask_gate.training.errors import DataError

FACE = """
    <object>
        <name>without_mask</name>
        <bndbox><xmin>79</xmin><ymin>105</ymin><xmax>109</xmax><ymax>142</ymax></bndbox>
    </object>"""
SIZE = "<size><width>512</width><height>366</height><depth>3</depth></size>"


def annotation(faces=FACE, size=SIZE):
    return f"<annotation>\n    <filename>a.png</filename>{size}{faces}\n</annotation>"


def faults(text):
    with pytest.raises(DataError) as caught:
        read_voc(text if isinstance(text, bytes) else text.encode(), "a.xml")
    return [str(problem) for problem in caught.value.problems]


def test_corners_are_read_as_they_stand():
    found = read_voc(annotation().encode(), "a.xml")
    assert found.size_wh == (512, 366)
    assert found.filename == "a.png"
    assert found.boxes_xyxy.tolist() == [[79, 105, 109, 142]]
    assert found.boxes_xyxy.dtype == np.float32
    assert found.labels.tolist() == [1]


def test_an_annotation_without_faces_is_ordinary():
    found = read_voc(annotation(faces="").encode(), "a.xml")
    assert found.boxes_xyxy.shape == (0, 4)
    assert found.labels.shape == (0,)


def test_decimals_and_parts_of_a_person_are_read():
    part = "<part><name>hand</name><bndbox><xmin>1</xmin></bndbox></part></object>"
    text = annotation(FACE.replace("79<", "79.25<").replace("</object>", part))
    assert read_voc(text.encode(), "a.xml").boxes_xyxy[0, 0] == 79.25


corner = st.tuples(st.floats(0, 400, width=32), st.floats(0, 250, width=32))
boxes = st.tuples(corner, st.floats(2, 110, width=32), st.floats(2, 110, width=32)).map(
    lambda drawn: (*drawn[0], drawn[0][0] + drawn[1], drawn[0][1] + drawn[2])
)


@given(st.lists(st.tuples(boxes, st.integers(0, 2)), max_size=4))
def test_what_is_written_reads_back_exactly(faces):
    written = VocAnnotation(
        "얼굴 1.png",
        (512, 366),
        np.array([box for box, _ in faces], np.float32).reshape(-1, 4),
        np.array([label for _, label in faces], np.int64),
    )
    found = read_voc(write_voc(written), "a.xml")
    assert (found.filename, found.size_wh) == (written.filename, written.size_wh)
    np.testing.assert_array_equal(found.boxes_xyxy, written.boxes_xyxy)
    np.testing.assert_array_equal(found.labels, written.labels)


def test_whole_numbers_are_written_without_a_point():
    box, label = np.array([[1, 2, 30, 40.5]], np.float32), np.array([2])
    text = write_voc(VocAnnotation("a.png", (50, 50), box, label)).decode()
    assert "<xmin>1</xmin>" in text
    assert "<ymax>40.5</ymax>" in text
    assert "<name>mask_weared_incorrect</name>" in text


# Group 7: the XML itself


def test_xml_that_is_not_well_formed_is_told_with_line_and_column():
    (fault,) = faults("<annotation>\n<size></annotation>")
    assert fault.startswith("a.xml:2: not well-formed XML at column ")


@pytest.mark.parametrize(
    "doctype",
    [
        "<!DOCTYPE annotation>",
        '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE a [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;">]>',
        '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd">',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_any_doctype_is_refused_in_any_encoding(doctype, encoding):
    text = f'<?xml version="1.0" encoding="{encoding}"?>{doctype}<annotation/>'
    (fault,) = faults(text.encode(encoding))
    assert "DTD not allowed" in fault


def test_an_undefined_entity_is_no_silent_gap():
    (fault,) = faults(annotation(FACE.replace("without_mask", "&mask;")))
    assert "not well-formed" in fault


# Group 8: the elements


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("<annotations/>", "a.xml:1: the root element is <annotations>, expected <annotation>"),
        (annotation(size=""), "a.xml:1: <annotation> has 0 <size> elements, expected one"),
        (annotation(FACE.replace("name>", "nome>")), "a.xml:3: <object> has 0 <name> elements"),
        (annotation(FACE.replace("without_mask", " ")), "a.xml:4: <name> has no plain text"),
        (
            annotation(FACE.replace("without_mask", "<b>with_mask</b>")),
            "a.xml:4: <name> has no plain text",
        ),
        (annotation(FACE.replace("bndbox", "box")), "a.xml:3: <object> has 0 <bndbox> elements"),
        (
            annotation(FACE.replace("</object>", "<bndbox/></object>")),
            "a.xml:3: <object> has 2 <bndbox> elements",
        ),
        (annotation(FACE.replace("xmin", "x")), "a.xml:5: <bndbox> has 0 <xmin> elements"),
        (annotation(size=SIZE.replace("512", "0")), "a.xml:2: <width> is '0', expected a whole"),
        (annotation(size=SIZE.replace("512", "1_000")), "a.xml:2: <width> is '1_000', expected"),
    ],
)
def test_a_missing_or_doubled_element_is_named(text, fault):
    found = faults(text)
    assert len(found) == 1
    assert found[0].startswith(fault)


def test_a_document_too_deep_or_too_long_is_no_annotation():
    (fault,) = faults("<annotation>" + "<a>" * 60 + "</a>" * 60 + "</annotation>")
    assert "nested more than 50 deep" in fault
    (fault,) = faults(b"<annotation>" + b" " * MAX_XML_BYTES + b"</annotation>")
    assert f"more than {MAX_XML_BYTES}" in fault


# Groups 9 and 10: values


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("79", "109", "a.xml:5: xmin 109 is not below xmax 109"),
        ("79", "-3", "a.xml:5: xmin -3 is below 0"),
        ("109", "514", "a.xml:5: xmax 514 is outside the image, whose width is 512"),
        ("142", "368", "a.xml:5: ymax 368 is outside the image, whose height is 366"),
        ("79", "NaN", "a.xml:5: <xmin> is 'NaN', expected a number of pixels"),
        ("142", "inf", "a.xml:5: <ymax> is 'inf', expected a number of pixels"),
        ("142", "1_42", "a.xml:5: <ymax> is '1_42', expected a number of pixels"),
        ("79", "108.5", "a.xml:5: the box is 0.5 px in width, less than 1"),
        (
            "without_mask",
            "With_Mask",
            "a.xml:4: unknown class 'With_Mask'; did you mean with_mask?",
        ),
    ],
)
def test_a_bad_value_is_told_with_its_bound(old, new, fault):
    (found,) = faults(annotation(FACE.replace(old, new)))
    assert found.startswith(fault)


def test_every_fault_of_a_file_is_told_at_once():
    bad = FACE.replace("without_mask", "nobody").replace("79", "nan").replace("142", "900")
    assert len(faults(annotation(bad + FACE.replace("79", "-1")))) == 3
