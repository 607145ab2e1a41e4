"""First labels for other tools: what our own readers and pycocotools read of them, and what the tools ask for."""

import json
import os
import xml.etree.ElementTree as ElementTree
from urllib.parse import unquote

import cv2
import numpy as np
import pytest
import torch

from lib.data.dataset import CocoDataset
from lib.data.formats.registry import read_dataset
from lib.inference.labels import plan_labels
from lib.inference.outputs import Output
from lib.inference.sources import Frame, open_source
from lib.structures import Detections
from tests.data.image_files import jpeg

NAMES = ["a car", "Fußgänger <&>"]
BOXES = [[10.0, 20, 40.5, 60.25], [0, 0, 120, 70], [3.3, 4.4, 5.5, 8.8], [7, 7, 7, 9]]  # the last has no area
FOUND = Detections(torch.tensor(BOXES), torch.tensor([0.9, 0.5, 0.4, 0.35]), torch.tensor([1, 2, 2, 1]))
NOTHING = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
FILES = ["b/c d.jpg", "b/empty.png", "ein Bild ü.png"]


def found_in(detections):
    """Name -> [(x1, y1, x2, y2, class name)] of a data set in COCO's form."""
    names = {category["id"]: category["name"] for category in detections["categories"]}
    files = {record["id"]: record["file_name"] for record in detections["images"]}
    rows = {name: [] for name in files.values()}
    for entry in detections["annotations"]:
        x, y, w, h = entry["bbox"]
        rows[files[entry["image_id"]]].append([x, y, x + w, y + h, names[entry["category_id"]]])
    return rows


def check(rows, names):
    expected = [[*box, NAMES[label - 1]] for box, label in zip(BOXES[:3], FOUND.labels.tolist(), strict=False)]
    assert sorted(rows) == sorted(names)
    for name, got in rows.items():
        wanted = [] if "empty" in name else expected
        assert [row[4] for row in got] == [row[4] for row in wanted]
        for row, other in zip(got, wanted, strict=True):
            assert row[:4] == pytest.approx(other[:4], abs=0.011)  # two decimals


@pytest.fixture
def saved(tmp_path):
    """Writes all formats of three images; the output folder."""
    for name in FILES:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imencode(".png", np.zeros((70, 120, 3), np.uint8))[1].tofile(tmp_path / "photos" / name)
    source = open_source(str(tmp_path / "photos" / "**" / "*.*"))
    out = tmp_path / "out"
    labels = plan_labels(["coco,yolo", "labelstudio"], out, source, "best.pth")
    with Output(out, NAMES, labels=labels) as output:
        for frame in source:
            output.write(frame, NOTHING if "empty" in frame.name else FOUND)
    return out


def test_coco_is_a_data_set_with_scores(saved):
    coco = json.loads((saved / "coco.json").read_text("utf-8"))
    assert coco["categories"] == [{"id": 1, "name": NAMES[0]}, {"id": 2, "name": NAMES[1]}]
    assert coco["images"][0] == {"id": 1, "file_name": FILES[0], "height": 70, "width": 120}
    assert coco["annotations"][0] == {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [10.0, 20.0, 30.5, 40.25],
        "area": 30.5 * 40.25,
        "iscrowd": 0,
        "score": 0.9,
        "segmentation": [],
    }
    check(found_in(read_dataset(saved / "coco.json")), FILES)


@pytest.mark.parametrize(("orientation", "size"), [(6, {"height": 70, "width": 120}), (3, {})])
def test_coco_is_read_back_by_the_pixels_that_its_boxes_count(orientation, size, tmp_path):
    (tmp_path / "photos").mkdir()
    stored = np.random.default_rng(0).integers(0, 256, (120, 70, 3) if orientation == 6 else (70, 120, 3), np.uint8)
    (tmp_path / "photos" / "a.jpg").write_bytes(jpeg(stored, orientation))
    source = open_source(str(tmp_path / "photos"))
    (frame,) = source
    with Output(tmp_path / "out", NAMES, labels=plan_labels(["coco"], tmp_path / "out", source, "")) as output:
        output.write(frame, FOUND)
    dataset = CocoDataset(tmp_path / "photos", tmp_path / "out" / "coco.json")
    np.testing.assert_array_equal(dataset.load(0).image, frame.image)
    coco = json.loads((tmp_path / "out" / "coco.json").read_text())
    assert coco["images"] == [{"id": 1, "file_name": "a.jpg", **size}]


