"""ConfigFault: what a model finds wrong with a value, as a key and a sentence with the mend."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from mask_gate.models.files.yaml_values import Key

MOST_TOLD = 20
_LONGEST_VALUE = 80

Model = type[BaseModel]


@dataclass(frozen=True, slots=True)
class ConfigFault:
    """One thing that is wrong.

    Attributes:
        key: what it is called; a part may name the kind of a section (`relays.0.gpio.pin`).
        place: the same as it stands in the file (`relays.0.pin`).
        what: what was expected, what came, what to do.
        wants_text: whether text was expected, and something else came.
        of_union: whether it is only one of several types that the value could have had.
    """

    key: Key
    what: str
    place: Key
    wants_text: bool = False
    of_union: bool = False

    @classmethod
    def at(cls, key: Key, what: str) -> ConfigFault:
        """A fault of a key that is called as it stands in the file."""
        return cls(key, what, key)

    def below(self, *above: str) -> ConfigFault:
        """The same, of a section that is itself below other keys."""
        return replace(self, key=(*above, *self.key), place=(*above, *self.place))


def faults_of(error: ValidationError, kind: Model) -> list[ConfigFault]:
    """What `kind` found wrong; of very many faults the first, and how many more there are."""
    details = error.errors(include_url=False)
    found = list(_joined([_fault(detail, kind) for detail in details[:MOST_TOLD]]))
    if len(details) > MOST_TOLD:
        found.append(ConfigFault.at((), f"and {len(details) - MOST_TOLD} more faults"))
    return found


def suggestion(name: str, known: Sequence[str]) -> str:
    """What an unknown word was probably meant to be."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"


class _Spot:
    """Where in a model a fault is.

    Attributes:
        key: see `ConfigFault`.
        place: see `ConfigFault`.
        sections: what the value there may be, or what the unknown key is in.
        field: whose value it is.
        is_tagged: whether it is in a section that says of which kind it is.
        of_union: see `ConfigFault`.
    """

    def __init__(self, loc: tuple[int | str, ...], kind: Model, last_is_unknown: bool) -> None:
        self.key: Key = ()
        self.place: Key = ()
        self.sections: list[Model] = [kind]
        self.field: FieldInfo | None = None
        self.is_tagged = self.of_union = False
        for part in loc[:-1] if last_is_unknown else loc:
            self._descend(part)
        if last_is_unknown:
            self.key, self.place = (*self.key, str(loc[-1])), (*self.place, str(loc[-1]))
            self.of_union = False

    def _descend(self, part: int | str) -> None:
        if part == "[key]" and self.field is not None and self._is_dict():
            self.field = FieldInfo.from_annotation(get_args(self.field.annotation)[0])
            return
        fields = [(m, m.model_fields[part]) for m in self.sections if part in m.model_fields]
        if fields:
            self.field, self.of_union = fields[0][1], False
            self.sections = [inner for _, field in fields for inner in _models_in(field.annotation)]
        elif tagged := [model for model in self.sections if part in _tags(model)]:
            self.sections, self.is_tagged = tagged, True
            self.key = (*self.key, str(part))
            return
        elif isinstance(part, str) and not self._is_dict():  # a name of a type in a union
            self.sections = [model for model in self.sections if model.__name__ == part]
            self.of_union = True
            return
        self.key, self.place = (*self.key, str(part)), (*self.place, str(part))

    def _is_dict(self) -> bool:
        return self.field is not None and get_origin(self.field.annotation) is dict


def _fault(detail: ErrorDetails, kind: Model) -> ConfigFault:
    spot = _Spot(detail["loc"], kind, detail["type"] == "extra_forbidden")
    more, what = _sentence(detail, spot, kind)
    wants_text = detail["type"] == "string_type" and detail["input"] is not None
    return ConfigFault((*spot.key, *more), what, (*spot.place, *more), wants_text, spot.of_union)


