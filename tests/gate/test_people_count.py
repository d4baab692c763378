"""PeopleCounter: one person counts once in each class, whatever is said of them again."""

import pytest

from mask_gate.gate.people_count import PeopleCounter


def seen(*tracks):
    """An event with tracks, each a number and the votes for it."""
    return {"tracks": [{"id": number, "votes": votes} for number, votes in tracks]}


def test_nobody_is_counted_where_nobody_is():
    counter = PeopleCounter()
    for event in ({}, {"tracks": None}, seen(), seen((1, {})), {"tracks": [{"id": 1}]}):
        assert counter.new_labels(event) == []


def test_a_person_is_counted_once_in_the_class_of_most_votes():
    counter = PeopleCounter()
    votes = {"with_mask": 2, "without_mask": 5}
    assert counter.new_labels(seen((1, votes))) == ["without_mask"]
    assert counter.new_labels(seen((1, votes))) == []


def test_a_person_whose_votes_change_is_counted_once_in_each_class():
    counter = PeopleCounter()
    labels = [counter.new_labels(seen((1, {label: 3}))) for label in ("with", "without", "with")]
    assert labels == [["with"], ["without"], []]


def test_two_people_of_one_event_are_both_counted():
    assert PeopleCounter().new_labels(seen((1, {"with": 1}), (2, {"with": 1}))) == ["with", "with"]


def test_the_same_number_in_another_run_is_another_person():
    counter = PeopleCounter()
    event = seen((1, {"with": 1}))
    assert [counter.new_labels(event, run) for run in (-1, 0, -1)] == [["with"], ["with"], []]


@pytest.mark.parametrize(("people_between", "again"), [(1, []), (2, ["with"])])
def test_only_so_many_are_remembered(people_between, again):
    counter = PeopleCounter(most_remembered=2)
    for number in range(1 + people_between):
        counter.new_labels(seen((number, {"with": 1})))
    assert counter.new_labels(seen((0, {"with": 1}))) == again
