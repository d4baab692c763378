"""DataYaml: class names and the folders of splits, as `data.yaml` of a YOLO data set has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from mask_gate.models.files.yaml_values import YamlTextError, YamlValues, read_yaml
from mask_gate.training.data.class_names import check_names
from mask_gate.training.data.text_file import decode_text
from mask_gate.training.errors import DataError, Problem

_KEYS = {"train": "train", "val": "valid", "valid": "valid", "validation": "valid", "test": "test"}


@dataclass(frozen=True, slots=True)
class DataYaml:
    """What numbers in label files mean, and what lies where.

    Attributes:
        where: what messages call the file.
        names: of the classes, in the order of their numbers.
        folders: of each split, as they end.
    """

    where: str = ""
    names: tuple[str, ...] = ()
    folders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_data_yaml(data: bytes, where: str) -> DataYaml:
    """Read a `data.yaml` as Ultralytics has defined it and Roboflow and CVAT write it.

    Raises:
        DataError: no YAML, or without a sound list of names.
    """
    try:
        found = read_yaml(decode_text(data, where))
    except YamlTextError as fault:
        raise DataError(Problem(where, str(fault), "write it as YAML", fault.line)) from None
    values = found.value if isinstance(found.value, dict) else {}
    names = check_names(_names(values.get("names"), found, where), where)
    folders = {
        split: tuple(
            _ending(str(path)) for path in (given if isinstance(given, tuple) else (given,))
        )
        for key, split in _KEYS.items()
        if (given := values.get(key))
    }
    return DataYaml(where, names, folders)


def _names(given: object, found: YamlValues, where: str) -> tuple[str, ...]:
    """The names of a list, or of numbers from 0 on; as they are written, also `no` and `1`."""
    values = dict(enumerate(given)) if isinstance(given, tuple) else given
    values = {str(key): name for key, name in values.items()} if isinstance(values, dict) else {}
    keys = [str(number) for number in range(len(values))]
    if not keys or sorted(values) != sorted(keys):
        what = "has no list `names`"
        raise DataError(Problem(where, what, "write names: [with_mask, without_mask, ...]"))
    return tuple(str(found.spellings.get(("names", key), values[key])) for key in keys)


def _ending(path: str) -> str:
    """The last two parts of a folder's path, whatever leads to it."""
    parts = [
        part for part in PurePosixPath(path.replace("\\", "/")).parts if part not in ("..", "/")
    ]
    return "/".join(parts[-2:])
