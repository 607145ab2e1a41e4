"""train.py and test.py on a small data set: what they write, exact resume, and what stops them."""

import csv
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import cv2
import pytest
import torch

from lib.checkpoint import read_checkpoint, read_run, save_checkpoint
from lib.config import load_config
from lib.engine import run as run_module
from lib.engine import train as train_module
from lib.engine.learner import Learner
from lib.inference import Predictor
from lib.utils.command_line import readable_errors
from lib.utils.files import WriteError
from lib.utils.signals import Stopped
from tests.engine.children import go, start_paused
from tests.engine.conftest import ROOT, epochs_of, load_script


def weights(folder):
    return read_checkpoint(folder / "last.pth")["model"]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_writes_what_it_promises(whole):
    lines = [json.loads(line) for line in (whole / "epochs.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert {"loss_cls", "loss_box", "lr", "images_per_s", "AP", "AP_small"} <= lines[-1].keys()
    cfg = load_config(whole / "config.yml")
    assert cfg.data.classes == ["disc", "ring"]
    about = json.loads((whole / "run.json").read_text())
    assert about["seed"] == 0
    assert about["version"] == "0.9.0"
    assert re.match(r"[0-9a-f]{12}|unknown", about["commit"])
    assert list((whole / "tensorboard").iterdir())
    assert cv2.imread(str(whole / "samples.png")).shape[1] > 500
    content = read_run(whole / "last.pth")
    assert content["classes"] == ["disc", "ring"]
    assert content["position"]["epoch"] == 2
    assert load_config(content["config"]) == cfg


def test_epochs_are_a_table_and_curves(whole):
    rows = list(csv.DictReader((whole / "results.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"loss_cls", "lr", "AP_small"} <= rows[0].keys()
    assert rows[0]["AP_large"] == ""  # no object is as large
    assert cv2.imread(str(whole / "curves.png")).shape[1] > 1000


def test_same_seed_same_weights_whatever_the_workers(train, whole):
    again = weights(train("train.eval_every=0", "data.workers=2"))
    other = weights(train("train.eval_every=0", "run.name=other", "run.seed=1", "train.epochs=1"))
    assert same(weights(whole), again)
    assert not same(weights(whole), other)


@pytest.mark.parametrize("steps_before", [2, 4])
def test_interrupted_run_resumes_to_the_same_weights(train, whole, interrupted, steps_before):
    with interrupted(steps_before):
        train("train.save_every_steps=1", "train.eval_every=0")
    torch.rand(3)  # the state of torch's generator must not matter
    resumed = train("--resume", "train.save_every_steps=1", "train.eval_every=0")
    assert same(weights(resumed), weights(whole))


def test_the_last_epoch_may_be_a_part_of_one(train, interrupted):
    """Of 1.67 epochs of 3 steps the last is the fifth, also where a run goes on in that part."""
    settings = ("train.epochs=1.67", "train.save_every_steps=1", "run.name=parts")
    once = train(*settings)
    assert read_run(once / "last.pth")["position"]["steps"] == 5
    assert [line["epoch"] for line in epochs_of(once)] == [1, 2]
    with interrupted(4):
        train(*settings, "run.name=again")
    again = train("--resume", *settings, "run.name=again")
    assert read_run(again / "last.pth")["position"]["steps"] == 5
    assert same(weights(once), weights(again))
    assert epochs_of(once) == epochs_of(again)


def test_killed_run_resumes_to_the_same_weights(train, experiment, whole, tmp_path):
    arguments = ["train.eval_every=0", "train.save_every_steps=1"]
    process = start_paused(tmp_path, 2, f"--cfg={experiment}", *arguments)
    process.kill()
    process.communicate()
    position = read_checkpoint(experiment.parent / "runs" / "tiny" / "last.pth")["position"]
    assert position["steps"] == 2
    assert same(weights(train("--resume", *arguments)), weights(whole))


def test_signal_finishes_the_step_saves_and_says_so(train, experiment, whole, tmp_path):
    """It is noticed when the next step has begun, and obeyed after the one that follows."""
    arguments = [f"--cfg={experiment}", "train.eval_every=0", "data.workers=1"]
    process = start_paused(tmp_path, 1, *arguments)
    os.killpg(process.pid, signal.SIGINT)  # the loader's processes get it as well, as from a terminal
    go(tmp_path)
    errors = process.communicate()[1]
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert re.search(r"stopped.*last.pth holds this state: continue with --resume", errors), errors
    position = read_checkpoint(experiment.parent / "runs" / "tiny" / "last.pth")["position"]
    assert position["steps"] == 4
    resumed = train("--resume", "train.eval_every=0", "data.workers=1")
    assert same(weights(resumed), weights(whole))
    reference = epochs_of(whole)
    assert [epoch["epoch"] for epoch in epochs_of(resumed)] == [1, 2]
    assert [epoch["loss_cls"] for epoch in epochs_of(resumed)] == [epoch["loss_cls"] for epoch in reference]


def test_signal_may_end_a_run_after_the_last_step_of_an_epoch(train, whole, monkeypatch):
    original, count = Learner.step, itertools.count()

    def step(self, *arguments):
        if next(count) == 0:
            signal.raise_signal(signal.SIGTERM)
        return original(self, *arguments)

    with monkeypatch.context() as patch, pytest.raises(Stopped, match="epoch 1 after step 3 of 3; .*holds this state"):
        patch.setattr(Learner, "step", step)
        train()
    resumed = train("--resume")
    assert same(weights(resumed), weights(whole))
    assert epochs_of(resumed) == epochs_of(whole)


def test_run_stopped_in_its_evaluation_is_evaluated_when_resumed(train, whole, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "stream", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train()
    assert epochs_of(train("--resume")) == epochs_of(whole)


def test_last_epochs_are_kept_as_many_as_asked(train):
    folder = train("train.epochs=4", "train.keep_last=2", "train.eval_every=0")
    assert sorted(path.name for path in folder.glob("epoch_*.pth")) == ["epoch_0003.pth", "epoch_0004.pth"]
    assert read_checkpoint(folder / "epoch_0003.pth")["position"]["epoch"] == 3
    assert same(read_checkpoint(folder / "epoch_0004.pth")["model"], weights(folder))


def test_full_disk_keeps_the_last_good_checkpoint(train, whole, monkeypatch):
    original, count = os.fsync, iter(range(100))

    def full(descriptor):
        if next(count) == 2:  # after run.json and the first checkpoint
            raise OSError(28, "No space left on device")
        return original(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"last.pth could not be written.*No space left.*is as before"):
        train("train.eval_every=0")
    monkeypatch.setattr(os, "fsync", original)
    resumed = train("--resume", "train.eval_every=0")
    assert same(weights(resumed), weights(whole))


def test_training_learns(train):
    folder = train(
        "train.epochs=10", "train.eval_every=0", "train.optimizer={type: adamw, lr: 0.006}", "data.augment=none"
    )
    losses = [json.loads(line)["loss_cls"] for line in (folder / "epochs.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.5 * losses[0]


def test_time_limit_ends_the_run_and_its_schedule(train, monkeypatch):
    ticks = itertools.count()
    monkeypatch.setitem(train_module.CLOCKS, "wall", lambda: 0.1 * next(ticks))  # a step takes 0.1 seconds
    folder = train("train.epochs=1000", "train.time_limit_s=1.5", "train.eval_every=0")
    lines = [json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()]
    assert 1.5 <= lines[-1]["seconds"] < 2
    assert lines[-1]["lr"] < 0.1 * lines[0]["lr"]


def test_loss_that_is_not_finite_stops_and_names_the_images(train, experiment):
    with pytest.raises(
        FloatingPointError, match=r"loss_cls nan.*images \[\d+, \d+, \d+, \d+\].*lower train.optimizer.lr"
    ):
        train("train.optimizer.lr=1e30")
    written = json.loads((experiment.parent / "runs" / "tiny" / "non_finite.json").read_text())
    assert written.keys() == {"epoch", "step", "losses", "image_ids"}
    assert len(written["image_ids"]) == 4


def test_a_run_is_never_overwritten(train, whole):
    with pytest.raises(
        ValueError, match="must be a new folder; it already holds a training run: continue it with --resume"
    ):
        train(f"run.dir={whole.parent}")


@pytest.mark.parametrize("resume", [[], ["--resume"]])
@pytest.mark.parametrize("name", ["best.pth", "epochs.jsonl"])
def test_results_of_a_run_without_its_last_checkpoint_are_not_overwritten(train, experiment, name, resume):
    file = experiment.parent / "runs" / "tiny" / name
    file.parent.mkdir(parents=True)
    file.write_text("precious")
    with pytest.raises(ValueError, match=f"must be a new folder, or hold last.pth .*; it holds {name} of another run"):
        train(*resume)
    assert file.read_text() == "precious"


def test_a_restart_by_torchrun_resumes_only_what_this_torchrun_has_started(train, monkeypatch):
    settings = ("train.eval_every=0", "train.epochs=1")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    folder = train(*settings)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    train("train.eval_every=0", "train.epochs=1.4")
    assert read_checkpoint(folder / "last.pth")["position"]["steps"] == 4
    monkeypatch.setattr(run_module, "launcher", lambda: "another host 7")
    with pytest.raises(ValueError, match="must be a new folder; it already holds a training run"):
        train("train.eval_every=0", "train.epochs=2")


def test_testing_prints_and_writes_ap_by_size(whole, test, capsys, tmp_path):
    checkpoint = shutil.copy(whole / "last.pth", tmp_path)
    test(f"--checkpoint={checkpoint}", f"--json={tmp_path / 'result.json'}")
    printed = capsys.readouterr().out
    assert "small" in printed
    assert "disc" in printed
    result = json.loads((tmp_path / "result.json").read_text())
    keys = {"AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"}
    keys |= {"AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large"}
    assert result["metrics"].keys() == keys
    assert result["per_class"].keys() == {"disc", "ring"}
    assert result["per_class"]["disc"].keys() == keys
    assert result["protocol"] == "coco"
    assert result["metrics"]["AP_large"] is None  # no object is as large
    detections = json.loads((tmp_path / "detections.json").read_text())
    assert detections[0].keys() == {"image_id", "category_id", "bbox", "score"}


def test_a_place_that_takes_no_file_is_named_before_the_test(whole, test, capsys, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(
        WriteError, match=r"taken/a.json could not be written: .*choose another place, with --det.*FILE$"
    ):
        test(f"--checkpoint={whole / 'last.pth'}", f"--detections={tmp_path / 'taken' / 'a.json'}")
    assert capsys.readouterr().out == ""


def test_a_test_whose_detections_cannot_be_written_has_its_table_and_metrics(
    whole, test, capsys, tmp_path, monkeypatch
):
    monkeypatch.setattr("lib.utils.files.try_to_write", lambda _: None)
    (tmp_path / "taken").write_text("")
    files = (f"--detections={tmp_path / 'taken' / 'a.json'}", f"--json={tmp_path / 'result.json'}")
    with pytest.raises(WriteError):
        test(f"--checkpoint={whole / 'last.pth'}", *files)
    assert "disc" in capsys.readouterr().out
    assert json.loads((tmp_path / "result.json").read_text())["protocol"] == "coco"


def test_the_checkpoint_of_an_experiment_may_be_an_address(whole, test, experiment, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    test(f"--cfg={experiment}", f"model.weights={(whole / 'last.pth').as_uri()}")
    assert json.loads((tmp_path / "detections.json").read_text())


def test_testing_takes_own_ranges_and_another_engine(whole, test, tmp_path):
    file, ranges = tmp_path / "result.json", "evaluation.ranges={tiny: [0, 256], rest: [256, .inf]}"
    test(f"--checkpoint={whole / 'last.pth'}", f"--json={file}", ranges, "evaluation.engine=pycocotools")
    assert {"AP_tiny", "AP_rest", "AR_tiny", "AR_rest"} <= json.loads(file.read_text())["metrics"].keys()


def test_testing_is_deterministic_and_needs_no_config(whole, test, experiment, tmp_path):
    checkpoint, size = f"--checkpoint={whole / 'last.pth'}", "evaluation.batch_size=3"
    test(checkpoint, f"--detections={tmp_path / '0'}", size)
    test(checkpoint, f"--detections={tmp_path / '1'}", size, f"--cfg={experiment}", "data.workers=2")
    assert (tmp_path / "0").read_text() == (tmp_path / "1").read_text()


def test_other_experiments_checkpoint_is_refused(whole, test, experiment):
    with pytest.raises(ValueError, match="must hold exactly the tensors of this model"):
        test(f"--cfg={experiment}", f"--checkpoint={whole / 'last.pth'}", "model.backbone.width=0.5")


def test_fine_tuning_takes_the_backbone_and_trains_what_is_said(train, whole, tmp_path):
    content = read_checkpoint(whole / "last.pth")
    save_checkpoint(tmp_path / "weights.pth", {"model": content["model"]})
    scope = [
        f"model.weights={tmp_path / 'weights.pth'}",
        "model.weights_scope=[backbone]",
        "train.trainable=[neck, head]",
    ]
    tuned = weights(train("run.name=tuned", "train.epochs=1", "train.eval_every=0", "run.seed=5", *scope))
    parameters = [name for name in tuned if name.startswith("backbone") and name.endswith("weight")]
    assert parameters
    assert all(torch.equal(tuned[name], content["model"][name]) for name in parameters)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cfg=nowhere.yml"], "nowhere.yml, which does not exist"),
        (["--cfg={experiment}", "train.epoch=1"], "did you mean 'epochs'"),
        (["--cfg={experiment}", "data.train.images=/nowhere"], "/nowhere must exist"),
        (["--cfg={experiment}", "run.device=cuda:99"], "that torch can use; got 'cuda:99', but torch "),
        (["--cfg={experiment}", "train.batch_size=500"], "batch_size must be at most 14"),
    ],
)
def test_mistakes_end_in_one_clear_line(experiment, arguments, message, capsys):
    arguments = [argument.format(experiment=experiment) for argument in arguments]
    with pytest.raises(SystemExit) as end, readable_errors():
        load_script("train").main(arguments)
    assert end.value.code == 2
    errors = capsys.readouterr().err
    assert errors.strip().splitlines()[-1].startswith("error: ")
    assert message in errors


def test_script_ends_with_one_clear_line_and_status_2():
    command = [sys.executable, "train.py", "--cfg=nowhere.yml"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "nowhere" in run.stderr
    assert "Traceback" not in run.stderr
