"""The command `mask-gate-data` as a user meets it: what it prints, writes and returns."""

import json

import cv2
import pytest

from mask_gate.training.commands.data import main
from mask_gate.training.data.dataset import DatasetFolder


def run(capsys, *arguments):
    """Exit code, standard output and standard error of one call."""
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def test_check_is_content_with_a_sound_set(drawn_dataset, capsys):
    code, out, err = run(capsys, "check", "--data", drawn_dataset)
    assert code == 0
    assert out.endswith("ok: 12 annotated images, 36 faces, no problems\n")
    assert err == ""


def test_check_shows_fifty_problems_and_reports_all(draw, tmp_path, capsys):
    data = draw(tmp_path / "many", train=60, valid=4, size_wh=(64, 48))
    for file in list((data / "images").iterdir())[:55]:
        file.write_bytes(b"")
    report = tmp_path / "report.txt"
    code, _, err = run(capsys, "check", "--data", data, "--report", report)
    assert code == 2
    lines = err.splitlines()
    assert sum("empty file" in line for line in lines) == 50
    assert lines[50] == "... and 5 more problems"
    assert lines[51].startswith(f"55 problems in {data}; read: 64 annotated images")
    assert len(report.read_text().splitlines()) == 55


def test_check_counts_a_leak_as_a_problem(drawn_dataset, capsys):
    image = (drawn_dataset / "images" / "face0.png").read_bytes()
    (drawn_dataset / "images" / "face9.png").write_bytes(image)
    code, _, err = run(capsys, "check", "--data", drawn_dataset)
    assert code == 2
    assert "images that appear in both train and valid: 1 (face0 = face9); keep equal pixels" in err


def test_count_prints_the_table_and_draws_the_picture(drawn_dataset, tmp_path, capsys):
    picture = tmp_path / "counts.png"
    code, out, _ = run(capsys, "count", "--data", drawn_dataset, "--plot", picture)
    assert code == 0
    assert "all        12         12            12                     12         36" in out
    assert cv2.imread(str(picture)).shape[2] == 3


def test_own_class_names_stand_in_the_table_of_counts(drawn_dataset, capsys):
    for file in (drawn_dataset / "annotations").iterdir():
        file.write_text(file.read_text().replace(">with_mask<", ">mask<"))
    code, _, err = run(capsys, "count", "--data", drawn_dataset)
    assert code == 2
    assert "unknown class 'mask'" in err
    own = ("--map", "mask=with_mask", "mask_weared_incorrect=-")
    code, out, _ = run(capsys, "count", "--data", drawn_dataset, *own)
    assert code == 0
    assert "classes: mask is with_mask, mask_weared_incorrect is left out" in out
    assert "images  with_mask (mask)  without_mask  mask_weared_incorrect  all boxes" in out
    assert "all        12                12            12                      0         24" in out
    code, _, err = run(capsys, "count", "--data", drawn_dataset, "--map", "mask=wit_mask")
    assert code == 2
    assert "did you mean with_mask?" in err


def test_convert_writes_the_other_format(drawn_dataset, tmp_path, capsys):
    out = tmp_path / "yolo"
    code, said, _ = run(capsys, "convert", "--data", drawn_dataset, "--to", "yolo", "--out", out)
    assert code == 0
    assert f"{out}: 12 images with yolo annotations" in said
    expected = DatasetFolder.open(drawn_dataset).fingerprint()
    assert DatasetFolder.open(out).fingerprint() == expected


def test_balance_splits_augments_and_counts(drawn_dataset, tmp_path, capsys):
    out = tmp_path / "balanced"
    code, said, _ = run(
        capsys, "balance", "--data", drawn_dataset, "--valid", 3, "--out", out, "--seed", 5
    )
    assert code == 0
    assert "12 images show mask_weared_incorrect:" in said
    grown = DatasetFolder.open(out)
    assert (len(grown.split("train")), len(grown.split("valid"))) == (27, 3)


