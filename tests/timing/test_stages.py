"""What tools/speed.py reports, and that its figures are of what it says."""

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from lib.build import build_detector
from lib.config import load_config
from lib.data.image import Reading
from lib.inference import Predictor
from lib.timing.report import known_ap_small, plot_time_against_ap, speed_table
from lib.timing.stages import (
    count_candidates,
    describe,
    input_of,
    make_images,
    open_models,
    random_detector,
    run_speed,
    shared_device,
)
from lib.utils.command_line import readable_errors
from tests.small_config import SMALL
from tools import export, speed

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")


def test_cost_is_that_of_the_published_table_and_its_parts_add_up():
    cfg = load_config(ROOT / "experiments/mobilenet_v1/plain.yml")
    cost = describe(build_detector(cfg), (300, 300))
    assert cost["macs"] / 1e9 == pytest.approx(2.51, abs=0.005)
    assert cost["parameters"] / 1e6 == pytest.approx(16.14, abs=0.005)
    assert cost["flops"] == 2 * cost["macs"]
    assert sum(part["macs"] for part in cost["parts"].values()) == cost["macs"]
    assert sum(part["parameters"] for part in cost["parts"].values()) == cost["parameters"]


def test_a_detector_without_weights_has_the_class_names_of_one_with_weights():
    assert random_detector(SMALL, ["model.num_classes=21"]).classes[6] == "car"


def test_a_batch_goes_through_the_stages_in_order_and_times_are_of_an_image(monkeypatch):
    calls, clock = [], [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    class Slow:
        def prepare(self, images):
            calls.append("prepare")
            clock[0] += 0.004
            return SimpleNamespace(images=f"{len(images)} images")

        def forward(self, prepared):
            calls.append(f"network {prepared}")
            clock[0] += 0.02
            return "output"

        def select(self, output, prepared):
            calls.append(f"select {output} of {prepared.images}")
            clock[0] += 0.001

    images = [np.zeros((2, 3, 3), np.uint8)] * 4
    report = run_speed({"slow": Slow(), "again": Slow()}, images, 0, CPU)
    assert calls == ["prepare", "network 4 images", "select output of 4 images"] * 10
    assert (report["header"]["rounds"], report["header"]["images"]) == (3, ["2x3"])
    medians = {stage: spread["median"] for stage, spread in report["models"]["again"]["time_ms"].items()}
    assert medians == pytest.approx({"prepare": 1, "network": 5, "select": 0.25, "total": 6.25})
    assert "parts" not in report["models"]["slow"]


def test_cost_is_that_of_the_inputs_that_are_timed(checkpoint, images):
    native = ["input.test_resize=native", "input.test_size=[256, 256]"]
    predictor = Predictor(checkpoint, "cpu", overrides=native)
    macs = run_speed({"native": predictor}, images[:1], 0, CPU)["models"]["native"]["macs"]
    assert macs == describe(build_detector(predictor.cfg), input_of(predictor, images[:1]))["macs"]
    assert macs < describe(build_detector(predictor.cfg), (256, 256))["macs"]
    with pytest.raises(ValueError, match="at most 256x256, as larger ones are cut into tiles; got 300x20"):
        run_speed({"native": predictor}, [np.zeros((300, 20, 3), np.uint8)], 0, CPU)
    with pytest.raises(ValueError, match="inputs of one size; got 64x96, 128x96: choose --batch=1"):
        run_speed({"native": predictor}, [np.zeros((side, 64, 3), np.uint8) for side in (64, 128)], 0, CPU)


def test_candidates_are_the_scores_that_pass(checkpoint, images):
    few, many = (
        count_candidates(Predictor(checkpoint, "cpu", overrides=[f"postprocess.score_threshold={x}"]), images)
        for x in (1.0, 0.0)
    )
    assert few["candidates"] == 0
    assert many["candidates"] == 2 * min(many["priors"], 400)


def test_report_has_all_figures_and_can_be_drawn(checkpoint, images, tmp_path):
    models = open_models([str(checkpoint), str(checkpoint)], CPU, [], backend="torch")
    report = run_speed(models, images[:1], 0, CPU)
    assert json.loads(json.dumps(report)) == report
    assert list(report["models"]) == ["tiny 1", "tiny 2"]
    first, second = report["models"].values()
    assert first["ratio"]["network"] == {"median": 1, "p5": 1, "p95": 1}
    assert second["time_ms"]["total"]["p5"] <= second["time_ms"]["total"]["median"]
    table = speed_table(report)
    for word in ("threads", "kernels", "GMAC", "candidates", "prepare", "network", "postprocess", "tiny 2"):
        assert word in table
    assert table.count("times as long as tiny 1") == 4
    assert plot_time_against_ap(report, tmp_path / "none.png") == 0
    first["ap_small"] = 7.9
    assert plot_time_against_ap(report, tmp_path / "speed.png") == 1
    assert (tmp_path / "speed.png").stat().st_size > 1000


def test_the_tool_writes_its_figures(checkpoint, images, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "image.png"), images[0])
    out = tmp_path / "speed.json"
    source = ["--checkpoint", str(checkpoint), "--images", str(tmp_path), "--batch=2"]
    speed.main([*source, "--seconds=0", "--device=cpu", f"--json={out}", f"--plot={tmp_path / 'x.png'}"])
    report = json.loads(out.read_text())
    expected = {"batch": 2, "rounds": 3, "images": ["70x120"], "dtype": "float32", "backend": "torch"}
    assert expected.items() <= report["header"].items()
    assert report["models"]["tiny"]["ap_small"] is None
    assert "x.png is not drawn, because no experiment file states an AP of small objects" in capsys.readouterr().out


