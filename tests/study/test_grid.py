"""What a grid asks for: its runs, their order, their budgets, and what is refused."""

from pathlib import Path

import pytest
import torch
import yaml

from lib.build import build_detector
from lib.build_data import input_size
from lib.models.cost import cost_of
from lib.study.grid import plan, read_grid, scaled

ROOT = Path(__file__).resolve().parents[2]
GRIDS = sorted((ROOT / "experiments" / "study").glob("*.yaml"))
SMALL = {
    "base": {"_base_": str(ROOT / "experiments" / "synthetic" / "plain.yml"), "data": {"workers": 0}},
    "rows": {"plain": None, "S1L0": {"model": {"backbone": {"type": "mobilenet_v1_S1L0"}}}},
    "budgets": {"images": {"epochs": 7}},
    "seeds": [0, 1],
    "reference": "plain",
    "claims": [],
}
CLAIM = {"text": "{size}", "better": "S1L0", "worse": "plain", "ranges": ["small"]}
ADVICE = {"budget": "images", "holds": "h", "fails": "f", "undecided": "u"}


def write(tmp_path, **changes):
    file = tmp_path / "grid.yaml"
    file.write_text(yaml.safe_dump({**SMALL, **changes}, sort_keys=False))
    return file


def test_every_row_is_run_with_one_seed_before_the_next_seed(tmp_path):
    _, runs = plan(read_grid(write(tmp_path)), tmp_path)
    assert [run.name for run in runs] == ["plain_images_0", "S1L0_images_0", "plain_images_1", "S1L0_images_1"]
    assert [run.cfg.run.seed for run in runs] == [0, 0, 1, 1]
    assert runs[1].cfg.model.backbone == {"type": "mobilenet_v1", "width": 0.25, "strides": {"0": 1}}
    assert {run.cfg.train.epochs for run in runs} == {7}


def test_another_configuration_has_another_folder(tmp_path):
    grid = read_grid(write(tmp_path))
    folders = [
        plan(grid, tmp_path, scale, overrides)[1][0].folder
        for scale, overrides in [(1.0, []), (1.0, []), (2.0, []), (1.0, ["train.batch_size=3"])]
    ]
    assert folders[0] == folders[1]
    assert len(set(folders)) == 3


def test_runs_on_other_generated_data_are_others(tmp_path):
    def digests(**changes):
        return [run.digest for run in plan(read_grid(write(tmp_path, **changes)), tmp_path)[1]]

    few, more = digests(data={"num_train": 8}), digests(data={"num_train": 9})
    assert few == digests(data={"num_train": 8})
    assert len({*few, *more, *digests()}) == 3 * len(few)


def test_rows_start_from_the_backbone_that_is_trained_first(tmp_path):
    start, runs = plan(read_grid(write(tmp_path, start={"train": {"epochs": 3}})), tmp_path)
    assert start.cfg.train.epochs == 3
    assert start.cfg.data.workers == 0  # the base's
    assert {run.cfg.model.weights for run in runs} == {str(start.folder / "last.pth")}
    assert runs[0].cfg.model.weights_scope == ["backbone"]


def test_rows_see_images_as_the_start_did_also_before_it_is_trained(tmp_path):
    base = {"_base_": str(ROOT / "experiments" / "light" / "small.yml")}
    start, runs = plan(
        read_grid(write(tmp_path, base=base, rows={"plain": None}, start={"run": {"seed": 3}})), tmp_path
    )
    assert start.cfg.model.weights == "imagenet"
    assert (runs[0].cfg.input.channels, runs[0].cfg.input.mean) == ("rgb", [127.0, 127.0, 127.0])
    assert (runs[0].cfg.input.std, runs[0].cfg.model.norm.eps) == ([128.0, 128.0, 128.0], 0.001)


def test_a_budget_may_be_given_by_row(tmp_path):
    budgets = {"images": {"epochs": 7}, "cpu_time": {"epochs": {"plain": 7, "S1L0": 1.75}, "warmup_epochs": 0.5}}
    _, runs = plan(read_grid(write(tmp_path, budgets=budgets, seeds=[0])), tmp_path)
    assert [(run.name, run.cfg.train.epochs) for run in runs[2:]] == [
        ("plain_cpu_time_0", 7),
        ("S1L0_cpu_time_0", 1.75),
    ]
    assert {run.cfg.train.warmup_epochs for run in runs[2:]} == {0.5}
    budgets["cpu_time"]["epochs"].pop("S1L0")
    with pytest.raises(ValueError, match=r"train.epochs of a budget must be .* one for each row; got none for S1L0"):
        plan(read_grid(write(tmp_path, budgets=budgets)), tmp_path)