def test_pycocotools_reads_the_data_set(saved):
    pycocotools = pytest.importorskip("pycocotools.coco", reason="needs pycocotools: make")
    coco = pycocotools.COCO(str(saved / "coco.json"))
    assert sorted(record["file_name"] for record in coco.loadImgs(coco.getImgIds())) == sorted(FILES)
    assert [len(coco.getAnnIds([key])) for key in coco.getImgIds()] == [3, 0, 3]


def test_yolo_is_a_data_set_beside_a_link_to_its_images(saved):
    root = saved / "yolo"
    rows = found_in(read_dataset(root / "data.yaml"))
    check({name.removeprefix("images/train/"): row for name, row in rows.items()}, FILES)
    assert (root / "train.txt").read_text("utf-8").splitlines() == [f"./images/train/{name}" for name in FILES]
    assert (root / "labels" / "train" / "b" / "empty.txt").read_text() == ""  # CVAT wants a file for each image
    lines = (root / "labels" / "train" / "b" / "c d.txt").read_text().splitlines()
    assert len(lines) == 3 and {len(line.split()) for line in lines} == {5}  # no score: CVAT refuses six numbers
    assert lines[0] == "0 0.2104167 0.5732143 0.2541667 0.575"
    assert os.path.samefile(root / "images" / "train" / FILES[2], saved.parent / "photos" / FILES[2])