def test_times_of_several_devices_are_not_compared():
    on_cpu, on_gpu = (SimpleNamespace(device=torch.device(name)) for name in ("cpu", "cuda:0"))
    assert shared_device({"a": on_gpu, "b": on_gpu}) == torch.device("cuda:0")
    with pytest.raises(ValueError, match="must run on one device; got cuda:0 for a, cpu for b: choose --device=cpu"):
        shared_device({"a": on_gpu, "b": on_cpu})


def test_names_leave_out_the_folders_that_all_models_share(checkpoint, tmp_path, monkeypatch):
    for name in ("a/x.pth", "a/y.pth"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(checkpoint.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert list(open_models(["a/x.pth", str(tmp_path / "a/y.pth")], CPU, [])) == ["x", "y"]


def test_ap_small_is_read_from_an_experiments_comment():
    assert known_ap_small(ROOT / "experiments/mobilenet_v1/S1L0.yml") == 7.9
    assert known_ap_small(ROOT / "experiments/synthetic/plain.yml") is None
    assert known_ap_small("nowhere.yml") is None


def test_images_are_read_as_the_detector_reads_them(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 6), 2000, np.uint16))
    images = make_images(str(tmp_path), (0, 0), 2, np.random.default_rng(0), Reading((1000.0, 3000.0)))
    assert [image.max() for image in images] == [128, 128]


def test_noise_is_of_the_seed_and_size():
    first, again = (make_images(None, (5, 7), 2, np.random.default_rng(3), Reading()) for _ in range(2))
    assert [image.shape for image in first] == [(5, 7, 3)] * 2
    assert all((a == b).all() for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize(
    ("main", "arguments", "message"),
    [
        (speed.main, ["--sweep=nowhere/*.yml"], "there must be a model to measure"),
        (export.main, ["--checkpoint=nowhere.pth", "--out=x.onnx"], "nowhere.pth, which does not exist"),
        (export.main, ["--checkpoint=nowhere.pth", "--out=x.txt"], "--out must end in .onnx or .tflite or .pt2"),
    ],
)
def test_mistakes_end_in_one_clear_line(main, arguments, message, capsys):
    with pytest.raises(SystemExit) as stop, readable_errors():
        main(arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
