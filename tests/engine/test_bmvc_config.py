"""A config file of the BMVC code trains and tests unchanged."""

import json

import pytest
import torch
import yaml

from lib.build import build_detector
from lib.checkpoint import read_checkpoint
from lib.config import load_config
from tests.data.devkits import write_devkit
from tests.engine.conftest import leave_pictures_out, load_script
from tests.legacy.bmvc_files import VOC, bmvc_file

# A small network that is trained for one epoch
CHANGES = {
    "MODEL": {
        **{"SSDS": "ssd_lite_dual", "NETS": "mobilenet_v1_S1L0", "IMAGE_SIZE": [96, 96], "NUM_CLASSES": 3},
        "FEATURE_LAYER": [[11, 13, "S", "S"], [512, 1024, 512, 256]],
        "STEPS": [[8, 8], [16, 16], [64, 64], [96, 96]],
        "SIZES": [[10, 10], [20, 20], [40, 40], [60, 60], [80, 80]],
        "ASPECT_RATIOS": [[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2]],
    },
    "TRAIN": {
        **{"MAX_EPOCHS": 1, "BATCH_SIZE": 4, "TRAINABLE_SCOPE": "base,norm,extras,loc,conf"},
        "LR_SCHEDULER": {"SCHEDULER": "SGDR", "WARM_UP_EPOCHS": 0},
    },
    "TEST": {"BATCH_SIZE": 4, "TEST_SCOPE": [1, 1]},
    "DATASET": {"DATASET_DIR": "COCO"},
}


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch):
    leave_pictures_out(monkeypatch.setattr)


def test_bmvc_config_and_checkpoint_run_unchanged(tmp_path, data, monkeypatch, capsys):
    root = tmp_path / "COCO"
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    for split in ("train", "val"):
        (root / "images" / f"{split}2017").symlink_to(data / split)
        (root / "annotations" / f"instances_{split}2017.json").symlink_to(data / f"{split}.json")
    (tmp_path / "theirs.yml").write_text(yaml.safe_dump(bmvc_file(**CHANGES)))
    monkeypatch.chdir(tmp_path)
    base = base_of_theirs()
    torch.save(base, tmp_path / "plain.pth")

    load_script("train").main(["--cfg=theirs.yml", "data.workers=0", "run.threads=1", "train.optimizer.lr=0"])
    folder = tmp_path / "experiments" / "models" / "mine"
    assert len((folder / "epochs.jsonl").read_text().splitlines()) == 1
    started_from = read_checkpoint(folder / "last.pth")["model"]["backbone.layers.0.conv.weight"]
    assert torch.equal(started_from, base["base.0.conv.0.weight"])  # at a rate of 0

    capsys.readouterr()
    load_script("test").main(
        ["--cfg=theirs.yml", f"--checkpoint={folder / 'last.pth'}", "--json=r.json", "data.workers=0"]
    )
    assert "small" in capsys.readouterr().out
    assert json.loads((tmp_path / "r.json").read_text())["metrics"]["AP"] is not None


def test_bmvc_config_of_voc_trains_tests_and_draws(tmp_path, monkeypatch):
    mapping = bmvc_file(**CHANGES)
    mapping["MODEL"] |= {
        **{"SSDS": "rfb_lite", "NETS": "mobilenet_v2_025", "NUM_CLASSES": 21},
        "FEATURE_LAYER": [[13, 17, "RBF", "S"], [24, 80, 64, 32]],
    }
    mapping |= {"DATASET": VOC | {"DATASET_DIR": "VOCdevkit"}, "RESUME_CHECKPOINT": "experiments/models/mine/last.pth"}
    (tmp_path / "theirs.yml").write_text(yaml.safe_dump(mapping))
    write_devkit(tmp_path / "VOCdevkit", 2007, {"trainval": ["000005", "000007"], "test": ["000001", "000002"]})
    write_devkit(tmp_path / "VOCdevkit", 2012, {"trainval": ["2008_000002", "2008_000003"]})
    monkeypatch.chdir(tmp_path)
    settings = ["--cfg=theirs.yml", "data.workers=0", "run.threads=1"]
    load_script("train").main(settings)  # without weights, as there are none yet
    folder = tmp_path / "experiments" / "models" / "mine"
    assert len((folder / "epochs.jsonl").read_text().splitlines()) == 1
    load_script("test").main([*settings, "--json=r.json"])  # of RESUME_CHECKPOINT
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["protocol"] == "voc07"
    assert len(result["per_class"]) == 20
    image = tmp_path / "VOCdevkit/VOC2007/JPEGImages/000001.jpg"
    assert load_script("demo").main([str(image), "--cfg=theirs.yml", "--out=out", "--no-show", "--score=0.02"]) == 0
    found = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert found
    with pytest.raises(ValueError, match="give --checkpoint=FILE, or a --cfg .*; got no --checkpoint and model.w"):
        load_script("demo").main([str(image), "--out=out2", "--no-show"])


def base_of_theirs() -> dict[str, torch.Tensor]:
    """A checkpoint with the ancestor's names for the backbone: base.<row>.conv.<place>.<kind>."""
    torch.manual_seed(7)
    mapping = {"MODEL": bmvc_file(**CHANGES)["MODEL"]}
    places = {"conv": 0, "norm": 1, "depthwise.conv": 0, "depthwise.norm": 1, "pointwise.conv": 3, "pointwise.norm": 4}
    state = build_detector(load_config(mapping)).state_dict()
    theirs = {}
    for name, tensor in state.items():
        if name.startswith("backbone.layers."):
            row, _, rest = name.removeprefix("backbone.layers.").partition(".")
            module, kind = rest.rsplit(".", 1)
            theirs[f"base.{row}.conv.{places[module]}.{kind}"] = tensor
    return theirs
