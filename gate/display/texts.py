"""Texts: everything the gate says to people, in one language; one file in assets/languages each."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import yaml

from mask_gate.gate.display.drawing import FONTS, Typeface, dejavu
from mask_gate.gate.domain import Reason, State
from mask_gate.gate.errors import ConfigError
from mask_gate.gate.guard_order import Verdict
from mask_gate.models.labels import CLASS_NAMES, MaskLabel
from mask_gate.models.shipped import ASSETS

LANGUAGES = ASSETS / "languages"

UNSURE = "unsure"

PAGE_KEYS = (
    "aim",
    "all",
    "all_denials",
    "all_openings",
    "audit",
    "back_to_door",
    "bad_login",
    "by_day",
    "by_hand",
    "by_hand_needs_name",
    "by_hour",
    "camera",
    "config",
    "copy_lines",
    "count_csv",
    "csv",
    "date",
    "decision",
    "denials",
    "door",
    "doors",
    "end_lock_down",
    "ended_lock_down",
    "events",
    "faces",
    "fault",
    "faults",
    "filter",
    "fps",
    "from",
    "health",
    "history",
    "json",
    "kiosk",
    "language",
    "latency",
    "let_in_once",
    "live",
    "lock_down",
    "locked",
    "locked_down_by",
    "locked_out",
    "log_in",
    "log_out",
    "model",
    "month",
    "name",
    "no_news",
    "none",
    "ok",
    "open",
    "openings",
    "own_password",
    "password",
    "people",
    "people_seen",
    "period",
    "problem",
    "quarter",
    "reason",
    "relay",
    "signal",
    "slow",
    "state",
    "time",
    "to",
    "today",
    "total",
    "type",
    "unknown",
    "uptime",
    "was_let_in",
    "was_locked_down",
    "week",
    "which_screen",
    "whole_picture",
    "why",
    "why_bad",
    "zone",
    "zone_as_configured",
    "zone_help",
    "zone_paste",
)
"""What the web pages need words for."""

AIM_FIELDS: Mapping[str, tuple[str, ...]] = {
    "picture": ("light", "contrast", "sharpness"),
    "face": ("height", "part"),
    "face_outside": ("height", "part"),
    "well": (),
    "no_picture": (),
    "too_dark": (),
    "too_bright": (),
    "flat": (),
    "not_sharp": (),
    "no_face": (),
    "none_in_zone": (),
    "below_near_face": ("limit",),
    "about_min_face": ("limit",),
    "too_large": (),
}
"""What is said of how a camera is placed, with the values in braces that each sentence takes."""

REFUSALS = tuple(verdict for verdict in Verdict if verdict is not Verdict.DONE)
"""What came of a guard's order, where it was not done as it was given."""

_KEYS: Mapping[str, tuple[str, ...]] = {
    "fonts": ("regular", "bold"),
    "labels": (*CLASS_NAMES, UNSURE),
    "states": tuple(State),
    "reasons": tuple(Reason),
    "advice": tuple(Reason),
    "aim": tuple(AIM_FIELDS),
    "page": PAGE_KEYS,
    "verdicts": REFUSALS,
}


@dataclass(frozen=True, slots=True)
class Texts:
    """One language.

    Attributes:
        code: of the language, the name of its file: `en`.
        name: as those who speak it call it.
        typeface: has every letter of it.
        labels: of a face; None is one that cannot be told.
        states: one large word each.
        reasons: why, for those who run the gate.
        advice: what to do, for those at the door.
        aim: how a camera is placed, by `AIM_FIELDS`.
        page: of the web pages, by `PAGE_KEYS`.
        verdicts: why a guard's order was not done, by `REFUSALS`.
    """

    code: str
    name: str
    typeface: Typeface
    labels: Mapping[MaskLabel | None, str]
    states: Mapping[State, str]
    reasons: Mapping[Reason, str]
    advice: Mapping[Reason, str]
    aim: Mapping[str, str]
    page: Mapping[str, str]
    verdicts: Mapping[Verdict, str]

    def advice_for(self, reason: Reason, *, is_slow: bool) -> str:
        """What to do at a gate that may be slow: wait, where looking at the camera is no help."""
        waits = is_slow and reason is Reason.UNCERTAIN
        return self.advice[Reason.STARTING if waits else reason]


def language_folders(more: str | None) -> tuple[Path, ...]:
    """Where languages are: in a folder of the operator's, which wins, and in ours."""
    return (LANGUAGES,) if more is None else (Path(more), LANGUAGES)


