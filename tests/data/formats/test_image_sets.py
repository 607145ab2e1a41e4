"""VOC's lists of the images of a split, and the images that two splits share."""

import pytest

from lib.build_data import build_dataset, warn_of_overlap
from lib.config import load_config
from lib.data.formats.registry import read_dataset
from tests.data.devkits import write_devkit


@pytest.fixture
def voc(tmp_path):
    write_devkit(tmp_path, 2007, {"train": ["000005", "000007"], "val": ["000001"]})
    return tmp_path / "VOC2007"


def names(path):
    return [record["file_name"] for record in read_dataset(path)["images"]]


def config(train, val):
    return load_config({}, [f"data.train.annotations={train}", f"data.val.annotations={val}"])


def test_each_split_has_the_images_of_its_list(voc):
    lists = voc / "ImageSets/Main"
    cfg = config(lists / "train.txt", lists / "val.txt")
    train = build_dataset(cfg, "train")
    val = build_dataset(cfg, "val", train.classes)
    assert train.files == ["000005.jpg", "000007.jpg"] and train.folder == voc / "JPEGImages"
    assert val.files == ["000001.jpg"] and val.problems == {}


@pytest.mark.parametrize("folder", ["ImageSets/Main", "ImageSets", "imagesets/other"])
def test_all_images_of_a_list_count_whatever_stands_behind_their_names(folder, voc):
    path = voc / folder / "dog_train.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('000005  1\n000007.jpg -1\n\n"000001" 0\n')
    assert names(path) == ["000001.jpg", "000005.jpg", "000007.jpg"]


def test_listed_images_without_an_xml_file_are_left_out_and_named(voc):
    path = voc / "ImageSets/Main/train.txt"
    path.write_text("000005\n000006\n")
    train = build_dataset(config(path, path), "train")
    assert train.files == ["000005.jpg"]
    assert train.problems == {"images of the list without an XML file (left out)": ["000006"]}
    path.write_text("000006\n")
    fault = r"train\.txt must list images that have an XML file; none of its 1 lines does, such as .000006.: fix"
    with pytest.raises(ValueError, match=fault):
        read_dataset(path)


def test_images_of_both_splits_are_counted_also_through_links(voc, caplog):
    (voc / "more").mkdir()
    (voc / "more/JPEGImages").symlink_to(voc / "JPEGImages")
    (voc / "more/Annotations").symlink_to(voc / "Annotations")
    cfg = config(voc / "ImageSets/Main/train.txt", voc / "more")
    train = build_dataset(cfg, "train")
    warn_of_overlap(train, build_dataset(cfg, "val", train.classes))
    assert "2 of the 4 validation images are training images too, so their AP is that of images the netw" in caplog.text
    caplog.clear()
    warn_of_overlap(train, build_dataset(config("", voc / "ImageSets/Main/val.txt"), "val", train.classes))
    assert caplog.text == ""
