"""What a resumed run may change, what it may not, and what it finds after an accident."""

import re
import shutil

import pytest
import torch

from lib.checkpoint import read_checkpoint
from lib.engine import curves
from lib.engine import run as run_module
from lib.engine.learner import Learner
from lib.utils.signals import Stopped
from tests.engine.conftest import epochs_of


@pytest.fixture
def copied(whole, tmp_path):
    """A copy of the run of two epochs, where ``train`` finds it."""
    return shutil.copytree(whole, tmp_path / "runs" / "tiny")


def changes_in(folder):
    """What the log of a run says of settings that changed."""
    return re.findall(r"changed on resume: (.*)", (folder / "log.txt").read_text())


def test_other_settings_are_refused_by_name_before_anything_is_written(train, copied):
    before = {path.name: path.read_bytes() for path in copied.iterdir() if path.is_file()}
    for change, message in (
        ("data.classes=[ring, disc]", r"must have the classes .*\['disc', 'ring'\] .*got \['ring', 'disc'\]"),
        ("data.classes=[ring]", r"must have the classes .*got \['ring'\]"),
        (
            "train.optimizer={type: adamw, lr: 0.01}",
            "train.optimizer.type of a resumed run must stay 'sgd'; got 'adamw'",
        ),
        ("train.trainable=[head]", r"train.trainable of a resumed run must stay None; got \['head'\]"),
        ("train.frozen=[backbone]", r"train.frozen of a resumed run must stay None; got \['backbone'\]"),
        ("train.rates={backbone: 0.1}", "train.rates of a resumed run must stay None"),
        ("train.norm=frozen", "train.norm of a resumed run must stay 'batch'; got 'frozen'"),
        ("train.frozen_norms=[neck]", r"train.frozen_norms of a resumed run must stay None; got \['neck'\]"),
        ("train.ema=0.9", "train.ema of a resumed run must stay None; got 0.9"),
        ("model.backbone.width=0.5", "model.backbone.width of a resumed run must stay 0.25; got 0.5"),
        ("model.neck.taps=[7, 11]", "model.neck.taps.* of a resumed run must stay"),
        ("input.mean=[1, 2, 3]", "input.mean of a resumed run must stay"),
    ):
        with pytest.raises(ValueError, match=message):
            train("--resume", "train.epochs=3", change)
    assert {path.name: path.read_bytes() for path in copied.iterdir() if path.is_file()} == before


def test_other_options_of_the_optimizer_are_used(train, copied):
    train("--resume", "train.epochs=3", "train.eval_every=0", "train.optimizer={weight_decay: 0.5, momentum: 0.8}")
    content = read_checkpoint(copied / "last.pth")
    assert content["config"]["train"]["optimizer"]["weight_decay"] == 0.5
    assert {(group["weight_decay"], group["momentum"]) for group in content["optimizer"]["param_groups"]} == {
        (0.5, 0.8)
    }


def test_a_run_from_other_weights_keeps_their_input_when_they_are_gone(train, tmp_path):
    first = train("run.name=first", "train.epochs=0.4", "train.eval_every=0", "input.std=[60, 60, 60]")
    options = (f"model.weights={first / 'last.pth'}", "train.eval_every=0", "run.name=second")
    second = train("train.epochs=1", *options)
    assert "std: [60, 60, 60]" in (second / "config.yml").read_text()
    shutil.rmtree(first)
    train("train.epochs=2", *options, "--resume")
    content = read_checkpoint(second / "last.pth")
    assert (content["position"]["epoch"], content["config"]["input"]["std"]) == (2, [60, 60, 60])


def test_the_log_names_the_settings_that_change(train, copied):
    changes = ("train.epochs=3", "train.optimizer.weight_decay=0.5", "evaluation.ranges={tiny: [0, 64]}")
    train("--resume", "train.eval_every=0", "data.cache_mb=1", *changes)
    assert changes_in(copied) == [
        "train.epochs 2 -> 3",
        "train.optimizer.weight_decay None -> 0.5",
        "train.eval_every 1 -> 0",
        "evaluation.ranges None -> {'tiny': [0, 64]}",
    ]


