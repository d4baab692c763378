"""The YAML reader: values as YAML 1.2 has them; whatever is not plain is refused with its line."""

import contextlib
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mask_gate.models.files.yaml_values import MAX_DEPTH, YamlTextError, read_yaml


@pytest.mark.parametrize("text", ["", "~", "# only words\n", "---\n", "null", "%YAML 1.2\n---\n"])
def test_nothing_is_none(text):
    assert read_yaml(text).value is None


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0", 0), ("17", 17), ("-0", 0), ("+5", 5), ("0x1f", 31), ("0o17", 15),
        ("1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("1e2", 100.0), ("1.5E-1", 0.15),
        ("-.inf", -float("inf")),
        ("true", True), ("No", False), ("ON", True), ("off", False),
        ("null", None), ("~", None), ("", None),
        ("y", "y"), ("1e", "1e"), ("0b11", "0b11"), ("127.0.0.1", "127.0.0.1"),
        ("2020-13-45", "2020-13-45"),
        ("'on'", "on"), ('"017"', "017"), ("'~'", "~"), ("80:8080", "80:8080"), ("0x", "0x"),
        ("[1, [a]]", (1, ("a",))), ("{1: {on: x}}", {"1": {"on": "x"}}),
    ],
)  # fmt: skip
def test_values_are_those_of_yaml_1_2_with_all_words_for_yes_and_no(written, value):
    found = read_yaml(f"key: {written}").value["key"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("written", "mend"),
    [
        ("017", 'write 17, or 0o17 for octal, or "017" for text'),
        ("08", 'write 8, or "08" for text'),
        ("-017", "write -17, or"),
        ("1:30", 'write 90, or "1:30" for text'),
        ("-1:30:00.5", "write -5400.5, or"),
        ("1_000", 'write 1000, or "1_000" for text'),
        ("1e999", "too large for a number"),
        ("9" * 5000, "expected 40 at most"),
        ("59" + ":59" * 3000, "expected 40 at most"),
    ],
)
def test_numbers_that_are_not_clear_are_refused_with_the_mend(written, mend):
    with pytest.raises(YamlTextError) as refused:
        read_yaml(f"a:\n  b: {written}")
    assert mend in str(refused.value)
    assert (refused.value.line, refused.value.key) == (2, ("a", "b"))


def test_lines_and_spellings_are_kept():
    found = read_yaml("a: 0x10\nb:\n- ON\n- {c: 'x'}\n")
    assert found.lines == {
        ("a",): 1,
        ("b",): 2,
        ("b", "0"): 3,
        ("b", "1"): 4,
        ("b", "1", "c"): 4,
    }
    assert found.spellings == {("a",): "0x10", ("b", "0"): "ON"}


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("gate: a\n  b: [", 2, "not YAML"),
        ("policy:\n\thold_s: 3", 2, "not YAML"),
        ("gate: !!python/object/apply:os.system [id]", 1, "tags such as"),
        ("a: 1\nb: !secret x", 2, "tags such as !secret are not used here"),
        ("a: 1\nb: \x00", 2, "character U+0000"),
        ("a: \ud800", 1, "character U+D800"),
        ("---\na: 1\n---\nb: 2", 3, "a second document begins"),
        ("? [a]\n: b", 1, "a plain word as key"),
        ("a:\n  <<: {b: 3}", 2, "a plain word as key"),
        ('"\\e[31m": 1', 1, "a plain word as key"),
        ("a: 1\nb: &p {}", 2, "anchors and aliases"),
        ("a: *p", 1, "anchors and aliases"),
        ("a: &a [*a]", 1, "anchors and aliases"),
        ("a: 1\n'a': 2", 2, "given twice, first in line 1"),
        ("%YAML 3", 1, "not YAML"),
        ("[" * 50_000, 1, f"nested deeper than {MAX_DEPTH} levels"),
        ("- " * 50_000, 1, f"nested deeper than {MAX_DEPTH} levels"),
    ],
)
def test_what_is_not_plain_yaml_is_refused_with_its_line(text, line, said):
    with pytest.raises(YamlTextError, match=said.replace("+", r"\+")) as refused:
        read_yaml(text)
    assert refused.value.line == line


@given(st.text() | st.text(alphabet="0123456789.:_-+eExob", max_size=30))
@settings(deadline=timedelta(seconds=5))
def test_any_text_gives_a_value_or_a_sentence(text):
    for whole in (text, f"a: {text}"):
        with contextlib.suppress(YamlTextError):
            read_yaml(whole)
