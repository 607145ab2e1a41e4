"""The detector of a checkpoint: what a predictor runs, and what is exported."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from easydict import EasyDict
from torch import nn

from lib.build import adopt_fitted_priors_, build_detector, names_of_classes
from lib.checkpoint import implied_by_checkpoint, is_ours, load_weights, read_checkpoint, read_run, stored_config
from lib.config import load_config
from lib.models.pretrained import IMAGENET, warn_of_other_input
from lib.utils.download import fetch


class Loaded(NamedTuple):
    """A detector with its weights, on the CPU; its resolved config; and the names of label 1, 2, ..."""

    cfg: EasyDict
    classes: tuple[str, ...]
    detector: nn.Module


def config_for(
    checkpoint: str | Path, cfg: str | Path | Mapping[str, Any] | None = None, overrides: Sequence[str] = ()
) -> EasyDict:
    """The config to use a checkpoint with: its own, but for threads and workers, or ``cfg``. Priors that are fitted to
    data are the checkpoint's, and so is the input where ``cfg`` gives none. It warns of an input that the checkpoint
    was not trained with.
    """
    config = load_config(cfg or stored_config(read_run(checkpoint)), overrides, start=checkpoint)
    warn_of_other_input(f"the weights of {checkpoint}", implied_by_checkpoint(checkpoint), config)
    if config.model.priors.fit is not None:
        adopt_fitted_priors_(config, read_checkpoint(checkpoint))
    return config


def checkpoint_file(checkpoint: str | None, cfg: str | None, overrides: Sequence[str] = ()) -> str:
    """The file that a script runs: its --checkpoint, or else what the experiment file starts from; of an address, its
    copy.
    """
    weights: str | None = checkpoint or load_config(cfg or "", overrides).model.weights
    if weights is None or weights == IMAGENET:
        raise ValueError(
            "give --checkpoint=FILE, or a --cfg whose model.weights is a checkpoint; got no --checkpoint and "
            f"model.weights={weights or 'null'}"
        )
    return str(fetch(weights))


def load_detector(
    checkpoint: str | Path, cfg: str | Path | Mapping[str, Any] | None = None, overrides: Sequence[str] = ()
) -> Loaded:
    """The detector of a checkpoint, a file or an address: see ``Predictor``. One of another work needs ``cfg``."""
    path = fetch(checkpoint)
    content = read_checkpoint(path)
    config = config_for(path, cfg, overrides)
    classes = content.get("classes") if is_ours(content) else None
    config.data.classes = list(classes or config.data.classes or ()) or None
    detector = build_detector(config)
    is_shifted = not is_ours(content) and config.model.weights_classes == "shifted"
    load_weights(detector, path, classes="shifted" if is_shifted else "same", names=config.data.classes)
    return Loaded(config, tuple(names_of_classes(config)), detector)
