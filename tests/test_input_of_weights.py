"""A run that starts from a checkpoint sees images as that was trained to, unless the user says otherwise."""

import pytest
import torch

from lib.build import build_detector, load_initial_weights
from lib.checkpoint import save_checkpoint
from lib.config import WEIGHTS, dump_config, load_config
from lib.inference.model_file import config_for
from lib.utils.yaml_files import dump_yaml, read_yaml, to_plain
from tests.small_config import SMALL
from tools import convert_weights

LITE = {"model": {"backbone": {"type": "efficientnet_lite0"}}}
THEIRS = (
    "input={channels: rgb, mean: [1, 2, 3], std: [7, 8, 9], size: [64, 96]}",
    "model.norm={eps: 0.25, momentum: 0.5}",
)
USUAL = ("bgr", [103.94, 116.78, 123.68], [1.0, 1.0, 1.0], 1e-5)


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint of a run whose input is none of the usual ones."""
    cfg = load_config(SMALL, THEIRS)
    content = {"model": build_detector(cfg).state_dict(), "config": to_plain(cfg), "classes": ["a", "b"]}
    save_checkpoint(tmp_path / "best.pth", content)
    return tmp_path / "best.pth"


def input_of(cfg):
    return cfg.input.channels, cfg.input.mean, cfg.input.std, cfg.model.norm.eps


@pytest.mark.parametrize("scope", ["null", "[backbone]"])
def test_a_checkpoint_decides_the_input_of_the_run_that_starts_from_it(checkpoint, caplog, scope):
    options = [f"model.weights={checkpoint}", f"model.weights_scope={scope}"]
    cfg = load_config(SMALL, options, WEIGHTS)
    assert input_of(cfg) == ("rgb", [1, 2, 3], [7, 8, 9], 0.25)
    assert cfg.model.norm.momentum == 0.1  # of training, not of the weights
    assert cfg.model.weights_scope == read_yaml(scope, "")
    load_initial_weights(cfg, build_detector(cfg))
    assert "expect" not in caplog.text
    resolved = read_yaml(dump_config(cfg), "dump")
    checkpoint.unlink()
    assert load_config(resolved, start=WEIGHTS) == cfg


def test_a_file_over_imagenets_weights_takes_the_input_of_the_checkpoint_instead(checkpoint, tmp_path):
    (tmp_path / "a.yml").write_text("model: {weights: imagenet, backbone: {type: efficientnet_lite0}}\n")
    assert input_of(load_config(tmp_path / "a.yml"))[1:] == ([127.0] * 3, [128.0] * 3, 0.001)
    cfg = load_config(tmp_path / "a.yml", [f"model.weights={checkpoint}"], WEIGHTS)
    assert input_of(cfg) == ("rgb", [1, 2, 3], [7, 8, 9], 0.25)
    assert cfg.model.weights_scope is None


def test_the_input_that_the_user_gives_wins_with_a_warning(checkpoint, caplog):
    cfg = load_config(SMALL, [f"model.weights={checkpoint}", "input.mean=[5, 5, 5]", "model.norm.eps=0.5"], WEIGHTS)
    assert input_of(cfg) == ("rgb", [5, 5, 5], [7, 8, 9], 0.5)
    load_initial_weights(cfg, build_detector(cfg))
    assert (
        "best.pth expect input.mean [1, 2, 3], model.norm.eps 0.25; the experiment gives input.mean [5, 5, 5], "
        "model.norm.eps 0.5: set the expected values, unless the others are intended"
    ) in caplog.text
    other = load_config(SMALL, [f"model.weights={checkpoint}", "input.channels=bgr"], WEIGHTS)
    assert input_of(other) == ("bgr", [3, 2, 1], [9, 8, 7], 0.25)  # mean and std follow the order


def test_mean_and_std_for_images_in_0_to_1_are_refused_for_a_new_run():
    cfg = load_config(SMALL, ["input.mean=[0.485, 0.456, 0.406]", "input.std=[0.229, 0.224, 0.225]"])
    with pytest.raises(
        ValueError, match=r"input.std must be in gray levels of 0 .. 255, .*0.225\]: multiply .* by 255"
    ):
        load_initial_weights(cfg, build_detector(cfg))


def test_a_std_below_1_is_taken_from_a_checkpoint_that_was_trained_with_it(tmp_path, caplog):
    cfg = load_config(SMALL, ["input.std=[0.229, 0.224, 0.225]"])
    save_checkpoint(tmp_path / "old.pth", {"model": build_detector(cfg).state_dict(), "config": to_plain(cfg)})
    for options in ([], ["input.channels=rgb"]):
        new = load_config(SMALL, [f"model.weights={tmp_path / 'old.pth'}", *options], WEIGHTS)
        assert sorted(new.input.std) == [0.224, 0.225, 0.229]
        load_initial_weights(new, build_detector(new))
    cfg = load_config(SMALL, [f"model.weights={tmp_path / 'old.pth'}", "input.std=[58, 57, 57]"], WEIGHTS)
    load_initial_weights(cfg, build_detector(cfg))
    assert "expect input.std [0.229, 0.224, 0.225]; the experiment gives input.std [58, 57, 57]" in caplog.text


def test_an_address_of_a_checkpoint_is_not_read_before_training_but_warned_of(checkpoint, caplog):
    cfg = load_config(SMALL, [f"model.weights=file://{checkpoint}"], WEIGHTS)
    assert input_of(cfg)[0] == "bgr"
    load_initial_weights(cfg, build_detector(cfg))
    assert "expect input.channels rgb, input.mean [1, 2, 3]" in caplog.text


def test_weights_of_other_works_and_missing_files_imply_nothing(tmp_path):
    torch.save({"base.0.weight": torch.zeros(1)}, tmp_path / "theirs.pth")
    save_checkpoint(tmp_path / "bare.pth", {"model": {}})
    for name in ("theirs.pth", "bare.pth", "missing.pth"):
        cfg = load_config(SMALL, [f"model.weights={tmp_path / name}"], WEIGHTS)
        assert input_of(cfg) == USUAL


def test_a_run_that_goes_on_keeps_its_own_input(checkpoint, tmp_path):
    save_checkpoint(tmp_path / "last.pth", {"model": {}, "config": to_plain(load_config(SMALL))})
    options = [f"model.weights={checkpoint}"]
    assert input_of(load_config(SMALL, options, tmp_path / "last.pth")) == USUAL
    assert input_of(load_config(SMALL, options, tmp_path / "none.pth")) == ("rgb", [1, 2, 3], [7, 8, 9], 0.25)


def test_an_input_that_the_checkpoint_was_not_trained_with_is_warned_of_in_tests(checkpoint, caplog):
    config_for(checkpoint)
    config_for(checkpoint, SMALL)
    assert "expect" not in caplog.text
    config_for(checkpoint, {**SMALL, "input": {"mean": [5, 5, 5]}})
    assert (
        "best.pth expect input.mean [1, 2, 3]; the experiment gives input.mean [5, 5, 5]: set the expected values"
    ) in caplog.text


def test_an_experiment_file_tests_a_checkpoint_with_the_input_of_the_checkpoint(checkpoint, tmp_path):
    for options in ([], ["model.weights=moved.pth"], ["model.weights=imagenet"]):
        cfg = config_for(checkpoint, LITE, options)
        assert input_of(cfg) == ("rgb", [1, 2, 3], [7, 8, 9], 0.25)
    assert config_for(checkpoint, LITE, ["input.mean=[5, 5, 5]"]).input.mean == [5, 5, 5]
    torch.save({"base.0.weight": torch.zeros(1)}, tmp_path / "theirs.pth")
    assert input_of(config_for(tmp_path / "theirs.pth", LITE, [f"model.weights={checkpoint}"])) == USUAL
    imagenets = ("rgb", [127.0] * 3, [128.0] * 3, 0.001)
    assert input_of(config_for(tmp_path / "theirs.pth", LITE, ["model.weights=imagenet"])) == imagenets


def test_a_converted_checkpoint_of_ours_keeps_its_input(checkpoint, tmp_path):
    (tmp_path / "small.yml").write_text(dump_yaml(SMALL))
    convert_weights.main([str(checkpoint), f"--cfg={tmp_path}/small.yml", f"--out={tmp_path}/out.pth"])
    assert input_of(config_for(tmp_path / "out.pth")) == ("rgb", [1, 2, 3], [7, 8, 9], 0.25)


def test_weights_that_are_not_loaded_are_not_read(checkpoint, tmp_path):
    (tmp_path / "pointer.pth").write_text("version https://git-lfs.github.com/spec/v1\n")
    options = [f"model.weights={tmp_path / 'pointer.pth'}"]
    assert input_of(load_config(SMALL, options)) == USUAL
    assert input_of(config_for(checkpoint, SMALL, options)) == ("rgb", [1, 2, 3], [7, 8, 9], 0.25)
    with pytest.raises(ValueError, match="pointer.pth must "):
        load_config(SMALL, options, WEIGHTS)
