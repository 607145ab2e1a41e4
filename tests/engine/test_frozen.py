"""train.frozen and train.frozen_norms: what stays as it was, what learns, and that a run resumes with them."""

import pytest
import torch
from torch import nn

from lib.build import build_detector
from lib.build_data import build_dataset, build_loader
from lib.checkpoint import read_checkpoint
from lib.config import load_config
from lib.engine.distributed import World
from lib.engine.learner import Learner


@pytest.fixture
def changed(experiment):
    """Takes two steps with the overrides; the names of the tensors that changed, and the model."""

    def run(*overrides: str) -> tuple[set[str], nn.Module]:
        torch.manual_seed(0)
        cfg = load_config(experiment, ["data.augment=none", "train.optimizer.lr=0.1", *overrides])
        data = build_dataset(cfg, "train")
        cfg.data.classes = list(data.classes)
        learner = Learner(cfg, build_detector(cfg), torch.device("cpu"), World())
        before = {name: value.clone() for name, value in learner.model.state_dict().items()}
        learner.start_training()
        for batch in list(build_loader(cfg, data))[:2]:
            learner.step([batch])
        after = learner.model.state_dict()
        return {name for name in after if not torch.equal(after[name], before[name])}, learner.model

    return run


def norms_of(model: nn.Module) -> set[str]:
    norms = {name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    return {name for name in model.state_dict() if name.rpartition(".")[0] in norms}


def test_frozen_rows_and_their_norms_stay_and_all_others_learn(changed):
    found, model = changed("train.frozen=[backbone.layers.0-1]")
    rows = tuple(f"backbone.layers.{row}." for row in (0, 1))
    assert found == {name for name in model.state_dict() if not name.startswith(rows)}
    assert any(name.startswith("backbone.layers.10.") for name in found)
    assert any(name.startswith("neck.") for name in found)


def test_frozen_norms_of_the_backbone_leave_those_of_the_neck_learning(changed):
    found, model = changed("train.frozen_norms=[backbone]")
    frozen = {name for name in norms_of(model) if name.startswith("backbone.")}
    assert frozen
    assert norms_of(model) - frozen
    assert found == set(model.state_dict()) - frozen


def test_frozen_parts_of_what_is_trainable(changed):
    options = ("train.trainable=[backbone.layers.1, head]", "train.frozen=[head.box]")
    found, model = changed(*options, "train.norm=frozen")
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert found == learning
    assert {name.split(".")[1] for name in found if name.startswith("head")} == {"cls"}
    assert {name.split(".")[2] for name in found if name.startswith("backbone")} == {"1"}


def test_a_coarse_path_with_its_own_statistics_keeps_them(changed):
    found, model = changed("train.frozen=[backbone.layers.0-11]", "model.dual_path.norm=separate")
    assert any("coarse_" in name for name in model.state_dict())
    assert not [name for name in found if name.startswith("backbone.")]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.frozen=[backbone.layers.40-50]", r"train.frozen must name parts .*; got 'backbone.layers.40-50'"),
        ("train.frozen_norms=[bakbone]", "train.frozen_norms must name parts .*; got 'bakbone'"),
        ("train.frozen=[backbone, neck, head]", r"of which nothing learns with train.frozen=\['backbone', 'neck'"),
    ],
)
def test_parts_that_are_none_are_refused(changed, override, message):
    with pytest.raises(ValueError, match=message):
        changed(override)


def test_a_run_with_frozen_rows_resumes_to_the_bit(train, interrupted):
    options = ("train.eval_every=0", "train.frozen=[backbone.layers.0-2]", "train.frozen_norms=[backbone]")
    options = (*options, "train.ema=0.9", "train.save_every_steps=1")
    whole = read_checkpoint(train("run.name=whole", *options) / "last.pth")
    with interrupted(2):
        train(*options)
    resumed = read_checkpoint(train("--resume", *options) / "last.pth")
    for part in ("model", "raw_model"):
        for name, value in whole[part].items():
            assert torch.equal(resumed[part][name], value), name
