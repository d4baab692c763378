"""The files of a data set by relative name, whether they lie in a folder or in a zip archive."""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from abc import ABC, abstractmethod
from pathlib import Path, PurePosixPath

from mask_gate.training.errors import DataError, Problem

FOLDERS = ("images", "annotations", "labels")
ROOT_SUFFIXES = (".txt", ".names")  # split lists and class names; anything else is not ours
KAGGLE_ARCHIVE = "archive.zip"
_JUNK = {"thumbs.db", "desktop.ini"}  # and names that start with a point: left by file managers


class DataFiles(ABC):
    """Read-only files of one data set; names are relative and use `/`.

    Attributes:
        root: the folder or archive.
        names: every text file in the root and every file in one of `FOLDERS`, sorted.
        problems: what is wrong with the files before any is read.
    """

    root: Path
    names: tuple[str, ...]
    problems: tuple[Problem, ...]

    @abstractmethod
    def read(self, name: str, max_bytes: int) -> bytes:
        """The content of a file.

        Raises:
            DataError: it cannot be read, or has more than `max_bytes`.
        """

    @abstractmethod
    def path(self, name: str) -> Path:
        """Where the file lies, for messages and records."""

    def names_in(self, folder: str) -> tuple[str, ...]:
        """The names of the files in one of `FOLDERS`."""
        return tuple(name for name in self.names if name.startswith(f"{folder}/"))


def open_data_files(path: Path) -> DataFiles:
    """The files of a data set: a folder, a zip archive, or a folder with Kaggle's `archive.zip`.

    Raises:
        DataError: there is nothing at `path`, or no folder `images` in it.
    """
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
    if len(inner) == 1:
        return FolderFiles(inner[0])
    raise DataError(_no_images(path))


def _no_images(path: Path) -> Problem:
    mend = "give the folder that holds `images` and `annotations` (or `labels`)"
    return Problem(str(path), "no folder `images` here", mend)


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
        names = [name for folder in ("", *FOLDERS) for name in self._listing(folder, problems)]
        self.names, self.problems = tuple(sorted(names)), tuple(problems)

    def path(self, name: str) -> Path:
        """Where the file lies."""
        return self.root / name

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

    def _listing(self, folder: str, problems: list[Problem]) -> list[str]:
        if not (self.root / folder).is_dir() or not self._is_inside(self.root / folder, problems):
            return []
        names = []
        with os.scandir(self.root / folder) as entries:
            for entry in entries:
                name = str(PurePosixPath(folder, entry.name))
                where = str(self.root / name)
                if _is_junk(entry.name) or not _is_data_name(name):
                    continue
                if entry.is_symlink() and not self._is_inside(Path(entry.path), problems):
                    continue
                if entry.is_dir():
                    mend = f"move its files up into `{folder}`"
                    problems.append(Problem(where, f"a folder inside `{folder}`", mend))
                    continue
                bad_name = _name_problem(where)
                if bad_name is not None:
                    problems.append(bad_name)
                else:
                    names.append(name)
        return names

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
        members = self._members(problems)
        prefix = _images_prefix(members)
        if prefix is None:
            raise DataError([*problems, _no_images(root)])
        self._member_of = {
            member[len(prefix) :]: member
            for member in members
            if member.startswith(prefix) and _is_data_name(member[len(prefix) :])
        }
        self.names, self.problems = tuple(sorted(self._member_of)), tuple(problems)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_archive": None}

    def path(self, name: str) -> Path:
        """The archive's path followed by the name in it."""
        return self.root / self._member_of.get(name, name)

    def read(self, name: str, max_bytes: int) -> bytes:
        """The content of a file; see `DataFiles.read`."""
        where = str(self.path(name))
        try:
            info = self._opened().getinfo(self._member_of[name])
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
                what = f"not a readable zip archive ({error})"
                raise DataError(Problem(str(self.root), what, mend)) from None
        return self._archive

    def _members(self, problems: list[Problem]) -> list[str]:
        """Names of the files in the archive that stay inside it."""
        names: dict[str, None] = {}
        for info in self._opened().infolist():
            name, where = info.filename, str(self.root / info.filename.lstrip("/"))
            is_link = stat.S_ISLNK(info.external_attr >> 16)
            if info.is_dir() or _is_junk(PurePosixPath(name).name) or name.startswith("__MACOSX/"):
                continue
            if is_link or name.startswith("/") or ".." in PurePosixPath(name).parts:
                problems.append(
                    Problem(where, "leads outside the dataset root", "pack the archive again")
                )
            elif name in names:
                problems.append(Problem(where, "twice in the archive", "pack the archive again"))
            else:
                names[name] = None
        return list(names)


def _images_prefix(members: list[str]) -> str | None:
    """What stands before `images/` in the archive: nothing, or one folder around the data set."""
    prefixes = {
        "".join(f"{part}/" for part in parts[:-2])
        for parts in (PurePosixPath(member).parts for member in members)
        if len(parts) >= 2 and parts[-2] == "images"
    }
    return min(prefixes, key=len) if prefixes else None


def _is_data_name(name: str) -> bool:
    parts = PurePosixPath(name).parts
    if len(parts) == 1:
        return PurePosixPath(name).suffix in ROOT_SUFFIXES
    return len(parts) == 2 and parts[0] in FOLDERS
