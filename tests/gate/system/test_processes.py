"""How often a process that dies is started again: at once, then later, then now and then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.gate.system.processes import RestartBudget


def test_the_first_start_comes_at_once_and_each_further_one_later():
    budget = RestartBudget()
    pauses_s = [budget.died(now_s=100.0 + number, lived_s=0.5) for number in range(5)]
    assert pauses_s == [0.0, 0.25, 0.5, 1.0, 2.0]
    assert not budget.out_of_service


def test_the_sixth_death_in_a_minute_is_the_end_of_patience():
    budget = RestartBudget()
    for number in range(5):
        budget.died(100.0 + 11 * number, 1.0)
    assert budget.died(159.9, 1.0) == 30.0
    assert budget.out_of_service


def test_six_deaths_in_more_than_a_minute_are_not():
    budget = RestartBudget()
    for number in range(50):
        assert budget.died(100.0 + 12.1 * number, 1.0) <= 2.0
    assert not budget.out_of_service


def test_out_of_service_there_is_one_try_every_half_minute():
    budget = RestartBudget()
    now_s = 100.0
    for _ in range(6):
        budget.died(now_s, 0.0)
    for _ in range(20):  # also when the tries themselves are spread over a long time
        now_s += 45.0
        assert budget.died(now_s, 15.0) == 30.0
        assert budget.out_of_service


def test_a_life_of_a_minute_earns_the_whole_budget_again():
    budget = RestartBudget()
    for _ in range(6):
        budget.died(100.0, 0.0)
    assert budget.died(190.0, 60.0) == 0.0
    assert not budget.out_of_service
    assert budget.died(191.0, 0.5) == 0.25


@given(
    lives_s=st.lists(st.floats(0.0, 100.0), min_size=1, max_size=60),
    most=st.integers(1, 10),
)
def test_never_more_starts_than_the_rule_allows(lives_s, most):
    """In any window there are `most` deaths and one, or the tries are `retry_s` apart."""
    budget = RestartBudget(most=most)
    now_s, deaths_s = 0.0, []
    for lived_s in lives_s:
        now_s += lived_s
        deaths_s.append(now_s)
        pause_s = budget.died(now_s, lived_s)
        recent = sum(now_s - death_s < 60.0 for death_s in deaths_s)
        assert pause_s <= 30.0
        if recent > most and lived_s < 60.0:
            assert budget.out_of_service
        if budget.out_of_service:
            assert pause_s == 30.0
        now_s += pause_s


@pytest.mark.parametrize(("deaths", "pause_s"), [(1, 0.0), (2, 0.1), (3, 0.2)])
def test_pauses_are_as_long_as_told(deaths, pause_s):
    budget = RestartBudget(first_pause_s=0.1)
    assert [budget.died(0.0, 0.0) for _ in range(deaths)][-1] == pause_s
