"""Progress: short work is silent in a log, long work is not."""

import pytest

from mask_gate.training import progress_bar
from mask_gate.training.progress_bar import progress


def test_the_items_come_one_after_another_also_when_there_are_none():
    assert list(progress([1, 2, 3], "reading", "image")) == [1, 2, 3]
    assert list(progress([], "reading", "image")) == []


def test_short_work_writes_nothing_into_a_log(capsys):
    list(progress(range(5), "reading", "image"))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("keep", [False, True])
def test_long_work_tells_a_log_how_far_it_is(capsys, monkeypatch, keep):
    monkeypatch.setattr(progress_bar, "LOG_EVERY_S", 0.0)
    list(progress(iter(range(5)), "passing", "passage", total=5, keep=keep))
    told = capsys.readouterr().err
    assert "passing" in told
    assert "5/5" in told
