"""tools/evaluate.py: the numbers, the files, and one clear line for bad input."""

import csv
import json
import re

import numpy as np
import pytest
import torch

from lib.data.dataset import CocoDataset
from lib.evaluation import make_protocol
from lib.evaluation.evaluator import Evaluator
from lib.structures import Detections
from lib.utils.command_line import readable_errors
from tests.data.image_files import jpeg
from tools import compare, evaluate

BOX = [10.0, 10.0, 20.0, 20.0]
COCO = {
    "images": [
        {"id": 1, "file_name": "a.jpg", "height": 60, "width": 90},
        {"id": 2, "file_name": "b.jpg", "height": 60, "width": 90},
    ],
    "annotations": [{"id": 5, "image_id": 1, "category_id": 3, "bbox": BOX, "area": 400, "iscrowd": 0}],
    "categories": [{"id": 3, "name": "cat"}],
}
FOUND = {"image_id": 1, "category_id": 3, "bbox": BOX, "score": 0.9}


def run(tmp_path, coco, results, *options):
    for name, content in (("gt.json", coco), ("dt.json", results)):
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / name).write_text(text)
    evaluate.main(["--gt", str(tmp_path / "gt.json"), "--dt", str(tmp_path / "dt.json"), *options])


def test_numbers_go_to_screen_json_and_csv(tmp_path, capsys):
    run(tmp_path, COCO, [FOUND], "--json", str(tmp_path / "o.json"), "--csv", str(tmp_path / "o.csv"))
    found = json.loads((tmp_path / "o.json").read_text())
    assert found["metrics"]["AP_small"] == pytest.approx(1)
    assert found["metrics"]["AP_large"] is None
    assert found["counts"] == {"all": 1, "small": 1, "medium": 0, "large": 0}
    assert list(found["per_class"]) == ["cat"]
    rows = list(csv.DictReader((tmp_path / "o.csv").open()))
    assert [row["range"] for row in rows] == ["all", "small", "medium", "large"] * 2
    assert [float(row["AP"]) for row in rows[:2]] == pytest.approx([1, 1])
    assert [row["AP"] for row in rows[2:4]] == ["", ""]
    assert "small" in capsys.readouterr().out


