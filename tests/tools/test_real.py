"""Peers are judged as files of detections are; what their workers share is the same for all of them."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tools.bench import real
from tools.bench.peers.job import Budget, answer, read_split

WORKER = """
import json, sys
from pathlib import Path
job = json.loads(Path(sys.argv[1]).read_text())
content = json.loads(Path(job["val"]).read_text())
results = [{**{key: entry[key] for key in ("image_id", "category_id", "bbox")}, "score": 0.9}
           for entry in content["annotations"]]
figures = {"cpu_seconds": job["seconds"], "epochs": 1, "parameters": 2, "latency_ms": 3, "job": job}
(Path(job["folder"]) / "answer.json").write_text(json.dumps({"results": results, "figures": figures}))
"""
TRUTH = {
    "images": [{"id": 7, "width": 40, "height": 30, "file_name": "a.png"}],
    "categories": [{"id": 5, "name": "cat"}, {"id": 2, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 5, "bbox": [4, 5, 20, 10], "area": 200},
        {"id": 2, "image_id": 7, "category_id": 2, "bbox": [30, 20, 30, 5], "area": 150},
        {"id": 3, "image_id": 7, "category_id": 2, "bbox": [0, 0, 40, 30], "area": 1200, "iscrowd": 1},
    ],
}


@pytest.fixture
def truth(tmp_path):
    file = tmp_path / "val.json"
    file.write_text(json.dumps(TRUTH))
    cv2.imwrite(str(tmp_path / "a.png"), np.full((30, 40, 3), (10, 20, 30), np.uint8))
    return file


def run(tmp_path, truth, monkeypatch, worker, *extra):
    script = tmp_path / "worker.py"
    script.write_text(worker)
    monkeypatch.setitem(real.WORKERS, "yolo11n", str(script))
    files = [f"--images={tmp_path}", f"--train={truth}", f"--val={truth}", f"--out={tmp_path / 'out.json'}"]
    real.main(["--peer=yolo11n", *files, *extra])
    return json.loads((tmp_path / "out.json").read_text())


def test_a_peer_is_judged_by_its_detections_and_its_figures_are_kept(tmp_path, truth, monkeypatch):
    report = run(tmp_path, truth, monkeypatch, WORKER, "--seconds=60", "--seed=3", "nbs=16", "cache=ram")
    assert report["metrics"]["AP"] == pytest.approx(1)
    assert (report["peer"], report["seed"], report["cpu_seconds"]) == ("yolo11n", 3, 60)
    assert report["job"]["settings"] == {"nbs": 16, "cache": "ram"}
    assert report["job"]["val_images"] == str(tmp_path)
    assert len(json.loads((tmp_path / "out.dt.json").read_text())) == 3


def test_a_worker_that_fails_is_named_with_its_status(tmp_path, truth, monkeypatch):
    with pytest.raises(RuntimeError, match="yolo11n ended with status 3"):
        run(tmp_path, truth, monkeypatch, "raise SystemExit(3)")


def test_a_split_has_boxes_inside_the_image_and_classes_in_the_order_of_the_ids(tmp_path, truth):
    split = read_split(str(truth), str(tmp_path))
    assert (split.category_ids, split.names) == ([2, 5], ["dog", "cat"])
    (picture,) = split.pictures
    assert (picture.id, picture.file, picture.width, picture.height) == (7, tmp_path / "a.png", 40, 30)
    assert picture.boxes == [[4, 5, 24, 15], [30, 20, 40, 25]]  # without the crowd
    assert picture.classes == [1, 0]


def test_an_answer_has_coco_results_in_the_ids_of_the_file(tmp_path, truth):
    seen = []

    def detect(image):
        seen.append(image[0, 0].tolist())
        return np.array([[4.0, 5, 24, 15]]), np.array([0.5]), np.array([1])

    answer(SimpleNamespace(folder=tmp_path), read_split(str(truth), str(tmp_path)), detect, {"steps": 4})
    content = json.loads((tmp_path / "answer.json").read_text())
    assert content["results"] == [{"image_id": 7, "category_id": 5, "bbox": [4, 5, 20, 10], "score": 0.5}]
    assert content["figures"]["steps"] == 4
    assert set(content["figures"]["latency_ms"]) == {"wall", "cpu"}
    assert seen == [[10, 20, 30]]  # BGR


def test_a_budget_counts_cpu_time_up_to_its_end():
    budget = Budget(1e-4)
    while budget.share < 1:
        sum(range(1000))
    assert budget.used >= 1e-4
    assert Budget(1e9).share < 1e-6
