"""Configuration files: a model filled from YAML; each fault with file, line, key and the mend."""

import re
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from mask_gate.models.files.config_faults import MOST_TOLD
from mask_gate.models.files.strict_yaml import (
    MAX_BYTES,
    ConfigFileError,
    StrictYaml,
    read_config,
)
from mask_gate.models.section import Section


class Lamp(Section):
    kind: Literal["lamp"]
    watts: float = 1.0


class Fan(Section):
    kind: Literal["fan"]
    blades: int = 3


class Curve(Section):
    gamma: float


class House(Section):
    renamed: ClassVar = {"nome": "name"}

    name: str = "a"
    curve: Literal["line", "spline"] | Curve = "line"
    curves: dict[str, Curve] = Field(default={})
    things: tuple[Lamp | Fan, ...] = ()


def said(text: str) -> str:
    with pytest.raises(ConfigFileError) as refused:
        StrictYaml(text, "a.yaml").fill(House)
    return str(refused.value)


@pytest.fixture
def written(tmp_path):
    def write(content: bytes) -> Path:
        path = tmp_path / "a.yaml"
        path.write_bytes(content)
        return path

    return write


def test_lists_become_tuples_and_sections_models():
    house = StrictYaml("things: [{kind: lamp, watts: 2}]\ncurve: {gamma: 1e1}", "a").fill(House)
    assert house == House(things=(Lamp(kind="lamp", watts=2.0),), curve=Curve(gamma=10.0))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nmae: b", "a.yaml:1: nmae: no such key; did you mean name?"),
        ("nome: b", "a.yaml:1: nome: is now called name"),
        ("gamma: 2", "a.yaml:1: gamma: no such key; did you mean curve.gamma or curves.gamma?"),
        ("curve: {gama: 2, gamma: 1}", "a.yaml:1: curve.gama: no such key; did you mean gamma?"),
        (
            "curve: splin",
            "a.yaml:1: curve: expected 'line' or 'spline' or a valid dictionary, got 'splin'; "
            "did you mean spline?",
        ),
        (
            "curves:\n  a: {gamma: x}",
            "a.yaml:2: curves.a.gamma: input should be a valid number, got 'x'",
        ),
        (
            "name: yes",
            'a.yaml:1: name: input should be a valid string, got True; put it in quotes: "yes"',
        ),
        ("name: ~", "a.yaml:1: name: input should be a valid string, got None"),
        ("name: [a]", "a.yaml:1: name: input should be a valid string, got ['a']"),
        ("- a", "a.yaml:1: expected keys with values, such as `key: value`"),
        ("words", "a.yaml:1: expected keys with values, such as `key: value`"),
    ],
)  # fmt: skip
def test_a_fault_is_told_in_one_line(text, sentence):
    assert said(text) == sentence


def test_of_very_many_faults_the_first_are_told():
    lines = said("\n".join(f"key{number}: 1" for number in range(5000))).splitlines()
    assert len(lines) == MOST_TOLD + 1
    assert lines[-1] == f"a.yaml:1: and {5000 - MOST_TOLD} more faults"


def test_nothing_in_a_message_is_obeyed_by_a_terminal():
    assert said('curves: {"a": {gamma: "\\e[31m"}}').isprintable()


def test_an_override_wins_and_is_told_as_the_command_line(written):
    path = written(b"curve: {gamma: 1}\n")
    assert read_config(House, path, ["curve.gamma=2", "name='1'"]).curve == Curve(gamma=2.0)
    with pytest.raises(ConfigFileError, match=r"^command line: curve\.gamma: input should be"):
        read_config(House, path, ["curve.gamma=x"])
    with pytest.raises(ConfigFileError, match=r"^--set curve\.gamma=017: 017 can be read in two"):
        read_config(House, path, ["curve.gamma=017"])


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"name: caf\xe9", "byte 9 is not UTF-8; save it as UTF-8"),
        ("name: b".encode("utf-16"), "byte 0 is not UTF-8; save it as UTF-8"),
        (b"#" * (MAX_BYTES + 1), f"larger than {MAX_BYTES} bytes"),
    ],
)
def test_a_file_that_is_no_text_of_a_sensible_size_is_refused(written, content, fault):
    path = written(content)
    with pytest.raises(ConfigFileError, match=re.escape(f"{path}: {fault}")):
        read_config(House, path)


def test_a_byte_order_mark_is_no_part_of_the_text(written):
    assert read_config(House, written(b"\xef\xbb\xbfname: b\r\n")).name == "b"


def test_a_file_that_is_not_there_or_a_folder_is_named(tmp_path):
    with pytest.raises(ConfigFileError, match=r"none\.yaml: no such file; give the path of a YAML"):
        read_config(House, tmp_path / "none.yaml")
    with pytest.raises(ConfigFileError, match=r": is a folder; give the path of a YAML file$"):
        read_config(House, tmp_path)


@given(st.text(max_size=200))
def test_any_text_gives_a_model_or_sentences_with_the_files_name(text):
    lines = []
    try:
        StrictYaml(text, "a.yaml").fill(House)
    except ConfigFileError as error:
        lines = str(error).split("\n")
    assert all(line.startswith("a.yaml:") for line in lines)
