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
    assert opened.names_in("images") == ("images/a.png",)
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
    with pytest.raises(DataError, match="no folder `images` here"):
        open_data_files(tmp_path)
    with pytest.raises(DataError, match="no folder `images` here"):
        open_data_files(make_archive(tmp_path / "odd.zip", {"readme.txt": b""}))
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
    assert files.names_in("images") == ("images/a.png", "images/d.png")
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


def test_folders_inside_images_are_told(tmp_path):
    root = make_folder(tmp_path / "data", CONTENT | {"images/more/b.png": b""})
    (problem,) = FolderFiles(root).problems
    assert problem.what == "a folder inside `images`"


# Archives


def test_a_damaged_member_is_told(tmp_path):
    path = make_archive(tmp_path / "a.zip")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"pixels", b"pixelz"))
    with pytest.raises(DataError, match="cannot be unpacked"):
        ZipFiles(path).read("images/a.png", 100)


def test_an_archive_goes_to_worker_processes(tmp_path):
    files = ZipFiles(make_archive(tmp_path / "a.zip"))
    files.read("images/a.png", 100)
    assert pickle.loads(pickle.dumps(files)).read("images/a.png", 100) == b"pixels"  # noqa: S301
