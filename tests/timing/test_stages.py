"""What tools/speed.py reports, and that its figures are of what it says."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lib.build import build_detector
from lib.config import load_config
from lib.inference import Predictor
from lib.timing.report import known_ap_small, plot_time_against_ap, speed_table
from lib.timing.speed import make_images, run_speed
from lib.timing.stages import Spread, count_candidates, describe, measure, ratios, summary

ROOT = Path(__file__).resolve().parents[2]


def test_cost_is_that_of_the_published_table_and_its_parts_add_up():
    cfg = load_config(ROOT / "experiments/mobilenet_v1/plain.yml")
    cost = describe(build_detector(cfg), (300, 300))
    assert cost["macs"] / 1e9 == pytest.approx(2.51, abs=0.005)
    assert cost["parameters"] / 1e6 == pytest.approx(16.14, abs=0.005)
    assert cost["flops"] == 2 * cost["macs"]
    assert sum(part["macs"] for part in cost["parts"].values()) == cost["macs"]
    assert sum(part["parameters"] for part in cost["parts"].values()) == cost["parameters"]


def test_spread_and_ratio_by_hand():
    samples = np.array([[1.0, 2, 3], [1, 4, 3], [1, 3, 3]])
    assert summary(samples)["network"] == Spread(3.0, 2.1, 3.9)
    assert summary(samples)["total"].median == 7.0
    assert ratios(2 * samples, samples)["total"] == Spread(2.0, 2.0, 2.0)


def test_models_take_turns_and_each_stage_is_timed(checkpoint, images):
    predictors = {"a": Predictor(checkpoint, "cpu"), "b": Predictor(checkpoint, "cpu")}
    samples = measure(predictors, images[:2], seconds=0)
    assert {name: values.shape for name, values in samples.items()} == {"a": (3, 3), "b": (3, 3)}
    assert all((values > 0).all() for values in samples.values())


def test_candidates_are_the_scores_that_pass(checkpoint, images):
    priors, few = count_candidates(
        Predictor(checkpoint, "cpu", overrides=["postprocess.score_threshold=1.0"]), images
    )
    _, many = count_candidates(
        Predictor(checkpoint, "cpu", overrides=["postprocess.score_threshold=0.0"]), images
    )
    assert few == 0
    assert many == 2 * min(priors, 400)


def test_report_has_all_figures_and_can_be_drawn(checkpoint, images, tmp_path):
    import torch

    report = run_speed(
        [str(checkpoint), str(checkpoint)], images[:1], 0, torch.device("cpu"), {"backend": "torch"}
    )
    assert json.loads(json.dumps(report)) == report
    table = speed_table(report)
    for word in ("threads", "kernels", "GMAC", "candidates", "prepare", "network", "select", "tiny 2"):
        assert word in table
    assert plot_time_against_ap(report, tmp_path / "none.png") == 0
    report["models"]["tiny 1"]["ap_small"] = 7.9
    assert plot_time_against_ap(report, tmp_path / "speed.png") == 1
    assert (tmp_path / "speed.png").stat().st_size > 1000


def test_ap_small_is_read_from_an_experiments_comment():
    assert known_ap_small(ROOT / "experiments/mobilenet_v1/S1L0.yml") == 7.9
    assert known_ap_small(ROOT / "experiments/demo/plain.yml") is None
    assert known_ap_small("nowhere.yml") is None


def test_noise_is_of_the_seed_and_size():
    first, again = (make_images(None, (5, 7), 2, np.random.default_rng(3)) for _ in range(2))
    assert [image.shape for image in first] == [(5, 7, 3)] * 2
    assert all((a == b).all() for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("speed.py", ["--sweep=nowhere/*.yml"], "there must be a model to measure"),
        ("export.py", ["--checkpoint=nowhere.pth", "--out=x.onnx"], "nowhere.pth, which does not exist"),
        ("export.py", ["--checkpoint=nowhere.pth", "--out=x.txt"], "--out must end in .onnx or .pt2"),
    ],
)
def test_mistakes_end_in_one_clear_line(tool, arguments, message):
    command = [sys.executable, str(ROOT / "tools" / tool), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert message in run.stderr
    assert "Traceback" not in run.stderr