def test_balance_can_leave_another_split_unseen(drawn_dataset, tmp_path, capsys):
    out = tmp_path / "balanced"
    arguments = ("--data", drawn_dataset, "--valid", 2, "--out", out, "--split", "train")
    assert run(capsys, "balance", *arguments)[0] == 0
    seen = {image.stem.split("-")[0] for image in DatasetFolder.open(out).images}
    assert seen == {f"face{number}" for number in range(8)}


def test_augment_takes_its_own_strengths(drawn_dataset, tmp_path, capsys):
    out = tmp_path / "grown"
    strengths = ("--scale", 1.0, "--rotate", -90, "--noise", 0, "--outline", "corners")
    code, said, _ = run(capsys, "augment", "--data", drawn_dataset, "--out", out, *strengths)
    assert code == 0
    assert "train      24" in said
    images = out / "images"
    plain = cv2.imread(str(images / "face0.png"))
    assert cv2.imread(str(images / "face0-noisy.png")).tolist() == plain.tolist()
    assert cv2.imread(str(images / "face0-scaled.png")).tolist() != plain.tolist()


def test_anchors_that_fit_the_faces_are_printed(drawn_dataset, capsys):
    code, out, _ = run(
        capsys, "anchors", "--data", drawn_dataset, "--imgsz", "128", "--count", "2",
        "--split", "train",
    )  # fmt: skip
    assert code == 0
    small, large = json.loads(f"[{out.splitlines()[-1]}]")
    assert small[0] * small[1] < large[0] * large[1]
    assert "pixels of a 128 px input, mean IoU 0." in out


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--names", "face3", "face1"),
        ("--augmented",),
        ("--experiment", "lite-wide"),
        ("--label", "with_mask", "--images", 2),
    ],
)
def test_preview_draws_a_sheet(drawn_dataset, tmp_path, capsys, options):
    out = tmp_path / "sheet.png"
    assert run(capsys, "preview", "--data", drawn_dataset, "--out", out, *options)[0] == 0
    assert cv2.imread(str(out)).shape[1] > 300


def test_split_writes_lists_that_open_reads(drawn_dataset, tmp_path, capsys):
    out = tmp_path / "lists"
    arguments = ("--data", drawn_dataset, "--out", out, "--valid-share", 0.25)
    code, said, _ = run(capsys, "split", *arguments)
    assert code == 0
    assert "0 of 3 validation images have a near twin in another split" in said
    dataset = DatasetFolder.open(drawn_dataset, out)
    assert (len(dataset.split("train")), len(dataset.split("valid"))) == (9, 3)


def test_a_split_can_be_carved_out_of_another_that_stays_unseen(drawn_dataset, tmp_path, capsys):
    out = tmp_path / "dev"
    arguments = ("--data", drawn_dataset, "--out", out, "--split", "train", "--valid-share", 0.25)
    assert run(capsys, "split", *arguments)[0] == 0
    whole, dev = DatasetFolder.open(drawn_dataset), DatasetFolder.open(drawn_dataset, out)
    parts = [{image.stem for image in dev.split(name)} for name in ("train", "valid")]
    assert list(map(len, parts)) == [6, 2]
    assert parts[0] | parts[1] == {image.stem for image in whole.split("train")}


def test_split_into_folds_validates_every_image_once(drawn_dataset, tmp_path, capsys):
    arguments = ("--data", drawn_dataset, "--out", tmp_path / "folds", "--folds", 3)
    assert run(capsys, "split", *arguments)[0] == 0
    folds = [DatasetFolder.open(drawn_dataset, tmp_path / "folds" / f"fold{n}") for n in (1, 2, 3)]
    stems = [image.stem for fold in folds for image in fold.split("valid")]
    assert sorted(stems) == sorted(image.stem for image in folds[0].images)
    assert all(len(fold.split("train")) == 8 for fold in folds)


