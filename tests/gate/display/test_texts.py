"""Texts: every language is complete, can be drawn, and a slip in one is named by file and key."""

import copy

import pytest
import yaml
from matplotlib.ft2font import FT2Font

from mask_gate.gate.display.texts import (
    AIM_FIELDS,
    LANGUAGES,
    PAGE_KEYS,
    check_languages,
    language_codes,
    language_folders,
    load_texts,
)
from mask_gate.gate.domain import Reason, State
from mask_gate.gate.errors import ConfigError
from mask_gate.models.labels import MaskLabel

ENGLISH = yaml.safe_load((LANGUAGES / "en.yaml").read_text(encoding="utf-8"))


def write(folder, document, code="xx"):
    (folder / f"{code}.yaml").write_text(yaml.safe_dump(document, allow_unicode=True))


def test_english_and_korean_are_there():
    assert {"en", "ko"} <= set(language_codes())


@pytest.mark.parametrize("code", language_codes())
class TestEveryLanguage:
    def test_has_words_for_everything(self, code):
        texts = load_texts(code)
        assert set(texts.labels) == {*MaskLabel, None}
        assert set(texts.states) == set(State)
        assert set(texts.reasons) == set(texts.advice) == set(Reason)
        assert set(texts.page) == set(PAGE_KEYS)
        assert set(texts.aim) == set(AIM_FIELDS)

    def test_its_font_has_all_its_letters(self, code):
        texts = load_texts(code)
        said = [*texts.labels.values(), *texts.states.values()]
        said += [*texts.reasons.values(), *texts.advice.values(), *texts.aim.values()]
        for path in (texts.typeface.regular, texts.typeface.bold):
            known = FT2Font(str(path)).get_charmap()
            assert {letter for text in said for letter in text if ord(letter) not in known} == set()

    def test_what_to_do_is_short_enough_to_be_read_from_afar(self, code):
        assert max(map(len, load_texts(code).advice.values())) <= 32

    def test_each_state_is_called_differently(self, code):
        texts = load_texts(code)
        assert len(set(texts.states.values())) == len(State)
        assert len(set(texts.reasons.values())) == len(Reason)


@pytest.mark.parametrize(
    "section", ["labels", "states", "reasons", "advice", "aim", "page", "fonts"]
)
def test_a_missing_key_is_named_with_its_file(section, tmp_path):
    document = copy.deepcopy(ENGLISH)
    key = next(iter(document[section]))
    del document[section][key]
    write(tmp_path, document)
    with pytest.raises(ConfigError, match=rf"xx\.yaml: {section}\.{key}: missing"):
        load_texts("xx", tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": None}, "name: expected a text"),
        ({"states": "ready"}, "states: expected keys"),
        ({"sates": {}}, "sates: no such key"),
        ({"states": {**ENGLISH["states"], "deny": ""}}, "states.deny: expected a text, got ''"),
        ({"states": {**ENGLISH["states"], "deny": True}}, "states.deny: expected a text, got True"),
        ({"states": {**ENGLISH["states"], "denied": "x"}}, "states.denied: no such key"),
        ({"aim": {**ENGLISH["aim"], "flat": "{x}"}}, "aim.flat: expected no braces but none"),
        ({"aim": {**ENGLISH["aim"], "face": "{"}}, "aim.face: expected no braces but {height}, {"),
        ({"aim": {**ENGLISH["aim"], "face": "{part.x}"}}, "aim.face: expected no braces but"),
        ({"aim": {**ENGLISH["aim"], "face": "{part:99}"}}, "aim.face: expected no braces but"),
        ({"fonts": {"regular": "none.otf", "bold": None}}, "fonts.regular: expected null or a"),
        ({"fonts": {"regular": "../x", "bold": None}}, "fonts.regular: expected null or a"),
    ],
)
def test_what_is_wrong_is_named(change, told, tmp_path):
    write(tmp_path, {**ENGLISH, **change})
    with pytest.raises(ConfigError) as error:
        load_texts("xx", tmp_path)
    assert f"xx.yaml: {told}" in str(error.value)


@pytest.mark.parametrize("text", ["", "[", "- a", "name: !!python/object:os.system x"])
def test_what_is_no_language_file_gets_a_sentence(text, tmp_path):
    (tmp_path / "xx.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"xx\.yaml"):
        load_texts("xx", tmp_path)


@pytest.mark.parametrize("code", ["", "xx", "../en", "en.yaml"])
def test_an_unknown_language_is_told_which_there_are(code):
    with pytest.raises(ConfigError, match="expected one of en, ko"):
        load_texts(code)


class TestAFolderOfFurtherLanguages:
    """`languages:` of gate.yaml."""

    def test_stands_beside_ours_and_wins(self, tmp_path):
        write(tmp_path, {**ENGLISH, "name": "Français"}, "fr")
        write(tmp_path, {**ENGLISH, "name": "House English"}, "en")
        folders = language_folders(str(tmp_path))
        assert set(language_codes(*folders)) == {*language_codes(), "fr"}
        assert load_texts("fr", *folders).name == "Français"
        assert load_texts("en", *folders).name == "House English"
        assert load_texts("ko", *folders).name == load_texts("ko").name

    def test_brings_a_font_of_its_own(self, tmp_path):
        fonts = {"regular": "thai.ttf", "bold": None}
        write(tmp_path, {**ENGLISH, "fonts": fonts}, "th")
        with pytest.raises(ConfigError, match=r"th\.yaml: fonts\.regular: expected null or a file"):
            load_texts("th", tmp_path)
        (tmp_path / "thai.ttf").touch()
        assert load_texts("th", tmp_path).typeface.regular == tmp_path / "thai.ttf"

    def test_is_complete_in_every_file_also_of_languages_that_are_not_chosen(self, tmp_path):
        document = copy.deepcopy(ENGLISH)
        del document["advice"]["no_mask"]
        del document["page"]["today"]
        write(tmp_path, document, "fr")
        with pytest.raises(ConfigError) as error:
            check_languages(str(tmp_path))
        told = str(error.value).splitlines()
        assert [line.partition("fr.yaml: ")[2] for line in told] == [
            "advice.no_mask: missing",
            "page.today: missing",
        ]

    @pytest.mark.parametrize("folder", [".", "gone"])
    def test_without_any_is_refused(self, folder, tmp_path):
        with pytest.raises(ConfigError, match=r"languages: .* holds no \.yaml files"):
            check_languages(str(tmp_path / folder))
