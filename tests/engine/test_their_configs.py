"""Files of lufficc's SSD and of the Keras SSDLite train, test and detect as they are."""

import copy
import json

import cv2
import numpy as np
import pytest
import torch
import yaml

from lib.build import build_detector
from lib.checkpoint import read_run
from lib.config import load_config
from lib.inference.model_file import load_detector
from lib.legacy.classes import COCO
from lib.timing.stages import open_models
from tests.engine.conftest import leave_pictures_out, load_script
from tests.legacy.keras_files import FILES as KERAS
from tests.legacy.yacs_files import FILES as YACS
from tools import convert_weights

XML = """<annotation><filename>{name}.jpg</filename><size><width>80</width><height>60</height><depth>3</depth></size>
<object><name>dog</name><difficult>0</difficult><bndbox><xmin>11</xmin><ymin>6</ymin><xmax>50</xmax><ymax>45</ymax>
</bndbox></object></annotation>"""
FAST = ["train.epochs=1", "run.threads=1", "data.workers=0"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in, with files of small networks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VOC_ROOT", raising=False)
    leave_pictures_out(monkeypatch.setattr)
    lite = copy.deepcopy(YACS["mobilenet_v2_ssd320_voc0712"])
    lite["INPUT"]["IMAGE_SIZE"] = 96
    lite["SOLVER"] |= {"BATCH_SIZE": 2, "MAX_ITER": 4}
    (tmp_path / "lite.yaml").write_text(yaml.safe_dump(lite))
    small = copy.deepcopy(KERAS["small_pfh"])
    small["model_config"]["target_size"] = 96
    small["training_config"]["batch_size"] = 2
    (tmp_path / "small.json").write_text(json.dumps(small))
    return tmp_path


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((60, 80, 3), 90, np.uint8)
    image[5:45, 10:50] = (20, 200, 40)
    cv2.imwrite(str(path), image)


def make_voc(root):
    years = {2007: {"trainval": ["000001", "000002"], "test": ["000003"]}, 2012: {"trainval": ["2008_000001"]}}
    for year, sets in years.items():
        folder = root / f"VOC{year}"
        for name in ("ImageSets/Main", "Annotations"):
            (folder / name).mkdir(parents=True)
        for name, stems in sets.items():
            (folder / f"ImageSets/Main/{name}.txt").write_text("\n".join(stems))
            for stem in stems:
                picture(folder / f"JPEGImages/{stem}.jpg")
                (folder / f"Annotations/{stem}.xml").write_text(XML.format(name=stem))


def make_coco(root):
    (root / "annotations").mkdir(parents=True)
    categories = [{"id": i, "name": name} for i, name in enumerate(COCO, start=1)]
    for split in ("train2017", "val2017"):
        for i in (1, 2):
            picture(root / split / f"{i}.jpg")
        images = [{"id": i, "file_name": f"{i}.jpg", "height": 60, "width": 80} for i in (1, 2)]
        box = {"category_id": 17, "bbox": [10, 5, 40, 40], "area": 1600, "iscrowd": 0}
        objects = [{"id": i, "image_id": i, **box} for i in (1, 2)]
        content = {"images": images, "annotations": objects, "categories": categories}
        (root / f"annotations/instances_{split}.json").write_text(json.dumps(content))


def test_a_yacs_file_trains_and_tests_on_two_years_of_voc(folder, capsys):
    make_voc(folder / "datasets")
    load_script("train").main(["--cfg=lite.yaml", "run.threads=1", "data.workers=0"])
    log = capsys.readouterr().err
    assert "4 iterations of 2 images are 3 epochs of the 3 images of voc_2007_trainval, voc_2012_trainval" in log
    run = read_run(folder / "outputs/mine/last.pth")
    assert (run["config"]["train"]["epochs"], run["classes"][11]) == (3, "dog")
    load_script("test").main(["--cfg=lite.yaml", "--checkpoint=outputs/mine/last.pth", "--json=result.json"])
    assert "AP" in json.loads((folder / "result.json").read_text())["metrics"]


def test_a_keras_file_trains_and_tests_on_coco_of_data_root(folder):
    make_coco(folder / "coco")
    data = ["data.root=coco", *FAST]
    load_script("train").main(["--cfg=small.json", "run.name=mine", *data])
    load_script("test").main(["--cfg=small.json", "--checkpoint=runs/mine/last.pth", "--json=result.json", *data])
    assert len(json.loads((folder / "result.json").read_text())["per_class"]) == 80


def their_checkpoint(path, cfg) -> torch.nn.Module:
    """A checkpoint as lufficc's code writes them, and the model that it is of."""
    torch.manual_seed(0)
    model = build_detector(load_config(cfg))
    names = {
        "backbone.layers.": "backbone.features.",
        "neck.extras.": "backbone.extras.",
        "head.cls.": "box_head.predictor.cls_headers.",
        "head.box.": "box_head.predictor.reg_headers.",
    }
    tensors = {}
    for name, tensor in model.state_dict().items():
        ours = next(part for part in names if name.startswith(part))
        tensors[names[ours] + name.removeprefix(ours)] = tensor
    torch.save({"model": tensors, "iteration": 120000}, path)
    return model


def test_their_checkpoint_tests_converts_and_detects_through_their_file(folder):
    make_voc(folder / "datasets")
    model = their_checkpoint("theirs.pth", "lite.yaml")
    load_script("test").main(["--cfg=lite.yaml", "--checkpoint=theirs.pth", "--json=result.json", *FAST[1:]])
    convert_weights.main(["theirs.pth", "--cfg=lite.yaml", "--out=ours.pth"])
    converted = read_run("ours.pth")
    assert all(torch.equal(x, converted["model"][name]) for name, x in model.state_dict().items())
    source = "datasets/VOC2007/JPEGImages/000003.jpg"
    for checkpoint in (["--checkpoint=theirs.pth", "--cfg=lite.yaml"], ["--checkpoint=ours.pth"]):
        options = ["--score=0.01", "--no-show", f"--out=found{len(checkpoint)}", "--device=cpu"]
        load_script("demo").main([source, *checkpoint, *options])
    first, second = (json.loads((folder / f"found{n}/detections.json").read_text()) for n in (2, 1))
    assert first == second and "dog" in json.dumps(first)


def test_columns_of_a_focal_checkpoint_are_moved_when_it_is_tested(folder):
    mapping = copy.deepcopy(YACS["mobilenet_v2_ssd320_coco"])
    mapping["INPUT"]["IMAGE_SIZE"] = 96
    model = their_checkpoint("theirs.pth", mapping)
    loaded = load_detector("theirs.pth", mapping)
    theirs, ours = (m.head.cls[-1].bias.detach().view(-1, 81) for m in (model, loaded.detector))
    assert torch.equal(ours[:, 1:], theirs[:, :-1])
    assert loaded.classes[0] == "person"


def test_speed_is_measured_by_either_kind_of_file(folder):
    assert list(open_models(["small.json", "lite.yaml"], torch.device("cpu"), [])) == ["small", "lite"]
