"""Data sets as their archives unpack, and any other by its path."""

import json
import re

import pytest

from lib.build import num_classes
from lib.build_data import build_dataset, has_data
from lib.config import load_config
from lib.data.formats.layouts import count_images, parts_of
from lib.data.formats.registry import find_images, read_dataset
from lib.structures import IGNORE
from tests.data.devkits import HEIGHT, WIDTH, XML, write_coco, write_devkit, write_image


@pytest.fixture
def voc(tmp_path):
    write_devkit(tmp_path / "VOCdevkit", 2007, {"trainval": ["000005", "000007"], "test": ["000001"]})
    write_devkit(tmp_path / "VOCdevkit", 2012, {"trainval": ["2007_000005", "2008_000002"], "train": ["2008_000002"]})
    return tmp_path


def config(data, *overrides):
    return load_config({"data": data}, overrides)


def test_voc0712_joins_two_folders_and_tests_on_2007(voc):
    cfg = config({"layout": "voc0712", "root": str(voc)})
    train = build_dataset(cfg, "train")
    assert train.image_ids == [5, 7, 2007000005, 2008000002]
    assert train.files[2] == "VOCdevkit/VOC2012/JPEGImages/2007_000005.jpg"
    assert train.load(3).image.shape == (HEIGHT, WIDTH, 3)
    assert build_dataset(cfg, "val", train.classes).image_ids == [1]
    assert len(train.classes) == 20 and num_classes(cfg) == 21
    boxes, labels = train.objects(0)
    assert boxes.tolist() == [[10, 5, 30, 25], [0, 0, 50, 30]]
    assert labels.tolist() == [train.classes.index("dog") + 1, IGNORE]  # a difficult object is none to learn


def test_voc_of_one_year_takes_its_own_sets(voc):
    assert build_dataset(config({"layout": "voc2007", "root": str(voc)}), "train").image_ids == [5, 7]
    assert build_dataset(config({"layout": "voc2012", "root": str(voc)}), "train").image_ids == [2008000002]


def test_coco_is_found_as_it_unpacks_and_paths_win(tmp_path):
    for split in ("train2017", "val2017", "val2014"):
        write_coco(tmp_path, split)
    cfg = config({"layout": "coco2017", "root": str(tmp_path)})
    assert [build_dataset(cfg, split).folder.name for split in ("train", "val")] == ["train2017", "val2017"]
    own = {"images": str(tmp_path / "val2014"), "annotations": str(tmp_path / "annotations/instances_val2014.json")}
    cfg = config({"layout": "coco2017", "root": str(tmp_path), "val": own})
    assert [build_dataset(cfg, split).folder.name for split in ("train", "val")] == ["train2017", "val2014"]
    assert num_classes(cfg) == 81
    (tmp_path / "images").mkdir()
    (tmp_path / "train2017").rename(tmp_path / "images" / "train2017")
    image = build_dataset(config({"layout": "coco2017", "root": str(tmp_path)}), "train").load(0).image
    assert image.shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("layout", "remove", "message"),
    [
        ("voc0712", "VOCdevkit/VOC2012", "find VOCdevkit/VOC2012/JPEGImages .* unpack VOCtrainval_11-May-2012.tar"),
        ("voc0712", "VOCdevkit/VOC2007/ImageSets", "ImageSets/Main/trainval.txt .* VOCtrainval_06-Nov-2007.tar"),
        (
            "voc0712",
            "VOCdevkit/VOC2007/Annotations/000007.xml",
            "000007.xml must exist, as trainval.txt lists it; there is no such file",
        ),
        ("voc0712", "", "there is no such folder: .*, choose data.root, or name your own data by data.train.annot"),
        ("coco2017", None, "find train2017 in .*; it holds VOCdevkit: unpack train2017.zip there"),
        ("voc2010", None, "data.layout must be one of coco2017, .*; got 'voc2010'"),
    ],
)
def test_missing_part_is_named_with_its_archive(layout, remove, message, voc):
    if remove is not None:
        (voc / remove).rename(voc.parent / f"{voc.name}_gone")
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        build_dataset(config({"layout": layout, "root": str(voc)}), "train")


def test_image_set_of_something_else_is_refused(voc):
    (voc / "VOCdevkit/VOC2007/ImageSets/Main/trainval.txt").write_text("\n000005  1\n../../x -1\n")
    with pytest.raises(ValueError, match=r"trainval.txt must list images such as .*; got '../../x'"):
        build_dataset(config({"layout": "voc2007", "root": str(voc)}), "train")