def test_the_config_of_the_run_repeats_all_settings(train):
    """Those of its first command line, and the fitted priors. Without last.pth a run starts, with a warning."""
    first = ("train.epochs=1", "train.batch_size=7", "model.priors.fit=data", "train.eval_every=0", "data.augment=none")
    folder = train("--resume", *first)
    warning = f"--resume: no last.pth in {folder}: a new run starts"
    assert (folder / "log.txt").read_text().count(warning) == 1
    train(f"--cfg={folder / 'config.yml'}", "--resume", "train.epochs=2")
    assert changes_in(folder) == ["train.epochs 1 -> 2"]
    assert (folder / "log.txt").read_text().count(warning) == 1
    assert [epoch["epoch"] for epoch in epochs_of(folder)] == [1, 2]


def test_half_a_line_of_the_log_is_written_anew_and_leftovers_go(train, copied):
    file = copied / "epochs.jsonl"
    file.write_bytes(file.read_bytes()[:-40])
    (copied / "last.pth.tmp4194303").touch()  # greater than any number of a process
    train("--resume", "train.epochs=3", "train.eval_every=0")
    assert [epoch["epoch"] for epoch in epochs_of(copied)] == [1, 2, 3]
    assert not list(copied.glob("*tmp*"))


def test_weights_alone_are_no_run(train, copied):
    content = read_checkpoint(copied / "last.pth")
    torch.save({key: content[key] for key in ("format", "model", "config", "classes")}, copied / "last.pth")
    with pytest.raises(ValueError, match="must hold the state of a run; it has no optimizer"):
        train("--resume")


def test_a_second_signal_says_what_is_saved(train, monkeypatch):
    original, calls = Learner.step, []

    def step(self, parts, flags=()):
        calls.append(flags)
        if len(calls) in (2, 6):
            raise Stopped(2)  # as a second signal does, at once
        return original(self, parts, flags)

    monkeypatch.setattr(Learner, "step", step)
    settings = ("train.eval_every=0", "train.log_every=0")
    with pytest.raises(Stopped, match="^stopped in epoch 1 after step 1 of 3; nothing is saved yet$"):
        train(*settings)
    with pytest.raises(Stopped, match=r"^stopped in epoch 2 after step 0 of 3; .*last.pth holds this state: continue"):
        train(*settings)
    calls[:] = [()] * 4
    with pytest.raises(Stopped, match=r"^stopped in epoch 2 after step 1 of 3; .*an older state .epoch 2 after step 0"):
        train(*settings, "--resume")


def test_a_loss_that_is_not_finite_says_what_the_last_checkpoint_is_worth(train, copied, monkeypatch):
    drawn = []
    monkeypatch.setattr(run_module, "draw_curves", lambda file, epochs: drawn.append((file.name, len(epochs))))
    with pytest.raises(
        FloatingPointError, match=r"last.pth is of epoch 3, step 0, \d steps before: its weights are finite"
    ):
        train("--resume", "train.epochs=3", "train.optimizer.lr=1e30", "train.schedule={type: constant}")
    assert drawn == [("curves.png", 2)]
    for path in ("last.pth", "best.pth"):
        read_checkpoint(copied / path)


def test_a_single_image_and_a_map_of_one_value_are_explained(train):
    small = ("input.size=[16, 16]", "train.batch_size=1", "train.norm=batch")
    with pytest.raises(ValueError, match="BatchNorm must see more than one value.*train.batch_size of 2 or more"):
        train(*small)


def test_curves_of_one_epoch_have_whole_epochs_on_their_axis(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(curves, "write_figure", lambda file, figure, dpi: drawn.append(figure))
    curves.draw_curves(tmp_path / "x.png", [{"epoch": 5, "AP": 0.5, "lr": 0.1, "loss_cls": 1.0}])
    assert [axes.get_xlim() for axes in drawn[0].axes] == [(4.5, 5.5)] * 3
    assert all(tick == int(tick) for axes in drawn[0].axes for tick in axes.get_xticks())
