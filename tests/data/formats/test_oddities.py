"""What files of other tools have that no format foresees: read as it is meant, said, or refused by name."""

import json
import math
import os

import cv2
import numpy as np
import pytest

from lib.build_data import build_dataset
from lib.config import load_config
from lib.data.dataset import CocoDataset
from lib.data.formats.coco_json import read_results
from lib.data.formats.convert import convert
from lib.data.formats.registry import find_images, read_content, read_dataset
from lib.data.survey import survey
from lib.data.truth import read_truth
from lib.evaluation.arrays import REGION, make_detections, make_ground_truth
from lib.evaluation.evaluator import Evaluator
from lib.evaluation.protocols import make_protocol
from lib.structures import IGNORE, Detections


def coco(**changes):
    images = [{"id": i, "file_name": f"{name}.png", "width": 60, "height": 40} for i, name in ((1, "a"), (2, "b"))]
    boxes = [[10, 5, 20, 30], [1, 2, 4, 6], [3, 3, 5, 5]]
    annotations = [
        {"id": i + 1, "image_id": owner, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for i, (owner, box) in enumerate(zip((1, 1, 2), boxes, strict=True))
    ]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}], **changes}


def each(key, **changes):
    content = coco()
    for entry in content[key]:
        entry.update(changes)
    return content


def same_name(last_category):
    """Two categories called cat; the last annotation is of ``last_category``, the others of 1."""
    content = coco(categories=[{"id": key, "name": "cat"} for key in (0, 1, 2)])
    content["annotations"][2]["category_id"] = last_category
    return content


def fractions(number=11):
    box = {"image_id": 1, "category_id": 1, "bbox": [0.5, 0.25, 0.5, 0.1]}
    return coco(annotations=[{"id": key, **box} for key in range(1, number + 1)])


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for name in "ab":
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), np.zeros((40, 60, 3), np.uint8))
    return tmp_path


