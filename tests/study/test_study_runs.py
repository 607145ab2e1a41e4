"""A tiny grid from the command to the report: what it writes, what it skips, what it says of a run that fails."""

import json
import multiprocessing
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from lib.study.grid import plan, read_grid
from lib.study.runs import is_done, jobs_on
from lib.study.summary import read_study
from tests.engine.conftest import leave_pictures_out
from tools import study as tool

ROOT = Path(__file__).resolve().parents[2]


def grid_of(data: Path) -> dict:
    """Two rows that train for three steps or a second, and one that cannot train."""
    base = {
        "input": {"size": [64, 96]},
        "data": {
            "train": {"images": f"{data}/train", "annotations": f"{data}/train.json"},
            "val": {"images": f"{data}/val", "annotations": f"{data}/val.json"},
            "workers": 0,
        },
        "model": {
            "backbone": {"type": "mobilenet_v1", "width": 0.25},
            "neck": {"taps": [5, 11], "extras": [[32, 2]]},
            "priors": {"sizes": [8, 16, 40, 80], "ratios": [2], "reference": 0},
        },
        "train": {"batch_size": 4},
        "evaluation": {"ranges": {"small": [0, 1024], "large": [1024, None]}},
        "run": {"threads": 1, "device": "cpu"},
    }
    rows = {
        "plain": None,
        "S1L0": {"model": {"backbone": {"type": "mobilenet_v1_S1L0"}}},
        "broken": {"train": {"batch_size": 500}},
    }
    claim = {"text": "It finds {size} objects:", "better": "S1L0", "worse": "plain", "ranges": ["small", "large"]}
    budgets = {"images": {"epochs": 2}}
    data = {"root": str(data), "num_train": 14, "num_val": 4, "num_classes": 2, "image_sizes": [64, 100]}
    data |= {"object_sizes": [8, 40], "progress": False}
    return {
        "data": data,
        "start": None,
        "base": base,
        "rows": rows,
        "budgets": budgets,
        "seeds": [3],
        "reference": "plain",
        "claims": [claim],
    }


def test_runs_at_once_are_the_cores_on_every_system(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 5}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert (jobs_on(torch.device("cpu")), jobs_on(torch.device("cuda"))) == (3, 1)
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    assert jobs_on(torch.device("cpu")) == 6


FORKS = multiprocessing.get_context("forkserver")  # its processes start with the project imported
FORKS.set_forkserver_preload(["lib.engine.learner", "lib.engine.train", "lib.inference"])


def run_here(script: str, arguments: list[str], log: str) -> None:
    """Runs a script as the main program of this process, with its output in a file."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    leave_pictures_out()
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")


def run_script(command, stdout, **options):
    """``subprocess.run``: really in a new process for the row that fails, in a fork, which is faster, for others."""
    if "broken" in command[2]:
        return subprocess.run(command, stdout=stdout, **options)
    process = FORKS.Process(target=run_here, args=(command[1], command[2:], stdout.name))
    process.start()
    process.join()
    return subprocess.CompletedProcess(command, process.exitcode)


def study(*arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lib.study.summary.SECONDS_PER_ROW", 0.1)
        patch.setattr("lib.study.runs.subprocess", SimpleNamespace(run=run_script, STDOUT=subprocess.STDOUT))
        tool.main(list(arguments))


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """The arguments of a study that ran once; its folder is the last one."""
    folder = tmp_path_factory.mktemp("study")
    grid = folder / "tiny.yaml"
    grid.write_text(yaml.safe_dump(grid_of(folder / "data"), sort_keys=False))
    arguments = [f"--grid={grid}", f"--out={folder / 'tiny'}", "--jobs=3", "evaluation.batch_size=2"]
    with pytest.raises(SystemExit, match="1 runs failed: broken_images_3"):
        study(*arguments)
    return arguments, folder / "tiny"


def test_a_failed_run_is_named_and_the_others_have_results(command):
    found = read_study(command[1] / "results")
    assert found.about["runs"].keys() == {"plain_images_3", "S1L0_images_3"}
    assert "1 runs: broken_images_3" in (command[1] / "study.md").read_text()


def test_a_result_holds_what_the_report_needs(command):
    plain, fine = read_study(command[1] / "results").results
    assert plain["images_seen"] == 2 * 12  # epochs of three steps of four images
    assert plain["metrics"].keys() == fine["metrics"].keys() >= {"AP", "AP_small", "AP_large"}
    assert fine["gmac"] > 2 * plain["gmac"]
    assert plain["digest"] != fine["digest"]
    assert sum(plain["curve"]["objects"]) == plain["counts"]["all"]


def test_figures_and_tables_are_of_both_rows(command):
    assert (command[1] / "images" / "study_tiny_by_size.png").stat().st_size > 10_000
    assert (command[1] / "images" / "study_tiny_cost.png").stat().st_size > 10_000
    text = (command[1] / "study.md").read_text()
    assert "\n| S1L0 | " in text
    assert "\n| S1L0 - plain | " in text
    for link in ("plain_images_3", "S1L0_images_3"):
        assert f"[3](results/{link}.json)" in text
        assert (command[1] / "results" / f"{link}.json").exists()


def test_what_is_done_is_skipped_and_what_is_half_done_goes_on(command):
    arguments, out = command
    plain, fine = (out / "results" / f"{row}_images_3.json" for row in ("plain", "S1L0"))
    before, untouched = json.loads(plain.read_text()), fine.stat().st_mtime_ns
    plain.unlink()
    study(*arguments, "--rows=plain,S1L0")
    assert fine.stat().st_mtime_ns == untouched
    after = json.loads(plain.read_text())
    assert {**after, "date": ""} == {**before, "date": ""}
    (log,) = out.glob("runs/plain_images_3-*/study.log")
    assert "resumed epoch" in log.read_text()


def test_a_result_of_another_budget_does_not_count(command):
    (grid, _, _, override), out = command
    grid = read_grid(grid.removeprefix("--grid="))
    for scale, has_result in ((1.0, True), (0.5, False)):
        _, runs = plan(grid, out, scale, [override])
        assert is_done(runs[0], out / "results") is has_result


def test_fewer_than_one_job_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(ValueError, match="--jobs must be at least 1; got -1"):
        study(f"--out={tmp_path}", "--jobs=-1")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_row_is_named(command):
    with pytest.raises(ValueError, match="--rows must be one of plain, S1L0, broken; got 'plian'"):
        study(*command[0], "--rows=plian")
