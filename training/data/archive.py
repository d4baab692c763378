"""The files of a data set by relative name, whether they lie in a folder or in a zip archive."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mask_gate.models.files.foreign_file import foreign
from mask_gate.training.data.image_file import IMAGE_SUFFIXES
from mask_gate.training.errors import DataError, Problem

MAX_DEPTH = 8
MAX_FILES = 1_000_000
KAGGLE_ARCHIVE = "archive.zip"
_JUNK = {"thumbs.db", "desktop.ini", "__macosx"}  # and names that start with a point
_ROLES = frozenset({"images", "jpegimages", "train", "valid", "val", "test", "obj_train_data"})
# Compressions of zip archives that Python cannot undo (APPNOTE.TXT, section 4.4.5).
_COMPRESSIONS = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 97: "WavPack", 98: "PPMd"}
_ENCODINGS = ("utf-8", "cp949", "cp437")
_PLAIN_HANGUL = re.compile(rb"[\xb0-\xc8][\xa1-\xfe]")
_SAYS_UTF8 = 0x800


class DataFiles(ABC):
    """Read-only files of one data set; names are relative and use `/`.

    Attributes:
        root: the folder or archive.
        names: every file in it, sorted.
        problems: what is wrong with the files before any is read.
    """

    root: Path
    names: tuple[str, ...]
    problems: tuple[Problem, ...]
    prefix: str = ""

    @abstractmethod
    def read(self, name: str, max_bytes: int) -> bytes:
        """The content of a file.

        Raises:
            DataError: it cannot be read, or has more than `max_bytes`.
        """

    def path(self, name: str) -> Path:
        """Where the file lies, for messages and records."""
        return self.root / f"{self.prefix}{name}"

    def name_of(self, path: Path) -> str:
        """The name of a file by where it lies; the reverse of `path`."""
        return path.relative_to(self.root).as_posix().removeprefix(self.prefix)


def open_data_files(path: Path) -> DataFiles:
    """The files of a data set: a folder, a zip archive, or a folder with one archive in it.

    Raises:
        DataError: there is nothing at `path`, or no image in it.
    """
    if path.suffix.lower() in (".yaml", ".yml"):  # Ultralytics names a data set by its data.yaml
        path = path.parent
    if path.is_file():
        return ZipFiles(path)
    if not path.is_dir():
        mend = "give the folder with `images` and `annotations`, or Kaggle's archive.zip"
        raise DataError(Problem(str(path), "no such folder or archive", mend))
    if (path / "images").is_dir():
        return FolderFiles(path)
    if (path / KAGGLE_ARCHIVE).is_file():
        return ZipFiles(path / KAGGLE_ARCHIVE)
    inner = [folder for folder in sorted(path.iterdir()) if (folder / "images").is_dir()]
    if len(inner) == 1 and inner[0].name.lower() not in _ROLES and not _says_more(path):
        return FolderFiles(inner[0])
    files = FolderFiles(path)
    if any(is_image_name(name) for name in files.names):
        return files
    archives = [file for file in sorted(path.iterdir()) if file.suffix.lower() == ".zip"]
    if len(archives) == 1:
        return ZipFiles(archives[0])
    raise DataError([*files.problems, _no_images(path)])


def _says_more(folder: Path) -> bool:
    """Whether lists or class names lie beside the folder with the images."""
    return any(
        file.suffix.lower() in (".txt", ".yaml", ".yml", ".names") for file in folder.iterdir()
    )


def is_image_name(name: str) -> bool:
    """Whether a file is called like an image of an accepted kind."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def _no_images(path: Path) -> Problem:
    mend = "give the folder that holds `images` and `annotations` (or `labels`)"
    return Problem(str(path), "no images here", mend)


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in _JUNK


def _name_problem(where: str) -> Problem | None:
    """The problem of a file name that is not UTF-8, naming the byte."""
    try:
        where.encode("utf-8")
    except UnicodeEncodeError as error:
        byte = where.encode("utf-8", "surrogateescape")[len(where[: error.start].encode("utf-8"))]
        what = f"byte {byte:#04x} in the file name is not UTF-8"
        return Problem(where, what, "rename the file")
    return None


def _too_large(where: str, size: int, max_bytes: int) -> DataError:
    what = f"the file has {size} bytes, more than {max_bytes}"
    return DataError(Problem(where, what, "check what this file is"))


