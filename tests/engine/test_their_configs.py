"""Files of lufficc's SSD and of the Keras SSDLite train, test and detect as they are."""

import copy
import json

import pytest
import torch
import yaml

from lib.build import build_detector
from lib.checkpoint import read_run
from lib.config import load_config
from lib.inference.model_file import load_detector
from lib.timing.stages import open_models
from tests.data.devkits import write_coco, write_devkit
from tests.engine.conftest import leave_pictures_out, load_script
from tests.legacy.keras_files import FILES as KERAS
from tests.legacy.yacs_files import FILES as YACS
from tools import convert_weights

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


@pytest.fixture
def voc(folder):
    """Two years of VOC where the yacs file looks for them; the folder."""
    write_devkit(folder / "datasets", 2007, {"trainval": ["000001", "000002"], "test": ["000003"]})
    write_devkit(folder / "datasets", 2012, {"trainval": ["2008_000001"]})
    return folder


def test_a_yacs_file_trains_and_tests_on_two_years_of_voc(voc, capsys):
    load_script("train").main(["--cfg=lite.yaml", "run.threads=1", "data.workers=0"])
    log = capsys.readouterr().err
    assert "4 iterations of 2 images are 3 epochs of the 3 images of voc_2007_trainval, voc_2012_trainval" in log
    run = read_run(voc / "outputs/mine/last.pth")
    assert (run["config"]["train"]["epochs"], run["classes"][11]) == (3, "dog")
    load_script("test").main(["--cfg=lite.yaml", "--checkpoint=outputs/mine/last.pth", "--json=result.json"])
    assert "AP" in json.loads((voc / "result.json").read_text())["metrics"]


def test_a_keras_file_trains_and_tests_on_coco_of_data_root(folder):
    write_coco(folder / "coco", "train2017")
    write_coco(folder / "coco", "val2017")
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


def test_their_checkpoint_tests_converts_and_detects_through_their_file(voc):
    model = their_checkpoint("theirs.pth", "lite.yaml")
    load_script("test").main(["--cfg=lite.yaml", "--checkpoint=theirs.pth", "--json=result.json", *FAST[1:]])
    convert_weights.main(["theirs.pth", "--cfg=lite.yaml", "--out=ours.pth"])
    converted = read_run("ours.pth")
    assert all(torch.equal(x, converted["model"][name]) for name, x in model.state_dict().items())
    source = "datasets/VOC2007/JPEGImages/000003.jpg"
    for checkpoint in (["--checkpoint=theirs.pth", "--cfg=lite.yaml"], ["--checkpoint=ours.pth"]):
        options = ["--score=0.01", "--no-show", f"--out=found{len(checkpoint)}", "--device=cpu"]
        load_script("demo").main([source, *checkpoint, *options])
    first, second = (json.loads((voc / f"found{n}/detections.json").read_text()) for n in (2, 1))
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
