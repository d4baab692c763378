"""mask-gate-data draw-masks: a folder to train with, the same for one seed, with its sources."""

import json

import pytest

from mask_gate.training.commands.data import main
from mask_gate.training.data.labels_json import LabelledFolder

NAMED = ["--source", "https://example.org/portraits", "--licence", "public domain"]


def test_a_portrait_becomes_a_folder_to_learn_from_with_any_number_of_processes(tmp_path, capsys):
    """The astronaut Eileen Collins, by NASA, which comes with scikit-image."""
    pytest.importorskip("ai_edge_litert")
    data = pytest.importorskip("skimage.data")
    import cv2

    people = tmp_path / "people"
    people.mkdir()
    picture = data.astronaut()[:360, 40:400, ::-1]
    for name in ("one", "two"):
        cv2.imwrite(str(people / f"{name}.png"), picture)
    command = ["draw-masks", "--data", str(people), "--each", "2", "--seed", "3", *NAMED]
    for workers in ("1", "2"):
        out = tmp_path / f"drawn{workers}"
        assert main([*command, "--workers", workers, "--out", str(out)]) == 0
    first, second = (tmp_path / f"drawn{workers}" for workers in ("1", "2"))
    assert (first / "labels.json").read_bytes() == (second / "labels.json").read_bytes()
    files = sorted(path.name for path in (first / "images").iterdir())
    assert files
    for name in files:
        assert (first / "images" / name).read_bytes() == (second / "images" / name).read_bytes()
    assert len(LabelledFolder.open(first).images) == len(files)
    entries = json.loads((first / "labels.json").read_text())
    keys = {"person", "variant", "template", "light", "yaw_deg", "source", "licence"}
    assert all(keys <= set(entry) for entry in entries)
    assert "https://example.org/portraits" in (first / "SOURCES.md").read_text()
    assert "2 faces of 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("extra", "told"),
    [(["--each", "0"], "not a number above 0"), (["--variants", "hat"], "invalid choice: 'hat'")],
)
def test_odd_wishes_are_told(tmp_path, capsys, extra, told):
    command = ["draw-masks", "--data", str(tmp_path), "--out", str(tmp_path / "out"), *NAMED]
    with pytest.raises(SystemExit) as end:
        main([*command, *extra])
    assert end.value.code == 2
    assert told in capsys.readouterr().err


def test_a_folder_without_pictures_is_refused_and_nothing_is_left(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    command = ["draw-masks", "--data", str(tmp_path / "empty"), "--out", str(tmp_path / "out")]
    assert main([*command, *NAMED]) == 2
    assert "no picture" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_faces_that_somebody_looked_at_must_be_there(drawn_dataset, tmp_path, capsys):
    (tmp_path / "looked_at.txt").write_text("drawn/face99#0\n")
    command = ["draw-masks", "--data", str(drawn_dataset), "--out", str(tmp_path / "out"), *NAMED]
    assert main([*command, "--only", str(tmp_path / "looked_at.txt")]) == 2
    assert "drawn/face99#0 is no bare face" in capsys.readouterr().err
