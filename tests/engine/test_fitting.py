"""Priors fitted to the training data: at the scales that training shows, once a run, the same wherever it is used."""

from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from lib.build import adopt_fitted_priors_, build_detector
from lib.checkpoint import read_run, save_checkpoint
from lib.config import load_config
from lib.data.augment.presets import build_transform
from lib.data.dataset import CocoDataset
from lib.engine.distributed import World
from lib.engine.fitting import fit_priors_, training_boxes
from lib.inference.model_file import config_for, load_detector
from lib.structures import IGNORE

FIT = "model.priors.fit=data"


class Listed:
    """Two images, of 60 x 100 and 100 x 100 pixels, that cannot be opened."""

    sizes, image_ids = np.array([[60, 100], [100, 100]]), [3, 4]
    found = (([[10, 12, 30, 24]], [1]), ([[0, 0, 50, 50], [20, 40, 30, 50]], [IGNORE, 2]))

    def __len__(self):
        return len(self.sizes)

    def objects(self, index):
        boxes, labels = self.found[index]
        return np.array(boxes, np.float32), np.array(labels, np.int64)


def test_boxes_are_those_that_training_shows():
    boxes = training_boxes(Listed(), build_transform("none", (120, 50)), seed=0, samples=2)
    # 60 x 100 to 120 x 50: twice as high, half as wide; the region to ignore is left out
    assert sorted(boxes.tolist()) == [[5, 24, 15, 48], [10, 48, 15, 60]]


def test_boxes_are_cropped_and_mixed_as_augmentation_does_and_the_seed_decides():
    first, same, other = (training_boxes(Listed(), build_transform("mobile", (60, 90)), seed, 30) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert first.shape != other.shape or (first != other).any()
    assert first.min() >= 0 and (first.max(axis=0) <= [90, 60, 90, 60]).all()
    widths = first[:, 2] - first[:, 0]
    assert widths.min() < 9 < 18 < widths.max()  # 9 and 18 px without crops


def test_only_images_with_an_object_are_drawn():
    data = Listed()
    data.sizes, data.image_ids = np.array([[60, 100]] * 50), list(range(50))
    data.found = [([], []), ([[0, 0, 50, 50]], [IGNORE])] * 25
    data.found[31] = ([[10, 12, 30, 24]], [1])
    boxes = training_boxes(data, build_transform("none", (60, 100)), seed=0, samples=4)
    assert boxes.tolist() == [[10, 12, 30, 24]] * 4


def test_images_are_drawn_in_the_same_order_where_all_have_an_object():
    data = Listed()
    data.sizes, data.image_ids = np.array([[60, 100]] * 6), list(range(6))
    data.found = [([[0, 0, 10 + index, 20]], [1]) for index in range(6)]
    boxes = training_boxes(data, build_transform("none", (60, 100)), seed=0, samples=8)
    order = np.random.default_rng(0).permutation(6).tolist()
    assert boxes[:, 2].tolist() == [10 + index for index in [*order, *order[:2]]]


def test_images_without_objects_give_none():
    empty = Listed()
    empty.found = (([[0, 0, 50, 50]], [IGNORE]),) * 2
    assert training_boxes(empty, build_transform("aerial", (60, 90)), 0, 5).shape == (0, 4)


@pytest.fixture
def cfg(experiment):
    return load_config(experiment, [FIT])


def test_boxes_become_part_of_the_config(cfg, data):
    dataset = CocoDataset(data / "train", data / "train.json")
    lines = fit_priors_(cfg, dataset, World())
    boxes = cfg.model.priors.boxes
    assert cfg.model.priors.fit is None and [len(level) for level in boxes] == [2, 2, 2]
    assert lines[0].startswith("priors fitted to") and len(lines) == 4
    shown = ", ".join(f"{width:g} x {height:g}" for width, height in boxes[0])
    assert f"map 16 x 24: {shown} px; " in lines[1]
    assert build_detector(cfg).priors.boxes == boxes
    assert fit_priors_(cfg, dataset, World()) == []  # fitted once


def test_data_without_objects_leave_squares_of_the_cells(cfg):
    empty = Listed()
    empty.found = (([[0, 0, 50, 50]], [IGNORE]),) * 2
    cells = build_detector(cfg).priors.boxes
    assert fit_priors_(cfg, empty, World())[0].startswith("priors fitted to 0 augmented training objects")
    assert cfg.model.priors.boxes == cells


def test_all_processes_have_the_boxes_of_the_first(cfg, data):
    given = [[[4.0, 5.0], [6.0, 7.0]]] * 3
    world = SimpleNamespace(first=lambda _: given)
    fit_priors_(cfg, CocoDataset(data / "train", data / "train.json"), world)
    assert cfg.model.priors.boxes == given


def test_checkpoint_without_fitted_boxes_is_refused(experiment, tmp_path):
    with pytest.raises(ValueError, match="model.priors.fit=data needs a checkpoint that holds the fitted boxes"):
        adopt_fitted_priors_(load_config(experiment, [FIT]), {"model": {}})
    save_checkpoint(tmp_path / "a.pth", {"model": {}, "config": {"model": {"priors": {"boxes": None}}}})
    with pytest.raises(ValueError, match="choose the model.priors.boxes that it was trained with"):
        config_for(tmp_path / "a.pth", experiment, [FIT])
    config_for(tmp_path / "a.pth", experiment)  # where nothing is to be fitted, none is needed


def test_run_keeps_its_boxes_when_resumed_and_tested(train, test, experiment, interrupted):
    options = [FIT, "matcher={type: gaussian}", "train.epochs=1", "train.save_every_steps=1"]
    with interrupted(1):
        train(*options)
    folder = experiment.parent / "runs" / "tiny"
    boxes = read_run(folder / "last.pth")["config"]["model"]["priors"]["boxes"]
    train(*options, "data.augment=none", "--resume")  # would be fitted otherwise
    assert read_run(folder / "best.pth")["config"]["model"]["priors"]["boxes"] == boxes
    assert yaml.safe_load((folder / "config.yml").read_text())["model"]["priors"]["boxes"] == boxes
    assert "priors fitted to" in (folder / "log.txt").read_text()
    for cfg in (None, experiment):
        assert load_detector(folder / "best.pth", cfg, [FIT]).detector.priors.boxes == boxes
    scores = []
    for arguments in ([], [f"--cfg={experiment}", *options[:2]]):
        test(f"--checkpoint={folder / 'best.pth'}", f"--json={folder / 'result.json'}", *arguments)
        scores.append((folder / "result.json").read_text())
    assert scores[0] == scores[1]
