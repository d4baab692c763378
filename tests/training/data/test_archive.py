"""The files of a data set: the same in a folder and in an archive, and never outside of it."""

import os
import pickle
import stat
import zipfile

import pytest

from mask_gate.training.data.archive import FolderFiles, ZipFiles, open_data_files
from mask_gate.training.errors import DataError

CONTENT = {"images/a.png": b"pixels", "annotations/a.xml": b"<annotation/>", "train.txt": b"a\n"}


def make_folder(root, content=CONTENT):
    for name, data in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def make_archive(path, content=CONTENT):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


@pytest.fixture(params=["folder", "archive", "inner folder", "inner archive", "beside"])
def opened(request, tmp_path):
    """The same files in every place where people keep them."""
    inside = {f"face-mask/{name}": data for name, data in CONTENT.items()}
    if request.param == "folder":
        return open_data_files(make_folder(tmp_path / "data"))
    if request.param == "inner folder":
        return open_data_files(make_folder(tmp_path / "data", inside))
    if request.param == "beside":  # a folder that holds nothing but the download
        make_archive(tmp_path / "archive.zip")
        return open_data_files(tmp_path)
    content = CONTENT if request.param == "archive" else inside
    return open_data_files(make_archive(tmp_path / "faces.zip", content))


def test_names_and_content_are_the_same_everywhere(opened):
    assert opened.names == ("annotations/a.xml", "images/a.png", "train.txt")
    assert opened.problems == ()
    assert {name: opened.read(name, 100) for name in opened.names} == CONTENT


def test_a_file_over_the_limit_is_not_read(opened):
    with pytest.raises(DataError, match="the file has 6 bytes, more than 5"):
        opened.read("images/a.png", 5)


def test_a_missing_file_is_told(opened):
    with pytest.raises(DataError, match=r"b\.png: cannot be"):
        opened.read("images/b.png", 5)


def test_what_file_managers_leave_behind_is_no_data(tmp_path):
    junk = {"images/.DS_Store": b"", "images/Thumbs.db": b"", "__MACOSX/images/._a.png": b""}
    assert open_data_files(make_folder(tmp_path / "d", CONTENT | junk)).names == tuple(
        sorted(CONTENT)
    )
    archive = open_data_files(make_archive(tmp_path / "a.zip", CONTENT | junk))
    assert archive.names == tuple(sorted(CONTENT))
    assert archive.problems == ()


# Group 1: nothing there


def test_a_place_without_data_is_told(tmp_path):
    with pytest.raises(DataError, match="no such folder or archive"):
        open_data_files(tmp_path / "nothing")
    with pytest.raises(DataError, match="no images here"):
        open_data_files(tmp_path)
    with pytest.raises(DataError, match="no images here"):
        open_data_files(make_archive(tmp_path / "odd.zip", {"readme.txt": b""}))
    (tmp_path / "page.zip").write_bytes(b"<html><title>Sign in</title></html>")
    with pytest.raises(DataError, match=r"is a web page \('Sign in'\)"):
        open_data_files(tmp_path / "page.zip")
    (tmp_path / "broken.zip").write_bytes(b"PK\3\4 cut off")
    with pytest.raises(DataError, match="not a readable zip archive"):
        open_data_files(tmp_path / "broken.zip")


# Group 6: what leads out, and odd names


def test_links_out_of_the_folder_are_refused(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    root = make_folder(tmp_path / "data")
    (root / "images" / "b.png").symlink_to(tmp_path / "secret.png")
    (root / "images" / "c.png").symlink_to(root / "images" / "nothing")
    (root / "images" / "d.png").symlink_to(root / "images" / "a.png")
    files = FolderFiles(root)
    assert files.names[1:3] == ("images/a.png", "images/d.png")
    told = sorted(str(problem) for problem in files.problems)
    assert "b.png: a link to" in told[0]
    assert "outside the dataset root" in told[0]
    assert "c.png: a link to nothing" in told[1]


def test_a_linked_folder_out_of_the_root_is_refused(tmp_path):
    make_folder(tmp_path / "elsewhere")
    root = make_folder(tmp_path / "data")
    (root / "labels").symlink_to(tmp_path / "elsewhere")
    (problem,) = FolderFiles(root).problems
    assert "outside the dataset root" in problem.what


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "images/../../x.png"])
def test_archive_members_that_lead_out_are_refused(tmp_path, name):
    (problem,) = ZipFiles(make_archive(tmp_path / "a.zip", CONTENT | {name: b""})).problems
    assert "outside the dataset root" in problem.what