def language_codes(*folders: Path) -> tuple[str, ...]:
    """The languages there are in some folders, or in ours, by the names of their files."""
    return tuple(sorted(_files(*folders)))


def check_languages(more: str | None) -> None:
    """See that all languages of a folder of the operator's are complete.

    Raises:
        ConfigError: one is not, or there is none; one line per fault, with its key.
    """
    if more is None:
        return
    folder = Path(more)
    codes = language_codes(folder)
    if not codes:
        raise ConfigError(f"languages: {folder} holds no .yaml files, one for each language")
    for code in codes:
        load_texts(code, folder)


def load_texts(code: str, *folders: Path) -> Texts:
    """Read a language from the first of some folders that has it, or from ours.

    Raises:
        ConfigError: there is no such file, or it is not complete; one line per fault, with its key.
    """
    files = _files(*folders)
    if code not in files:
        known = ", ".join(sorted(files))
        raise ConfigError(f"language: expected one of {known}, got {code!r:.40}")
    path = files[code]
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        first = str(error).splitlines()[0]
        raise ConfigError(f"{path}: cannot be read as YAML ({first})") from None
    if faults := list(_faults(document, path.parent)):
        raise ConfigError("\n".join(f"{path}: {fault}" for fault in faults))
    labels = document["labels"]
    return Texts(
        code=code,
        name=document["name"],
        typeface=_typeface(document["fonts"], path.parent),
        labels=MappingProxyType(
            {label: labels[label.name.lower()] for label in MaskLabel} | {None: labels[UNSURE]}
        ),
        states=MappingProxyType({state: document["states"][state] for state in State}),
        reasons=MappingProxyType({reason: document["reasons"][reason] for reason in Reason}),
        advice=MappingProxyType({reason: document["advice"][reason] for reason in Reason}),
        aim=MappingProxyType(document["aim"]),
        page=MappingProxyType(document["page"]),
        verdicts=MappingProxyType({verdict: document["verdicts"][verdict] for verdict in REFUSALS}),
    )


def _files(*folders: Path) -> dict[str, Path]:
    """The file of each language; the first folder that has it wins."""
    found = [path for folder in folders or (LANGUAGES,) for path in folder.glob("*.yaml")]
    return {path.stem: path for path in reversed(found)}


def _faults(document: object, folder: Path) -> Iterator[str]:
    """What is missing, too much, or not a text."""
    if not isinstance(document, dict):
        yield "expected keys with values, as in en.yaml"
        return
    yield from _key_faults(document, ("name", *_KEYS), "")
    if not _is_text(document.get("name", "-")):
        yield "name: expected a text"
    for section, keys in _KEYS.items():
        values = document.get(section, {})
        if not isinstance(values, dict):
            yield f"{section}: expected keys with values, as in en.yaml"
            continue
        if section in document:
            yield from _key_faults(values, keys, f"{section}.")
        for key, value in values.items():
            if section == "fonts":
                if value is not None and not (_is_text(value) and _font(value, folder).is_file()):
                    yield (
                        f"fonts.{key}: expected null or a file in {folder} or {FONTS}, "
                        f"got {value!r:.60}"
                    )
            elif not _is_text(value):
                yield f"{section}.{key}: expected a text, got {value!r:.60}"
            elif section == "aim" and not _takes_only(value, AIM_FIELDS.get(key, ())):
                known = ", ".join(f"{{{name}}}" for name in AIM_FIELDS.get(key, ())) or "none"
                yield f"{section}.{key}: expected no braces but {known}, got {value!r:.60}"


def _key_faults(
    values: Mapping[object, object], keys: tuple[str, ...], section: str
) -> Iterator[str]:
    yield from (f"{section}{key}: missing" for key in keys if key not in values)
    yield from (f"{section}{key}: no such key" for key in values if key not in keys)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()


def _takes_only(text: str, fields: tuple[str, ...]) -> bool:
    """Whether the braces in a text hold nothing but these names."""
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError:
        return False
    return all(
        name is None or (name in fields and not how and kind is None)
        for _, name, how, kind in parts
    )


def _typeface(files: Mapping[str, str | None], folder: Path) -> Typeface:
    default = dejavu()
    regular, bold = files["regular"], files["bold"]
    return Typeface(
        default.regular if regular is None else _font(regular, folder),
        default.bold if bold is None else _font(bold, folder),
    )


def _font(name: str, folder: Path) -> Path:
    """A font beside the file of the language, or one of ours."""
    beside = folder / Path(name).name
    return beside if beside.is_file() else FONTS / Path(name).name
