"""A published detector: weights in half precision that are tested as they are in the file, a record without paths."""

import hashlib
import json
import shutil

import pytest
import torch

from lib.checkpoint import read_run, save_checkpoint
from lib.engine.publish import publish, shortened
from lib.inference.model_file import load_detector
from tools.publish import main


def test_weights_and_record(whole, tmp_path, capsys, test):
    out = tmp_path / "shared" / "tiny.pth"
    main([str(whole / "best.pth"), f"--out={out}", "--note=discs and rings"])
    assert f"record: {out.with_suffix('.json')}" in capsys.readouterr().out
    assert out.stat().st_size < (whole / "best.pth").stat().st_size / 3

    content, original = read_run(out), read_run(whole / "best.pth")
    assert "optimizer" not in content
    assert all(torch.equal(x.half(), content["model"][name].half()) for name, x in original["model"].items())
    assert content["config"]["data"]["val"] == {"images": "data/val", "annotations": "data/val.json"}

    record = json.loads(out.with_suffix(".json").read_text())
    assert record["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert (record["weights"], record["note"], record["classes"]) == ("tiny.pth", "discs and rings", ["disc", "ring"])
    assert record["trained"]["seed"] == 0 and record["trained"]["device"].startswith("cpu: ")
    assert [epoch["epoch"] for epoch in record["curve"]] == [1, 2]
    assert record["config"] == content["config"]
    assert record["parameters"] == sum(p.numel() for p in load_detector(out).detector.parameters())

    judged = original["config"]["data"]["val"]
    test(f"--checkpoint={out}", f"--json={tmp_path / 'test.json'}", *(f"data.val.{k}={v}" for k, v in judged.items()))
    assert json.loads((tmp_path / "test.json").read_text())["metrics"] == record["metrics"]


def test_no_path_of_this_machine_is_left(whole, tmp_path):
    _, record = publish(whole / "last.pth", tmp_path / "tiny.pth")
    assert str(whole.parent) not in record.read_text()
    assert str(whole.parent).encode() not in (tmp_path / "tiny.pth").read_bytes()
    paths = {"a": ["/home/me/hituav/val.json", "/x", "data/x.json", 3], "b": {"root": "/", "none": None}}
    assert shortened(paths) == {"a": ["hituav/val.json", "x", "data/x.json", 3], "b": {"root": ".", "none": None}}


def test_after_a_failure_nothing_is_left(whole, tmp_path):
    with pytest.raises(FileNotFoundError):
        publish(whole / "last.pth", tmp_path / "tiny.pth", overrides=["data.val.annotations=nowhere.json"])
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_of_a_run_is_refused(whole, tmp_path):
    alone = shutil.copy(whole / "last.pth", tmp_path / "alone.pth")
    with pytest.raises(ValueError, match=r"must be the last\.pth or best\.pth of a training run, beside its run\.json"):
        publish(alone, tmp_path / "tiny.pth")
    shutil.copy(whole / "run.json", tmp_path)
    with pytest.raises(ValueError, match="a file to write must not be one that is read"):
        publish(alone, alone)
    with pytest.raises(ValueError, match=r"the weights must be a \.pth file; got .*tiny\.onnx"):
        publish(alone, tmp_path / "tiny.onnx")
    save_checkpoint(alone, {"model": {}, "config": {}, "classes": ["a"]})
    with pytest.raises(ValueError, match="of a training run"):
        publish(alone, tmp_path / "tiny.pth")
