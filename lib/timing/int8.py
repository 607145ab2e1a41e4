"""What fewer bits cost: AP by size and time of an exported model, before and after."""

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from lib.build_data import build_dataset, build_resize
from lib.data.dataset import CocoDataset
from lib.engine.evaluate import evaluate
from lib.evaluation.protocols import quoted_keys
from lib.inference import Predictor
from lib.inference.backends import usable_backends
from lib.inference.export.quantize import quantize
from lib.inference.export.tflite import tflite_in_8_bits
from lib.inference.model_file import Loaded
from lib.inference.predictor import prepare
from lib.inference.tiles import Tiles
from lib.timing.turns import take_turns
from lib.utils.table import align

SECONDS = 3.0  # of timing
log = logging.getLogger(__name__)
Both = tuple[float, float]  # before and after


class Cost(NamedTuple):
    """What a change of an exported model costs."""

    ap: Mapping[str, tuple[float | None, float | None]]  # AP to quote, first, and by size, before and after
    time_ms: Mapping[str, Both]  # backend -> least time of the network for an image: other work disturbs it least

    @property
    def is_worse(self) -> bool:
        """Whether the AP to quote is lower afterwards."""
        before, after = next(iter(self.ap.values()))
        return (after or 0) < (before or 0)

    @property
    def is_ruined(self) -> bool:
        """Whether more than a tenth of that AP is lost."""
        before, after = next(iter(self.ap.values()))
        return (after or 0) < 0.9 * (before or 0)

    @property
    def is_slower(self) -> bool:
        """Whether the fastest backend afterwards takes longer than the fastest one before."""
        before, after = zip(*self.time_ms.values(), strict=True)
        return min(after) > min(before)

    def __str__(self) -> str:
        header = ("", *self.ap, *(f"{backend}, ms" for backend in self.time_ms))
        rows = [
            (
                name,
                *(_four(values[side]) for values in self.ap.values()),
                *(times[side] for times in self.time_ms.values()),
            )
            for side, name in enumerate(("before", "after"))
        ]
        changes = [_percent(*values) for values in (*self.ap.values(), *self.time_ms.values())]
        return align([header, *rows, ("change", *changes)])


def _four(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"


def _percent(before: float | None, after: float | None) -> str | None:
    return f"{100 * (after / before - 1):+.1f} %" if before and after is not None else None


def judge(before: Path, after: Path, dataset: CocoDataset, tiles: Tiles | None = None) -> Cost:
    """Tests two exported models on a data set, each in its fastest backend, and times both in every backend, in
    turns, one image at a time.

    Args:
        before, after: files of tools/export.py with the same classes as the data set.
        tiles: of the test.
    """
    sides = {}
    for backend in usable_backends(before):
        for side, file in enumerate((before, after)):
            sides[backend, side] = Predictor(file, "cpu", backend=backend, tiles=tiles)  # type: ignore[arg-type] # a name of BACKENDS
    first = next(iter(sides.values()))
    image = first.prepare([dataset.load(0).image]).images
    calls = {key: lambda predictor=predictor: predictor.forward(image) for key, predictor in sides.items()}
    turns = {key: float(times.min()) for key, times in take_turns(calls, SECONDS, torch.device("cpu")).items()}
    metrics: list[Mapping[str, Any]] = []
    for side in (0, 1):
        fastest = min((key for key in turns if key[1] == side), key=lambda key: turns[key])
        metrics.append(evaluate(sides[fastest], dataset).evaluate().metrics)
    backends = dict.fromkeys(backend for backend, _ in turns)
    return Cost(
        {key: (metrics[0][key], metrics[1][key]) for key in quoted_keys(metrics[0])},
        {backend: (turns[backend, 0], turns[backend, 1]) for backend in backends},
    )


def training_images(cfg: Mapping[str, Any], limit: int) -> Iterator[np.ndarray]:
    """Images (H, W, 3) uint8 BGR of ``data.train``, ``limit`` at most, drawn from all of it, the same ones each time.

    Where there are none, this is a ValueError that says so.
    """
    try:
        dataset = build_dataset(cfg, "train")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"--int8 must have images to calibrate on, those of data.train or of a folder (--int8 FOLDER); {error}"
        ) from None
    order = np.random.default_rng(0).permutation(len(dataset))[:limit]
    return (dataset.load(index).image for index in order.tolist())


def testing_set(cfg: Mapping[str, Any], force: bool) -> CocoDataset | None:
    """The images of ``data.val``, on which a model is tested. Without any this is a ValueError; with ``force`` None."""
    try:
        return build_dataset(cfg, "val")
    except (OSError, ValueError) as error:
        if not force:
            raise ValueError(
                f"--int8 must have labeled images to test on, data.val.annotations=FILE; {error}: or use --force, "
                "which writes the model untested"
            ) from None
        log.warning("int8 is not tested: %s", error)
        return None


def make_int8(
    content: bytes,
    suffix: str,
    loaded: Loaded,
    images: Iterable[np.ndarray],
    test_set: CocoDataset | None,
    force: bool,
    tiles: Tiles | None = None,
) -> bytes:
    """An exported model in int8 (see ``quantize`` and ``tflite_in_8_bits``), after a report of what that costs.

    Args:
        content: the model in float32.
        suffix: of its file: .onnx or .tflite.
        loaded: the detector that it came from.
        images: (H, W, 3) uint8 BGR to calibrate on.
        test_set: to test both models on; None: they are not tested.
        force: whether a model that is slower and worse, or of far lower AP, is given, and not a ValueError.
        tiles: of the test.
    """
    resize = build_resize(loaded.cfg)
    inputs = (prepare([image], resize).images for image in images)
    is_tflite = suffix == ".tflite"
    small = tflite_in_8_bits(content, loaded, list(inputs)) if is_tflite else quantize(content, inputs)
    if test_set is None:
        return small
    with tempfile.TemporaryDirectory() as folder:
        before, after = (Path(folder, f"{name}{suffix}") for name in ("before", "after"))
        before.write_bytes(content)
        after.write_bytes(small)
        cost = judge(before, after, test_set, tiles)
    log.info("int8 on %d images of data.val:\n%s", len(test_set), cost)
    if not force and (cost.is_ruined or (cost.is_worse and cost.is_slower)):
        fault = "loses more than a tenth of its AP" if cost.is_ruined else "is slower and worse"
        raise ValueError(
            f"a model of --int8 must be faster or no worse, and keep its AP; this one {fault}: --force writes it"
        )
    return small
