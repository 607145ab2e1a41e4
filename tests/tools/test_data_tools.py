"""tools/convert_dataset.py, check_dataset.py and compare.py from the command line."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from lib.data.formats.registry import read_content
from lib.engine.data_report import Coverage
from lib.multibox.coverage import Unmatched
from tools import check_dataset, compare, convert_dataset

ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / "experiments" / "mobilenet_v1" / "plain.yml")


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    images = [{"id": index, "file_name": f"{index}.png", "height": 120, "width": 160} for index in range(1, 5)]
    for record in images:
        cv2.imwrite(str(tmp_path / "images" / record["file_name"]), np.zeros((120, 160, 3), np.uint8))
    annotations = []
    for index in range(24):
        x, y, side = rng.integers(0, 90), rng.integers(0, 60), int(rng.integers(6, 60))
        annotations.append(
            {"id": index + 1, "image_id": 1 + index % 3, "category_id": 1, "bbox": [int(x), int(y), side, side]}
            | {"area": side * side, "iscrowd": 0}
        )
    coco = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "gt.json").write_text(json.dumps(coco))
    for name, kept in (("a.json", annotations[:8]), ("b.json", annotations)):
        (tmp_path / name).write_text(json.dumps([{**entry, "score": 0.5} for entry in kept]))
    return tmp_path


def test_conversion_there_and_back_keeps_every_box(files, capsys):
    convert_dataset.main([str(files / "gt.json"), str(files / "voc"), "--to", "voc"])
    convert_dataset.main([str(files / "voc"), str(files / "again.json"), "--to", "coco"])
    assert capsys.readouterr().out.count("4 images, 24 boxes") == 2
    again, first = (json.loads((files / name).read_text()) for name in ("again.json", "gt.json"))
    boxes = [sorted(entry["bbox"] for entry in found["annotations"]) for found in (again, first)]
    assert boxes[0] == boxes[1]


def test_conversion_does_not_overwrite(files):
    message = "OUT must be new or an empty folder; got .*gt.json, which exists: choose another"
    with pytest.raises(FileExistsError, match=message):
        convert_dataset.main([str(files / "gt.json"), str(files / "gt.json"), "--to", "coco"])


def test_check_reports_problems_and_priors(files, capsys):
    coco = json.loads((files / "gt.json").read_text())
    coco["annotations"].append({"id": 99, "image_id": 1, "category_id": 1, "bbox": [1, 1, 0, 5], "area": 0})
    (files / "gt.json").write_text(json.dumps(coco))
    arguments = ["--gt", str(files / "gt.json"), "--images", str(files / "images"), "--cfg", CONFIG]
    check_dataset.main([*arguments, "--json", str(files / "o.json"), "--html", str(files / "o.html")])
    report = json.loads((files / "o.json").read_text())
    assert list(report["problems"]) == ["boxes of no area"]
    assert (report["images"], report["images_without_objects"], report["classes"]) == (4, 1, {"cat": 24})
    assert 0 <= report["ranges"]["all"]["without_fitted_prior"] <= report["ranges"]["all"]["without_prior"] <= 24
    shown = capsys.readouterr().out
    assert "boxes of no area: 1 (annotation 99 of 1.png: [1, 1, 0, 5]" in shown
    assert "model:\n  priors:\n    boxes:" in shown
    assert (report["unmatched"]["objects"], report["unmatched"]["images"]) == (24, 3)
    assert "The experiment's matcher assigns no prior to " in shown and " of 24 objects in 3 images; training" in shown
    assert "best IoU < 0.5  share  best IoU < 0.5, fitted priors  share, fitted" in shown and report["files_checked"]
    assert (files / "o.html").read_text().count("<svg") == 2
    assert "placeholders" not in shown


def test_priors_that_training_will_fit_are_called_placeholders():
    known, best = np.array([True, True, False]), np.array([0.4, 0.6])
    coverage = Coverage(0.5, known, best, best, "", Unmatched(1, 2, 2), are_placeholders=True)
    assert coverage.unmatched_text() == (
        "This experiment fits its priors to the data when training starts; the priors compared here are placeholders. "
        "The experiment's matcher assigns no prior to 1 of 2 objects in 2 images. 1 objects in images of unknown size "
        "are not compared with priors."
    )


@pytest.mark.parametrize("target", ["yolo", "voc"])
def test_check_finds_the_images_as_training_does(target, files, capsys):
    convert_dataset.main([str(files / "gt.json"), str(files / "set"), "--to", target])
    (files / "images").rename(files / "set/images")
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    whole = cv2.imencode(".jpg", noise)[1].tobytes()
    (files / "set/images/1.png").write_bytes(whole[: len(whole) // 2])
    check_dataset.main(["--gt", str(files / "set"), "--open"])
    shown = capsys.readouterr().out
    assert "image files that cannot be read: 1 (image 1.png" in shown and "not looked at" not in shown


def test_check_says_that_it_did_not_look_at_the_files_of_a_coco_set(files, capsys):
    check_dataset.main(["--gt", str(files / "gt.json"), "--html", str(files / "o.html")])
    for text in (capsys.readouterr().out, (files / "o.html").read_text()):
        assert "The image files were not looked at: give their folder, --images." in text
    with pytest.raises(ValueError, match=r"--open must have images to decode; .*gt\.json .*: give --images"):
        check_dataset.main(["--gt", str(files / "gt.json"), "--open"])


def test_check_needs_sizes_to_compare_priors(files, capsys):
    coco = json.loads((files / "gt.json").read_text())
    for image in coco["images"]:
        del image["width"], image["height"]
    (files / "gt.json").write_text(json.dumps(coco))
    arguments = ["--gt", str(files / "gt.json"), "--cfg", CONFIG]
    with pytest.raises(ValueError, match="sizes of images must be known .*; none of those .*: give --images"):
        check_dataset.main(arguments)
    check_dataset.main([*arguments, "--images", str(files / "images")])
    shown = capsys.readouterr().out
    assert " of 24 objects in 3 images; training" in shown and "unknown size" not in shown


def test_check_compares_priors_with_the_objects_of_images_that_can_be_read(files, capsys):
    coco = json.loads((files / "gt.json").read_text())
    for image in coco["images"]:
        del image["width"], image["height"]
    (files / "gt.json").write_text(json.dumps(coco))
    (files / "images/1.png").write_bytes(b"not an image")
    options = ["--images", str(files / "images"), "--json", str(files / "o.json"), "--html", str(files / "o.html")]
    check_dataset.main(["--gt", str(files / "gt.json"), "--cfg", CONFIG, *options])
    shown, report = capsys.readouterr().out, json.loads((files / "o.json").read_text())
    assert "image files that cannot be read: 1 (image 1.png must be readable" in shown
    assert " of 16 objects in 2 images; training" in shown
    assert "8 objects in images of unknown size are not compared with priors." in shown
    assert report["ranges"]["all"]["objects"] == 24 and report["unmatched"]["objects"] == 16
    assert "8 objects in images of unknown size" in (files / "o.html").read_text()


def test_compare_says_which_is_better_and_writes_both_files(files, capsys):
    names = [str(files / "a.json"), str(files / "b.json")]
    options = ["--gt", str(files / "gt.json"), "--resamples", "100"]
    compare.main([*names, *options, "--json", str(files / "o.json"), "--html", str(files / "o.html")])
    found = json.loads((files / "o.json").read_text())
    assert (found["metrics"][0]["name"], found["metrics"][0]["verdict"]) == ("AP", "second is better")
    assert "b.json is better: AP differs by +0." in capsys.readouterr().out
    assert (files / "o.html").read_text().count("<svg") == 2


def test_bad_files_are_one_line(files):
    with pytest.raises(
        FileNotFoundError, match="nothing.json must be a JSON file; there is no such file: check the path"
    ):
        compare.main([str(files / "nothing.json"), str(files / "a.json"), "--gt", str(files / "gt.json")])
    with pytest.raises(FileNotFoundError, match="image folder .*nowhere must exist; there is no such folder"):
        check_dataset.main(["--gt", str(files / "gt.json"), "--images", str(files / "nowhere")])


@pytest.mark.parametrize("target", ["voc", "yolo", "visdrone"])
def test_a_failed_conversion_leaves_nothing(target, files):
    coco = json.loads((files / "gt.json").read_text())
    coco["images"][3]["file_name"] = "1.jpg"  # beside 1.png
    (files / "bad.json").write_text(json.dumps(coco))
    before = sorted(files.iterdir())
    with pytest.raises(ValueError, match="(must differ by more than their suffix|classes of VisDrone are)"):
        convert_dataset.main([str(files / "bad.json"), str(files / "out"), "--to", target])
    assert sorted(files.iterdir()) == before
    (files / "out").mkdir()  # an empty folder may be there already
    if target != "visdrone":
        convert_dataset.main([str(files / "gt.json"), str(files / "out"), "--to", target])
        assert any((files / "out").rglob("1.*"))


@pytest.mark.parametrize("box", [None, "missing", [1, 2, 3], ["a", 1, 2, 3], [float("nan"), 1, 5, 5]])
def test_conversion_leaves_out_what_is_no_box_and_says_so(box, files, caplog):
    coco = json.loads((files / "gt.json").read_text())
    coco["annotations"][0]["bbox"] = box
    coco["annotations"][1]["bbox"] = [str(value) for value in coco["annotations"][1]["bbox"]]
    if box == "missing":
        del coco["annotations"][0]["bbox"]
    (files / "bad.json").write_text(json.dumps(coco))
    for target in ("coco", "voc", "yolo"):
        out = files / f"out_{target}{'.json' if target == 'coco' else ''}"
        convert_dataset.main([str(files / "bad.json"), str(out), "--to", target])
        written = [path.read_text() for path in (out.rglob("*.*") if out.is_dir() else [out])]
        assert not any("nan" in text.lower() for text in written)
        assert len(read_content(out, files / "images").objects) == 23
    assert caplog.text.count("1 boxes without four finite numbers are left out") == 3


def test_conversion_writes_names_with_backslashes_into_folders(files):
    coco = json.loads((files / "gt.json").read_text())
    coco["images"][0]["file_name"] = "x\\1.png"
    (files / "bad.json").write_text(json.dumps(coco))
    convert_dataset.main([str(files / "bad.json"), str(files / "out"), "--to", "yolo"])
    assert (files / "out/labels/x/1.txt").is_file()


def test_a_data_yaml_is_checked_by_its_splits(files, capsys):
    convert_dataset.main([str(files / "gt.json"), str(files / "yolo"), "--to", "yolo"])
    (files / "images").rename(files / "yolo" / "images")
    (files / "yolo/data.yaml").write_text("train: images\nval: [images]\nnames: cat\n")
    for split in ("train", "val"):
        check_dataset.main(["--gt", str(files / "yolo/data.yaml"), "--split", split])
        assert "4 images, 1 without an object; 24 usable objects" in capsys.readouterr().out
    with pytest.raises(ValueError, match="data.yaml must name a folder of images.*at test"):
        check_dataset.main(["--gt", str(files / "yolo/data.yaml"), "--split", "test"])