def _sentence(detail: ErrorDetails, spot: _Spot, kind: Model) -> tuple[Key, str]:
    """Further parts of the key, and the sentence."""
    context: dict[str, Any] = detail.get("ctx", {})
    got = f", got {shown(detail['input'])}"
    match detail["type"]:
        case "extra_forbidden":
            return (), _unknown_key(spot, kind)
        case "missing":
            return (), "field required"
        case "value_error":
            key, colon, rest = str(context["error"]).partition(": ")
            named = bool(colon) and re.fullmatch(r"\w+(\.\w+)*", key) is not None
            return (tuple(key.split(".")), rest) if named else ((), str(context["error"]))
        case "union_tag_not_found":
            name = context["discriminator"].strip("'")
            known = [tag for model in spot.sections for tag in _tags(model, name)]
            return (name,), f"field required, one of {', '.join(known)}"
        case "union_tag_invalid":
            known = re.findall(r"'([^']*)'", context["expected_tags"])
            what = f"expected one of {', '.join(known)}, got {shown(context['tag'])}"
            return (context["discriminator"].strip("'"),), what + _near(context["tag"], known)
        case "literal_error":
            near = _near(detail["input"], re.findall(r"'([^']*)'", context["expected"]))
            return (), f"{_plain(detail['msg'])}{got}{near}"
        case "string_pattern_mismatch" if (
            spot.field is not None and spot.field.description and not spot.is_tagged
        ):
            return (), f"expected {spot.field.description}{got}"
    return (), f"{_plain(detail['msg'])}{got}"


def shown(value: object) -> str:
    """A value as a message shows it, cut to a sensible length."""
    return repr(_with_lists(value))[:_LONGEST_VALUE]


def _with_lists(value: object) -> object:
    if isinstance(value, dict):
        return {key: _with_lists(inner) for key, inner in value.items()}
    return [_with_lists(inner) for inner in value] if isinstance(value, tuple) else value


def _plain(message: str) -> str:
    """A message of pydantic's without its own names."""
    message = re.sub(r" or instance of \w+$", "", message)
    return f"{message[:1].lower()}{message[1:]}"


def _near(given: object, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(given, known, n=1) if isinstance(given, str) else []
    return f"; did you mean {near[0]}?" if near else ""


def _unknown_key(spot: _Spot, kind: Model) -> str:
    name = spot.key[-1]
    for section in spot.sections:
        if new := getattr(section, "renamed", {}).get(name):
            return f"is now called {new}"
    elsewhere = [] if spot.is_tagged else [k for k in _all_keys(kind) if k.split(".")[-1] == name]
    if elsewhere:
        return f"no such key; did you mean {' or '.join(dict.fromkeys(elsewhere))}?"
    beside = [field for section in spot.sections for field in section.model_fields]
    return f"no such key; {suggestion(name, list(dict.fromkeys(beside)))}"


def _joined(faults: Sequence[ConfigFault]) -> Iterator[ConfigFault]:
    """Several types that a value could have had told as one fault, the least far off alone."""
    seen: set[Key] = set()
    for fault in faults:
        if not fault.of_union:
            yield fault
            continue
        alike = [other for other in faults if other.key == fault.key]
        deeper = any(
            len(other.key) > len(fault.key) and other.key[: len(fault.key)] == fault.key
            for other in faults
        )
        if deeper or fault.key in seen:
            continue
        seen.add(fault.key)
        heads = [
            other.what.partition(", got ")[0].removeprefix("input should be ") for other in alike
        ]
        got = max((other.what.partition(", got ")[2] for other in alike), key=len)
        what = f"expected {' or '.join(dict.fromkeys(heads))}{', got ' if got else ''}{got}"
        yield replace(fault, what=what)


def _models_in(annotation: object) -> list[Model]:
    """The models that a value of this type may be, or hold in a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _tags(model: Model, name: str | None = None) -> list[str]:
    """The words by which a model is told from others: what a required key of it must be."""
    return [
        str(word)
        for field_name, field in model.model_fields.items()
        if field.is_required() and get_origin(field.annotation) is Literal
        if name in (None, field_name)
        for word in get_args(field.annotation)
    ]


def _all_keys(kind: Model, above: str = "") -> Iterator[str]:
    """Every key of a model and of the models in it, dotted."""
    for name, field in kind.model_fields.items():
        yield above + name
        for inner in _models_in(field.annotation):
            yield from _all_keys(inner, f"{above}{name}.")
