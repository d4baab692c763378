"""Data sets as other tools leave them: the same twelve images read from each, none by guessing."""

import json
import shutil

import numpy as np
import pytest

from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.data.check import check
from mask_gate.training.data.class_names import ClassMap
from mask_gate.training.data.dataset import DatasetFolder, scan
from mask_gate.training.data.dataset_writer import convert, write_split_lists
from mask_gate.training.errors import DataError

OWN_NAMES = ("mask_weared_incorrect", "no mask", "mask")  # in alphabetical order of ours
OWN = ClassMap({"mask": "with_mask", "no mask": "without_mask"})
FOLDER_OF = {"train": "train", "valid": "valid"}


def place(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


class Remaker:
    """Writes the drawn data set anew, image by image, as another tool would."""

    def __init__(self, folder, out):
        self.dataset = DatasetFolder.open(folder)
        self.out = out

    def each(self):
        for split, folder in FOLDER_OF.items():
            for image in self.dataset.split(split):
                yield folder, image

    def write(self, name, content):
        place(self.out, name, content)

    def image(self, image):
        return image.image_path.read_bytes()

    def voc(self, image, name=None):
        text = image.annotation_path.read_text()
        return text if name is None else text.replace(f"{image.stem}.png", name)

    def yolo(self, image, numbers=(2, 1, 0)):
        """`numbers` of our three classes; the usual ones are those of `OWN_NAMES`."""
        lines = []
        for (x1, y1, x2, y2), label in zip(image.boxes_xyxy, image.labels, strict=True):
            w, h = image.size_wh
            shares = (x1 + x2) / 2 / w, (y1 + y2) / 2 / h, (x2 - x1) / w, (y2 - y1) / h
            lines.append(f"{numbers[label]} {' '.join(f'{v:.10f}' for v in shares)}\n")
        return "".join(lines)

    def coco(self, images, file_of=lambda image: f"{image.stem}.png"):
        names = [*CLASS_NAMES]
        boxes = [
            {"id": n, "image_id": i, "category_id": int(label), "iscrowd": 0,
             "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)]}
            for i, image in enumerate(images)
            for n, ((x1, y1, x2, y2), label) in enumerate(
                zip(image.boxes_xyxy, image.labels, strict=True))
        ]  # fmt: skip
        return json.dumps(
            {
                "images": [
                    {
                        "id": i,
                        "file_name": file_of(m),
                        "width": m.size_wh[0],
                        "height": m.size_wh[1],
                    }
                    for i, m in enumerate(images)
                ],
                "annotations": boxes,
                "categories": [{"id": n, "name": name} for n, name in enumerate(names)],
            }
        )

    def lists(self, place_of=lambda folder, image: image.stem, suffix=".txt", folder=""):
        for split in FOLDER_OF:
            text = "".join(f"{place_of(f, i)}\n" for f, i in self.each() if f == split)
            self.write(f"{folder}{'val' if split == 'valid' else split}{suffix}", text)


@pytest.fixture
def remade(drawn_dataset, tmp_path):
    return Remaker(drawn_dataset, tmp_path / "remade")


def roboflow_yolo(remade):
    for folder, image in remade.each():
        remade.write(f"{folder}/images/{image.stem}_png.rf.0a1b.png", remade.image(image))
        remade.write(f"{folder}/labels/{image.stem}_png.rf.0a1b.txt", remade.yolo(image))
    names = ["mask_weared_incorrect", "no mask", "mask"]
    remade.write(
        "data.yaml", f"train: ../train/images\nval: ../valid/images\nnc: 3\nnames: {names}"
    )
    remade.write("README.roboflow.txt", "exported")


def yolo_by_folders(remade):
    for folder, image in remade.each():
        folder = "val" if folder == "valid" else folder
        remade.write(f"images/{folder}/{image.stem}.png", remade.image(image))
        remade.write(f"labels/{folder}/{image.stem}.txt", remade.yolo(image))
    remade.write("labels/train.cache", b"x")
    remade.write("coco.names", "\n".join(OWN_NAMES))


def roboflow_voc(remade):
    for folder, image in remade.each():
        remade.write(f"{folder}/{image.stem}.png", remade.image(image))
        remade.write(f"{folder}/{image.stem}.xml", remade.voc(image))


def roboflow_coco(remade):
    for folder, image in remade.each():
        remade.write(f"{folder}/{image.stem}.png", remade.image(image))
    for folder in FOLDER_OF.values():
        images = [image for place, image in remade.each() if place == folder]
        remade.write(f"{folder}/_annotations.coco.json", remade.coco(images))


def coco(remade):
    for folder, image in remade.each():
        folder = "val2017" if folder == "valid" else "train2017"
        remade.write(f"{folder}/{image.stem}.png", remade.image(image))
    for split, name in (("train", "instances_train2017"), ("valid", "instances_val2017")):
        images = [image for place, image in remade.each() if place == split]
        remade.write(f"annotations/{name}.json", remade.coco(images))


def voc_devkit(remade):
    root = "VOCdevkit/VOC2007"
    for _, image in remade.each():
        remade.write(f"{root}/JPEGImages/{image.stem}.png", remade.image(image))
        remade.write(f"{root}/Annotations/{image.stem}.xml", remade.voc(image))
        remade.write(f"{root}/SegmentationClass/{image.stem}.png", b"other pixels")
    remade.lists(folder=f"{root}/ImageSets/Main/")
    remade.write(f"{root}/ImageSets/Main/with_mask_train.txt", "face0  1\n")
    remade.write(f"{root}/ImageSets/Segmentation/train.txt", "nothing\n")


def cvat_yolo(remade):
    for folder, image in remade.each():
        folder = "obj_valid_data" if folder == "valid" else "obj_train_data"
        remade.write(f"{folder}/{image.stem}.png", remade.image(image))
        remade.write(f"{folder}/{image.stem}.txt", remade.yolo(image))
    remade.write("obj.names", "\n".join(OWN_NAMES))
    remade.write("obj.data", "classes = 3\nnames = data/obj.names\n")
    remade.lists(lambda f, i: f"data/obj_{f}_data/{i.stem}.png")
    (remade.out / "val.txt").rename(remade.out / "Valid.TXT")


def cvat_images(remade):
    parts = ["<annotations><version>1.1</version>"]
    for _, image in remade.each():
        width, height = image.size_wh
        remade.write(f"images/{image.stem}.png", remade.image(image))
        parts.append(f'<image id="1" name="{image.stem}.png" width="{width}" height="{height}">')
        for (x1, y1, x2, y2), label in zip(image.boxes_xyxy, image.labels, strict=True):
            corners = f'xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}"'
            parts.append(f'<box label="{CLASS_NAMES[label]}" occluded="0" {corners}></box>')
        parts.append("</image>")
    remade.write("annotations.xml", "".join([*parts, "</annotations>"]))
    remade.lists()


def label_studio_yolo(remade):
    for _, image in remade.each():
        remade.write(f"images/0a1b2c3d-{image.stem}.png", remade.image(image))
        remade.write(f"labels/0a1b2c3d-{image.stem}.txt", remade.yolo(image))
    remade.write("classes.txt", "\n".join(OWN_NAMES))
    remade.write("notes.json", "{}")
    remade.lists(lambda f, i: f"0a1b2c3d-{i.stem}")


def label_studio_json(remade):
    tasks = []
    for _, image in remade.each():
        remade.write(f"images/{image.stem}.png", remade.image(image))
        width, height = image.size_wh
        results = [
            {
                "type": "rectanglelabels",
                "original_width": width,
                "original_height": height,
                "value": {
                    "x": float(x1) / width * 100,
                    "y": float(y1) / height * 100,
                    "width": float(x2 - x1) / width * 100,
                    "height": float(y2 - y1) / height * 100,
                    "rotation": 0,
                    "rectanglelabels": [CLASS_NAMES[label]],
                },
            }
            for (x1, y1, x2, y2), label in zip(image.boxes_xyxy, image.labels, strict=True)
        ]
        file = f"/data/upload/1/{image.stem}.png"
        tasks.append({"data": {"image": file}, "annotations": [{"result": results}]})
    remade.write("project-1.json", json.dumps(tasks))
    remade.lists(lambda f, i: f"C:\\Users\\me\\images\\{i.stem}.png")


def label_img_yolo(remade):
    for _, image in remade.each():
        remade.write(f"images/{image.stem}.png", remade.image(image))
        remade.write(f"labels/{image.stem}.txt", remade.yolo(image))
    remade.write("labels/classes.txt", "\r\n".join(OWN_NAMES))
    remade.lists(lambda f, i: f"/home/me/darknet/data/images/{i.stem}.png")


def yolo_in_a_folder_beside_its_names(remade):
    for folder, image in remade.each():
        remade.write(f"faces/images/{folder}/{image.stem}.png", remade.image(image))
        remade.write(f"faces/labels/{folder}/{image.stem}.txt", remade.yolo(image))
    remade.write(
        "data.yaml",
        f"path: faces\ntrain: images/train\nval: images/valid\nnames: {list(OWN_NAMES)}",
    )


def label_img_flat(remade):
    for _, image in remade.each():
        remade.write(f"{image.stem}.PNG", remade.image(image))
        remade.write(f"{image.stem}.XML", remade.voc(image, f"C:\\photos\\{image.stem}.PNG"))
    remade.lists(suffix=".TXT")


LAYOUTS = [
    roboflow_yolo, yolo_by_folders, roboflow_voc, roboflow_coco, coco, voc_devkit, cvat_yolo,
    cvat_images, label_studio_yolo, label_studio_json, label_img_yolo, label_img_flat,
    yolo_in_a_folder_beside_its_names,
]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_every_tools_layout_holds_the_same_data(remade, layout):
    layout(remade)
    dataset, problems = scan(remade.out, classes=OWN)
    assert [str(problem) for problem in problems] == []
    assert dataset.is_listed
    original = remade.dataset
    assert {k: len(v) for k, v in dataset.stems_of_split.items()} == {"train": 8, "valid": 4}
    for split in FOLDER_OF:
        for ours, theirs in zip(
            sorted(dataset.split(split), key=lambda image: image.stem),
            sorted(original.split(split), key=lambda image: image.stem),
            strict=True,
        ):
            assert theirs.stem in ours.stem
            np.testing.assert_allclose(ours.boxes_xyxy, theirs.boxes_xyxy, atol=0.01)
            np.testing.assert_array_equal(ours.labels, theirs.labels)
            np.testing.assert_array_equal(dataset.load(ours).image, original.load(theirs).image)
    if layout not in (label_studio_yolo, label_img_yolo):  # folders as this project has them
        assert "12 images in" in dataset.layout_note


def test_what_was_found_is_told(remade):
    roboflow_yolo(remade)
    found = check(remade.out, classes=OWN)
    assert found.problems == ()
    assert found.notes[0] == (
        "12 images in `train/images`, `valid/images`, annotations: 12 .txt in "
        "`train/labels`, `valid/labels`"
    )
    assert found.notes[2] == "classes: mask is with_mask, no mask is without_mask"


def test_a_data_yaml_stands_for_its_folder(remade):
    roboflow_yolo(remade)
    assert len(DatasetFolder.open(remade.out / "data.yaml", classes=OWN).images) == 12


def test_a_name_that_is_unknown_everywhere_is_told_once(draw, tmp_path):
    data = draw(tmp_path / "many", train=24, valid=2, size_wh=(64, 48))
    for file in (data / "annotations").iterdir():
        file.write_text(file.read_text().replace(">with_mask<", ">mask<"))
    told = [str(problem) for problem in scan(data)[1]]
    assert sum("unknown class 'mask', 26 boxes of it in all" in line for line in told) == 1
    assert sum("unknown class" in line for line in told) == 1


def test_every_layout_can_be_converted_to_this_projects_own(remade, tmp_path):
    roboflow_coco(remade)
    dataset = DatasetFolder.open(remade.out)
    convert(dataset, tmp_path / "own", "voc")
    assert DatasetFolder.open(tmp_path / "own").fingerprint() == remade.dataset.fingerprint()


def test_equal_names_in_two_folders_are_told_apart(remade, tmp_path):
    for folder, image in remade.each():
        name = f"{int(image.stem.removeprefix('face')) % 8:04}"
        remade.write(f"{folder}/images/{name}.png", remade.image(image))
        remade.write(f"{folder}/labels/{name}.txt", remade.yolo(image, (0, 1, 2)))
    remade.write("data.yaml", f"names: {list(CLASS_NAMES)}")
    dataset = DatasetFolder.open(remade.out)
    assert sorted(dataset.stems_of_split["valid"])[0] == "valid-0000"
    assert len(dataset.split("train")) == 8
    convert(dataset, tmp_path / "own", "yolo")
    again = DatasetFolder.open(tmp_path / "own")
    assert again.stems_of_split == dataset.stems_of_split


def test_a_test_folder_stays_unseen_where_there_is_no_valid_folder(remade):
    for folder, image in remade.each():
        folder = "test" if folder == "valid" else folder
        remade.write(f"{folder}/{image.stem}.png", remade.image(image))
        remade.write(f"{folder}/{image.stem}.xml", remade.voc(image))
    dataset = DatasetFolder.open(remade.out)
    assert len(dataset.split("test")) == 4
    assert len(dataset.split("train")) + len(dataset.split("valid")) == 8
    assert "split by seed 0" in dataset.split_note


# Names


@pytest.mark.parametrize(
    ("image", "annotation", "filename"),
    [
        ("face.png", "face.xml", "face"),
        ("my.face.v2.png", "my.face.v2.xml", "my.face.v2"),
        ("my.face.v2.png", "my.face.v2.xml", "my.face.v2.jpeg"),
        ("face.png", "face.xml", "face.HEIC"),
        ("face.png", "face.xml", "face.tiff"),
        ("face.jpg.png", "face.jpg.xml", "face.jpg"),
        ("face.jpg.png", "face.jpg.xml", "face.jpg.png"),
        ("face.jpg.png", "face.xml", "face.jpg"),
        ("face.png", "face.png.xml", "face.png"),
        ("face.PNG", "face.XML", "face.png"),
        ("face.png", "face.xml", "D:\\set\\images\\face.jpg"),
        ("face.png", "face.xml", "/home/me/set/face.png"),
        (" face 1 .png", " face 1 .xml", "face 1 .png"),
    ],
)
def test_names_as_people_have_them_find_each_other(drawn_dataset, image, annotation, filename):
    (drawn_dataset / "images" / "face0.png").rename(drawn_dataset / "images" / image)
    file = drawn_dataset / "annotations" / "face0.xml"
    text = file.read_text().replace("face0.png", filename)
    file.unlink()
    (drawn_dataset / "annotations" / annotation).write_text(text)
    (drawn_dataset / "train.txt").write_text(f"{image}\nface1\n")
    dataset, problems = scan(drawn_dataset)
    assert [str(problem) for problem in problems] == []
    assert len(dataset.split("train")) == 2


ODD = (
    "photo.jpg",
    "photo",
    " blank ",
    "a.b.c",
    "x.webp.png",
    "back\\slash",
    "마스크",
    "line\x85feed",
)


@pytest.mark.parametrize("layout", ["voc", "yolo"])
def test_our_own_lists_are_read_back_whatever_the_stems(drawn_dataset, tmp_path, layout):
    for number, stem in enumerate(ODD):
        for folder, suffix in (("images", "png"), ("annotations", "xml")):
            file = drawn_dataset / folder / f"face{number}.{suffix}"
            file.rename(drawn_dataset / folder / f"{stem}.{suffix}")
        file = drawn_dataset / "annotations" / f"{stem}.xml"
        file.write_text(file.read_text().replace(f"<filename>face{number}.png</filename>", ""))
    for name in ("train.txt", "valid.txt"):
        (drawn_dataset / name).unlink()
    dataset = DatasetFolder.open(drawn_dataset)
    assert {*ODD} < {image.stem for image in dataset.images}
    convert(dataset, tmp_path / "out", layout)
    assert DatasetFolder.open(tmp_path / "out").fingerprint() == dataset.fingerprint()
    write_split_lists(tmp_path / "lists", dataset.stems_of_split, dataset.image_names)
    again = DatasetFolder.open(drawn_dataset, tmp_path / "lists")
    assert again.stems_of_split == dataset.stems_of_split


def test_a_stem_that_is_another_images_name_is_refused_where_it_could_be_either(drawn_dataset):
    for folder, suffix in (("images", "png"), ("annotations", "xml")):
        file = drawn_dataset / folder / f"face1.{suffix}"
        file.rename(drawn_dataset / folder / f"face0.png.{suffix}")
    text = (drawn_dataset / "train.txt").read_text()
    (drawn_dataset / "train.txt").write_text(text.replace("face1\n", "face0.png\n"))
    (problem,) = scan(drawn_dataset)[1][1:]
    assert "'face0.png' names two images" in str(problem)
    (drawn_dataset / "train.txt").write_text(text.replace("face1\n", "face0.png.png\n"))
    assert "<filename>" in str(scan(drawn_dataset)[1][0])  # nothing else is left to tell


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32"])
def test_lists_as_windows_saves_them_are_read(drawn_dataset, encoding):
    text = "Images\\FACE0.PNG\r\nC:\\Users\\me\\set\\images\\face1.png\r\nface2.jpg\r\n"
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    (drawn_dataset / "train.txt").write_bytes(mark + text.encode(encoding))
    dataset = DatasetFolder.open(drawn_dataset)
    assert dataset.stems_of_split["train"] == ("face0", "face1", "face2")


# What cannot be read is told


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1, 2]", "is none of the formats that are read"),
        ('{"images": [{}], "annotations": [], "categories": []}', "lacks or garbles a field"),
        ("{", "not JSON at column 2"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_a_sheet_that_is_none_is_told(remade, content, said):
    for _, image in remade.each():
        remade.write(f"images/{image.stem}.png", remade.image(image))
    remade.write("annotations/instances_default.json", content)
    told = [str(problem) for problem in scan(remade.out)[1]]
    assert any("instances_default.json" in line and said in line for line in told)


def test_faults_in_a_sheet_name_the_image(remade):
    images = [image for _, image in remade.each()]
    for image in images[1:]:
        remade.write(f"images/{image.stem}.png", remade.image(image))
    content = json.loads(remade.coco(images))
    content["annotations"][3]["bbox"][0] = -9.0
    content["annotations"][6]["category_id"] = 7
    remade.write("images/extra.png", remade.image(images[0]))
    remade.write("annotations.json", json.dumps(content))
    told = "\n".join(str(problem) for problem in scan(remade.out)[1])
    assert "names 'face0.png', which is not one image here" in told
    assert "annotations.json, face1.png: xmin -9 is below 0" in told
    assert "annotations.json, face2.png: unknown class 'number 7'" in told
    assert "extra.png: an image without annotation; describe it in annotations.json" in told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nc: 3\n", "has no list `names`"),
        ("names: {0: a, 2: b}\n", "has no list `names`"),
        ("names: [a, a]\n", "class 'a' twice"),
        ("names: [\n", "not YAML"),
        ("names: [no, 1, mask]\n", "unknown class 'no'"),
    ],
)
def test_a_data_yaml_without_sense_is_told(remade, text, said):
    roboflow_yolo(remade)
    remade.write("data.yaml", text)
    assert said in "\n".join(str(problem) for problem in scan(remade.out, classes=OWN)[1])