def test_boxes_count_the_pixels_that_the_orientation_says(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "images" / "1.jpg").write_bytes(jpeg(np.zeros((40, 60, 3), np.uint8), orientation=6))
    (tmp_path / "labels" / "1.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "dt.json").write_text(json.dumps([{**FOUND, "category_id": "0", "bbox": [15, 10, 30, 20]}]))
    ap = {}
    for option in ([], ["--orientation=upright"], ["--orientation=as_stored"]):
        options = ["--gt", str(tmp_path), "--dt", str(tmp_path / "dt.json"), "--json", str(tmp_path / "o.json")]
        evaluate.main([*options, *option])
        ap[option[0] if option else ""] = json.loads((tmp_path / "o.json").read_text())["metrics"]["AP"]
    # The detection is in stored pixels; upright, the box is [10, 15, 20, 30].
    assert ap == pytest.approx({"": 0, "--orientation=upright": 0, "--orientation=as_stored": 1})


DOG = {"id": 6, "image_id": 2, "category_id": 4, "bbox": BOX, "area": 400, "iscrowd": 0}
WITH_DOG = {
    **COCO,
    "annotations": [*COCO["annotations"], DOG],
    "categories": [*COCO["categories"], {"id": 4, "name": "dog"}],
}
WARNING = r"dt.json has no detection of 1 of the 2 classes that have objects \(dog\): .* with --classes"


def test_a_detector_of_some_classes_gets_the_numbers_of_test_py(tmp_path, caplog):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(jpeg(np.zeros((60, 90, 3), np.uint8)))
    dataset = CocoDataset(tmp_path, WITH_DOG, classes=["cat"])  # as test.py reads it for a model that knows cats
    evaluator = Evaluator(dataset.ground_truth, dataset.category_ids, make_protocol())
    hit = Detections(torch.tensor([[10.0, 10.0, 30.0, 30.0]]), torch.tensor([0.9]), torch.tensor([1]))
    evaluator.update(1, hit)
    evaluator.update(2, hit)
    tested = evaluator.evaluate().to_json()
    assert tested["metrics"]["AP50"] == pytest.approx(1)
    out = ["--json", str(tmp_path / "o.json")]
    run(tmp_path, WITH_DOG, evaluator.results(), *out)
    assert json.loads((tmp_path / "o.json").read_text())["metrics"]["AP50"] == pytest.approx(0.5)
    assert re.search(WARNING, caplog.text)
    caplog.clear()
    run(tmp_path, WITH_DOG, evaluator.results(), *out, "--classes", "cat")
    assert json.loads((tmp_path / "o.json").read_text()) == tested
    assert "no detection" not in caplog.text


def test_detections_of_classes_that_are_not_chosen_are_left_out(tmp_path, caplog):
    found = [{**FOUND, "image_id": 2, "category_id": 4, "bbox": [50, 10, 20, 20]}, FOUND]
    with caplog.at_level("INFO"):
        run(tmp_path, WITH_DOG, found, "--json", str(tmp_path / "o.json"), "--classes", "cat")
    result = json.loads((tmp_path / "o.json").read_text())
    assert (result["metrics"]["AP"], list(result["per_class"])) == (pytest.approx(1), ["cat"])
    assert "left_out_objects 1" in caplog.text and "dropped_detections 1" in caplog.text


def test_compare_takes_the_classes_and_names_the_file_without_one(tmp_path, caplog):
    names = {"gt": WITH_DOG, "dt": [FOUND], "both": [FOUND, {**FOUND, "image_id": 2, "category_id": 4}]}
    paths = {name: tmp_path / f"{name}.json" for name in names}
    for name, content in names.items():
        paths[name].write_text(json.dumps(content))
    out = tmp_path / "o.json"
    options = [str(paths["dt"]), str(paths["both"]), f"--gt={paths['gt']}", "--resamples=9", f"--json={out}"]
    found = {}
    for classes in ((), ("--classes", "cat")):
        caplog.clear()
        compare.main([*options, *classes])
        first = json.loads(out.read_text())["metrics"][0]
        found[classes] = (first["first"], first["second"], re.findall(r"(\w+\.json) has no detection", caplog.text))
    assert found == {
        (): (pytest.approx(0.5), pytest.approx(1), ["dt.json"]),
        ("--classes", "cat"): (pytest.approx(1), pytest.approx(1), []),
    }


def test_a_class_that_the_file_lacks_is_refused_with_its_classes(tmp_path):
    with pytest.raises(ValueError, match=r"each of --classes must be one of cat, dog; got 'dg' \(did you mean 'dog'"):
        run(tmp_path, WITH_DOG, [FOUND], "--classes", "cat", "dg")


def test_own_ranges_and_limits_from_the_command_line(tmp_path):
    options = ("--ranges", "dot=0:100", "blob=100:", "--iou", ".5", "--max-detections", "7")
    run(tmp_path, COCO, [FOUND], *options, "--json", str(tmp_path / "o.json"))
    metrics = json.loads((tmp_path / "o.json").read_text())["metrics"]
    assert list(metrics) == ["AP", "AP50", "AP_dot", "AP_blob", "AR_7", "AR_dot", "AR_blob"]


def with_annotation(**change):
    return {**COCO, "annotations": [{**COCO["annotations"][0], **change}]}


@pytest.mark.parametrize(
    ("coco", "results", "message"),
    [
        (COCO, [{**FOUND, "image_id": 9}], r"image_id of a detection must be among the 2 images .*; got \[9\] \(1 t"),
        (COCO, [{**FOUND, "category_id": 4}], r"category_id of a detection must be among the 1 .*; got \[4\]"),
        (COCO, [{**FOUND, "score": float("nan")}], "score of a detection must be finite; got .nan. of image 1"),
        (COCO, [{**FOUND, "score": "high"}], "score of each detection must be a number; got .*high.*number 0: correct"),
        (COCO, [{**FOUND, "bbox": [1, 2]}], r"bbox of each detection must be \[x, y, width, height\]; got .*1, 2"),
        (COCO, [{**FOUND, "bbox": [9, 9, 5, -4]}], "width and height at least 0; got .9.0, 9.0, 5.0, -4.0."),
        (COCO, [{"image_id": 1, "category_id": 3, "bbox": BOX}], "score of each detection must be a number"),
        (COCO, COCO, "detections must be a list of COCO results; got an object with keys .'images'"),
        (COCO, [1, 2], "image_id of each detection must be a whole number; got 1 as detection number 0"),
        (COCO, "[{", "dt.json must be a JSON file; it is not valid JSON"),
        ([FOUND], [FOUND], "gt.json must be a COCO file, .*; it is a list"),
        (with_annotation(image_id=7), [], "unknown image_id .7."),
        (with_annotation(iscrowd="maybe"), [], r"gt.json: annotations\[0\].iscrowd must be 0 or 1, .* got 'maybe'"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line(coco, results, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop, readable_errors():
        run(tmp_path, coco, results)
    shown = capsys.readouterr().err
    assert stop.value.code == 2
    assert re.match(f"error: .*{message}", shown)
    assert shown.count("\n") == 1


def test_ground_truth_without_area_is_measured_by_its_boxes_with_a_warning(tmp_path, caplog):
    bare = {key: value for key, value in COCO["annotations"][0].items() if key not in ("area", "iscrowd")}
    run(tmp_path, {**COCO, "annotations": [bare]}, [FOUND], "--json", str(tmp_path / "o.json"))
    assert json.loads((tmp_path / "o.json").read_text())["metrics"]["AP_small"] == pytest.approx(1)
    assert "annotations without area (the box's is taken): 1" in caplog.text


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.json"):
        evaluate.main(["--gt", str(tmp_path / "nothing.json"), "--dt", "x"])
