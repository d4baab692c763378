"""A marked person stays marked until the end, also under another track number."""

from mask_gate.gate.decision.person_marks import PersonMarks
from mask_gate.gate.domain import Track


def at(track_id, x):
    """A face 100 px wide and high."""
    return Track(track_id, (x, 0.0, x + 100.0, 100.0), (), 0.0, 0.0)


def test_a_person_waits_until_the_end_and_no_longer():
    marks = PersonMarks()
    marks.begin([at(1, 0.0)], ends_s=5.0)
    marks.end_by(4.9)
    assert 1 in marks
    marks.end_by(5.0)
    assert 1 not in marks


def test_a_new_face_where_one_was_lost_waits_as_long():
    marks = PersonMarks()
    marks.follow([at(1, 0.0)])
    marks.begin([at(1, 0.0)], ends_s=5.0)
    marks.follow([at(2, 90.0), at(3, 250.0)])
    assert 2 in marks
    assert 3 not in marks  # more than one face away
    marks.end_by(5.0)
    assert 2 not in marks


def test_a_face_that_was_there_already_takes_nobodys_place():
    marks = PersonMarks()
    marks.follow([at(1, 0.0), at(2, 10.0)])
    marks.begin([at(1, 0.0)], ends_s=5.0)
    marks.follow([at(2, 10.0)])
    assert 2 not in marks


def test_only_those_who_still_wait_are_remembered():
    marks = PersonMarks()
    for number in range(100):
        marks.end_by(float(number))
        marks.begin([at(number, 0.0)], ends_s=number + 2.5)
    assert [number for number in range(100) if number in marks] == [97, 98, 99]