def test_label_studio_has_tasks_with_predictions_and_a_configuration(saved):
    tasks = json.loads((saved / "labelstudio.json").read_text("utf-8"))
    assert [unquote(task["data"]["image"]) for task in tasks] == [f"/data/local-files/?d=photos/{n}" for n in FILES]
    assert tasks[0]["data"]["image"] == "/data/local-files/?d=photos/b/c%20d.jpg"
    (prediction,) = tasks[0]["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("best.pth", 0.6)
    first = prediction["result"][0]
    assert (first["original_width"], first["original_height"], first["score"]) == (120, 70, 0.9)
    assert tasks[1]["predictions"][0]["result"] == []
    rows = {}
    for task in tasks:
        rows[unquote(task["data"]["image"]).partition("photos/")[2]] = boxes = []
        for region in task["predictions"][0]["result"]:
            value, scale = region["value"], np.array([120, 70, 120, 70]) / 100
            x, y, w, h = np.array([value["x"], value["y"], value["width"], value["height"]]) * scale
            boxes.append([x, y, x + w, y + h, *value["rectanglelabels"]])
    check(rows, FILES)
    view = ElementTree.parse(saved / "labelstudio.xml").getroot()
    choices = view.find("RectangleLabels")
    assert [label.get("value") for label in choices] == NAMES
    assert (choices.get("name"), choices.get("toName")) == (first["from_name"], first["to_name"])
    assert view.find("Image").get("name") == first["to_name"] and view.find("Image").get("value") == "$image"


def test_frames_of_a_video_have_the_names_that_cvat_gives_them(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "film.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (120, 70))
    for _ in range(2):
        writer.write(np.zeros((70, 120, 3), np.uint8))
    writer.release()
    for pattern, names in (("film.mp4", ["frame_000000.png", "frame_000001.png"]), ("*.mp4", None)):
        names = names or ["film.mp4/frame_000000.png", "film.mp4/frame_000001.png"]
        source = open_source(str(tmp_path / pattern))
        out = tmp_path / f"out{len(names[0])}"
        labels = plan_labels(["coco,yolo,labelstudio"], out, source, "best.pth")
        with Output(out, NAMES, labels=labels) as output:
            for frame in source:
                output.write(frame, FOUND)
        check(found_in(read_dataset(out / "coco.json")), names)
        assert (out / "yolo" / "train.txt").read_text().splitlines() == [f"./images/train/{name}" for name in names]
        task = json.loads((out / "labelstudio.json").read_text())[0]
        assert task["data"]["image"].endswith(f"/{names[0]}")


def test_an_interrupted_run_has_labels_of_the_frames_before(tmp_path, saved):
    source = open_source(str(tmp_path / "photos" / "b"))
    labels = plan_labels(["coco"], tmp_path / "again", source, "best.pth")
    with pytest.raises(KeyboardInterrupt), Output(tmp_path / "again", NAMES, labels=labels) as output:
        output.write(next(iter(source)), FOUND)
        raise KeyboardInterrupt
    check(found_in(read_dataset(tmp_path / "again" / "coco.json")), ["c d.jpg"])


def test_nothing_at_all_is_an_empty_data_set(tmp_path, saved):
    source = open_source(str(tmp_path / "photos" / "b"))
    labels = plan_labels(["coco", "yolo", "labelstudio"], tmp_path / "none", source, "best.pth")
    with Output(tmp_path / "none", NAMES, labels=labels):
        pass
    assert json.loads((tmp_path / "none" / "coco.json").read_text())["annotations"] == []
    assert json.loads((tmp_path / "none" / "labelstudio.json").read_text()) == []
    assert (tmp_path / "none" / "yolo" / "train.txt").read_text() == ""


def test_what_cannot_be_saved_is_told_before_the_first_image(tmp_path, saved):
    source = open_source(str(tmp_path / "photos" / "b"))
    assert plan_labels((), saved, source, "") is None
    with pytest.raises(ValueError, match="--save must be one of coco, yolo, labelstudio; got 'voc'"):
        plan_labels(["coco,voc"], saved, source, "")
    with pytest.raises(FileExistsError, match="yolo, which may hold corrected labels: move it"):
        plan_labels(["yolo"], saved, source, "")
    for name in ("empty.xml", "empty.txt", "empty.pgw"):  # files that other programs put beside images
        (tmp_path / "photos" / "b" / name).touch()
    assert plan_labels(["yolo"], tmp_path / "new", open_source(str(tmp_path / "photos" / "b")), "").formats == ("yolo",)
    (tmp_path / "photos" / "b" / "empty.jpg").touch()
    (tmp_path / "site" / "images").mkdir(parents=True)
    for name in ("site/a.png", "site/images/a.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="not below a folder called images.*; got images/a.png: give that folder"):
        plan_labels(["yolo"], tmp_path / "new", open_source(str(tmp_path / "site/**/*.png")), "")
    assert plan_labels(["yolo"], tmp_path / "new", open_source(str(tmp_path / "site/images")), "") is not None
    with pytest.raises(ValueError, match="--save=yolo needs images that differ by more than their suffix; got empty"):
        plan_labels(["yolo"], tmp_path / "new", open_source(str(tmp_path / "photos" / "b")), "")


def test_of_images_that_only_differ_in_an_unknown_suffix_one_is_left_out_and_named(tmp_path, caplog):
    (tmp_path / "photos").mkdir()
    for name in ("scan.001", "scan.002", "other.mpo"):
        cv2.imencode(".png", np.zeros((70, 120, 3), np.uint8))[1].tofile(tmp_path / "photos" / name)
    source = open_source(str(tmp_path / "photos"))
    with Output(tmp_path / "out", NAMES, labels=plan_labels(["yolo"], tmp_path / "out", source, "")) as output:
        for frame in source:
            output.write(frame, NOTHING if frame.name == "scan.002" else FOUND)
    assert len((tmp_path / "out/yolo/labels/train/scan.txt").read_text().splitlines()) == 3
    assert (tmp_path / "out/yolo/train.txt").read_text() == "./images/train/other.mpo\n./images/train/scan.001\n"
    assert "--save=yolo leaves out scan.002: one that differs only in its suffix has its labels" in caplog.text


def test_tracks_are_kept(tmp_path):
    pytest.importorskip("scipy", reason="needs SciPy: make extras")
    from lib.inference.track_files import plan_tracking

    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "1.png"), np.zeros((70, 120, 3), np.uint8))
    labels = plan_labels(["coco"], tmp_path, open_source(str(tmp_path / "photos")), "")
    with Output(tmp_path, NAMES, tracking=plan_tracking(True, (), 0.3), labels=labels) as output:
        for number in range(2):
            output.write(Frame(np.zeros((70, 120, 3), np.uint8), f"{number}.png", number), FOUND)
    annotations = json.loads((tmp_path / "coco.json").read_text())["annotations"]
    assert [entry["track_id"] for entry in annotations] == [1, 2, 3]


def test_labels_for_other_tools_hold_what_the_tables_hold(demo, tmp_path, images):
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(images[:2]):
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), image)
    assert demo(tmp_path / "photos", "--save=coco,labelstudio", "--save=yolo") == 0
    out = tmp_path / "out"
    coco = json.loads((out / "coco.json").read_text())
    entries = json.loads((out / "detections.json").read_text())
    rows = [row for entry in entries for row in entry["detections"]]
    scores = [row["score"] for row in rows if row["box"][0] < row["box"][2] and row["box"][1] < row["box"][3]]
    assert [entry["score"] for entry in coco["annotations"]] == scores
    tasks = json.loads((out / "labelstudio.json").read_text())
    assert [row["score"] for task in tasks for row in task["predictions"][0]["result"]] == scores
    assert tasks[0]["predictions"][0]["model_version"] == "tiny.pth"
    assert sum(len(path.read_text().splitlines()) for path in (out / "yolo" / "labels").rglob("*.txt")) == len(scores)
