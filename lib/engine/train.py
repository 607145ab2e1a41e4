"""The training loop: epochs of steps, exact resume, the same numbers on one process or many."""

import itertools
import logging
import math
import shlex
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from lib.checkpoint import read_run
from lib.engine.learner import Learner, Report
from lib.engine.run import RunFolder
from lib.utils.log import progress
from lib.utils.lookup import lookup
from lib.utils.runtime import memory_mb
from lib.utils.signals import Stopped, StopSignals

log = logging.getLogger(__name__)
# train.clock -> seconds since some moment. That of the CPU counts this process, not the workers that load images
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


class Position(NamedTuple):
    """How far a run has come."""

    epoch: int = 0  # the next one, from 0
    step: int = 0  # the next one, from 0 within the epoch
    steps: int = 0  # number of all steps so far
    seconds: float = 0.0  # of training by ``train.clock``, without evaluations
    best: float = -1.0  # highest headline metric so far
    best_epoch: int = 0  # epochs done when it was reached; 0: not evaluated yet


class Trainer:
    """Trains a model epoch by epoch into a run folder.

    What a step computes depends only on the seed, the epoch and the step. So a run that was stopped or killed and
    then resumed ends with the same weights, to the bit, as one that was not, on the same machine with the same
    number of threads and processes. A step's losses are read while the next one runs: a GPU never waits for the loop.
    """

    def __init__(
        self,
        learner: Learner,
        loader: Any,  # yields Batches; set_epoch(epoch, start) chooses where it begins
        settings: Mapping[str, Any],  # the train section of the config
        run: RunFolder,
        about: Mapping[str, Any],  # further content of each checkpoint, such as class names; plain values
        # model -> {"AP": ..., ...}, called after an epoch
        evaluate: Callable[[torch.nn.Module], Mapping[str, float | None]] | None = None,
        headline: str = "AP",  # key of the metric that decides which weights are the best
    ):
        self.learner, self.loader, self.settings, self.run = learner, loader, settings, run
        self.about, self.evaluate, self.world = dict(about), evaluate, learner.world
        self.headline = headline
        self.position, self.stop = Position(), StopSignals()
        self.steps = len(loader) // settings["accumulate"]  # of an epoch
        self._last_step = max(1, round(settings["epochs"] * self.steps))  # of the run, unless time or patience ends it
        # Sums of this epoch's losses, which checkpoints hold so that a resumed epoch has the same means.
        self._sums: dict[str, float] = {}
        self._now = lookup(CLOCKS, settings["clock"], "train.clock")
        patience = settings["patience"]
        if patience is not None and not (evaluate and settings["eval_every"]):
            got = "train.eval_every=0" if evaluate else "no data.val"
            raise ValueError(
                f"train.patience={patience} must come with evaluations during training; got {got}: set "
                "data.val.annotations and train.eval_every=1, or train.patience=null"
            )
        self._rate: float | None = None  # of the last step of this epoch; None: it has had none
        self._values: dict[str, Any] | None = None  # of the last whole epoch, until they are logged
        self._pending: tuple[Position, Report] | None = None  # the step whose losses have not been read yet
        self._saved: Position | None = None  # in last.pth; None: there is none
        self._is_stopping = False  # whether some process was told to stop; all processes agree

    def resume(self, checkpoint: Mapping[str, Any]) -> None:
        """Restores the state in which a checkpoint of this run was written."""
        self.learner.load_state_(checkpoint)
        torch.set_rng_state(checkpoint["rng"]["torch"])
        if self.learner.device.type == "cuda" and "cuda" in checkpoint["rng"]:
            torch.cuda.set_rng_state(checkpoint["rng"]["cuda"], self.learner.device)
        self.position, self._sums = Position(**checkpoint["position"]), dict(checkpoint["sums"])
        self._saved, self._rate = self.position, checkpoint.get("rate")
        last_logged = max((line["epoch"] for line in self.run.epochs()), default=0)
        self._values = None if last_logged >= self.position.epoch else checkpoint["values"]
        log.info("resumed epoch %d step %d", self.position.epoch + 1, self.position.step)

    def train(self) -> None:
        """Trains the rest of the run; evaluates and saves in between.

        Raises Stopped, by SIGTERM or Ctrl-C, which says what is saved, and FloatingPointError if a loss is not finite.
        """
        with self.run.closed_at_end(), self.stop:
            try:
                self._train()
            except Stopped as stop:
                raise Stopped(stop.number, f"stopped in {self._place(self.position)}; {self._about_saved()}") from None
        file = self.run.best if self.run.best.exists() else self.run.last
        log.info("training has ended; test the weights with: python test.py --checkpoint=%s", shlex.quote(str(file)))

    def _place(self, position: Position) -> str:
        return f"epoch {position.epoch + 1} after step {position.step} of {self.steps}"

    def _about_saved(self) -> str:
        """What there is to resume from, as the end of a sentence."""
        if self._saved is None:
            return "nothing is saved yet"
        if self._saved.steps == self.position.steps:
            return f"{self.run.last} holds this state: continue with --resume"
        return f"{self.run.last} holds an older state ({self._place(self._saved)}): continue from it with --resume"

    def _train(self) -> None:
        if self._values is not None:  # the run was stopped between an epoch and its evaluation
            self._finish_epoch(self._values)
        while not self._is_done():
            with self.stop.deferred():
                self._values = {"epoch": self.position.epoch + 1, **self._train_epoch()}
                self.position = self.position._replace(epoch=self.position.epoch + 1, step=0)
                self._sums, self._rate = {}, None
                self._save()
                self.run.keep_epoch(self.position.epoch, self.settings["keep_last"])
            self._finish_epoch(self._values)
        if self._is_out_of_patience():
            best = f"{self.position.best:.4f} of epoch {self.position.best_epoch}"
            log.info("stopped early: no %s above %s in %d epochs", self.headline, best, self.settings["patience"])

    def _is_out_of_time(self) -> bool:
        limit = self.settings["time_limit_s"]
        return limit is not None and self.position.seconds >= limit

    def _is_out_of_patience(self) -> bool:
        patience = self.settings["patience"]
        return patience is not None and self.position.epoch - self.position.best_epoch >= patience

    def _is_done(self) -> bool:
        is_last = self.position.epoch * self.steps >= self._last_step
        return is_last or self._is_out_of_time() or self._is_out_of_patience()

    def _epochs_done(self, step: int) -> float:
        """Epochs done, for the schedule: by steps, or by the share of the time limit if that is larger."""
        epochs, limit = self.position.epoch + step / self.steps, self.settings["time_limit_s"]
        return (
            epochs if limit is None else max(epochs, self.settings["epochs"] * min(1.0, self.position.seconds / limit))
        )

    def _clock(self, started: float) -> float:
        """Seconds since ``started``; where the schedule runs by time, rank 0's for all processes."""
        seconds = self._now() - started
        return seconds if self.settings["time_limit_s"] is None else float(self.world.first(seconds))

    def _train_epoch(self) -> dict[str, float | None]:
        """Trains to the end of the epoch; returns its mean losses, learning rate and speed."""
        first, parts = self.position.step, self.settings["accumulate"]
        self.learner.start_training()
        self.loader.set_epoch(self.position.epoch, first * parts)
        batches, images, started, wall = iter(self.loader), 0, self._now(), time.perf_counter()
        before, end = self.position.seconds, min(self.steps, self._last_step - self.position.epoch * self.steps)
        with progress(None, f"epoch {self.position.epoch + 1}", total=end, initial=first) as bar:
            for step in range(first, end):
                batch = list(itertools.islice(batches, parts))
                self._rate = self.learner.set_rate(self._epochs_done(step))
                report = self.learner.step(batch, (bool(self.stop.requested),))
                self._read_pending(bar)
                seconds = before + self._clock(started)
                steps = self.position.steps + 1
                self.position = self.position._replace(step=step + 1, steps=steps, seconds=seconds)
                self._pending = (self.position, report)
                images += sum(len(part.images) for part in batch) * self.world.size
                bar.update()
                if self._is_out_of_time():
                    break
                every = self.settings["save_every_steps"]
                if self._is_stopping or (every and (step + 1) % every == 0 and step + 1 < end):
                    self._read_pending(bar)
                    self._save()
                if self._is_stopping:
                    raise Stopped(self.stop.requested or signal.SIGTERM)
            self._read_pending(bar)
        elapsed = self._clock(started)
        self.position = self.position._replace(seconds=before + elapsed)
        num_summed = max(self._sums.pop("steps", 1), 1)
        means = {name: value / num_summed for name, value in self._sums.items()}
        # A run that was stopped after an epoch's last step has no step left in it when it goes on.
        rate = self.learner.set_rate(self._epochs_done(first)) if self._rate is None else self._rate
        speed = images / (time.perf_counter() - wall) if images else None
        return {**means, "lr": rate, "images_per_s": speed, "seconds": self.position.seconds}

    def _read_pending(self, bar: Any) -> None:
        """Waits for the losses of the previous step, adds them up and shows them; raises if they are not finite."""
        if self._pending is None:
            return
        (position, report), self._pending = self._pending, None
        *sums, positives, stops = report.values.tolist()
        if not all(map(math.isfinite, sums)):
            self._raise_not_finite(position, report)
        losses = {name: value / max(positives, 1) for name, value in zip(report.names, sums, strict=True)}
        for name, value in {**losses, "steps": 1}.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._is_stopping = stops > 0
        every = self.settings["log_every"]
        if every and position.steps % every == 0:
            for name, value in losses.items():
                self.run.scalar(f"step/{name}", value, position.steps)
            self.run.scalar("step/lr", self.learner.optimizer.param_groups[0]["lr"], position.steps)
            shown = [f"{name.removeprefix('loss_')} {value:.3f}" for name, value in losses.items()]
            shown.append(f"{memory_mb(self.learner.device):.0f} MB")
            bar.set_postfix_str(", ".join(shown), refresh=False)

    def _raise_not_finite(self, position: Position, report: Report) -> None:
        """Writes which losses of which images are not finite, and raises."""
        gathered = self.world.gather((report.local_sums.tolist(), report.image_ids))
        parts = [part for part in gathered if not all(map(math.isfinite, part[0]))]
        losses = {name: [sums[index] for sums, _ in parts] for index, name in enumerate(report.names)}
        image_ids = [image_id for _, part_ids in parts for image_id in part_ids]
        where = {"epoch": position.epoch + 1, "step": position.step}
        file = self.run.write_json("non_finite.json", {**where, "losses": losses, "image_ids": image_ids})
        shown = ", ".join(f"{name} {values[0]}" for name, values in losses.items())
        raise FloatingPointError(
            f"the loss must be finite; got {shown} in epoch {where['epoch']}, step {where['step']}, images "
            f"{image_ids} (also in {file}): lower train.optimizer.lr, set train.clip_norm, or look at these "
            f"images' boxes{self._about_last()}"
        )

    def _about_last(self) -> str:
        """What the last checkpoint is worth after a loss that is not finite, as the end of a sentence."""
        if not self.run.last.exists():
            return ""
        content = read_run(self.run.last)
        position, tensors = Position(**content["position"]), content["model"].values()
        is_finite = all(bool(torch.isfinite(tensor).all()) for tensor in tensors if tensor.is_floating_point())
        state = (
            "are finite, but training may already have been diverging; test this checkpoint before you resume from it"
            if is_finite
            else "are not finite: start a new run"
        )
        since = self.position.steps - position.steps
        return (
            f"; {self.run.last} is of epoch {position.epoch + 1}, step {position.step}, {since} steps before: its "
            f"weights {state}"
        )

    def _finish_epoch(self, values: Mapping[str, Any]) -> None:
        """Logs a whole epoch, after an evaluation if one is due."""
        every = self.settings["eval_every"]
        metrics: dict[str, Any] = {}
        if self.evaluate and (self._is_done() or (every and self.position.epoch % every == 0)):
            self.world.share_(self.learner.best_model.buffers())
            metrics = dict(self.evaluate(self.learner.best_model))
            value = metrics[self.headline]
            if value is not None and value > self.position.best:
                self.position = self.position._replace(best=value, best_epoch=self.position.epoch)
                self.run.save(self.run.best, self._state())
                self._save()
        self.run.log_epoch({**values, **metrics})
        self._values = None
        log.info("%s", " ".join(f"{name} {_short(value)}" for name, value in {**values, **metrics}.items()))

    def _save(self) -> None:
        self.run.save(self.run.last, self._state())
        self._saved = self.position

    def _state(self) -> dict[str, Any]:
        rng = {"torch": torch.get_rng_state()}
        if self.learner.device.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(self.learner.device)
        return {
            **self.learner.state(),
            "position": self.position._asdict(),
            "sums": self._sums,
            "rate": self._rate,
            "values": self._values,
            "rng": rng,
            **self.about,
        }


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)
