"""tools/translate_config.py writes a file of ours that loads to the same config as theirs."""

import importlib
import json

import pytest
import yaml

from lib.config import load_config
from tests.legacy.keras_files import FILES as KERAS
from tests.legacy.yacs_files import FILES as YACS

tool = importlib.import_module("tools.translate_config")

BMVC = {
    "MODEL": {
        "SSDS": "ssd_lite_dual",
        "NETS": "mobilenet_v1_S1L0",
        "IMAGE_SIZE": [300, 300],
        "NUM_CLASSES": 81,
        "FEATURE_LAYER": [[11, 13, "S", "S"], [512, 1024, 512, 256]],
        "STEPS": [[8, 8], [16, 16], [64, 64], [100, 100]],
        "SIZES": [[10, 10], [45, 45], [135, 135], [180, 180], [225, 225]],
        "ASPECT_RATIOS": [[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2]],
    },
    "DATASET": {"DATASET": "coco", "DATASET_DIR": "./COCO", "TRAIN_SETS": [["2017", "train"]], "PROB": 0.6},
    "EXP_DIR": "./experiments/models/mine",
    "PHASE": ["test"],
}
FILES = {f"{name}.json": file for name, file in KERAS.items()} | {f"{name}.yml": file for name, file in YACS.items()}


@pytest.mark.parametrize("name", [*FILES, "bmvc.yml"])
def test_written_file_loads_to_the_same_config(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = FILES.get(name, BMVC)
    text = json.dumps(source, indent=4) if name.endswith("json") else yaml.safe_dump(source)
    (tmp_path / name).write_text(text)
    tool.main([name, "--out=ours.yaml"])
    written = (tmp_path / "ours.yaml").read_text()
    assert load_config("ours.yaml") == load_config(name)
    assert written.startswith(f"# {name}, a file of ")
    assert {key for key in yaml.safe_load(written) if not key.islower()} == set()
    assert "comments" in capsys.readouterr().out


def test_comments_say_what_has_no_counterpart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theirs.json").write_text(json.dumps(KERAS["small_fpn"]))
    tool.main(["theirs.json", "--out=ours.yml"])
    assert (
        "\n# model_config.backbone.dropout has no counterpart and is not used\n" in (tmp_path / "ours.yml").read_text()
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {epochs: 3}\n", "theirs.yml must be a configuration file of .*; got one of ours, or of no known work"),
        ("MODEL: {BACKBONE: {NAME: resnet}}\n", "MODEL.BACKBONE.NAME must be one of vgg"),
        ("[1, 2]\n", "theirs.yml must hold keys and values"),
    ],
)
def test_nothing_is_written_for_a_file_that_is_not_theirs(text, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theirs.yml").write_text(text)
    with pytest.raises(ValueError, match=message):
        tool.main(["theirs.yml", "--out=ours.yml"])
    with pytest.raises(ValueError, match="a file to write must not be one that is read"):
        tool.main(["theirs.yml", "--out=theirs.yml"])
    assert not (tmp_path / "ours.yml").exists()