def write(folder, content, name="ann.json"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


@pytest.mark.parametrize("key", ["iscrowd", "ignore", "difficult"])
@pytest.mark.parametrize(
    ("value", "is_region"),
    [("0", False), ("false", False), ("False", False), (False, False), (0.0, False), (None, False), ("", False)]
    + [("1", True), ("true", True), (True, True), (1.0, True)],
)  # fmt: skip
def test_spellings_of_a_flag_are_understood_by_all(folder, key, value, is_region):
    path = write(folder, each("annotations", **{key: value}))
    labels = CocoDataset(folder / "images", path).objects(0).labels
    assert labels.tolist() == [IGNORE if is_region else 1] * 2
    truth = make_ground_truth(read_truth(path), make_protocol("voc12"))
    assert truth.ignore.tolist() == [is_region] * 3


@pytest.mark.parametrize("value", ["maybe", 2, -1, [1], {}, float("nan")])
def test_other_flags_are_refused_by_name_by_all(folder, value):
    path = write(folder, each("annotations", iscrowd=value))
    for read in (lambda: CocoDataset(folder / "images", path), lambda: read_truth(path)):
        with pytest.raises(ValueError, match=r"ann\.json: annotations\[0\]\.iscrowd must be 0 or 1, or true or false"):
            read()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_no_fault(folder, encoding):
    path = write(folder, json.dumps(coco()).encode(encoding))
    assert len(CocoDataset(folder / "images", path).ground_truth["annotations"]) == 3
    results = write(folder, json.dumps([{"image_id": 1}]).encode(encoding), "dt.json")
    assert read_results(results, coco()) == [{"image_id": 1}]


def test_a_file_under_two_ids_is_one_image_with_the_boxes_of_both(folder):
    content = coco()
    content["images"].append({"id": 9, "file_name": "./a.png", "width": 60, "height": 40})
    content["annotations"][1]["image_id"] = 9
    dataset = CocoDataset(folder / "images", write(folder, content))
    assert dataset.image_ids == [1, 2] and len(dataset.objects(0).labels) == 2
    assert "image files listed more than once (joined): 1 (a.png)" in dataset.report()
    dt = write(folder, [{"image_id": 9, "category_id": 1, "bbox": [1, 2, 4, 6], "score": 1}], "dt.json")
    truth = read_truth(folder / "ann.json")
    assert [entry["image_id"] for entry in read_results(dt, truth)] == [1]


def test_a_box_that_both_records_of_a_file_have_counts_once(folder):
    content = coco()
    content["images"] += [{"id": key, "file_name": "a.png", "width": 60, "height": 40} for key in (8, 9)]
    rows = [(9, [10.5, 5, 20, 30.4]), (9, [1, 2, 4, 8]), (8, [1.6, 2, 4, 8.2]), (8, [1, 2, 4, 6]), (9, [1, 2, 4, 8])]
    content["annotations"][:0] = [
        {"id": 10 + row, "image_id": image, "category_id": 1, "bbox": box, "area": 9}
        for row, (image, box) in enumerate(rows)
    ]
    path = write(folder, content)
    dataset = CocoDataset(folder / "images", path)
    assert [entry["id"] for entry in dataset.ground_truth["annotations"]] == [11, 14, 1, 2, 3]
    note = "boxes that another record of the same image file has too (left out): 3 (annotation 10: [10.5, 5, 20, 30.4]"
    assert note in dataset.report()
    assert len(read_truth(path)["annotations"]) == 5
    convert(path, folder / "new.json", "coco")
    new = read_dataset(folder / "new.json")
    assert [entry["bbox"] for entry in new["annotations"]][:2] == [[1, 2, 4, 8], [1, 2, 4, 8]]


def test_ten_thousand_boxes_of_one_file_are_joined_in_seconds(folder):
    images = [{"id": key, "file_name": "a.png", "width": 60, "height": 40} for key in (1, 2)]
    boxes = [[20 * x, 20 * y, 9, 9] for x in range(100) for y in range(50)]
    pairs = [(key, box) for key in (1, 2) for box in boxes]
    objects = [{"id": i, "image_id": key, "category_id": 1, "bbox": box} for i, (key, box) in enumerate(pairs)]
    assert len(read_content(write(folder, coco(images=images, annotations=objects))).objects) == 5000


def test_of_categories_of_one_name_the_one_with_annotations_counts(folder):
    for classes in (None, ["cat"]):
        dataset = CocoDataset(folder / "images", write(folder, same_name(1)), classes)
        assert (dataset.classes, dataset.category_ids) == (("cat",), (1,))
        assert "have the name of another one (left out): 2 (cat (id 0), cat (id 2))" in dataset.report()
        with pytest.raises(ValueError, match="must have different names; got cat twice: rename one of them"):
            CocoDataset(folder / "images", same_name(2), classes)


def test_boxes_that_are_fractions_are_refused(folder):
    with pytest.raises(ValueError, match=r"ann\.json: bbox must be in pixels; all 11 are within 0 to 1, as fractions"):
        CocoDataset(folder / "images", write(folder, fractions()))
    assert len(CocoDataset(folder / "images", fractions(10)).ground_truth["annotations"]) == 10


@pytest.mark.parametrize(
    ("ids", "expected"),
    [([0, 1, 2], [1, 2, 3]), ([5, 9, 3], [5, 9, 3]), ([3, 2, 3], [1, 2, 3]), ([None, 1, 7], [1, 2, 3])],
)
def test_conversion_numbers_annotations_if_an_id_is_missing_0_or_double(ids, expected, folder):
    content = coco()
    for annotation, value in zip(content["annotations"], ids, strict=True):
        annotation["id"] = value
    convert(write(folder, content), folder / "new.json", "coco")
    assert [entry["id"] for entry in read_dataset(folder / "new.json")["annotations"]] == expected


@pytest.mark.parametrize("classes", [None, ["cat"], ["bird"]])
@pytest.mark.parametrize("is_named", [True, False])
def test_ignored_regions_survive_any_choice_of_classes(classes, is_named, folder):
    content = coco(categories=[{"id": i, "name": n} for i, n in ((0, "Ignored-Regions"), (1, "cat"), (2, "bird"))])
    content["annotations"][0].update({"category_id": 0} if is_named else {"ignored_region": 1})
    content["annotations"][2]["category_id"] = 2
    path = write(folder, content)
    dataset = CocoDataset(folder / "images", path, classes)
    assert dataset.objects(0).labels[0] == IGNORE
    truth = make_ground_truth(dataset.ground_truth, make_protocol())
    whole = make_ground_truth(read_truth(path), make_protocol())
    for table in (truth, whole):
        assert (table.category[0], table.ignore[0], table.xywh[0].tolist()) == (REGION, True, [10, 5, 20, 30])
    assert survey(read_content(path, lenient=True)).boxes.tolist() == [[1, 2, 5, 8], [3, 3, 8, 8]]


def test_a_set_of_nothing_but_regions_is_refused(folder):
    with pytest.raises(ValueError, match="usable box of the classes cat; got 3 annotations, none of them usable"):
        CocoDataset(folder / "images", each("annotations", ignored_region=1))


@pytest.mark.parametrize("key", ["iscrowd", "ignore", "difficult", "uncertain"])
def test_a_set_of_nothing_but_crowds_is_tested_but_not_trained_on(key, folder):
    path = write(folder, each("annotations", **{key: 1}))
    keys = [f"data.{split}.{name}" for split in ("train", "val") for name in ("images", "annotations")]
    cfg = load_config({}, [f"{key}={value}" for key, value in zip(keys, [folder / "images", path] * 2, strict=True)])
    assert build_dataset(cfg, "val").objects(1).labels.tolist() == [IGNORE]
    message = r"ann\.json must have objects to learn; all 3 usable boxes of the classes cat"
    with pytest.raises(ValueError, match=message):
        build_dataset(cfg, "train")
    found = survey(read_content(path, lenient=True))
    kind = "boxes that are all crowds, ignored, difficult or uncertain (training refuses them)"
    assert (found.problems[kind], found.classes) == (["all 3"], {"cat": 0})


def test_detections_of_both_ids_of_a_file_count_once(folder):
    truth = {**coco(), "aliases": {9: 1}}
    rows = [
        (9, 1, [1, 2, 4, 6]),
        (1, 1, [1, 2.5, 4, 6]),
        (9, 2, [1, 2, 4, 6]),
        (9, 1, [8, 2, 4, 6]),
        (2, 1, [1, 2, 4, 6]),
    ]
    rows.append((9, 1, [8.5, 2, 4, 6]))  # of one record, so that it is another detection
    results = [{"image_id": image, "category_id": label, "bbox": box, "score": 1} for image, label, box in rows]
    dt = write(folder, results, "dt.json")
    kept = [(row["image_id"], row["category_id"], row["bbox"]) for row in read_results(dt, truth)]
    assert kept == [(1, 1, rows[1][2]), (1, 2, rows[2][2]), (1, 1, rows[3][2]), (2, 1, rows[4][2]), (1, 1, rows[5][2])]


def test_ids_of_64_bits_stay_apart_and_are_written_as_they_came(folder):
    ids = [2**63 + 1, 2**60 + 1]
    content = coco()
    for record, value in zip(content["images"], ids, strict=True):
        record["id"] = value
    for annotation, owner in zip(content["annotations"], (0, 0, 1), strict=True):
        annotation["image_id"] = ids[owner]
    path = write(folder, content)
    dataset = CocoDataset(folder / "images", path)
    assert [len(dataset.objects(index).labels) for index in (0, 1)] == [2, 1]
    evaluator = Evaluator(dataset.ground_truth, dataset.category_ids, make_protocol())
    for image_id in dataset.image_ids:
        evaluator.update(image_id, Detections(*_torch([[10, 5, 30, 35]], [0.9], [1])))
    assert {row["image_id"] for row in evaluator.results()} == set(ids)
    truth = make_ground_truth(read_truth(path), make_protocol())
    found = make_detections(read_results(write(folder, evaluator.results(), "dt.json"), content), truth)
    assert len(truth.image_ids) == 2 and len(found.score) == 2


def _torch(*values):
    import torch

    return (
        torch.tensor(value, dtype=torch.float32 if index < 2 else torch.int64) for index, value in enumerate(values)
    )


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 1e30, "x", None, True, [1]])
def test_other_ids_are_refused_by_name(folder, value):
    content = coco()
    content["images"][1]["id"] = value
    with pytest.raises(ValueError, match=r"ann\.json: images\[1\]\.id must be a whole number as id"):
        read_content(write(folder, content))


