"""Training and testing on a GPU, from the command line. They need one."""

import json

import pytest
import torch

from lib.checkpoint import read_checkpoint
from tests.engine.conftest import epochs_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def on_both(test, folder, out, *options):
    """The metrics of a run's last weights, tested on the GPU and on the CPU."""
    found = []
    for device in ("cuda", "cpu"):
        file = out / f"{device}.json"
        test(f"--checkpoint={folder / 'last.pth'}", f"--json={file}", f"run.device={device}", *options)
        found.append(json.loads(file.read_text())["metrics"])
    return found


def test_a_gpu_learns_what_the_cpu_learns(train, whole):
    on_gpu, on_cpu = epochs_of(train("run.device=cuda", "train.epochs=1"))[0], epochs_of(whole)[0]
    assert on_gpu["loss_cls"] == pytest.approx(on_cpu["loss_cls"], rel=0.02)
    assert on_gpu["loss_box"] == pytest.approx(on_cpu["loss_box"], rel=0.02)
    assert on_gpu["AP"] is not None


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_run_on_a_gpu_is_stopped_resumed_and_tested(train, test, interrupted, tmp_path, precision):
    options = ("run.device=cuda", f"train.precision={precision}", "train.ema=0.9", "train.save_every_steps=1")
    with interrupted(2):
        train(*options)
    folder = train("--resume", *options)
    content = read_checkpoint(folder / "last.pth")
    assert content["position"]["steps"] == 6
    assert all(bool(torch.isfinite(x).all()) for x in content["model"].values())
    found = on_both(test, folder, tmp_path)
    assert found[0]["AP"] == pytest.approx(found[1]["AP"], abs=0.01)
    assert found[0]["AR_100"] == pytest.approx(found[1]["AR_100"], abs=0.02)


@pytest.mark.parametrize("suppression", ["nms", "soft", "fusion"])
def test_a_gpu_suppresses_as_the_cpu_does(whole, test, tmp_path, suppression):
    options = (f"postprocess.suppression={suppression}", "postprocess.score_threshold=0.001")
    found = on_both(test, whole, tmp_path, *options)
    assert found[0]["AP"] == pytest.approx(found[1]["AP"], abs=0.01)
