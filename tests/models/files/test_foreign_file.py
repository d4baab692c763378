"""What people take for weights: called what it is, with what to do, and never a traceback."""

import os
import zipfile

import pytest
import torch

from mask_gate.models.files.checkpoint import CheckpointError
from mask_gate.models.files.export_metadata import ExportedFileError
from mask_gate.models.files.foreign_file import foreign
from mask_gate.models.files.onnx_file import OnnxFile
from mask_gate.models.files.open_weights import open_weights

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 8900000\n"
PAGE = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head></html>\n" * 40


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (POINTER, "Git LFS pointer that stands for a file of 8,900,000 bytes; run `git lfs pull`"),
        (PAGE, r"is a web page \('404 Not Found'\)"),
        (b"\xef\xbb\xbf\n <HTML>\n<body>busy</body>", "is a web page, which a download got"),
        (b"<?xml version='1.0'?><Error>Denied</Error>", "is a text that begins with"),
        (b'{"message": "Not Found"}', "is a text that begins with"),
        (b"\x1f\x8b\x08" + bytes(40), "is a gzip archive; unpack it"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(40), "is a 7z archive; unpack it"),
        (bytes(257) + b"ustar" + bytes(100), "is a tar archive; unpack it"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "is a Keras file"),
        (b"\x40\0\0\0\0\0\0\0" + b'{"a":{"dtype":"F32"' + bytes(60), "is a safetensors file"),
    ],
)
@pytest.mark.parametrize("name", ["best.pth", "BEST.PT", "yolov3-tiny.weights", "best"])
def test_what_is_no_weights_is_called_what_it_is(tmp_path, content, said, name):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=said) as error:
        open_weights(path)
    assert str(error.value).count(str(path)) == 1
    assert "\n" not in str(error.value)


def test_a_folder_names_the_weights_in_it(tmp_path):
    (tmp_path / "BEST.PTH").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"is a folder; .* one of BEST\.PTH"):
        open_weights(tmp_path)


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "best.pth")
    assert foreign(tmp_path / "best.pth") == "is a pipe or a device; give the path of a file"


def test_torchscript_says_how_to_save_its_tensors(tmp_path):
    with zipfile.ZipFile(tmp_path / "best.pt", "w") as archive:
        archive.writestr("best/data.pkl", b"")
        archive.writestr("best/constants.pkl", b"")
    with pytest.raises(CheckpointError, match=r'torch\.jit\.load\("best\.pt"\)\.state_dict\(\)'):
        open_weights(tmp_path / "best.pt")


@pytest.mark.parametrize("is_new", [True, False])
def test_a_pickled_model_says_how_to_save_its_tensors(tmp_path, is_new):
    path = tmp_path / "best.pt"
    torch.save(torch.nn.Conv2d(1, 1, 1), path, _use_new_zipfile_serialization=is_new)
    said = r"pickled torch\.nn\.modules\.conv\.Conv2d.* torch\.save\(model\.state_dict\(\), "
    with pytest.raises(CheckpointError, match=said):
        open_weights(path)


def test_an_archive_around_weights_is_to_be_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "best.pth", "w") as archive:
        archive.writestr("weights/best.pth", b"x")
    with pytest.raises(CheckpointError, match=r"zip archive with weights/best\.pth in it; unpack"):
        open_weights(tmp_path / "best.pth")


@pytest.mark.parametrize("name", ["best.onnx", "BEST.ONNX", "model.XML"])
def test_exported_files_are_for_the_gate(tmp_path, name):
    with pytest.raises(CheckpointError, match=r"is an exported file.* give the \.pth"):
        open_weights(tmp_path / name)


@pytest.mark.parametrize(("content", "said"), [(POINTER, "Git LFS"), (PAGE, "a web page")])
def test_an_onnx_file_that_is_none_is_called_what_it_is(tmp_path, content, said):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ExportedFileError, match=said):
        OnnxFile(tmp_path / "m.onnx")


def test_weights_and_random_bytes_are_left_to_their_readers(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "new.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "noise").write_bytes(bytes(range(256)))
    (tmp_path / "openvino.xml").write_bytes(b'<?xml version="1.0"?><net name="a"></net>')
    for name in ("new.pth", "old.pth", "noise", "openvino.xml", "missing.pth"):
        assert foreign(tmp_path / name) is None
