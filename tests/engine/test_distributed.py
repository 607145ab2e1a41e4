"""Two processes, started by torchrun as users do, learn what one learns."""

import contextlib
import json
import signal
import socket
import subprocess
import sys

import pytest
import torch

from lib.build import build_detector
from lib.build_data import build_dataset, build_loader
from lib.checkpoint import read_checkpoint
from lib.config import load_config
from lib.engine.distributed import World, processes
from lib.engine.learner import Learner
from tests.engine.children import go, run_environment, start_paused
from tests.engine.conftest import ROOT, epochs_of, leave_pictures_out, load_script, write_experiment

STEPS = {
    "sync": ("train.norm=sync",),
    "frozen_in_parts": ("train.norm=frozen", "train.accumulate=2"),
    "weights_behind_the_last_tap": ("train.norm=sync", "model.neck.taps=[5, 11.depthwise]"),
}

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")


def take_step(experiment, out, options, world):
    """One step in double precision; the writer's file gets gradients, statistics and the report's values."""
    torch.manual_seed(0)
    cfg = load_config(experiment, ["train.batch_size=8", "input.std=[60, 60, 60]", *options])
    data = build_dataset(cfg, "train")
    cfg.data.classes = list(data.classes)
    learner = Learner(cfg, build_detector(cfg).double(), torch.device("cpu"), world)
    learner.normalizer.register_forward_hook(lambda *given: given[-1].double())
    loader = build_loader(cfg, data, rank=world.rank, world_size=world.size)
    learner.start_training()
    report = learner.step(list(loader)[: cfg.train.accumulate], (world.rank + 1.0,))
    if world.is_writer:
        state = {n: p.grad for n, p in learner.model.named_parameters()} | dict(learner.model.named_buffers())
        torch.save({"state": state, "values": report.values}, out)


def work_of_a_process(experiment, folder):
    """What each of two processes does, so that all of it costs one start: steps, a whole run, the end of the stopped
    run, and a test of the whole one."""
    torch.set_num_threads(1)
    leave_pictures_out()
    train, test = load_script("train"), load_script("test")
    with processes("cpu") as place:
        train.processes = test.processes = lambda _: contextlib.nullcontext(place)  # joined once for all
        for name, options in STEPS.items():
            take_step(experiment, f"{folder}/{name}.pt", options, place.world)
        run = (f"--cfg={experiment}", "train.norm=sync")
        train.main([*run, "run.name=whole"])
        train.main([*run, "run.name=stopped", "--resume"])
        test.main([f"--checkpoint={folder}/runs/whole/last.pth", f"--json={folder}/two.json"])
        tested, tester = {}, train.tester
        train.tester = lambda *given: lambda model: tested.update(model.state_dict()) or tester(*given)(model)
        train.main([f"--cfg={experiment}", "train.norm=batch", "run.name=batch", "train.epochs=0.4"])
        torch.save(tested, f"{folder}/tested_{place.world.rank}.pt")


@pytest.fixture(scope="module")
def results(tmp_path_factory, data):
    """The folder where two processes have worked, after a run that a signal to torchrun had stopped."""
    folder = tmp_path_factory.mktemp("distributed")
    experiment = write_experiment(folder, data)
    arguments = [f"--cfg={experiment}", "train.norm=sync", "run.name=stopped"]
    torchrun = start_paused(folder, 1, *arguments, launcher=TORCHRUN, processes=2)
    torchrun.send_signal(signal.SIGTERM)  # it hands it on
    go(folder)
    errors = torchrun.communicate()[1]
    steps = read_checkpoint(folder / "runs" / "stopped" / "last.pth")["position"]["steps"]
    assert steps < 6, f"the run ended before it could be stopped: {errors}"
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    # Without torchrun's own process, which would only import torch once more.
    with (folder / "output.txt").open("w") as output:
        workers = [start_worker(rank, port, output, experiment, folder) for rank in (0, 1)]
        codes = [worker.wait(300) for worker in workers]
    assert codes == [0, 0], (folder / "output.txt").read_text()
    return folder


def start_worker(rank, port, output, *arguments):
    """One of two processes, with the environment that torchrun gives them."""
    world = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    environment = {**run_environment(), **world, "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)


@pytest.mark.parametrize("name", STEPS)
def test_step_of_two_processes_is_that_of_one(results, tmp_path, name):
    take_step(results / "tiny.yml", tmp_path / "one.pt", STEPS[name], World())
    one, two = torch.load(tmp_path / "one.pt"), torch.load(results / f"{name}.pt")
    assert (one["values"][-1], two["values"][-1]) == (1, 3)  # flags are summed
    torch.testing.assert_close(two["values"][:-1], one["values"][:-1], rtol=1e-6, atol=0)
    assert two["state"].keys() == one["state"].keys()
    for key, value in one["state"].items():
        torch.testing.assert_close(two["state"][key], value, rtol=1e-6, atol=1e-7, msg=key)


def test_two_processes_stopped_and_resumed_train_as_two_that_were_not(results):
    folders = [results / "runs" / name for name in ("whole", "stopped")]
    whole, resumed = (read_checkpoint(folder / "last.pth") for folder in folders)
    for name, value in whole["model"].items():
        assert torch.equal(resumed["model"][name], value), name
    epochs = epochs_of(folders[0])
    assert epochs == epochs_of(folders[1])
    assert "AP" in epochs[-1]
    assert json.loads((folders[0] / "run.json").read_text())["processes"] == 2


def test_two_processes_with_statistics_of_their_own_test_the_weights_that_are_saved(results):
    saved = read_checkpoint(results / "runs" / "batch" / "last.pth")["model"]
    for rank in (0, 1):
        tested = torch.load(results / f"tested_{rank}.pt")
        assert [name for name, value in saved.items() if not torch.equal(tested[name], value)] == []


def test_two_processes_test_as_one_and_one_speaks(results, tmp_path, test):
    assert (results / "output.txt").read_text().count("metrics: ") == 1
    files = (f"--json={tmp_path}/one.json", f"--detections={tmp_path}/detections.json")
    test(f"--checkpoint={results}/runs/whole/last.pth", *files)
    one, two = (json.loads(file.read_text()) for file in (tmp_path / "one.json", results / "two.json"))
    assert one == two
    assert one["metrics"]["AP"] == epochs_of(results / "runs" / "whole")[-1]["AP"]


if __name__ == "__main__":
    work_of_a_process(*sys.argv[1:])