def test_split_names_twins_on_both_sides_and_parts_them_no_more(drawn_dataset, tmp_path, capsys):
    image = cv2.imread(str(drawn_dataset / "images" / "face0.png"))
    brighter = cv2.convertScaleAbs(image, alpha=0.95, beta=8)
    cv2.imwrite(str(drawn_dataset / "images" / "face9.png"), brighter)
    code, said, _ = run(
        capsys, "split", "--data", drawn_dataset, "--out", tmp_path / "new", "--valid-share", 0.3
    )
    assert code == 0
    assert "1 of 4 validation images have a near twin in another split" in said
    assert "face0 (train) and face9 (valid) differ in" in said
    assert "0 of 4 validation images have a near twin in another split" in said


# Faults: one sentence and a code


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("count", "--data", "nowhere"), 2, "nowhere: no such folder or archive; give the folder"),
        (("preview", "--data", "DATA", "--out", "x.png", "--names", "me"), 2, "no image 'me'"),
        (("preview", "--data", "DATA", "--out", "no/x.png"), 5, "no/x.png: cannot be written"),
        (("preview", "--data", "DATA", "--out", "x.png", "--split", "dev"), 2, "no split 'dev'"),
        (("convert", "--data", "DATA", "--to", "voc", "--out", "DATA"), 5, "already there"),
        (("split", "--data", "DATA", "--out", "DATA"), 5, "train.txt: already there"),
        (("balance", "--data", "DATA", "--valid", "12", "--out", "x"), 2, "12 images show"),
        (("check", "--data", "DATA", "--report", "no/report.txt"), 5, "cannot be written"),
        (("count", "--data", "DATA", "--lists", "nowhere"), 2, "nowhere: no such folder"),
    ],
)
def test_a_fault_is_one_sentence_and_a_code(
    drawn_dataset, tmp_path, monkeypatch, capsys, arguments, code, sentence
):
    monkeypatch.chdir(tmp_path)
    given = [str(drawn_dataset) if argument == "DATA" else argument for argument in arguments]
    got, _, err = run(capsys, *given)
    assert got == code
    assert sentence in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--scale", "nan"),
        ("--scale", "0"),
        ("--rotate", "400"),
        ("--noise", "1.5"),
        ("--seed", "-1"),
        ("--seed", "1.5"),
        ("--outline", "round"),
    ],
)
def test_a_value_out_of_range_is_a_usage_error(drawn_dataset, tmp_path, capsys, option, value):
    with pytest.raises(SystemExit) as caught:
        main(["augment", "--data", str(drawn_dataset), "--out", str(tmp_path / "x"), option, value])
    assert caught.value.code == 2
    assert option in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_an_interrupt_leaves_nothing_half_written(drawn_dataset, tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(DatasetFolder, "load", interrupt)
    code, _, err = run(capsys, "augment", "--data", drawn_dataset, "--out", tmp_path / "grown")
    assert code == 130
    assert "interrupted" in err
    assert [path.name for path in tmp_path.iterdir()] == ["drawn"]


# The real set


def test_the_real_subset_is_97_images_and_grows_to_246_and_15(real_data, tmp_path, capsys):
    code, said, _ = run(capsys, "balance", "--data", real_data, "--out", tmp_path / "balanced")
    assert code == 0
    assert "97 images show mask_weared_incorrect:" in said
    assert "all        97        624           157                    123        904" in said
    assert "train     246" in said
    assert "valid      15" in said
    assert "the report's own choice of 15 validation images gave 1516/405/327" in said


def test_the_reports_split_has_nine_validation_images_with_a_near_twin(real_data, capsys):
    code, said, _ = run(capsys, "split", "--data", real_data)
    assert code == 0
    assert "9 of 100 validation images have a near twin in another split" in said
    assert "maksssksksss13 (valid) and maksssksksss737 (train) differ in 0 of 127 bits" in said


def test_the_real_set_has_one_leak_and_no_other_problem(real_data, capsys):
    code, _, err = run(capsys, "check", "--data", real_data)
    assert code == 2
    assert "1 (maksssksksss737 = maksssksksss13)" in err
    assert "1 problem in" in err
