"""One step of training: forward, loss, backward and update; in parts, in half precision, on many devices."""

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lib.build import build_loss, build_normalizer, build_optimizer, build_schedule, frozen_norms
from lib.engine.distributed import World
from lib.models.detector import Detector
from lib.models.norm import freeze_norms_, synchronize
from lib.optim import centralize_
from lib.structures import Batch
from lib.utils.lookup import lookup
from lib.utils.runtime import fast_precision, memory_advice

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "auto": None}
NORMS = {"batch": None, "sync": synchronize, "frozen": None}


class Average:
    """A moving average of a model's weights and statistics, with a shorter memory in the first steps."""

    def __init__(self, model: nn.Module, decay: float):
        if not 0 < decay < 1:
            raise ValueError(f"train.ema must lie between 0 and 1, such as 0.9998; got {decay}")
        self.model, self.decay, self.steps = copy.deepcopy(model).eval().requires_grad_(False), decay, 0

    @torch.no_grad()
    def update_(self, model: nn.Module) -> None:
        """Adds the model's present weights to the average."""
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        averaged, current = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
        torch._foreach_lerp_(averaged, current, 1 - min(self.decay, (1 + self.steps) / (10 + self.steps)))
        for average, value in pairs:
            if not average.is_floating_point():  # counts are copied
                average.copy_(value)
        self.steps += 1


class Report(NamedTuple):
    """The result of a step, still on the device: reading it waits for the step."""

    names: tuple[str, ...]  # of the losses
    values: torch.Tensor  # (n,) float64: the loss sums, the positives, and the flags, over all processes
    local_sums: torch.Tensor  # (n,) float64: the loss sums of this process
    image_ids: list[int]  # those that this process saw


