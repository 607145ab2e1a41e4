"""COCO data: what is read, what is corrected, and one clear line for what is wrong."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from lib.data.dataset import CocoDataset
from lib.data.image import read_image
from lib.structures import IGNORE

HITUAV = Path(os.environ.get("SHARED_DATA", "../shared/data")) / "hituav"


def coco(*boxes, **changes):
    """A file with images 3 (60 wide, 40 high) and 8 (50 wide, 70 high); the boxes lie in image 3."""
    content = {
        "images": [
            {"id": 3, "file_name": "a.png", "width": 60, "height": 40},
            {"id": 8, "file_name": "b.jpg", "width": 50, "height": 70},
        ],
        "annotations": [
            {"id": index + 1, "image_id": 3, "category_id": 7, "bbox": box} for index, box in enumerate(boxes)
        ],
        "categories": [{"id": 9, "name": "dog"}, {"id": 7, "name": "cat"}],
    }
    return {**content, **changes}


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    cv2.imwrite(str(tmp_path / "a.png"), rng.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    cv2.imwrite(str(tmp_path / "b.jpg"), rng.integers(0, 256, (70, 50, 3), dtype=np.uint8))
    return tmp_path


def write(folder, content):
    path = folder / "ann.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_sample_has_corner_boxes_and_labels_by_rising_category_id(folder):
    content = coco([10, 5, 20, 30], [1.5, 2.5, 4, 6])
    content["annotations"][1]["category_id"] = 9
    dataset = CocoDataset(folder, write(folder, content))
    assert dataset.classes == ("cat", "dog")
    assert dataset.category_ids == (7, 9)
    sample = dataset.load(0)
    np.testing.assert_array_equal(sample.boxes, np.array([[10, 5, 30, 35], [1.5, 2.5, 5.5, 8.5]], np.float32))
    np.testing.assert_array_equal(sample.labels, [1, 2])
    assert sample.boxes.dtype == np.float32 and sample.labels.dtype == np.int64
    assert (sample.image_id, sample.size, sample.image.shape) == (3, (40, 60), (40, 60, 3))


def test_image_without_objects_is_kept_with_empty_boxes(folder):
    dataset = CocoDataset(folder, coco([10, 5, 20, 30]))
    assert len(dataset) == 2
    sample = dataset.load(1)
    assert sample.boxes.shape == (0, 4) and sample.labels.shape == (0,)


def test_boxes_follow_their_image_whatever_their_order_in_the_file(folder):
    content = coco([1, 1, 5, 5], [2, 2, 5, 5], [3, 3, 5, 5])
    content["annotations"][0]["image_id"] = 8
    dataset = CocoDataset(folder, content)
    assert dataset.objects(0)[0][:, 0].tolist() == [2, 3]
    assert dataset.objects(1)[0][:, 0].tolist() == [1]


def test_classes_choose_and_order_the_labels(folder):
    content = coco([10, 5, 20, 30], [1, 2, 4, 6])
    content["annotations"][1]["category_id"] = 9
    dataset = CocoDataset(folder, content, classes=["dog"])
    assert dataset.category_ids == (9,)
    assert dataset.objects(0)[1].tolist() == [1]
    assert [annotation["id"] for annotation in dataset.ground_truth["annotations"]] == [2]
    assert CocoDataset(folder, content, classes=["dog", "cat"]).objects(0)[1].tolist() == [2, 1]


@pytest.mark.parametrize("key", ["iscrowd", "ignore"])
def test_crowd_becomes_a_region_to_ignore(folder, key):
    content = coco([10, 5, 20, 30], [1, 2, 4, 6])
    content["annotations"][0][key] = 1
    assert CocoDataset(folder, content).objects(0)[1].tolist() == [IGNORE, 1]


def test_missing_keys_of_annotations_are_filled_in(folder):
    content = coco([10, 5, 20, 30], [1, 2, 4, 6])
    del content["annotations"][0]["id"]
    dataset = CocoDataset(folder, content)
    first, second = dataset.ground_truth["annotations"]
    assert (first["id"], first["area"], first["iscrowd"]) == (1, 600, 0)
    assert (second["id"], second["area"]) == (2, 24)
    assert "annotation ids missing, duplicate or 0; all were renumbered: 1 (all 2)" in dataset.report()


def test_area_and_ids_of_the_file_are_kept_and_its_content_is_not_changed(folder):
    content = coco([10, 5, 20, 30])
    content["annotations"][0].update(id=55, area=123.5, iscrowd=0)
    before = json.dumps(content)
    annotation = CocoDataset(folder, content).ground_truth["annotations"][0]
    assert (annotation["id"], annotation["area"], annotation["bbox"]) == (55, 123.5, [10, 5, 20, 30])
    assert json.dumps(content) == before


def test_annotation_id_0_is_numbered_anew(folder):
    content = coco([10, 5, 20, 30], [1, 2, 4, 6])
    content["annotations"][0]["id"] = 0
    assert [a["id"] for a in CocoDataset(folder, content).ground_truth["annotations"]] == [1, 2]


def test_missing_size_is_read_from_the_image(folder):
    content = coco([10, 5, 20, 30])
    for image in content["images"]:
        del image["width"], image["height"]
    dataset = CocoDataset(folder, content)
    assert dataset.sizes.tolist() == [[40, 60], [70, 50]]
    assert dataset.ground_truth["images"][1]["height"] == 70


BAD_BOXES = {
    "no area": [5, 5, 0, 4],
    "outside": [61, 5, 4, 4],
    "four finite": [5, 5, float("nan"), 4],
    "finite numbers": [5, 5, 4],
    "not four": "5 5 4 4",
}


@pytest.mark.parametrize("kind", BAD_BOXES)
def test_bad_box_is_dropped_counted_and_named(folder, kind):
    dataset = CocoDataset(folder, coco([10, 5, 20, 30], BAD_BOXES[kind]))
    assert len(dataset.objects(0)[0]) == len(dataset.ground_truth["annotations"]) == 1
    assert kind in dataset.report() and "dropped: 1 (annotation 2 of a.png" in dataset.report()


def test_bad_boxes_can_be_refused(folder):
    path = write(folder, coco([10, 5, 20, 30], [5, 5, 0, 4], [5, 5, 4, -1], [99, 5, 4, 4]))
    with pytest.raises(ValueError, match=r"ann\.json must .* no area: 2 \(annotation 2 of a\.png.*outside") as error:
        CocoDataset(folder, path, bad_boxes="refuse")
    assert "\n" not in str(error.value)


def test_box_partly_outside_is_clipped_and_counted(folder):
    dataset = CocoDataset(folder, coco([50, -5, 20, 20], [0, 0, 60.4, 10]))
    np.testing.assert_array_equal(dataset.objects(0)[0], [[50, 0, 60, 15], [0, 0, 60, 10]])
    assert "clipped: 1 (annotation 1" in dataset.report()


def test_report_counts_images_boxes_sizes_and_classes(folder):
    content = coco([10, 5, 4, 4], [10, 5, 8, 8], [10, 5, 20, 20], [0, 0, 30, 30])
    content["annotations"][3]["iscrowd"] = 1
    text = CocoDataset(folder, write(folder, content)).report()
    ignored = "1 more that training ignores (crowds, ignore, difficult, uncertain)"
    assert f"2 images (1 without objects), 3 boxes, {ignored}, 2 classes" in text
    assert "under 8 px: 1, 8 to 16 px: 1, 16 to 32 px: 1, 32 to 96 px: 0, from 96 px: 0" in text
    assert "cat 3" in text and "classes without a box: 1 (dog)" in text


def without(key):
    content = coco([10, 5, 20, 30])
    del content[key]
    return content


def with_entry(key, index, **values):
    content = coco([10, 5, 20, 30])
    content[key][index].update(values)
    return content


BAD_FILES = {
    r"ann\.json must be a JSON file; it is not valid JSON": "{'images': [",
    r"it is a list \(a list is what detections": [{"image_id": 1, "bbox": []}],
    r"images, annotations, categories; annotations is missing": without("annotations"),
    r"categories is missing": without("categories"),
    r"at least one image; it is an empty data set": coco(images=[], annotations=[]),
    r"one usable box of the classes cat, dog; got no annotations: check where the label files are": coco(),
    r"got 1 annotations, none of them usable \(boxes of no area: 1": coco([5, 5, 0, 5]),
    r"images must have each id once; found twice: 3": with_entry("images", 1, id=3),
    r"images\[1\]\.id must be a whole number as id, of 64 bits at most; got 'x'": with_entry("images", 1, id="x"),
    r"1 have an unknown image_id \(99\)": with_entry("annotations", 0, image_id=99),
    r"1 have an unknown category_id \(1\)": with_entry("annotations", 0, category_id=1),
    r"must have different names; got cat twice": coco(
        annotations=[{"image_id": 3, "category_id": key, "bbox": [1, 1, 5, 5]} for key in (7, 9)],
        categories=[{"id": key, "name": "cat"} for key in (7, 9)],
    ),
    r"images\[0\]\.file_name must be a text with at least one character; got nothing": coco(
        [1, 1, 5, 5], images=[{"id": 1}]
    ),
    r"annotations\[0\] must have image_id and category_id": coco(annotations=["x"]),
    r"images\[0\]\.width must be a whole number from 0 to 1000000; got -3: fix .*image a\.png": with_entry(
        "images", 0, width=-3
    ),
}


@pytest.mark.parametrize("message", BAD_FILES)
def test_file_that_is_no_coco_file_gets_one_clear_line(folder, message):
    with pytest.raises(ValueError, match=message) as error:
        CocoDataset(folder, write(folder, BAD_FILES[message]))
    assert "\n" not in str(error.value)
    assert "ann.json" in str(error.value)


def test_missing_annotation_file_is_named(folder):
    with pytest.raises(
        FileNotFoundError, match=r"nowhere\.json must be a JSON file; there is no such file: check the path"
    ):
        CocoDataset(folder, folder / "nowhere.json")


def test_missing_image_folder_is_named(folder):
    with pytest.raises(FileNotFoundError, match="image folder .*nowhere must exist"):
        CocoDataset(folder / "nowhere", coco([10, 5, 20, 30]))


def test_unknown_class_is_named_with_the_nearest(folder):
    with pytest.raises(ValueError, match=r"categories of annotations, dog, cat; got 'dgo' \(did you mean 'dog'\?\)"):
        CocoDataset(folder, coco([10, 5, 20, 30]), classes=["cat", "dgo"])


def test_missing_image_is_named(folder):
    (folder / "b.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 are missing \(b\.jpg\).*remove these images"):
        CocoDataset(folder, coco([10, 5, 20, 30]))


def test_image_of_another_size_than_the_file_says_is_refused(folder):
    with pytest.raises(ValueError, match=r"a\.png must be .* 40x60 \(width x height\); it has 60x40 stored"):
        CocoDataset(folder, with_entry("images", 0, width=40, height=60))


@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
@pytest.mark.parametrize("name", ["a.png", "b.jpg"])
def test_truncated_image_is_named(folder, name, share):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=f"{name} must be readable; it is truncated") as error:
        read_image(folder / name)
    assert "\n" not in str(error.value)


def test_empty_and_foreign_files_are_no_images(folder):
    (folder / "a.png").write_bytes(b"")
    (folder / "b.jpg").write_text("<html>404</html>")
    with pytest.raises(ValueError, match=r"a\.png must be readable; it is empty"):
        read_image(folder / "a.png")
    with pytest.raises(ValueError, match=r"b\.jpg must be readable; its 16 bytes are no whole image"):
        read_image(folder / "b.jpg")
    with pytest.raises(FileNotFoundError, match=r"c\.jpg must be a file"):
        read_image(folder / "c.jpg")


def test_gray_16_bit_and_transparent_images_become_8_bit_bgr(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    gray = pixels[..., 0]
    stored = {"gray": gray, "deep": gray.astype(np.uint16) * 257, "alpha": np.dstack([pixels, gray])}
    for name, image in stored.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
        expected = pixels if name == "alpha" else np.dstack([gray] * 3)
        np.testing.assert_array_equal(read_image(tmp_path / f"{name}.png"), expected)


@pytest.mark.skipif(not HITUAV.is_dir(), reason="real data not at hand")
def test_real_validation_set_is_read_whole():
    dataset = CocoDataset(HITUAV / "images", HITUAV / "val.json", bad_boxes="refuse")
    assert len(dataset) == 200 and len(dataset.ground_truth["annotations"]) == 1368
    assert sum(len(dataset.objects(index)[0]) == 0 for index in range(200)) == 17
    assert dataset.load(0).image.shape == (512, 640, 3)