def test_a_grid_may_stand_on_another(tmp_path):
    write(tmp_path)
    own = tmp_path / "own.yaml"
    own.write_text("_base_: grid.yaml\nseeds: [3]\nrows: {S1L0: {input: {size: [96, 128]}}, third: null}\n")
    grid = read_grid(own)
    assert list(grid["rows"]) == ["plain", "S1L0", "third"]
    _, runs = plan(grid, tmp_path)
    assert [run.name for run in runs] == ["plain_images_3", "S1L0_images_3", "third_images_3"]
    assert runs[1].cfg.input.size == [96, 128]
    assert runs[1].cfg.model.backbone.strides == {"0": 1}


def test_a_grid_that_stands_on_itself_is_refused(tmp_path):
    with pytest.raises(ValueError, match="_base_ must not lead back to itself"):
        read_grid(write(tmp_path, _base_="grid.yaml"))


def test_a_scaled_budget_keeps_whole_epochs():
    assert scaled({"epochs": 7, "time_limit_s": 240.0}, 0.5) == {"epochs": 4, "time_limit_s": 120.0}
    assert scaled({"epochs": 7}, 0.01) == {"epochs": 1}
    others = {"epochs": 2, "clock": "cpu", "batch_size": 8, "time_limit_s": None}
    assert scaled(others, 2.0) == {**others, "epochs": 4}
    with pytest.raises(ValueError, match="--budget must be above 0; got -1"):
        scaled({"epochs": 7}, -1)


def test_a_size_that_the_evaluation_lacks_is_refused_before_any_training(tmp_path):
    claim = {"text": "t", "better": "S1L0", "worse": "plain", "ranges": ["tiny", "smal"]}
    grid = read_grid(write(tmp_path, claims=[claim]))
    with pytest.raises(ValueError, match=r"a size in the ranges of a claim must be one of .*; got 'smal' .*'small'"):
        plan(grid, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"row": {}}, "did you mean 'rows'"),
        ({"rows": None}, "rows of .* must be given: name -> what its experiment has"),
        ({"seeds": []}, r"seeds of .* must be one number or more, all different; got \[\]"),
        ({"seeds": [0, 1, 0]}, "all different"),
        ({"budgets": {}}, "must have a budget and a row; got 0 and 2"),
        ({"claims": [{"text": "t", "better": "S1L0", "ranges": []}]}, r"claims\[0\] of .*: claim.worse must be given"),
        (
            {"claims": [{**CLAIM, "text": "{sizes}"}]},
            r"claims\[0\] of .*: braces in a text must be \{size\}; got .*sizes",
        ),
        ({"claims": [{**CLAIM, "advice": {"budget": "images", "holds": "h"}}]}, "advice.fails must be given; got only"),
        ({"claims": [{**CLAIM, "advice": {**ADVICE, "budget": "image"}}]}, "advice.budget .* of images; got 'image'"),
        ({"budgets": {"images": 6}}, "budgets of .* must be given: name -> train keys .*; got {'images': 6}"),
        ({"rows": {"plain": 6}}, "rows of .* must be given: name -> what .*; got {'plain': 6}"),
        ({"reference": "plian"}, "must be of plain, S1L0; got plian .did you mean 'plain'"),
    ],
)
def test_mistakes_in_a_grid_are_named(tmp_path, changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        read_grid(write(tmp_path, **changes))


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_every_row_of_every_grid_builds(path, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)  # paths of a grid are seen from there
    grid = read_grid(path)
    _, runs = plan({**grid, "seeds": [0], "budgets": {"images": {}}}, tmp_path)
    assert len(runs) == len(grid["rows"])
    with torch.device("meta"):
        models = {run.row: (build_detector(run.cfg), input_size(run.cfg)) for run in runs}
    if path.stem == "default":  # its control costs what S1L0 costs
        cost = {row: cost_of(*models[row]).macs for row in ("plain", "S1L0", "plain_384")}
        assert cost["plain_384"] == cost["S1L0"] == pytest.approx(4 * cost["plain"], rel=0.02)