class FolderFiles(DataFiles):
    """A data set in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real_root = root.resolve()
        problems: list[Problem] = []
        names = list(self._listing("", problems))
        self.names, self.problems = tuple(sorted(names)), tuple(problems)

    def read(self, name: str, max_bytes: int) -> bytes:
        """The content of a file; see `DataFiles.read`."""
        path = self.path(name)
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > max_bytes:
                    raise _too_large(str(path), size, max_bytes)
                return file.read()
        except OSError as error:
            what = f"cannot be read ({error.strerror})"
            raise DataError(Problem(str(path), what, "check the file and its rights")) from None

    def _listing(self, folder: str, problems: list[Problem]) -> Iterator[str]:
        """The files of a folder and of those in it."""
        with os.scandir(self.root / folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        if len(entries) > MAX_FILES or folder.count("/") > MAX_DEPTH:
            what = f"more than {MAX_FILES:,} files, or nested more than {MAX_DEPTH} deep"
            problems.append(
                Problem(str(self.root / folder), what, "give the data set's own folder")
            )
            return
        for entry in entries:
            name = f"{folder}{entry.name}"
            if _is_junk(entry.name):
                continue
            if entry.is_symlink() and not self._is_inside(Path(entry.path), problems):
                continue
            bad_name = _name_problem(str(self.root / name))
            if bad_name is not None:
                problems.append(bad_name)
            elif not entry.is_dir():
                yield name
            elif (
                entry.is_symlink()
                and Path(entry.path).resolve() in (self._real_root / folder).resolve().parents
            ):
                continue  # it leads back up
            else:
                yield from self._listing(f"{name}/", problems)

    def _is_inside(self, path: Path, problems: list[Problem]) -> bool:
        """Whether a link leads to something that exists inside the root; if not, say so."""
        target = path.resolve()
        if not target.is_relative_to(self._real_root):
            what = f"a link to {target}, outside the dataset root"
            problems.append(Problem(str(path), what, "copy the data into the folder"))
        elif not target.exists():
            problems.append(Problem(str(path), "a link to nothing", "remove or repair it"))
        else:
            return True
        return False


class ZipFiles(DataFiles):
    """A data set in a zip archive, read in place; safe in worker processes (each opens its own)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._archive: zipfile.ZipFile | None = None
        self._archive_pid = 0
        problems: list[Problem] = []
        self._member_of = self._members(problems)
        if not any(is_image_name(name) for name in self._member_of):
            raise DataError([*problems, _no_images(root)])
        self.prefix = _around(list(self._member_of))
        names = (name.removeprefix(self.prefix) for name in self._member_of)
        self.names, self.problems = tuple(sorted(names)), tuple(problems)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_archive": None}

    def read(self, name: str, max_bytes: int) -> bytes:
        """The content of a file; see `DataFiles.read`."""
        where = str(self.path(name))
        try:
            info = self._opened().getinfo(self._member_of[f"{self.prefix}{name}"])
            if info.compress_type in _COMPRESSIONS:
                what = f"is compressed with {_COMPRESSIONS[info.compress_type]}, which is not read"
                mend = "unpack the archive and give the folder, or pack it as a plain zip"
                raise DataError(Problem(where, what, mend))
            if info.file_size > max_bytes:
                raise _too_large(where, info.file_size, max_bytes)
            return self._opened().read(info)
        except (KeyError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            # RuntimeError: encrypted; its subclass NotImplementedError: unknown compression.
            what = f"cannot be unpacked ({error})"
            raise DataError(Problem(where, what, "download the archive again")) from None

    def _opened(self) -> zipfile.ZipFile:
        """A handle of this process alone: a forked one would share the parent's read position."""
        if self._archive is None or self._archive_pid != os.getpid():
            try:
                self._archive, self._archive_pid = zipfile.ZipFile(self.root), os.getpid()
            except (OSError, zipfile.BadZipFile) as error:
                mend = "give a folder, or a complete zip archive"
                what = foreign(self.root) or f"not a readable zip archive ({error})"
                raise DataError(Problem(str(self.root), what, mend)) from None
        return self._archive

    def _members(self, problems: list[Problem]) -> dict[str, str]:
        """The files in the archive that stay inside it: name with `/` to name as it stands."""
        names: dict[str, str] = {}
        for info in self._opened().infolist():
            name = _decoded(info)
            where = str(self.root / name.lstrip("/"))
            is_link = stat.S_ISLNK(info.external_attr >> 16)
            parts = PurePosixPath(name).parts
            if is_link or name.startswith("/") or ".." in parts or name[1:2] == ":":
                problems.append(
                    Problem(where, "leads outside the dataset root", "pack the archive again")
                )
            elif name.endswith("/") or any(map(_is_junk, parts)):
                continue
            elif name in names:
                problems.append(Problem(where, "twice in the archive", "pack the archive again"))
            else:
                names[name] = info.filename
        return names


def _decoded(info: zipfile.ZipInfo) -> str:
    """A name as it was meant: with `/`, and in the encoding that its bytes fit.

    Where the archive does not say UTF-8, Windows wrote the bytes in the code page of its language.
    """
    name = info.orig_filename
    if not info.flag_bits & _SAYS_UTF8:
        raw = name.encode("cp437")
        for encoding in _ENCODINGS:
            if encoding == "cp949" and not _PLAIN_HANGUL.search(raw):
                continue  # its rarer syllables are made of bytes that are Latin letters elsewhere
            with contextlib.suppress(UnicodeDecodeError):
                name = raw.decode(encoding)
                break
    return name.replace("\\", "/")


def _around(names: list[str]) -> str:
    """The folders around a data set in an archive that hold nothing else."""
    around = ""
    while True:
        tops = {name.removeprefix(around).partition("/")[0] for name in names}
        inner = {name.removeprefix(around).partition("/")[1] for name in names}
        if len(tops) > 1 or inner != {"/"} or (top := tops.pop()).lower() in _ROLES:
            return around
        around += f"{top}/"
