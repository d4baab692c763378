"""YamlValues: a YAML text as plain values, with the line and the spelling of each of them.

Values are read as YAML 1.2 has them. What version 1.1 would read as another number (`017`, `1:30`,
`1_000`) is refused, because whoever wrote it may have meant either. Only the words for true and
false are those of both versions. Anchors, tags and merge keys are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml
from yaml.reader import ReaderError

Key = tuple[str, ...]

MAX_DEPTH = 32
_MAX_DIGITS = 40

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {
    spelling: value
    for value, words in ((True, ("true", "yes", "on")), (False, ("false", "no", "off")))
    for word in words
    for spelling in (word, word.capitalize(), word.upper())
}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_BASE_60 = re.compile(r"[-+]?[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?")
_UNDERSCORES = re.compile(r"[-+]?[0-9]+_[0-9_]*(\.[0-9_]*)?")


class YamlTextError(ValueError):
    """The text is not what this reader takes.

    Attributes:
        line: where, counted from 1.
        key: of the value, as far as it is known.
    """

    def __init__(self, line: int, what: str, key: Key = ()) -> None:
        super().__init__(what)
        self.line = line
        self.key = key


@dataclass(slots=True)
class YamlValues:
    """What a text says.

    Attributes:
        value: dicts with text as keys, tuples, text, numbers, booleans and None.
        lines: line of each key and of each item of a list, counted from 1.
        spellings: of each value that stands without quotes, as it is written.
    """

    value: object = None
    lines: dict[Key, int] = field(default_factory=dict)
    spellings: dict[Key, str] = field(default_factory=dict)


def read_yaml(text: str) -> YamlValues:
    """Read one YAML document; an empty one is None.

    Raises:
        YamlTextError: it is not YAML, or uses what is refused here.
    """
    found = YamlValues()
    reader = _Reader(text, found)
    try:
        reader.read()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = f"not YAML: {error.problem}{_hint(str(error.problem), text)}"
        raise YamlTextError(mark.line + 1 if mark else 1, what) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlTextError(line, f"not YAML: character U+{error.character:04X}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        if isinstance(error, YamlTextError):
            raise
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise YamlTextError(reader.line, f"not YAML: {what}") from None
    return found


def _hint(problem: str, text: str) -> str:
    """What to do about two slips that the parser's own words do not give away."""
    if r"'\t'" in problem:
        return "; indent with blanks, not with tabs"
    cut = next((line for line in text.splitlines() if re.search(r"[^\s#'\"].* #", line)), None)
    if cut is not None and "<stream end>" in problem:
        return "; what stands behind ' #' is a comment: put the value in quotes"
    return ""


class _Reader:
    """Reads events of the YAML parser into values; what it refuses is refused as it comes."""

    def __init__(self, text: str, found: YamlValues) -> None:
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.SafeLoader)
        self._found = found
        self.line = 1

    def read(self) -> None:
        while not isinstance(event := self._next(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                self._found.value = self._value(self._next(), ())
                self._next()  # the end of the document
                if not isinstance(self._next(), yaml.StreamEndEvent):
                    raise YamlTextError(self.line, "a second document begins; keep one in a file")
                return

    def _next(self) -> yaml.Event:
        event = next(self._events)
        if event.start_mark is not None:
            self.line = event.start_mark.line + 1
        if getattr(event, "anchor", None) is not None:
            raise YamlTextError(self.line, "anchors and aliases are not used here; write it out")
        if (tag := getattr(event, "tag", None)) is not None:
            raise YamlTextError(
                self.line, f"tags such as {tag:.40} are not used here; give the value itself"
            )
        return event

    def _value(self, event: yaml.Event, key: Key) -> object:
        if isinstance(event, yaml.ScalarEvent):
            if event.style is not None:
                return event.value
            self._found.spellings[key] = event.value
            try:
                return _plain(event.value)
            except ValueError as error:
                raise YamlTextError(self.line, str(error), key) from None
        if len(key) == MAX_DEPTH:
            raise YamlTextError(self.line, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.SequenceStartEvent):
            return tuple(self._items(key))
        return dict(self._pairs(key))

    def _items(self, key: Key) -> Iterator[object]:
        index = 0
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            inner = (*key, str(index))
            self._found.lines[inner] = self.line
            yield self._value(event, inner)
            index += 1

    def _pairs(self, key: Key) -> Iterator[tuple[str, object]]:
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            name = event.value if isinstance(event, yaml.ScalarEvent) else ""
            if not name or name == "<<" or not name.isprintable():
                raise YamlTextError(self.line, "expected a plain word as key")
            inner = (*key, name)
            if (first := self._found.lines.get(inner)) is not None:
                raise YamlTextError(self.line, f"given twice, first in line {first}", inner)
            self._found.lines[inner] = self.line
            yield name, self._value(self._next(), inner)


def _plain(text: str) -> object:
    """The value of a text without quotes.

    Raises:
        ValueError: it is a number that can be read in two ways, or none that fits a computer.
    """
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return int(_short(text), 0)
    if mend := _mend(text):
        raise ValueError(f'{text} can be read in two ways; write {mend}, or "{text}" for text')
    if _FLOAT.fullmatch(text):
        value = float(_short(text))
        if math.isinf(value):
            raise ValueError(f"{text} is too large for a number")
        return value
    return float(text.replace(".", "")) if _NOT_FINITE.fullmatch(text) else text


def _mend(text: str) -> str:
    """How to write a number that YAML 1.1 and 1.2 read differently; empty for anything else."""
    if _LEADING_ZERO.fullmatch(text):
        decimal = str(int(_short(text)))
        is_octal = text[0] == "0" and set(text) <= set("01234567")
        return f"{decimal}, or {oct(int(text, 8))} for octal" if is_octal else decimal
    if _BASE_60.fullmatch(text):
        total = 0.0
        for part in _short(text).lstrip("-+").split(":"):
            total = 60 * total + float(part)
        return f"{'-' if text[0] == '-' else ''}{total:.15g}"
    if _UNDERSCORES.fullmatch(text):
        return _short(text).replace("_", "")
    return ""


def _short(number: str) -> str:
    if len(number) > _MAX_DIGITS:
        raise ValueError(f"{number[:20]}... has too many digits; expected {_MAX_DIGITS} at most")
    return number
