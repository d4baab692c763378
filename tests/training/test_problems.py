"""Problems are one line each, and none is lost."""

from mask_gate.training.problems import DataError, Problem, problem_lines


def test_a_problem_names_place_fault_and_mend():
    assert str(Problem("a.xml", "no <size>", "add it", 7)) == "a.xml:7: no <size>; add it"
    assert str(Problem("a.png", "empty file", "get it again")) == "a.png: empty file; get it again"


def test_a_problem_stays_on_one_line_whatever_the_file_is_called():
    text = str(Problem("a\nb\x1b[31m\udcff", "what", "mend"))
    assert text == r"a\nb\x1b[31m\udcff: what; mend"


def test_the_first_fifty_are_shown_and_the_rest_counted():
    problems = [Problem(f"{number}.xml", "x", "y") for number in range(53)]
    lines = problem_lines(problems).splitlines()
    assert len(lines) == 51
    assert lines[49].startswith("49.xml")
    assert lines[50] == "... and 3 more problems"
    assert DataError(problems).problems == tuple(problems)
    assert len(problem_lines(problems[:50]).splitlines()) == 50
