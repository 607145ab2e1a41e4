"""When training ends: by a clock that counts over resumes, and for want of a better AP."""

import itertools
import json
from types import SimpleNamespace

import pytest

from lib.checkpoint import read_checkpoint
from lib.engine import train as module
from lib.evaluation.evaluator import Evaluator


def position_of(folder):
    return read_checkpoint(folder / "last.pth")["position"]


@pytest.fixture
def ticks(monkeypatch):
    """A CPU clock that goes on by a second with each look at it."""
    count = itertools.count()
    monkeypatch.setitem(module.CLOCKS, "cpu", lambda: float(next(count)))


OPTIONS = ("train.clock=cpu", "train.time_limit_s=5", "train.epochs=100", "train.eval_every=0")


def test_cpu_seconds_limit_a_run_and_drive_its_schedule(train, ticks):
    folder = train(*OPTIONS)
    position = position_of(folder)
    # an epoch of three steps takes 4 looks, so the first step of the second epoch is the one at 5 seconds
    assert (position["epoch"], position["steps"], position["seconds"]) == (2, 4, 6.0)
    lines = [json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()]
    assert [line["seconds"] for line in lines] == [4.0, 6.0]
    assert lines[0]["lr"] == pytest.approx(0.01 * 0.6545085)  # (1 + cos(pi * 2 / 5)) / 2 in its third step


def test_the_rate_falls_to_its_end_also_where_epochs_end_before_the_time_limit(train, ticks):
    folder = train("train.clock=cpu", "train.time_limit_s=1000", "train.epochs=2", "train.eval_every=0")
    lines = [json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()]
    # the last steps of two epochs of three are 2 / 6 and 5 / 6 of the way
    assert [line["lr"] for line in lines] == pytest.approx([0.01 * 0.75, 0.01 * 0.0669873])


def test_seconds_are_summed_over_resumes(train, ticks, interrupted):
    with interrupted(2):
        train(*OPTIONS, "train.save_every_steps=1")
    folder = train(*OPTIONS, "train.save_every_steps=1", "--resume")
    position = position_of(folder)
    assert (position["epoch"], position["steps"], position["seconds"]) == (2, 4, 6.0)


def test_the_wall_clock_is_the_default_and_an_unknown_one_is_refused(train):
    assert module.CLOCKS["wall"] is module.time.perf_counter
    assert module.CLOCKS["cpu"] is module.time.process_time
    with pytest.raises(ValueError, match="train.clock must be one of wall, cpu; got 'gpu'"):
        train("train.clock=gpu")


@pytest.fixture
def scores(monkeypatch):
    """Has evaluations give these APs, one after the other."""

    def give(*values, key="AP"):
        metrics = iter([{key: value} for value in values])
        monkeypatch.setattr(Evaluator, "evaluate", lambda _: SimpleNamespace(metrics=next(metrics)))

    return give


def test_training_ends_after_epochs_without_a_better_ap(train, scores, caplog):
    scores(0.1, 0.3, 0.2, None, 0.3, 0.9)
    folder = train("train.epochs=20", "train.patience=3")
    position = position_of(folder)
    assert (position["epoch"], position["best"], position["best_epoch"]) == (5, 0.3, 2)
    assert len((folder / "epochs.jsonl").read_text().splitlines()) == 5
    resumed = train("train.epochs=20", "train.patience=3", "--resume")
    assert position_of(resumed)["epoch"] == 5


def test_the_best_weights_are_those_of_the_protocols_headline(train, scores):
    scores(0.1, 0.3, 0.2, 0.3, key="AP50_tiny")
    folder = train("train.epochs=20", "train.patience=2", "evaluation.protocol=tinyperson")
    assert read_checkpoint(folder / "best.pth")["position"]["epoch"] == 2
    position = position_of(folder)
    assert (position["epoch"], position["best"], position["best_epoch"]) == (4, 0.3, 2)


def test_patience_between_evaluations_evaluates_before_it_gives_up(train, scores):
    scores(0.1, 0.2, 0.2, 0.2)  # after epochs 2 and 4 (out of patience, but better), 5 (due) and 6
    position = position_of(train("train.epochs=20", "train.patience=2", "train.eval_every=5"))
    assert (position["epoch"], position["best_epoch"]) == (6, 4)


def test_patience_without_evaluations_is_refused(train):
    with pytest.raises(ValueError, match="train.patience=3 must come with evaluations .*; got train.eval_every=0"):
        train("train.patience=3", "train.eval_every=0")


def test_checkpoints_from_before_the_best_epoch_was_kept_still_resume():
    old = {"epoch": 3, "step": 0, "steps": 9, "seconds": 1.5, "best": 0.25}
    assert module.Position(**old).best_epoch == 0