def test_polygons_without_boxes_give_the_boxes(folder):
    content = coco()
    for annotation in content["annotations"]:
        x, y, w, h = annotation.pop("bbox")
        annotation["segmentation"] = [[x, y, x + w, y, x + w, y + h], [x, y + h, x, y, x + 1, y]]
    dataset = CocoDataset(folder / "images", write(folder, content))
    assert [a["bbox"] for a in dataset.ground_truth["annotations"]] == [a["bbox"] for a in coco()["annotations"]]
    assert "annotations without bbox (that of the polygon is taken): 3 (annotations[0].bbox" in dataset.report()


def test_numbers_given_as_texts_are_read_and_named(folder):
    content = coco()
    content["images"][0].update(width="60", height="40.0")
    content["annotations"][0].update(bbox=["10", "5", "20", "30"], image_id="1", area="600")
    dataset = CocoDataset(folder / "images", write(folder, content))
    assert dataset.objects(0).boxes[0].tolist() == [10, 5, 30, 35]
    assert "numbers and flags given as strings (converted)" in dataset.report()
    assert read_truth(folder / "ann.json")["annotations"][0]["bbox"] == [10, 5, 20, 30]


@pytest.mark.parametrize("size", [{"width": 0, "height": 0}, {"width": 60, "height": None}, {"width": None}])
def test_a_size_of_0_or_half_a_size_is_measured_and_named(folder, size):
    dataset = CocoDataset(folder / "images", write(folder, each("images", **size)))
    assert dataset.sizes.tolist() == [[40, 60]] * 2
    assert "image sizes that are 0 or incomplete (measured in the file): 2" in dataset.report()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (each("annotations", area=float("nan")), "areas that are negative or not numbers (the box's area is used)"),
        (each("annotations", area=-1), "areas that are negative or not numbers (the box's area is used)"),
        (each("annotations", area=0), "areas of 0 of boxes that have one (they decide the size range"),
        (each("annotations", area=0.02), "areas of at most 1/1000 of the box"),
        (each("images", width=12.5), "image sizes that are not whole numbers of 1 or more (training refuses them)"),
        (each("images", width="wide"), "image sizes that are not whole numbers of 1 or more (training refuses them)"),
        (same_name(2), "duplicate class names (training refuses them)"),
        (same_name(1), "categories without annotations that have the name of another one (left out)"),
        (fractions(), "boxes that are fractions, not pixels (training refuses them)"),
        (each("images", width="60"), "numbers and flags given as strings (converted)"),
        (each("annotations", bbox=None, segmentation=[[1, 1, 9, 9, 1, 9]]), "annotations without bbox"),
    ],
)
def test_the_doctor_names_what_training_refuses_or_reads_otherwise(folder, content, kind):
    problems = survey(read_content(write(folder, content), lenient=True)).problems
    assert any(name.startswith(kind) for name in problems)


