"""The exports of Roboflow, CVAT, Label Studio, LabelImg and Ultralytics, and the oddities of VOC, YOLO and VisDrone."""

import json

import cv2
import numpy as np
import pytest

from lib.build_data import build_dataset
from lib.config import load_config
from lib.data.dataset import CocoDataset
from lib.data.formats.registry import read_content, read_dataset, write_dataset

BOX = "0 0.375 0.5 0.25 0.5\n"  # [15, 10, 15, 20] in an image of 60 x 40
XML = (
    "<annotation><filename>{name}</filename><size><width>{w}</width><height>{h}</height></size><object><name>{cls}</name>"
    "<difficult>{flag}</difficult><bndbox><xmin>16</xmin><ymin>11</ymin><xmax>30</xmax><ymax>30</ymax></bndbox></object>"
    "</annotation>"
)


def xml(name="a.png", cls="red", flag="0", w=60, h=40):
    return XML.format(name=name, cls=cls, flag=flag, w=w, h=h)


def make(root, files):
    """Texts as they are; images of 60 x 40 pixels where the content is None."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            cv2.imwrite(str(path), np.zeros((40, 60, 3), np.uint8))
        else:
            path.write_text(content)
    return root


COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 60, "height": 40}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [15, 10, 15, 20], "area": 300, "iscrowd": 0}],
    "categories": [{"id": 0, "name": "things", "supercategory": "none"}, {"id": 1, "name": "red"}],
}
EXPORTS = {
    "Roboflow YOLO": (
        {
            "data.yaml": "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['red']\n",
            **{f"{split}/labels/a.txt": BOX for split in ("train", "valid")},
            **{f"{split}/images/a.png": None for split in ("train", "valid")},
        },
        "data.yaml",
        None,
    ),
    "Roboflow VOC": ({"train/a.xml": xml(), "train/a.png": None}, "train", None),
    "Roboflow COCO": (
        {"train/_annotations.coco.json": json.dumps(COCO), "train/a.png": None},
        "train/_annotations.coco.json",
        "train",
    ),
    "CVAT Ultralytics": (
        {
            "data.yaml": "names:\n  0: red\npath: .\ntrain: train.txt\nval: train.txt\n",
            "train.txt": "images/train/a.png\n",
            "images/train/a.png": None,
            "labels/train/a.txt": BOX,
        },
        "data.yaml",
        None,
    ),
    "CVAT YOLO 1.1": (
        {"obj.names": "red\n", "obj_train_data/a.png": None, "obj_train_data/a.txt": BOX},
        "obj_train_data",
        None,
    ),
    "CVAT VOC": (
        {"Annotations/a.xml": xml(), "JPEGImages/a.png": None, "labelmap.txt": "# label\nred:::\n"},
        ".",
        None,
    ),
    "Label Studio YOLO": (
        {"classes.txt": "red\n", "notes.json": "{}", "images/a.png": None, "labels/a.txt": BOX},
        ".",
        None,
    ),
    "Label Studio COCO": (
        {
            "result.json": json.dumps({**COCO, "images": [{**COCO["images"][0], "file_name": "images\\a.png"}]}),
            "images/a.png": None,
        },
        "result.json",
        ".",
    ),
    "LabelImg YOLO": ({"classes.txt": "red\n", "a.txt": BOX, "a.png": None}, ".", None),
    "LabelImg VOC": ({"a.xml": xml("a"), "a.png": None}, ".", None),
    "Ultralytics": (
        {
            "sets/x.yaml": "path: ../data\ntrain:\n  - images/one\n  - images/two\nval: images/one\nnames: {0: red}\n",
            "data/images/one/a.png": None,
            "data/images/two/b.png": None,
            "data/labels/one/a.txt": BOX,
        },
        "sets/x.yaml",
        None,
    ),
    "Ultralytics on Windows": (
        {
            "sets/x.yaml": "path: ..\\data\ntrain: images\\one\nval: ..\\images\\one\nnames: {0: red}\n",
            "data/images/one/a.png": None,
            "data/labels/one/a.txt": BOX,
        },
        "sets/x.yaml",
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_trains_as_it_is(name, split, tmp_path):
    files, annotations, images = EXPORTS[name]
    make(tmp_path, files)
    keys = [f"data.{split}.annotations={tmp_path / annotations}"]
    keys += [f"data.{split}.images={tmp_path / images}"] if images else []
    dataset = build_dataset(load_config({}, keys), split, ["red"])
    boxes = np.concatenate([dataset.objects(index).boxes for index in range(len(dataset))])
    np.testing.assert_allclose(boxes, [[15, 10, 30, 30]], atol=1e-4)
    assert dataset.classes == ("red",) and dataset.load(0).size == (40, 60)


def test_the_name_of_an_xml_file_wins_over_the_filename_in_it(tmp_path):
    make(
        tmp_path,
        {"JPEGImages/a.png": None, "JPEGImages/b.png": None, "Annotations/a.xml": xml(), "Annotations/b.xml": xml()},
    )
    dataset = CocoDataset(tmp_path / "JPEGImages", tmp_path)
    assert dataset.files == ["a.png", "b.png"]
    assert (
        "XML files whose `filename` names another image (the image with the XML's own name is used): 1 (b.xml"
        in dataset.report()
    )


@pytest.mark.parametrize("told", ["a", "a.jpg", "a.png", "", "x/a.png", "C:\\data\\a.png", "/data/a.tiff", "zzz.png"])
def test_the_image_of_an_xml_file_is_found_in_its_subfolder(told, tmp_path):
    make(tmp_path, {f"{top}/cam{n}/a{end}": text for n in (1, 2) for top, end, text in
                    (("JPEGImages", ".png", None), ("Annotations", ".xml", xml(told)))})  # fmt: skip
    assert CocoDataset(tmp_path / "JPEGImages", tmp_path).files == ["cam1/a.png", "cam2/a.png"]


def test_folders_may_be_in_lower_or_upper_case(tmp_path):
    voc = {f"annotations/{name}.xml": xml("b.png") for name in "ab"}  # a.xml is a copy, whose filename was not changed
    make(tmp_path / "voc", {**voc, "jpegimages/a.png": None, "jpegimages/b.png": None})
    assert [record["file_name"] for record in read_dataset(tmp_path / "voc")["images"]] == ["a.png", "b.png"]
    make(tmp_path / "yolo", {"Images/a.png": None, "Labels/a.txt": BOX, "data.yaml": "train: Images\nnames: [red]\n"})
    for path in (tmp_path / "yolo", tmp_path / "yolo/data.yaml"):
        assert [entry["bbox"] for entry in read_dataset(path)["annotations"]] == [[15, 10, 15, 20]]
    make(tmp_path / "visdrone", {"Images/a.png": None, "Annotations/a.txt": "10,10,12,8,1,4,0,0\n"})
    assert len(read_dataset(tmp_path / "visdrone")["annotations"]) == 1


def test_images_in_folders_of_classes_are_found_by_flat_xml_files(tmp_path):
    files = {f"annotations/{name}.xml": xml(f"{name}.jpg") for name in ("crazing_1", "patches_1", "both")}
    make(tmp_path, {**files, "images/crazing/crazing_1.png": None, "images/patches/patches_1.png": None})
    make(tmp_path, {"images/crazing/both.png": None, "images/patches/both.png": None})
    dataset = CocoDataset(tmp_path / "images", tmp_path)
    assert dataset.files == ["crazing/crazing_1.png", "patches/patches_1.png"]
    assert dataset.problems["XML files whose image lies in another folder (the only image of its name)"] == [
        "crazing_1.xml: crazing/crazing_1.png",
        "patches_1.xml: patches/patches_1.png",
    ]


LABELS = {
    "VOC": ("Annotations", "xml", xml("", w=0)),
    "YOLO": ("labels", "txt", BOX),
    "VisDrone": ("annotations", "txt", "15,10,15,20,1,1,0,0\n"),
}


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("num_images", [1, 2, 4])
def test_annotations_of_images_in_another_folder_are_left_out(name, num_images, tmp_path):
    folder, suffix, text = LABELS[name]
    make(tmp_path, {f"{folder}/{stem}.{suffix}": text for stem in "abc"})
    make(tmp_path, {f"images/{stem}.png": None for stem in "azyx"[:num_images]})
    if num_images == 4:  # neither half of the images nor half of the annotation files have their partner
        with pytest.raises(FileNotFoundError, match=r"2 (are missing \(b\.jpg|of 3 have none, such as .*b\.txt)"):
            CocoDataset(tmp_path / "images", tmp_path)
        return
    dataset = CocoDataset(tmp_path / "images", tmp_path)
    np.testing.assert_allclose(dataset.objects(0).boxes, [[15, 10, 30, 30]], atol=1e-4)
    kind = f"annotation files without an image in {tmp_path / 'images'} (left out)"
    assert dataset.files[0] == "a.png" and dataset.problems[kind] == [f"b.{suffix}", f"c.{suffix}"]


@pytest.mark.parametrize("name", LABELS)
def test_all_images_that_cannot_be_read_are_named(name, tmp_path):
    folder, suffix, text = LABELS[name]
    make(tmp_path, {f"{folder}/{stem}.{suffix}": text for stem in "abc"})
    make(tmp_path, {"images/a.png": None, "images/b.png": "", "images/c.png": ""})
    faults = [f"image {stem}.png must be readable; it is empty: replace the file" for stem in "bc"]
    fault = r"must have images that can be read; 2 cannot \(image b\.png .*\); tools/check_dataset\.py lists all"
    with pytest.raises(ValueError, match=fault):
        read_content(tmp_path)
    content = read_content(tmp_path, lenient=True)
    assert content.problems == {"image files that cannot be read": faults}
    assert [record["file_name"] for record in content.images] == ["a.png"] and len(content.objects) == 1
    make(tmp_path, {"images/c.png": None})
    with pytest.raises(ValueError, match="that can be read; image b.png must be readable; it is empty: replace the f"):
        read_content(tmp_path)


def test_oriented_boxes_of_voc_are_refused_with_what_to_give(tmp_path):
    text = xml().replace("bndbox", "robndbox")
    make(tmp_path, {"images/a.png": None, "Annotations/a.xml": text})
    with pytest.raises(ValueError, match=r"a\.xml must have a bndbox for each object; got a robndbox: .* horizontal"):
        read_content(tmp_path)


@pytest.mark.parametrize(("train", "place"), [("train", "train/"), (".", "")])
def test_a_data_yaml_may_name_the_folder_above_images(train, place, tmp_path):
    files = {f"{place}images/a.png": None, f"{place}labels/a.txt": BOX, f"{place}images/b.png": None}
    make(tmp_path, {**files, "data.yaml": f"train: {train}\nnames: [red]\n"})
    dataset = build_dataset(load_config({}, [f"data.train.annotations={tmp_path / 'data.yaml'}"]), "train")
    assert dataset.files == ["images/a.png", "images/b.png"] and dataset.load(0).size == (40, 60)
    np.testing.assert_allclose(dataset.objects(0).boxes, [[15, 10, 30, 30]], atol=1e-4)


def test_linked_folders_are_entered_once(tmp_path):
    files = {
        f"more/{part}/x/{name}": text for part, name, text in (("images", "b.png", None), ("labels", "b.txt", BOX))
    }
    make(tmp_path, {**files, "images/a.png": None, "labels/a.txt": BOX})
    for part in ("images", "labels"):
        (tmp_path / part / "far").symlink_to(tmp_path / "more" / part)
        (tmp_path / part / "far/x/loop").symlink_to(tmp_path / part)
        (tmp_path / part / "again").symlink_to(tmp_path / part / "far")
    dataset = CocoDataset(tmp_path / "images", tmp_path)
    assert dataset.files == ["a.png", "again/x/b.png"] and len(dataset.ground_truth["annotations"]) == 2


def test_the_filename_counts_where_no_image_has_the_name_of_the_xml_file(tmp_path):
    make(tmp_path, {"JPEGImages/b.png": None, "Annotations/000.xml": xml("b.jpg")})
    assert CocoDataset(tmp_path / "JPEGImages", tmp_path).files == ["b.png"]


@pytest.mark.parametrize("encoding", ["gb2312", "GBK", "big5", "Shift_JIS", "EUC-KR", "windows-1252", "utf-16"])
def test_an_xml_file_is_read_in_the_encoding_that_it_declares(encoding, tmp_path):
    names = {"big5": "\u8eca", "Shift_JIS": "\u8eca", "EUC-KR": "\ucc28", "windows-1252": "\xe9"}
    name = names.get(encoding, "\u8f66")
    make(tmp_path, {"images/a.png": None})
    text = f'<?xml version="1.0" encoding="{encoding}"?>\n{xml(cls=name)}'
    (tmp_path / "a.xml").write_bytes(text.encode(encoding))
    assert [entry["name"] for entry in read_dataset(tmp_path)["categories"]] == [name]
    (tmp_path / "a.xml").write_bytes(text.replace("?>", "?><!DOCTYPE annotation>").encode(encoding))
    with pytest.raises(ValueError, match="must be plain XML; it declares a document type"):
        read_dataset(tmp_path)


def test_another_encoding_of_an_xml_file_is_named_with_the_file(tmp_path):
    make(tmp_path, {"images/a.png": None, "a.xml": f'<?xml version="1.0" encoding="utf-7"?>{xml()}'})
    with pytest.raises(ValueError, match=r"a\.xml must be XML in UTF-8, .*; it declares utf-7: save it as UTF-8"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("size", [{"w": 0, "h": 0}, {"w": "", "h": ""}, {"w": 60, "h": 0}])
def test_a_voc_size_of_0_is_that_of_the_image(size, tmp_path):
    make(tmp_path, {"JPEGImages/a.png": None, "Annotations/a.xml": xml(**size)})
    assert CocoDataset(tmp_path / "JPEGImages", tmp_path).sizes.tolist() == [[40, 60]]
    assert [(record["height"], record["width"]) for record in read_dataset(tmp_path)["images"]] == [(40, 60)]


@pytest.mark.parametrize(("text", "flag"), [("Unspecified", 0), ("True", 1), ("false", 0), ("1.0", 1), ("", 0)])
def test_spellings_of_difficult(text, flag, tmp_path):
    make(tmp_path, {"images/a.png": None, "a.xml": xml(flag=text)})
    assert read_dataset(tmp_path)["annotations"][0]["difficult"] == flag


@pytest.mark.parametrize("text", ["maybe", "1e309", "0x1", "2"])
def test_another_difficult_is_refused_with_file_and_element(text, tmp_path):
    make(tmp_path, {"images/a.png": None, "a.xml": xml(flag=text)})
    with pytest.raises(ValueError, match=rf"a\.xml: object/difficult must be 0 or 1, .*got '{text}'"):
        read_content(tmp_path)


POSE = "0 0.5 0.5 0.25 0.5 0.45 0.5 0.55 0.5 0.4 0.4 0.6 0.6\n"  # a box and four points


def test_keypoints_are_told_by_kpt_shape(tmp_path):
    yaml = "train: images\nkpt_shape: [4, 2]\nnames: [red]\n"
    make(tmp_path, {"images/a.png": None, "labels/a.txt": POSE, "data.yaml": yaml})
    for path in (tmp_path, tmp_path / "data.yaml"):
        content = read_content(path)
        assert [entry["bbox"] for entry in content.objects] == [[22.5, 10, 15, 20]]
        assert list(content.problems) == ["lines with keypoints (the box is taken)"]


def test_lines_of_another_length_than_kpt_shape_says_are_refused(tmp_path):
    yaml = "train: images\nkpt_shape: [17, 3]\nnames: [red]\n"
    make(tmp_path, {"images/a.png": None, "labels/a.txt": f"0 .5 .5 .2 .2\n{POSE}", "data.yaml": yaml})
    with pytest.raises(ValueError, match=r"a\.txt, line 2 must be 5 numbers, or 56 as kpt_shape .*; got 13: fix"):
        read_content(tmp_path / "data.yaml")


def test_keypoints_are_told_by_their_visibility(tmp_path):
    make(tmp_path, {"images/a.png": None, "labels/a.txt": "0 0.5 0.5 0.25 0.5 0.45 0.5 2 0.55 0.5 1\n" * 2})
    assert [entry["bbox"] for entry in read_content(tmp_path).objects] == [[22.5, 10, 15, 20]] * 2


def test_keypoints_that_can_be_polygons_are_refused(tmp_path):
    make(tmp_path, {"images/a.png": None, "labels/a.txt": POSE})
    with pytest.raises(
        ValueError, match=r"a\.txt, line 1 must be a polygon or a box with keypoints; .* kpt_shape: \[4, 2\]"
    ):
        read_content(tmp_path)
    outside = "0 0.5 0.5 0.25 0.5 0.45 0.5 0.55 0.5 0.4 0.4 0.6 0.9\n"  # a corner leaves the box
    make(tmp_path, {"labels/a.txt": outside + 2 * POSE})
    with pytest.raises(ValueError, match=r"must be a polygon or a box with keypoints"):
        read_content(tmp_path)
    (tmp_path / "data.yaml").write_text("kpt_shape: [0, 0]\nnames: [red]\n")
    make(tmp_path, {"labels/a.txt": POSE + BOX})
    content = read_content(tmp_path)
    assert content.objects[0]["bbox"] == pytest.approx([15, 16, 21, 8])
    assert content.problems == {}


@pytest.mark.parametrize("point", ["-1 -1", "1.6 0.5", "31 20"])
def test_a_polygon_far_outside_of_the_image_is_refused(point, tmp_path):
    face = "0 0.5 0.5 0.25 0.5 0.45 0.4 0.55 0.4 0.5 0.5 0.45 0.6"  # a box and five landmarks, of which one is missing
    make(tmp_path, {"images/a.png": None, "labels/a.txt": f"{face} {point}\n"})
    fault = r"a\.txt, line 1 must be a polygon in fractions of the image, .*; got (-1|1\.6|31): .*kpt_shape: \[5, 2\]"
    with pytest.raises(ValueError, match=fault):
        read_content(tmp_path)
    make(tmp_path, {"labels/a.txt": "0 -.2 .1 .2 .1 .2 1.3 -.2 1.3"})  # an oriented box at the edge
    assert len(read_content(tmp_path).objects) == 1


def test_polygons_and_oriented_boxes_stay_polygons(tmp_path):
    lines = "0 .1 .2 .3 .2 .3 .6\n0 .1 .1 .2 .1 .2 .3 .1 .3\n0 .5 .5 .6 .6 .5 .7 .4 .6 .45 .55\n"
    make(tmp_path, {"images/a.png": None, "labels/a.txt": lines})
    boxes = [entry["bbox"] for entry in read_content(tmp_path).objects]
    np.testing.assert_allclose(boxes, [[6, 8, 12, 16], [6, 4, 6, 8], [24, 20, 12, 8]])
    (tmp_path / "labels/a.txt").write_text("0 .1 .1 .12 .1 .12 .13 .1 .13\n")  # alone it could be a box and two points
    np.testing.assert_allclose(read_content(tmp_path).objects[0]["bbox"], [6, 4, 1.2, 1.2])


@pytest.mark.parametrize(
    ("names", "expected"),
    [("red", ["red"]), ("[red]", ["red"]), ("{0: red}", ["red"]), ("traffic light", ["traffic light"])],
)
def test_names_are_a_list_a_mapping_or_one_word(names, expected, tmp_path):
    make(tmp_path, {"images/a.png": None, "labels/a.txt": BOX, "data.yaml": f"train: images\nnames: {names}\n"})
    assert [entry["name"] for entry in read_content(tmp_path / "data.yaml").categories] == expected


def test_only_yaml_files_of_the_images_name_their_classes(tmp_path, caplog):
    caplog.set_level("INFO")
    files = {"sets/one/images/a.png": None, "sets/one/labels/a.txt": BOX}
    make(tmp_path, {**files, "sets/one/compose.yaml": "a: !b [", "sets/one/zoo.yaml": "names: [cat]\ntrain: nowhere\n"})
    make(tmp_path, {"sets/other.yaml": "train: two\nnames: [dog]\n", "sets/two/b.png": None})

    def names():
        return [entry["name"] for entry in read_content(tmp_path / "sets/one").categories]

    assert names() == ["cat"] and f"class names from {tmp_path}/sets/one/zoo.yaml" in caplog.text  # the only one
    skipped = f"class names not taken from {tmp_path}/sets/other.yaml: it describes the images in {tmp_path}/sets/two"
    assert skipped in caplog.text
    make(tmp_path, {"sets/one/zoo2.yaml": "nc: 1\nnames: [bird]\n"})
    assert names() == ["0"]
    skipped = f"class names not taken from {tmp_path}/sets/one/zoo.yaml, {tmp_path}/sets/one/zoo2.yaml: none of them"
    assert skipped in caplog.text
    make(tmp_path, {"sets/z.yaml": "path: one\nval: images\nnames: [red]\n"})
    assert names() == ["red"] and f"class names from {tmp_path}/sets/z.yaml" in caplog.text
    make(tmp_path, {"sets/one/data.yaml": "a: !b ["})
    with pytest.raises(ValueError, match=r"data\.yaml must be YAML that can be read"):
        names()


@pytest.mark.parametrize(("name", "paths"), [("dataset", "train: /content/ds/images/train\n"), ("custom", "nc: 2\n")])
def test_a_yaml_whose_paths_lead_nowhere_names_the_classes(name, paths, tmp_path):
    make(tmp_path, {"ds/images/train/a.png": None, "ds/labels/train/a.txt": BOX})
    make(tmp_path, {f"ds/{name}.yaml": f"{paths}names: [car, bus]\n"})
    content = read_content(tmp_path / "ds/labels/train")
    assert [entry["name"] for entry in content.categories] == ["car", "bus"]


def test_a_list_of_names_that_is_a_text_is_refused_with_what_to_write(tmp_path):
    make(tmp_path, {"images/a.png": None, "labels/a.txt": BOX, "data.yaml": "train: images\nnames: red, green\n"})
    with pytest.raises(ValueError, match=r"data\.yaml: names must be a list .* write names: \[red, green\]"):
        read_content(tmp_path / "data.yaml")


def test_a_folder_with_a_backslash_in_its_name_comes_before_one_of_windows(tmp_path):
    files = {"data.yaml": "train: images\\one\n", "images\\one/b.png": None, "images/one/a.png": None}
    coco = read_dataset(make(tmp_path, files) / "data.yaml")
    assert [record["file_name"] for record in coco["images"]] == ["b.png"]


def test_a_list_of_images_must_be_there_and_inside(tmp_path):
    make(tmp_path, {"x/data.yaml": "train: t.txt\nnames: [red]\n", "x/t.txt": "../a.png\n", "a.png": None})
    with pytest.raises(ValueError, match=r"t\.txt must list images inside of .*x; got '\.\./a\.png'"):
        read_content(tmp_path / "x/data.yaml")
    (tmp_path / "x/t.txt").write_text("images/none.png\n")
    with pytest.raises(
        FileNotFoundError, match=r"t\.txt must list image files .*1 are missing, such as 'images/none\.png'"
    ):
        read_content(tmp_path / "x/data.yaml")


def test_files_of_macos_are_no_images_and_no_labels(tmp_path):
    make(tmp_path, {"images/a.png": None, "labels/a.txt": BOX})
    for name in ("images/._a.png", "labels/._a.txt", "images/.DS_Store", "images/Thumbs.db", "labels/.b/x.txt"):
        make(tmp_path, {name: "\x00\x05\x16\x07"})
    assert [record["file_name"] for record in read_content(tmp_path).images] == ["a.png"]
    write_dataset(read_dataset(tmp_path), tmp_path / "voc", "voc")
    make(tmp_path, {"voc/Annotations/._a.xml": "\x00"})
    assert len(read_content(tmp_path / "voc", tmp_path / "images").images) == 1


def test_visdrone_objects_of_score_0_are_ignored(tmp_path):
    lines = "10,10,12,8,1,4,0,0\n10,20,12,8,0,4,0,0\n"
    make(tmp_path, {"images/a.png": None, "annotations/a.txt": lines})
    coco = read_dataset(tmp_path)
    assert [entry["iscrowd"] for entry in coco["annotations"]] == [0, 1]
    write_dataset(coco, tmp_path / "again", "visdrone")
    assert (tmp_path / "again/annotations/a.txt").read_text() == lines


@pytest.mark.parametrize("line", ["1,2,3,4,nan,4,0,0", "1,2,3,4,1,4,nan,0", "1,2,3,4,1,4,0,1e400", "1,2,3,4,1,nan,0,0"])
def test_a_broken_visdrone_line_is_named(line, tmp_path):
    make(tmp_path, {"images/a.png": None, "annotations/a.txt": line})
    with pytest.raises(ValueError, match=r"a\.txt, line 1: the (score|truncation|occlusion|category) must be"):
        read_content(tmp_path)


VISDRONE = "15,10,15,20,1,1,0,0\n"
NFC, NFD = "caf\u00e9", "cafe\u0301"  # one name, in the two forms of Unicode
SPELLED_COCO = {**COCO, "images": [{**COCO["images"][0], "file_name": f"SET/{NFD}.JPG"}]}
SPELLED = {
    "COCO": ({"ann.json": json.dumps(SPELLED_COCO)}, "ann.json"),
    "VOC": ({f"Annotations/Set/{NFD}.xml": xml(f"{NFD}.JPG")}, "Annotations"),
    "VOC, by filename": ({"Annotations/Set/1.xml": xml(f"{NFD.upper()}.JPG")}, "Annotations"),
    "YOLO": ({f"labels/Set/{NFD}.txt": BOX}, "labels"),
    "YOLO, a list": (
        {"data.yaml": "train: list.txt\n", "list.txt": f"images/Set/{NFD}.jpg\n", f"labels/set/{NFC}.txt": BOX},
        "data.yaml",
    ),
    "YOLO, labels of a list": (
        {"data.yaml": "train: list.txt\n", "list.txt": f"images/set/{NFC}.jpg\n", f"labels/set/{NFD}.TXT": BOX},
        "data.yaml",
    ),
    "VisDrone": ({f"annotations/set/{NFD}.txt": VISDRONE}, "annotations"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPELLED)
def test_names_may_differ_in_case_and_in_the_form_of_accents(name, tmp_path, caplog):
    files, annotations = SPELLED[name]
    make(tmp_path, {**files, f"images/set/{NFC}.jpg": None})
    images = None if annotations == "data.yaml" else tmp_path / "images"
    dataset = CocoDataset(images or tmp_path, read_dataset(tmp_path / annotations, images))
    assert [file.removeprefix("images/") for file in dataset.files] == [f"set/{NFC}.jpg"]
    np.testing.assert_allclose(dataset.objects(0).boxes, [[15, 10, 30, 30]], atol=1e-4)
    noted = dataset.report() + caplog.text
    assert "names that differ from their file's in case or in the form of accents only (taken for the same): 1" in noted


def test_a_name_that_two_files_may_be_meant_by_is_missing(tmp_path):
    make(tmp_path, {"a.PNG": None, "A.png": None})
    with pytest.raises(FileNotFoundError, match=r"1 are missing \(a\.png\)"):
        CocoDataset(tmp_path, COCO)


def test_images_without_an_annotation_file_are_left_out_and_counted(tmp_path):
    images = {f"images/{name}.png": None for name in "abc"}
    make(tmp_path, {**images, "Annotations/b.xml": xml("b.png"), "annotations/b.txt": VISDRONE})
    for folder, kind in (("Annotations", "an XML file"), ("annotations", "a text file")):
        content = read_content(tmp_path / folder, tmp_path / "images")
        assert [record["file_name"] for record in content.images] == ["b.png"]
        assert content.problems == {f"images without {kind} (left out)": ["a.png", "c.png"]}


@pytest.mark.parametrize("line", [BOX, VISDRONE])
def test_text_files_that_are_no_labels_are_left_out(line, tmp_path):
    strays = {"train.txt": "data/a.png\n", "README.txt": "Cars, from above\n", "empty.txt": ""}
    content = read_content(make(tmp_path, {"a.png": None, "a.txt": line, **strays}), tmp_path)
    assert [record["file_name"] for record in content.images] == ["a.png"] and len(content.objects) == 1
    assert content.problems == {
        "text files that are no labels and have no image (left out)": ["README.txt", "empty.txt", "train.txt"]
    }
    make(tmp_path, {"b.txt": line})
    left_out = f"annotation files without an image in {tmp_path} (left out)"
    assert read_content(tmp_path, tmp_path).problems[left_out] == ["b.txt"]