def test_links_and_doubles_in_an_archive_are_refused(tmp_path):
    path = make_archive(tmp_path / "a.zip")
    link = zipfile.ZipInfo("images/b.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("images/a.png", b"other pixels")
    told = [problem.what for problem in ZipFiles(path).problems]
    assert told == ["leads outside the dataset root", "twice in the archive"]


def test_a_name_that_is_not_utf8_names_the_byte(tmp_path):
    root = make_folder(tmp_path / "data")
    try:
        with open(os.fsencode(root) + b"/images/\xff.png", "wb"):  # noqa: PTH123 - a bytes path
            pass
    except OSError:
        pytest.skip("this file system refuses such names itself")
    (problem,) = FolderFiles(root).problems
    assert problem.what == "byte 0xff in the file name is not UTF-8"


def test_folders_in_folders_are_listed_and_a_link_that_leads_back_up_is_not_followed(tmp_path):
    root = make_folder(tmp_path / "data", CONTENT | {"images/more/b.png": b""})
    (root / "images" / "more" / "up").symlink_to(root / "images")
    assert "images/more/b.png" in FolderFiles(root).names
    assert len(FolderFiles(root).names) == 4


# Archives


def test_a_damaged_member_is_told(tmp_path):
    path = make_archive(tmp_path / "a.zip")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"pixels", b"pixelz"))
    with pytest.raises(DataError, match="cannot be unpacked"):
        ZipFiles(path).read("images/a.png", 100)


@pytest.mark.parametrize(("number", "name"), [(9, "Deflate64"), (93, "Zstandard"), (98, "PPMd")])
def test_a_compression_that_is_not_read_is_named_with_the_mend(tmp_path, number, name):
    path = make_archive(tmp_path / "a.zip")
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\3\4", 8), (b"PK\1\2", 10)):  # APPNOTE.TXT, 4.3.7 and 4.3.12
        at = data.find(mark)
        while at >= 0:
            data[at + offset : at + offset + 2] = number.to_bytes(2, "little")
            at = data.find(mark, at + 1)
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"compressed with {name}, which is not read; unpack"):
        ZipFiles(path).read("images/a.png", 100)


def test_names_with_backslashes_are_paths(tmp_path):
    odd = {f"set\\{name}".replace("/", "\\"): data for name, data in CONTENT.items()}
    files = ZipFiles(make_archive(tmp_path / "a.zip", odd))
    assert files.names == ("annotations/a.xml", "images/a.png", "train.txt")
    assert files.read("images/a.png", 100) == b"pixels"
    told = ZipFiles(make_archive(tmp_path / "b.zip", CONTENT | {"..\\x.png": b""})).problems
    assert "outside the dataset root" in told[0].what


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("얼굴 사진", "cp949"), ("얼굴", "utf-8"), ("désert", "cp437"), ("café", "cp437")],
)
def test_names_are_read_in_the_code_page_of_whoever_packed_them(tmp_path, name, encoding):
    raw = name.encode(encoding)
    path = make_archive(tmp_path / "a.zip", {f"images/{'x' * len(raw)}.png": b"pixels"})
    path.write_bytes(path.read_bytes().replace(b"x" * len(raw), raw))
    files = ZipFiles(path)
    assert files.names == (f"images/{name}.png",)
    assert files.read(files.names[0], 100) == b"pixels"
    assert files.name_of(files.path(files.names[0])) == files.names[0]


def test_an_archive_goes_to_worker_processes(tmp_path):
    files = ZipFiles(make_archive(tmp_path / "a.zip"))
    files.read("images/a.png", 100)
    assert pickle.loads(pickle.dumps(files)).read("images/a.png", 100) == b"pixels"  # noqa: S301