class Learner:
    """The model, on ``device`` and with the weights that it starts from, and what trains it.

    A step's gradient is that of the mean over the positives of the whole step, however its images are spread
    over parts and processes, so that N processes with B / N images each learn what one with B learns.
    """

    def __init__(self, cfg: Mapping[str, Any], model: Detector, device: torch.device, world: World):
        self.settings, self.device, self.world = cfg["train"], device, world
        lookup(NORMS, self.settings["norm"], "train.norm")
        dtype = lookup(PRECISIONS, self.settings["precision"], "train.precision") or fast_precision(device)
        self.model = synchronize(model, device) if self.settings["norm"] == "sync" and world.size > 1 else model
        self.normalizer, self.loss = build_normalizer(cfg).to(device), build_loss(cfg)
        self.optimizer, self.schedule = build_optimizer(cfg, self.model), build_schedule(cfg)
        self._frozen_norms = frozen_norms(cfg)
        self.average = Average(self.model, self.settings["ema"]) if self.settings["ema"] is not None else None
        self.network = cast(nn.Module, torch.compile(self.model)) if self.settings["compile"] else self.model
        if world.size > 1:
            self.network = DistributedDataParallel(
                self.network,
                forward_sync_buffers=self.settings["norm"] == "batch",
                gradient_as_bucket_view=True,
                find_unused_parameters=model.has_unused_weights,
            )
        self._autocast = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
        # The scale begins below torch's 2^16, as the losses are sums over some hundred positives, not their mean.
        self._scaler = torch.amp.GradScaler(device.type, init_scale=2.0**8, enabled=dtype == torch.float16)
        self._parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self._base_rates = [group["lr"] for group in self.optimizer.param_groups]

    @property
    def best_model(self) -> nn.Module:
        """The model to test and use: the averaged one if there is one."""
        return self.model if self.average is None else self.average.model

    def start_training(self) -> None:
        """Puts the model into training mode."""
        self.model.train()
        freeze_norms_(self.model, self._frozen_norms)

    def set_rate(self, epochs_done: float) -> float:
        """Sets the learning rates by the schedule; returns that of the first group."""
        factor = self.schedule(epochs_done)
        for group, base in zip(self.optimizer.param_groups, self._base_rates, strict=True):
            group["lr"] = base * factor
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self, parts: Sequence[Batch], flags: Sequence[float] = ()) -> Report:
        """One step of the optimizer on the parts of a batch; ``flags`` are summed over the processes as well.

        A lack of memory is a ValueError that says what to change.
        """
        accumulate = f"train.accumulate, which is {len(parts)} and splits a batch into parts"
        with memory_advice(f"raise {accumulate}, or lower train.batch_size; what is saved goes on with --resume"):
            return self._step(parts, flags)

    def _step(self, parts: Sequence[Batch], flags: Sequence[float]) -> Report:
        self.optimizer.zero_grad(set_to_none=True)
        names: tuple[str, ...] = ()
        part_sums = []  # a row of loss sums and positives for each part
        for number, batch in enumerate(parts, start=1):
            with self._without_exchange() if number < len(parts) else contextlib.nullcontext():
                losses, count = self._losses(batch)
                total = torch.stack(list(losses.values()))
                self._scaler.scale(total.sum()).backward()
            names = tuple(losses)
            part_sums.append(torch.cat([total.detach().double(), count.double()[None]]))
        # From pinned memory, so that nothing waits.
        extra = torch.tensor(flags, dtype=torch.float64, pin_memory=self.device.type == "cuda")
        local = torch.cat([sum(part_sums[1:], part_sums[0]), extra.to(self.device, non_blocking=True)])
        values = self.world.sum_(local.clone())
        self._update(self.world.size / values[len(names)].clamp(min=1))
        image_ids = [image_id for batch in parts for image_id in batch.image_ids.tolist()]
        return Report(names, values, local[: len(names)], image_ids)

    def _without_exchange(self) -> contextlib.AbstractContextManager[None]:
        """For a part that is not the last: its gradients are not yet summed over the processes."""
        if isinstance(self.network, DistributedDataParallel):
            return self.network.no_sync()
        return contextlib.nullcontext()

    def _losses(self, batch: Batch) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        images = self.normalizer(batch.images.to(self.device, non_blocking=True))
        with self._autocast, _explained(len(images)):
            predictions = self.network(images)
        return self.loss.sums(predictions, batch.target.to(self.device))

    def _update(self, scale: torch.Tensor) -> None:
        """Divides the gradients by the positives of the step and moves the weights; all on the device."""
        self._scaler.unscale_(self.optimizer)
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        torch._foreach_mul_(gradients, scale.float())
        if self.settings["centralize"]:
            centralize_(self._parameters)
        if self.settings["clip_norm"] is not None:
            nn.utils.clip_grad_norm_(self._parameters, self.settings["clip_norm"])
        self._scaler.step(self.optimizer)
        self._scaler.update()
        if self.average is not None:
            self.average.update_(self.model)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it; ``model`` has the weights to test and use."""
        state: dict[str, Any] = {
            "model": self.best_model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }
        if self.average is not None:
            state |= {"raw_model": self.model.state_dict(), "averaged_steps": self.average.steps}
        return state

    def load_state_(self, state: Mapping[str, Any]) -> None:
        """Restores what ``state`` gave; the optimizer's options stay those of the config, also where they are new."""
        self.model.load_state_dict(state.get("raw_model", state["model"]))
        options = [{k: v for k, v in group.items() if k != "params"} for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, given in zip(self.optimizer.param_groups, options, strict=True):
            group.update(given)
            for parameter in group["params"] if group.get("momentum") else ():
                state_of = self.optimizer.state.get(parameter)
                if state_of:  # RMSprop had no momentum so far, and makes this buffer only in its first step
                    state_of.setdefault("momentum_buffer", torch.zeros_like(parameter))
        if state["scaler"]:  # empty unless the run was in half precision so far
            self._scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.model.load_state_dict(state["model"])
            self.average.steps = state.get("averaged_steps", 0)


@contextlib.contextmanager
def _explained(num_images: int) -> Iterator[None]:
    """Has BatchNorm's refusal of a single value for each channel say what to change."""
    try:
        yield
    except ValueError as error:
        if not str(error).startswith("Expected more than 1 value per channel"):
            raise
        raise ValueError(
            f"BatchNorm must see more than one value of each channel; got a 1x1 map of {num_images} image: choose a "
            "train.batch_size of 2 or more for each process and each part of train.accumulate, "
            "a larger input.size, or train.norm=frozen"
        ) from None