def test_yaml_names_by_number_and_words_that_yaml_takes_for_others(remade):
    roboflow_yolo(remade)
    remade.write("data.yaml", "names:\n  0: off\n  1: no\n  2: yes\n")
    own = ClassMap({"off": "mask_weared_incorrect", "no": "without_mask", "yes": "with_mask"})
    assert len(DatasetFolder.open(remade.out, classes=own).split("train")) == 8


def test_two_classes_are_a_data_set_that_says_what_it_leaves_out(drawn_dataset):
    for file in (drawn_dataset / "annotations").iterdir():
        text = file.read_text().replace("mask_weared_incorrect", "with_mask")
        file.write_text(text.replace(">with_mask<", ">mask<").replace(">without_mask<", ">none<"))
    with pytest.raises(DataError, match=r"unknown class 'none'.* --map none=\.\.\."):
        DatasetFolder.open(drawn_dataset)
    found = check(drawn_dataset, classes=ClassMap({"mask": "with_mask", "none": "without_mask"}))
    assert found.problems == ()
    assert any("no image shows mask_weared_incorrect: it is left" in note for note in found.notes)


def test_one_class_is_no_data_set_to_learn_from(drawn_dataset):
    for file in (drawn_dataset / "annotations").iterdir():
        text = file.read_text().replace("mask_weared_incorrect", "with_mask")
        file.write_text(text.replace(">without_mask<", ">with_mask<"))
    (problem,) = check(drawn_dataset).problems
    assert "shows 1 of the classes" in str(problem)


def test_an_archive_packed_on_windows_holds_the_same(remade, tmp_path):
    voc_devkit(remade)
    packed = shutil.make_archive(str(tmp_path / "set"), "zip", remade.out)
    data = DatasetFolder.open(packed)
    assert data.fingerprint() == remade.dataset.fingerprint()
