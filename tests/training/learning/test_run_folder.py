"""A run's folder: room is looked for before the first epoch, leftovers go, the table is whole."""

import csv
import gc
import shutil
from functools import partial

import pytest
from matplotlib.artist import Artist

from mask_gate.training.errors import OutputError
from mask_gate.training.learning.run_folder import RunFolder, accuracy_of

ROW = {"epoch": 1, "box": 1.0, "objectness": 2.0, "classes": 3.0}
FIGURES = {
    "map50": 0.5,
    "ap50_with_mask": 0.6,
    "ap50_without_mask": 0.5,
    "ap50_mask_weared_incorrect": 0.4,
}


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "runs/a")


@pytest.mark.parametrize(("free", "fits"), [(2000, True), (1999, False)])
def test_there_must_be_room_for_two_checkpoints(folder, monkeypatch, free, fits):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, free))
    if fits:
        folder.check_room(1000)
    else:
        with pytest.raises(
            OutputError, match=r"expected 2,000 bytes free, .* got 1,999; make room"
        ):
            folder.check_room(1000)
    assert not folder.path.exists()  # nothing is made before the data is known to be in order


def test_a_file_in_the_way_is_named(folder):
    folder.path.parent.write_text("a file")
    for step in (folder.prepare, partial(folder.check_room, 1)):
        with pytest.raises(OutputError, match=r"runs/a: .*; give another --out"):
            step()


def test_what_a_killed_run_left_half_written_is_cleared_away(folder):
    folder.path.mkdir(parents=True)
    for name in (".last.pth.x1", ".best.pth.x2", "last.pth", ".keep"):
        (folder.path / name).write_text("")
    folder.prepare()
    assert {path.name for path in folder.path.iterdir()} == {"last.pth", ".keep"}


def test_the_table_has_a_row_an_epoch(folder):
    folder.prepare()
    folder.report([ROW | FIGURES, ROW | FIGURES | {"epoch": 2}])
    with (folder.path / "results.csv").open(encoding="utf-8") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    assert (folder.path / "map.png").exists()
    assert not (folder.path / ".results.csv").exists()


def test_epochs_that_were_not_evaluated_have_no_accuracy(folder):
    assert accuracy_of([]) is None
    assert accuracy_of([ROW]) is None
    course = accuracy_of([ROW, ROW | FIGURES | {"epoch": 2}])
    assert course is not None
    assert (course.epochs, course.map50) == ([2], [0.5])
    folder.prepare()
    folder.report([ROW])
    assert not (folder.path / "map.png").exists()


def test_the_pictures_of_an_epoch_leave_nothing_in_memory(folder):
    """Even where the collector would not look for a long time."""
    folder.prepare()
    gc.collect()
    before = {id(thing) for thing in gc.get_objects() if issubclass(type(thing), Artist)}
    gc.disable()
    try:
        folder.report([ROW | FIGURES])
        after = {id(thing) for thing in gc.get_objects() if issubclass(type(thing), Artist)}
    finally:
        gc.enable()
    assert (folder.path / "map.png").exists()
    assert not after - before