def make_yolo(root):
    """The folders and the data.yaml that a labelling tool exports."""
    for split in ("train", "valid"):
        write_image(root / split / "images" / "a.jpg")
        (root / split / "labels").mkdir(parents=True)
        (root / split / "labels" / "a.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    (root / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnames: [cat, dog]\n")


def make_visdrone(root):
    write_image(root / "images" / "a.jpg")
    (root / "annotations").mkdir()
    (root / "annotations" / "a.txt").write_text("20,12,10,6,1,4,0,0\n")


def make_xml(root):
    write_image(root / "JPEGImages" / "a.jpg")
    (root / "Annotations").mkdir()
    (root / "Annotations" / "a.xml").write_text(XML.format(name="a", difficult=0))


@pytest.mark.parametrize(
    ("make", "path", "classes"),
    [
        (make_yolo, "data.yaml", 2),
        (make_yolo, "train/labels", 2),
        (make_yolo, "train", 2),
        (make_visdrone, "annotations", 11),
        (make_visdrone, "", 11),
        (make_xml, "Annotations", 20),
        (make_xml, "", 20),
    ],
)
def test_any_format_is_trained_on_by_its_path(make, path, classes, tmp_path):
    make(tmp_path)
    cfg = config({"train": {"annotations": str(tmp_path / path)}})
    dataset = build_dataset(cfg, "train")
    assert num_classes(cfg) == classes + 1 and len(dataset.classes) == classes
    assert dataset.load(0).image.shape == (HEIGHT, WIDTH, 3)
    assert dataset.objects(0)[0][0].tolist() == pytest.approx([10, 5, 30, 25] if make is make_xml else [20, 12, 30, 18])


def test_classes_of_the_config_that_the_validation_set_lacks_have_no_box(tmp_path):
    make_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text(
        f"path: {tmp_path}\ntrain: train/images\nval: valid/images\nnames: [cat, dog]\n"
    )
    files = {"annotations": str(tmp_path / "data.yaml")}
    cfg = load_config({"data": {"train": files, "val": files, "classes": ["bird", "dog"]}})
    assert build_dataset(cfg, "val").classes == ("bird", "dog")
    with pytest.raises(ValueError, match=r"\(data.classes\) must be among the categories of .*, cat, dog; got 'bird'"):
        build_dataset(cfg, "train")


def test_data_yaml_may_be_in_utf_16_with_its_mark(tmp_path):
    make_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text(f"path: {tmp_path}\ntrain: train/images\nnames: [cat, dog]\n", "utf-16")
    assert [entry["name"] for entry in read_dataset(tmp_path / "data.yaml")["categories"]] == ["cat", "dog"]


