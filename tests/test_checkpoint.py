"""Files of weights: atomic, safe, strict."""

import os
import pickle

import pytest
import torch

from lib.build import build_detector
from lib.checkpoint import load_weights, read_checkpoint, read_run, save_checkpoint, save_weights, stored_config
from lib.config import load_config
from tests.small_config import SMALL


def detector(*overrides):
    return build_detector(load_config(SMALL, overrides))


def test_saved_weights_load_into_every_variant_of_the_backbone(tmp_path):
    plain = detector()
    save_checkpoint(tmp_path / "plain.pth", {"model": plain.state_dict()})
    dual = detector("model.backbone.type=mobilenet_v1_S1L0", "model.dual_path={split: 0}")
    load_weights(dual, tmp_path / "plain.pth", ["backbone"])
    for name, value in plain.state_dict().items():
        same = torch.equal(dual.state_dict()[name], value)
        assert same or not name.startswith("backbone"), name
    load_weights(dual, tmp_path / "plain.pth")  # the head's shapes are the same here, so all of it fits


def test_failed_write_keeps_the_last_good_file(tmp_path, monkeypatch):
    path = tmp_path / "last.pth"
    save_checkpoint(path, {"model": {}, "number": 1})

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="could not be written: the disk is full .No space left"):
        save_checkpoint(path, {"model": {}, "number": 2})
    assert read_checkpoint(path)["number"] == 1
    assert os.listdir(tmp_path) == ["last.pth"]  # nothing half-written is left


def test_equal_content_gives_equal_bytes_without_names_of_files_or_of_the_machine(tmp_path):
    for name in ("one.pth", "two.pth"):
        save_checkpoint(tmp_path / name, {"model": {"weight": torch.arange(3.0)}})
    content = (tmp_path / "one.pth").read_bytes()
    assert content == (tmp_path / "two.pth").read_bytes()
    assert b"one" not in content


def test_weights_alone_are_half_as_large_and_load(tmp_path):
    model = detector()
    content = {
        "model": model.state_dict(),
        "config": SMALL,
        "classes": ["a", "b"],
        "category_ids": [1, 2],
        "optimizer": {},
    }
    save_checkpoint(tmp_path / "run.pth", content)
    save_weights(tmp_path / "weights.pth", content)
    assert (tmp_path / "weights.pth").stat().st_size < 0.6 * (tmp_path / "run.pth").stat().st_size
    other = detector()
    load_weights(other, tmp_path / "weights.pth")
    for name, value in other.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-3, atol=1e-4)
    assert read_run(tmp_path / "weights.pth").keys() == {
        "format",
        "version",
        "model",
        "config",
        "classes",
        "category_ids",
    }


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


def test_a_checkpoint_cannot_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Malicious()}, tmp_path / "zip.pth")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps(Malicious()))
    for name in ("zip.pth", "pickle.pth"):
        with pytest.raises(ValueError, match=f"{name} must contain only tensors and plain values.*was not loaded"):
            read_checkpoint(tmp_path / name)
    assert not (tmp_path / "pwned").exists()


def test_what_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "empty.pth").write_bytes(b"")
    torch.save({"model": {"weight": torch.zeros(1000)}}, tmp_path / "whole.pth")
    (tmp_path / "half.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:2000])
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("text.pth", "empty.pth", "half.pth", "list.pth"):
        with pytest.raises(ValueError, match=name):
            read_checkpoint(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"does not exist \(did you mean 'whole.pth'\?\)"):
        read_checkpoint(tmp_path / "whol.pth")


def test_checkpoint_of_another_model_is_refused_by_name(tmp_path):
    save_checkpoint(tmp_path / "a.pth", {"model": detector().state_dict()})
    with pytest.raises(ValueError, match=r"must hold exactly the tensors of this model; .*head.*choose the config"):
        load_weights(detector("model.num_classes=5"), tmp_path / "a.pth")
    with pytest.raises(ValueError, match="model.weights_scope must name parts"):
        load_weights(detector(), tmp_path / "a.pth", ["bacbone"])
    with pytest.raises(ValueError, match="model.weights_scope must name parts .*; got 'neck.extra', which holds noth"):
        load_weights(detector(), tmp_path / "a.pth", ["backbone", "neck.extra"])


def test_scope_covers_whole_steps_of_a_name(tmp_path):
    theirs, ours = detector(), detector()
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    save_checkpoint(tmp_path / "a.pth", {"model": theirs.state_dict()})
    load_weights(ours, tmp_path / "a.pth", ["backbone.layers.1"])
    changed = {name for name, value in ours.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("backbone.layers.1.") for name in changed)


def test_checkpoint_of_strangers_needs_a_config(tmp_path):
    torch.save({"base.0.conv.0.weight": torch.zeros(1)}, tmp_path / "theirs.pth")
    with pytest.raises(ValueError, match="must be a checkpoint of this project; it has the keys base.0.conv.0.weight"):
        read_run(tmp_path / "theirs.pth")
    save_checkpoint(tmp_path / "new.pth", {"model": {}, "format": 99})
    with pytest.raises(ValueError, match="must have format 1 or older; got 99: update this project"):
        read_run(tmp_path / "new.pth")


def test_what_a_training_chose_for_its_machine_is_not_in_the_stored_config():
    config = {"run": {"threads": 1, "seed": 3}, "data": {"workers": 0, "classes": ["a"]}, "model": {"num_classes": 2}}
    expected = {"run": {"seed": 3}, "data": {"classes": ["a"]}, "model": {"num_classes": 2}}
    assert stored_config({"config": config}) == expected
    assert config["run"]["threads"] == 1  # not changed in place