def test_areas_of_0_are_told_in_training_and_evaluation_and_kept(folder, caplog):
    content = coco()
    content["annotations"][1]["area"] = 0
    path = write(folder, content)
    dataset, truth = CocoDataset(folder / "images", path), read_truth(path)
    for objects in (dataset.ground_truth["annotations"], truth["annotations"]):
        assert [entry["area"] for entry in objects] == [600, 0, 25]
    line = "areas of 0 of boxes that have one (they decide the size range; leave the key out to have the box's area): 1"
    assert line in dataset.report() and line in caplog.text


def test_records_that_are_windows_of_one_file_are_refused(folder):
    content = coco()
    content["images"][1]["file_name"] = "a.png"
    for record, corner in zip(content["images"], ([0, 0, 60, 40], [30, 0, 90, 40]), strict=True):
        record["corner"] = corner
    path = write(folder, content)
    with pytest.raises(ValueError, match=r"ann\.json: images must be whole files; 'a\.png' is listed by its windows"):
        read_content(path)
    content["images"][1]["corner"] = [0, 0, 60, 40]  # the same window: the image is listed twice
    assert len(read_content(write(folder, content)).images) == 1


@pytest.mark.parametrize("place", ["images", ".", None])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])  # read in pieces, and as a whole
def test_an_image_without_file_name_is_named_by_its_url(folder, place, encoding):
    content = coco()
    content["images"] = [{"id": i, "coco_url": f"http://x.org/images/{name}.png"} for i, name in ((1, "a"), (2, "b"))]
    path = write(folder, json.dumps(content).encode(encoding))
    found = read_content(path, None if place is None else folder / place)
    expected = ["a.png", "b.png"] if place == "images" else ["images/a.png", "images/b.png"]
    assert [record["file_name"] for record in found.images] == expected
    assert list(found.problems) == ["images without file_name (named by their coco_url)"]
    if place:
        assert CocoDataset(folder / place, path).load(0).size == (40, 60)