def test_data_yaml_tells_its_splits_apart(tmp_path):
    make_yolo(tmp_path)
    assert find_images(tmp_path / "data.yaml", "train").resolve() == (tmp_path / "train/images").resolve()
    assert find_images(tmp_path / "data.yaml", "val").resolve() == (tmp_path / "valid/images").resolve()
    (tmp_path / "data.yaml").write_text(f"path: {tmp_path}\ntrain: train/images\nnames: {{0: cat, 1: dog}}\n")
    assert [entry["name"] for entry in read_dataset(tmp_path / "data.yaml")["categories"]] == ["cat", "dog"]
    for text, message in [
        ("train: [a, b]", "must name a folder of images or a .txt list at train; 'a' is not in"),
        ("train: nowhere", "must name a folder of images or a .txt list at train; 'nowhere' is not in"),
        ("a: b: c", "must be YAML that can be read: mapping values are not allowed here in line 1, column 5"),
    ]:
        (tmp_path / "data.yaml").write_text(text)
        with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
            find_images(tmp_path / "data.yaml", "train")


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (
            {},
            "data.train.annotations must be a COCO JSON file, a YOLO data.yaml, .*; got null: "
            "add data.train.annotations=PATH, or choose data.layout from coco2017",
        ),
        (
            {"annotations": "a.json"},
            "data.train.images must be given, the folder of the images of a.json; got null: add data.train.images=DIR",
        ),
        (
            {"annotations": "nowhere"},
            "annotations nowhere must be a COCO JSON file, .*; nowhere does not exist: check the path",
        ),
        ({"annotations": "no.yaml"}, "no.yaml must be a YAML file; there is no such file"),
    ],
)
def test_what_is_not_told_is_asked_for(train, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        build_dataset(config({"train": train}), "train")


def test_folder_without_its_images_asks_for_them(tmp_path):
    make_xml(tmp_path)
    (tmp_path / "JPEGImages").rename(tmp_path / "pictures")
    with pytest.raises(FileNotFoundError, match="must have its images in JPEGImages or images; .* data.train.images"):
        build_dataset(config({"train": {"annotations": str(tmp_path)}}), "train")
    train = {"annotations": str(tmp_path), "images": str(tmp_path / "pictures")}
    assert len(build_dataset(config({"train": train}), "train")) == 1


def make_coco_set(root, name, images, ids, categories=({"id": 1, "name": "cog"},)):
    """A set of COCO with an object in each image."""
    (root / "annotations").mkdir(exist_ok=True)
    for image_id in ids:
        write_image(root / images / f"{image_id}.jpg")
    records = [{"id": i, "file_name": f"{i}.jpg", "height": HEIGHT, "width": WIDTH} for i in ids]
    box = {"category_id": 1, "bbox": [1, 2, 10, 10], "area": 100, "iscrowd": 0}
    objects = [{"id": i, "image_id": i, **box} for i in ids]
    content = {"images": records, "annotations": objects, "categories": list(categories)}
    (root / f"annotations/instances_{name}.json").write_text(json.dumps(content))


def test_sets_are_named_one_by_one_and_joined(voc):
    layout = {"train": ["voc_2012_train", "voc_2007_test"], "val": ["voc_2007_trainval"]}
    cfg = config({"layout": layout, "root": str(voc)})
    assert build_dataset(cfg, "train").image_ids == [2008000002, 1]
    assert build_dataset(cfg, "val").image_ids == [5, 7]
    assert num_classes(cfg) == 21 and has_data(cfg, "val")


def test_a_voc_root_may_be_the_devkit_itself(voc):
    cfg = config({"layout": "voc0712", "root": str(voc / "VOCdevkit")})
    train = build_dataset(cfg, "train")
    assert train.files[2] == "VOC2012/JPEGImages/2007_000005.jpg"
    assert train.load(0).image.shape == (HEIGHT, WIDTH, 3)


def test_coco_2014_and_the_rest_of_minival_are_joined(tmp_path):
    make_coco_set(tmp_path, "train2014", "train2014", [3, 4])
    make_coco_set(tmp_path, "valminusminival2014", "val2014", [7])
    layout = {"train": ["coco_2014_train", "coco_2014_valminusminival"]}
    cfg = config({"layout": layout, "root": str(tmp_path)})
    train = build_dataset(cfg, "train")
    assert (train.image_ids, train.files) == ([3, 4, 7], ["train2014/3.jpg", "train2014/4.jpg", "val2014/7.jpg"])
    assert train.load(2).image.shape == (HEIGHT, WIDTH, 3)
    assert not has_data(cfg, "val")


def test_coco_sets_that_cannot_be_joined_are_refused(tmp_path):
    make_coco_set(tmp_path, "train2014", "train2014", [3])
    cfg = config({"layout": {"train": ["coco_2014_train", "coco_2014_valminusminival"]}, "root": str(tmp_path)})
    make_coco_set(tmp_path, "valminusminival2014", "val2014", [3])
    with pytest.raises(ValueError, match="must have different images to be joined"):
        build_dataset(cfg, "train")
    make_coco_set(tmp_path, "valminusminival2014", "val2014", [4], [{"id": 1, "name": "bolt"}])
    with pytest.raises(ValueError, match="must have the same categories to be joined"):
        build_dataset(cfg, "train")


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"train": ["voc_2010_train"]}, "data.layout.train must be one of .*; got 'voc_2010_train'"),
        ({"train": "voc_2007_train"}, r"data.layout.train must be a list of sets, such as \[voc_2007_trainval\]"),
        ({"test": ["voc_2007_test"]}, "a key of data.layout must be one of train, val; got 'test'"),
        ({"train": ["voc_2007_train", "coco_2017_val"]}, "data.layout.train must be sets of one family"),
    ],
)
def test_sets_that_are_not_there_are_named(layout, message):
    with pytest.raises((ValueError, TypeError), match=message):
        parts_of(layout, "train")


def test_images_are_counted_or_as_published(voc, tmp_path):
    sets = ["voc_2007_trainval", "voc_2012_trainval"]
    assert count_images(sets, voc) == (4, True)
    assert count_images(sets, voc / "nowhere") == (16551, False)
    make_coco_set(tmp_path, "train2017", "train2017", [1, 2, 3])
    assert count_images(["coco_2017_train"], tmp_path) == (3, True)
