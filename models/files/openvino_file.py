"""OpenVinoFile: an exported detector, run by OpenVINO on the CPU; needs the extra `openvino`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mask_gate.models.files.digest_file import check_digest, write_digest
from mask_gate.models.files.export_metadata import (
    METADATA_KEY,
    ExportedFileError,
    ExportMetadata,
    read_exported,
)
from mask_gate.models.files.fingerprint import fingerprint_of, joined
from mask_gate.models.files.foreign_file import foreign

Precision = Literal["f32", "bf16"]


class _Told(Protocol):
    value: object


class _Described(Protocol):
    """What OpenVINO's models have of their files' remarks."""

    def has_rt_info(self, where: str | list[str]) -> bool: ...

    def get_rt_info(self, where: str | list[str]) -> _Told: ...


class _Request(Protocol):
    """OpenVINO's, for pictures of one size."""

    def infer(
        self, inputs: dict[int, NDArray[np.uint8]], share_inputs: bool
    ) -> Sequence[NDArray[np.float32]]: ...


class OpenVinoFile:
    """A detector ready to run on the CPU, one picture at a time.

    Args:
        path: an `.onnx` or an `.xml` with its `.bin`, both written by `models.files.onnx_export`.
        threads: how many OpenVINO may use; its own choice when 0.
        precision: of the arithmetic. Never left to OpenVINO, which takes bfloat16 by itself where
            the processor has it, and other scores with it.

    Attributes:
        about: what the file says of itself.
        identity: fingerprint of what was read, of both where there are two; later changes of the
            files change nothing here.
        takes_trimmed: whether pictures may be oblong; files of earlier versions take squares only.

    Raises:
        ExportedFileError: missing, damaged, other than the digest beside it says, not written by
            this project, or with other classes.
    """

    def __init__(self, path: Path, threads: int = 0, precision: Precision = "f32") -> None:
        if not path.is_file():
            raise ExportedFileError(
                f"{path}: no such file; give an exported .xml or .onnx, or a .pth checkpoint"
            )
        parts = [path] if path.suffix == ".onnx" else [path, path.with_suffix(".bin")]
        contents = [_part(part, path) for part in parts]
        fingerprints = [fingerprint_of(content) for content in contents]
        for part, found in zip(parts, fingerprints, strict=True):
            check_digest(part, found)
        self.identity = joined(*fingerprints)
        settings: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
        }
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        core = openvino_runtime().Core()
        try:
            model = core.read_model(*contents)
            self.about = ExportMetadata.from_json(_description(model), path)
            self.takes_trimmed = model.input().partial_shape[1].is_dynamic
            self._core, self._model, self._settings = core, model, settings
            side = self.about.input_size
            self._requests = {(side, side): self._compiled((side, side))}
        except RuntimeError as error:
            what = foreign(path) or "damaged, or its .bin is of another file; copy both again"
            raise ExportedFileError(f"{path}: {what}") from error

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[1, H, W, 3] BGR to predictions [1, N, 5 + C], good until the next call of that size.

        The first of a size takes longer: a network for fixed sizes is the faster one, by 5 % in
        float32 and 15 % in bfloat16, and is compiled for each.
        """
        size_hw = pictures.shape[1], pictures.shape[2]
        if size_hw not in self._requests:
            self._requests[size_hw] = self._compiled(size_hw)
        request = self._requests[size_hw]
        return request.infer({0: pictures}, share_inputs=True)[0]

    def _compiled(self, size_hw: tuple[int, int]) -> _Request:
        """What answers about one picture of a size at a time."""
        self._model.reshape([1, *size_hw, 3])
        compiled = self._core.compile_model(self._model, "CPU", self._settings)
        request: _Request = compiled.create_infer_request()
        return request


def _part(part: Path, path: Path) -> bytes:
    if part != path and not part.is_file():
        raise ExportedFileError(f"{path}: damaged, or its .bin is missing; copy it again")
    return read_exported(part)


def has_bfloat16() -> bool:
    """Whether the processor computes in bfloat16 by itself."""
    return "BF16" in openvino_runtime().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def save_openvino(onnx_path: Path, path: Path) -> None:
    """Translate an exported ONNX file to OpenVINO's `.xml` and `.bin`, each with its digest.

    Raises:
        OSError: a file cannot be written.
    """
    openvino = openvino_runtime()
    model = openvino.Core().read_model(onnx_path)
    model.set_rt_info(_description(model), METADATA_KEY)
    try:
        openvino.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        raise OSError(f"{path}: cannot be written") from error
    write_digest(path)
    write_digest(path.with_suffix(".bin"))


def _description(model: _Described) -> str | None:
    """What stands under our key, in OpenVINO's own file or as it is read from an ONNX file."""
    for where in (METADATA_KEY, ["framework", METADATA_KEY]):
        if model.has_rt_info(where):
            return str(model.get_rt_info(where).value)
    return None


def openvino_runtime() -> ModuleType:
    """OpenVINO, kept from reporting its import to its makers: it then takes its own stand-in."""
    reporter = "openvino_telemetry"
    if "openvino" not in sys.modules and reporter not in sys.modules:
        sys.modules[reporter] = None  # type: ignore[assignment]  # an import of it fails
    try:
        import openvino
    finally:
        if sys.modules.get(reporter, "") is None:
            del sys.modules[reporter]
    module: ModuleType = openvino
    return module