OTHERS = {
    "labelme": ({"version": "5", "shapes": []}, "images is missing, the file has version, shapes"),
    "bdd": ([{"name": "a.png", "labels": []}], "it is a list"),
    "via": ({"images": {"a.png": {}}, "annotations": [], "categories": []}, "images must be a list; got an object"),
    "lines": (b'{"a": 1}\n{"a": 2}\n', "it is not valid JSON"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_json_of_other_tools_is_told_what_is_read(name, folder):
    content, fault = OTHERS[name]
    path = write(folder, content)
    for read in (read_content, read_dataset):
        with pytest.raises(ValueError, match=rf"ann\.json must be a .*{fault}.*other JSON \(LabelMe, .* to COCO$"):
            read(path)


def test_a_yaml_of_images_with_boxes_is_told_from_a_data_yaml(folder):
    text = "---\n# images\n" + "- boxes: [{label: Red, x_max: 1}]\n  path: ./a.png\n" * 30_000
    path = write(folder, text.encode(), "train.yaml")
    with pytest.raises(ValueError, match=r"train\.yaml must be a mapping with train, val and names; got a list: a"):
        read_content(path, folder / "images")


def test_a_width_of_128_0_is_a_whole_number(folder):
    path = write(folder, each("images", width=60.0, height=40.0))
    assert CocoDataset(folder / "images", path).sizes.tolist() == [[40, 60]] * 2
    assert survey(read_content(path, lenient=True), folder / "images").problems == {}


def test_boxes_that_cannot_be_used_are_dropped_and_named_in_training_and_evaluation(folder, caplog):
    content = coco()
    content["annotations"][0]["bbox"] = [math.nan, 1, 5, 5]
    content["annotations"][1]["bbox"] = [99, 1, 5, 5]
    path = write(folder, content)
    dataset = CocoDataset(folder / "images", path)
    assert len(dataset.ground_truth["annotations"]) == len(read_truth(path)["annotations"]) == 1
    for line in (
        "boxes that are not four finite numbers, dropped: 1 (annotation 1 of a.png",
        "outside their image, dropped",
    ):
        assert line in dataset.report() and line in caplog.text


def test_backslashes_are_folders(folder):
    (folder / "images" / "x").mkdir()
    (folder / "images" / "a.png").rename(folder / "images" / "x" / "a.png")
    content = coco()
    content["images"][0]["file_name"] = "x\\a.png"
    dataset = CocoDataset(folder / "images", write(folder, content))
    assert dataset.files == ["x/a.png", "b.png"] and dataset.load(0).size == (40, 60)
    assert r"file names with backslashes (read as folders): 1 (x\a.png)" in dataset.report()


def test_a_file_name_of_another_encoding_is_refused_with_the_reason(folder):
    (folder / "images" / "a.png").rename(folder / "images" / os.fsdecode("你.png".encode("gbk")))
    (folder / "labels").mkdir()
    (folder / "labels" / "b.txt").write_text("0 .5 .5 .1 .1")
    fault = r"images\[1\]\.file_name must be a text in UTF-8; got '\\udcc4\\udce3\.png', of another encoding: rename it"
    with pytest.raises(ValueError, match=fault):
        read_content(folder)


@pytest.mark.parametrize("name", ["../a.png", "/etc/a.png", "x/../../a.png", "..\\a.png"])
def test_a_file_name_that_leads_out_of_the_folder_is_refused_by_name(folder, name):
    (folder / "a.png").write_bytes((folder / "images" / "a.png").read_bytes())
    content = coco()
    content["images"][0]["file_name"] = name
    path = write(folder, content)
    with pytest.raises(ValueError, match=r"images\[0\]\.file_name must be a file inside of the image folder"):
        CocoDataset(folder / "images", path)
    problems = survey(read_content(path, lenient=True)).problems
    assert any(kind.startswith("file names that lead out") for kind in problems)


def test_an_absolute_name_inside_of_the_folder_is_fine(folder):
    content = coco()
    content["images"][0]["file_name"] = str(folder / "images" / "a.png")
    assert CocoDataset(folder / "images", write(folder, content)).files == ["a.png", "b.png"]
    for record in content["images"]:
        record["file_name"] = f"{folder}/images/{record['file_name'][-5:]}"
    assert CocoDataset("/", content).load(1).size == (40, 60)  # a folder that holds them all says so


def test_links_are_read_and_the_doctor_names_those_that_lead_out(folder):
    (folder / "elsewhere").mkdir()
    (folder / "images" / "a.png").rename(folder / "elsewhere" / "a.png")
    (folder / "images" / "a.png").symlink_to(folder / "elsewhere" / "a.png")
    (folder / "linked").symlink_to(folder / "images")
    assert CocoDataset(folder / "images", coco()).load(0).size == (40, 60)
    for images in ("images", "linked"):
        problems = survey(coco(), folder / images).problems
        assert problems == {"image files that are links to files outside the image folder": ["a.png"]}


def test_a_class_that_the_validation_set_lacks_gets_no_box_and_others_are_named(folder):
    content = coco(categories=[{"id": 1, "name": "cat"}, {"id": 2, "name": "bird"}])
    content["annotations"][2]["category_id"] = 2
    dataset = CocoDataset(folder / "images", content, classes=["dog", "cat"], add_classes=True)
    assert dataset.classes == ("dog", "cat") and dataset.category_ids == (3, 1)
    assert dataset.objects(0).labels.tolist() == [2, 2]
    assert "classes not in data.classes or in the training set, left out: 1 (bird, 1 boxes)" in dataset.report()
    assert "classes without a box: 1 (dog)" in dataset.report()
    with pytest.raises(ValueError, match="must be among the categories of annotations, cat, bird; got 'dog': give"):
        CocoDataset(folder / "images", content, classes=["dog"], add_classes=True)


@pytest.mark.parametrize("value", [[1, 2], "x", {"a": 1}, None, True])
def test_a_broken_field_of_a_detection_is_named(folder, value):
    dt = write(folder, [{"image_id": 1, "category_id": value, "bbox": [1, 2, 3, 4], "score": 1}], "dt.json")
    with pytest.raises(ValueError, match="category_id of each detection"):
        make_detections(read_results(dt, coco()), make_ground_truth(coco(), make_protocol()))


@pytest.mark.parametrize("name", ["_annotations.csv", "annotations.xml", "train.txt", "empty"])
def test_a_file_of_another_format_is_told_what_to_export(folder, name):
    path = write(folder, b"" if name == "empty" else b"<annotations/>", name)
    fault = "must be a COCO JSON file, a data.yaml, or a folder of .*; this file is neither .* export as COCO or YOLO"
    for read in (lambda: find_images(path, "train"), lambda: read_content(path, folder / "images")):
        with pytest.raises(ValueError, match=fault):
            read()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_a_coco_file_may_have_any_name(folder, encoding):
    assert len(read_content(write(folder, json.dumps(coco()).encode(encoding), "export.txt")).objects) == 3


def test_deep_nesting_is_one_line(folder):
    for read in (read_content, read_dataset):
        with pytest.raises(
            ValueError, match=r"deep\.json must be a JSON file; it is not valid JSON \(nested too deeply\): correct"
        ) as error:
            read(write(folder, b"[" * 100_000, "deep.json"))
        assert "\n" not in str(error.value)
