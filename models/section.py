"""Section: the base of every part of a configuration; frozen, strict, and without unknown keys."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import ClassVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, model_validator

_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})?(\.[0-9]{1,17})?")


class Section(BaseModel):
    """Keys with values that cannot change after they were checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    written_by_people: ClassVar[bool] = True
    """Whether values may be written in other ways than they are meant, as people do in files."""

    renamed: ClassVar[Mapping[str, str]] = {}
    """Former names of keys with what they are called now, for whoever still writes the former."""

    @model_validator(mode="before")
    @classmethod
    def _values_as_meant(cls, values: object) -> object:
        """Numbers in quotes, whole numbers with a point, `~/` before a path; lists as tuples.

        What comes through here is Python to pydantic, also from JSON, and strict: a list of a file
        would be no tuple then.
        """
        if not isinstance(values, dict):
            return values
        return {
            key: _as_meant(value, cls.model_fields[key].annotation)
            if key in cls.model_fields and cls.written_by_people
            else value
            for key, value in values.items()
        }


def _as_meant(value: object, annotation: object) -> object:
    """The value that people mean, where no other can be meant; anything else as it came."""
    if isinstance(value, list) and get_origin(annotation) is tuple:
        return tuple(value)
    kinds = {*get_args(annotation), annotation}
    if isinstance(value, str) and str in kinds:
        return os.path.expanduser(value) if value.startswith("~/") else value  # noqa: PTH111
    if str in kinds or not kinds & {int, float}:
        return value
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    if isinstance(value, str) and float in kinds and value and _DECIMAL.fullmatch(value):
        return float(value)
    if isinstance(value, float) and float not in kinds and value.is_integer():
        return int(value)
    return value
