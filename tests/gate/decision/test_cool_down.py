"""Who was let in waits, also under another track number, and is then forgotten."""

from mask_gate.gate.decision.cool_down import CoolDowns
from mask_gate.gate.domain import Track


def at(track_id, x):
    """A face 100 px wide and high."""
    return Track(track_id, (x, 0.0, x + 100.0, 100.0), (), 0.0, 0.0)


def test_a_person_waits_until_the_end_and_no_longer():
    cool_downs = CoolDowns()
    cool_downs.begin([at(1, 0.0)], ends_s=5.0)
    cool_downs.end_by(4.9)
    assert 1 in cool_downs
    cool_downs.end_by(5.0)
    assert 1 not in cool_downs


def test_a_new_face_where_one_was_lost_waits_as_long():
    cool_downs = CoolDowns()
    cool_downs.follow([at(1, 0.0)])
    cool_downs.begin([at(1, 0.0)], ends_s=5.0)
    cool_downs.follow([at(2, 90.0), at(3, 250.0)])
    assert 2 in cool_downs
    assert 3 not in cool_downs  # more than one face away
    cool_downs.end_by(5.0)
    assert 2 not in cool_downs


def test_a_face_that_was_there_already_takes_nobodys_place():
    cool_downs = CoolDowns()
    cool_downs.follow([at(1, 0.0), at(2, 10.0)])
    cool_downs.begin([at(1, 0.0)], ends_s=5.0)
    cool_downs.follow([at(2, 10.0)])
    assert 2 not in cool_downs


def test_only_those_who_still_wait_are_remembered():
    cool_downs = CoolDowns()
    for number in range(100):
        cool_downs.end_by(float(number))
        cool_downs.begin([at(number, 0.0)], ends_s=number + 2.5)
    assert [number for number in range(100) if number in cool_downs] == [97, 98, 99]
