"""Two processes, started by torchrun as users do, learn what one learns."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from lib.checkpoint import read_checkpoint

ROOT = Path(__file__).resolve().parents[2]
STEP = """
import sys
import torch
from lib.build import build_dataset, build_detector, build_loader
from lib.config import load_config
from lib.engine.distributed import processes
from lib.engine.learner import Learner

experiment, out = sys.argv[1:3]
torch.set_num_threads(1)
with processes("cpu") as (world, device):
    torch.manual_seed(0)
    cfg = load_config(experiment, sys.argv[3:])
    data = build_dataset(cfg, "train")
    cfg.data.classes = list(data.classes)
    learner = Learner(cfg, build_detector(cfg).double(), device, world)
    learner.normalizer.register_forward_hook(lambda *given: given[-1].double())
    loader = build_loader(cfg, data, training=True, rank=world.rank, world_size=world.size)
    learner.start_training()
    parts = cfg.train.accumulate
    report = learner.step(list(loader)[:parts], (world.rank + 1.0,))
    if world.is_writer:
        state = {n: p.grad for n, p in learner.model.named_parameters()} | dict(learner.model.named_buffers())
        torch.save({"state": state, "values": report.values}, out)
"""


def torchrun(*arguments: str, count: int = 2) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}"]
    return [*launcher, *map(str, arguments)]


def run(command: list[str]) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "options", [("train.norm=sync",), ("train.norm=frozen", "train.accumulate=2")], ids=["sync", "frozen_in_parts"]
)
def test_step_of_two_processes_is_that_of_one(experiment, tmp_path, options):
    script = tmp_path / "step.py"
    script.write_text(STEP)
    options = ["train.batch_size=8", "input.std=[60, 60, 60]", *options]
    results = []
    for count in (1, 2):
        out = tmp_path / f"{count}.pt"
        done = run(torchrun(script, experiment, out, *options, count=count))
        assert done.returncode == 0, done.stderr
        results.append(torch.load(out))
    one, two = results
    assert (one["values"][-1], two["values"][-1]) == (1, 3)  # flags are summed
    torch.testing.assert_close(two["values"][:-1], one["values"][:-1], rtol=1e-6, atol=0)
    assert two["state"].keys() == one["state"].keys()
    for name, value in one["state"].items():
        torch.testing.assert_close(two["state"][name], value, rtol=1e-6, atol=1e-7, msg=name)


def test_two_processes_stopped_and_resumed_train_as_two_that_were_not(experiment):
    options = [f"--cfg={experiment}", "train.norm=sync", "train.epochs=3"]
    done = run(torchrun("train.py", *options, "run.name=whole"))
    assert done.returncode == 0, done.stderr
    command = torchrun("train.py", *options, "run.name=stopped", "train.save_every_steps=1", "train.epochs=3")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    runs = experiment.parent / "runs"
    last, deadline = runs / "stopped" / "last.pth", time.monotonic() + 60
    while not last.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)  # torchrun hands it on
    process.communicate()
    assert read_checkpoint(last)["position"]["steps"] < 9, "the run ended before it could be stopped"
    done = run(torchrun("train.py", *options, "run.name=stopped", "--resume"))
    assert done.returncode == 0, done.stderr
    whole, resumed = (read_checkpoint(runs / name / "last.pth") for name in ("whole", "stopped"))
    for name, value in whole["model"].items():
        assert torch.equal(resumed["model"][name], value), name
    epochs = [
        [{k: v for k, v in json.loads(line).items() if k not in ("seconds", "images_per_s")} for line in text]
        for text in ((runs / name / "epochs.jsonl").read_text().splitlines() for name in ("whole", "stopped"))
    ]
    assert epochs[0] == epochs[1]
    assert "AP" in epochs[0][-1]
    assert json.loads((runs / "whole" / "run.json").read_text())["processes"] == 2
    results = []
    for count in (1, 2):
        file = runs / f"{count}.json"
        done = run(torchrun("test.py", f"--checkpoint={runs}/whole/last.pth", f"--json={file}", count=count))
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("metrics: ") == 1  # one process speaks
        results.append(json.loads(file.read_text()))
    assert results[0] == results[1]
    assert results[0]["metrics"]["AP"] == epochs[0][-1]["AP"]
