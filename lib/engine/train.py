"""The training loop: one optimizer, one schedule, exact resume."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from lib.engine.run import RunFolder
from lib.structures import Batch
from lib.utils.log import progress

log = logging.getLogger(__name__)


class Learner(NamedTuple):
    """What is trained, and by what.

    Attributes:
        model: images (B, 3, H, W) -> Predictions.
        normalizer: uint8 images -> the model's.
        loss: (Predictions, Target) -> {name: ()}.
        optimizer: over the parameters that learn.
        schedule: epochs done -> factor of the learning rate.
        device: where all of it is.
    """

    model: nn.Module
    normalizer: nn.Module
    loss: Callable[..., dict[str, torch.Tensor]]
    optimizer: torch.optim.Optimizer
    schedule: Callable[[float], float]
    device: torch.device


class Position(NamedTuple):
    """How far a run has come: the next epoch, the next step in it, seconds trained, steps taken, best AP."""

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    steps: int = 0
    best: float = -1.0


class Trainer:
    """Trains a model epoch by epoch into a run folder.

    What a step computes depends on the seed, the epoch and the step alone, so a run that was killed and resumed
    ends with the same weights, to the bit, as one that was not, on the same machine and number of threads.

    Args:
        learner: the model and its company.
        loader: yields Batches; ``set_epoch(epoch, start_step)`` places it.
        settings: the ``train`` section of the config.
        run: the folder.
        about: what each checkpoint holds besides, such as class names; plain values.
        evaluate: () -> {"AP": ..., ...}, called after an epoch.
    """

    def __init__(
        self,
        learner: Learner,
        loader: Any,
        settings: Mapping[str, Any],
        run: RunFolder,
        about: Mapping[str, Any],
        evaluate: Callable[[], Mapping[str, float | None]] | None = None,
    ):
        self.learner, self.loader, self.settings, self.run = learner, loader, settings, run
        self.about, self.evaluate = dict(about), evaluate
        self.position = Position()
        self._base_rates = [group["lr"] for group in learner.optimizer.param_groups]

    def resume(self, checkpoint: Mapping[str, Any]) -> None:
        """Goes on where a checkpoint of this run was written."""
        self.learner.model.load_state_dict(checkpoint["model"])
        self.learner.optimizer.load_state_dict(checkpoint["optimizer"])
        torch.set_rng_state(checkpoint["rng"]["torch"])
        if self.learner.device.type == "cuda" and "cuda" in checkpoint["rng"]:
            torch.cuda.set_rng_state(checkpoint["rng"]["cuda"], self.learner.device)
        self.position = Position(**checkpoint["position"])
        log.info("resumed epoch %d step %d", self.position.epoch, self.position.step)

    def train(self) -> None:
        """Trains what is left of the run, evaluating and saving on the way."""
        settings = self.settings
        while self.position.epoch < settings["epochs"] and not self._is_out_of_time():
            epoch = self.position.epoch
            values = {"epoch": epoch + 1, **self._train_epoch()}
            self.position = self.position._replace(epoch=epoch + 1, step=0)
            self._save()
            is_last = epoch + 1 >= settings["epochs"] or self._is_out_of_time()
            if self.evaluate and (
                is_last or (settings["eval_every"] and (epoch + 1) % settings["eval_every"] == 0)
            ):
                values |= self._evaluate()
            self.run.log_epoch(values)
            log.info("%s", " ".join(f"{name} {_short(value)}" for name, value in values.items()))
        self.run.close()

    def _is_out_of_time(self) -> bool:
        limit = self.settings["time_limit_s"]
        return limit is not None and self.position.seconds >= limit

    def _epochs_done(self, step: int, steps: int) -> float:
        """Epochs done, for the schedule: by steps, or by the share of the time limit."""
        if self.settings["time_limit_s"] is None:
            return self.position.epoch + step / steps
        return self.settings["epochs"] * min(1.0, self.position.seconds / self.settings["time_limit_s"])

    def _train_epoch(self) -> dict[str, float]:
        """Trains from the position to the end of its epoch; the epoch's mean losses, rate and speed."""
        position, steps = self.position, len(self.loader)
        self.learner.model.train()
        self.loader.set_epoch(position.epoch, position.step)
        batches = progress(self.loader, f"epoch {position.epoch + 1}", total=steps, initial=position.step)
        sums: dict[str, torch.Tensor] = {}
        count, images, started = 0, 0, time.perf_counter()
        for step, batch in enumerate(batches, start=position.step):
            rate = self._set_rate(self._epochs_done(step, steps))
            losses = self._step(batch)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value
            count, images = count + 1, images + len(batch.images)
            seconds = position.seconds + time.perf_counter() - started
            self.position = Position(
                position.epoch, step + 1, seconds, self.position.steps + 1, position.best
            )
            if self.position.steps % self.settings["log_every"] == 0:
                self._log_step(batches, losses, rate)
            every = self.settings["save_every_steps"]
            if every and (step + 1) % every == 0 and step + 1 < steps:
                self._save()
            if self._is_out_of_time():
                break
        batches.close()
        means = {name: float(value) / max(count, 1) for name, value in sums.items()}
        elapsed = max(time.perf_counter() - started, 1e-9)
        return {**means, "lr": rate, "images_per_s": images / elapsed, "seconds": self.position.seconds}

    def _set_rate(self, epochs_done: float) -> float:
        factor = self.learner.schedule(epochs_done)
        for group, base in zip(self.learner.optimizer.param_groups, self._base_rates, strict=True):
            group["lr"] = base * factor
        return self._base_rates[0] * factor

    def _step(self, batch: Batch) -> dict[str, torch.Tensor]:
        """One step of the optimizer; the parts of the loss."""
        learner = self.learner
        images = learner.normalizer(batch.images.to(learner.device, non_blocking=True))
        losses = learner.loss(learner.model(images), batch.target.to(learner.device))
        total = torch.stack(list(losses.values())).sum()
        self._check_finite(total, losses, batch)
        learner.optimizer.zero_grad(set_to_none=True)
        total.backward()
        if self.settings["clip_norm"] is not None:
            nn.utils.clip_grad_norm_(learner.model.parameters(), self.settings["clip_norm"])
        learner.optimizer.step()
        return {name: value.detach() for name, value in losses.items()}

    def _check_finite(self, total: torch.Tensor, losses: Mapping[str, torch.Tensor], batch: Batch) -> None:
        if math.isfinite(total.item()):
            return
        parts = ", ".join(f"{name} {value.item()}" for name, value in losses.items())
        raise FloatingPointError(
            f"the loss must be finite; got {parts} in epoch {self.position.epoch + 1}, step {self.position.step}, "
            f"images {batch.image_ids.tolist()}: lower train.optimizer.lr, set train.clip_norm, or look at these "
            f"images' boxes; {self.run.last} holds the last good state"
        )

    def _log_step(self, bar: Any, losses: Mapping[str, torch.Tensor], rate: float) -> None:
        for name, value in losses.items():
            self.run.scalar(f"step/{name}", float(value), self.position.steps)
        self.run.scalar("step/lr", rate, self.position.steps)
        bar.set_postfix_str(
            " ".join(f"{name} {float(value):.3f}" for name, value in losses.items()), refresh=False
        )

    def _evaluate(self) -> dict[str, float | None]:
        metrics = dict(self.evaluate())
        ap = metrics.get("AP")
        if ap is not None and ap > self.position.best:
            self.position = self.position._replace(best=ap)
            self.run.save(self.run.best, self._state())
            self._save()
        return metrics

    def _save(self) -> None:
        self.run.save(self.run.last, self._state())

    def _state(self) -> dict[str, Any]:
        rng = {"torch": torch.get_rng_state()}
        if self.learner.device.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(self.learner.device)
        return {
            "model": self.learner.model.state_dict(),
            "optimizer": self.learner.optimizer.state_dict(),
            "position": self.position._asdict(),
            "rng": rng,
            **self.about,
        }


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)
