"""A checkout's training step of the light recipe, timed on request: step_worker.py CHECKOUT IMAGES.

Each line that comes in starts two steps; the answer is the CPU time of one, in milliseconds an image. Runs in a
process of its own, with the modules of that checkout. One older than the recipe takes what it knows of its keys, and
an equal layer table of the backbone.
"""

import sys
import time
from pathlib import Path
from typing import Any

RECIPE = Path(__file__).resolve().parents[3] / "experiments" / "_base_" / "light320.yml"
STEPS = 2  # of one turn


def light_config(root: Path, images: int) -> Any:
    """The recipe's config in the checkout at ``root``, from random weights."""
    from lib.config import DEFAULTS, load_config

    overrides = [f"train.batch_size={images}", "model.num_classes=5", "model.weights=null", "run.threads=1"]
    own = root / "experiments" / "light" / "small.yml"
    if own.is_file():
        return load_config(own, overrides)
    import yaml

    from lib.models.backbones import BACKBONES

    BACKBONES.setdefault("efficientnet_lite0", efficientnet_lite0)
    values = yaml.safe_load(RECIPE.read_text())
    del values["data"]
    values["train"] = {key: value for key, value in values["train"].items() if key in DEFAULTS["train"]}
    values["train"]["precision"] = "fp32"
    return load_config(values, overrides)


def efficientnet_lite0() -> Any:
    """The table of EfficientNet-Lite0 in the blocks of an older checkout."""
    from lib.models.backbones.base import Layer
    from lib.models.backbones.efficientnet import STAGES
    from lib.models.blocks import Conv
    from lib.models.bottlenecks import InvertedResidual

    shared = {"act": "relu6", "same": True}
    rows, channels = [Layer(Conv, 32, 2, shared)], 32
    for expansion, out_channels, repeats, first_stride, kernel in STAGES:
        for repeat in range(repeats):
            options = {"hidden": channels * expansion, "expand": expansion > 1, "kernel": kernel, **shared}
            options["residual"] = repeat > 0
            rows.append(Layer(InvertedResidual, out_channels, 1 if repeat else first_stride, options))
            channels = out_channels
    return tuple(rows)


def main(root: Path, images: int) -> None:
    """Answers until the input ends."""
    sys.path.insert(0, str(root))
    from lib.utils import runtime

    if hasattr(runtime, "keep_memory"):
        runtime.keep_memory()  # as its train.py does
    import torch

    from lib.build import build_detector
    from lib.engine.distributed import World
    from lib.engine.learner import Learner
    from lib.structures import Batch, Target

    torch.set_num_threads(1)
    torch.manual_seed(0)
    cfg = light_config(root, images)
    height, width = cfg["input"]["size"]
    sides = torch.tensor([width, height]) * (0.04 + 0.2 * torch.rand(images, 8, 2))
    corner = (torch.tensor([width, height]) - sides) * torch.rand(images, 8, 2)
    target = Target(torch.cat([corner, corner + sides], dim=-1), torch.randint(1, 5, (images, 8)))
    pixels = torch.randint(0, 256, (images, 3, height, width), dtype=torch.uint8)
    sizes = torch.tensor([[height, width]]).expand(images, 2)  # which a batch of older checkouts has
    values: tuple[Any, ...] = (pixels, target, torch.arange(images), sizes)
    batch = Batch(*values[: len(Batch._fields)])
    learner = Learner(cfg, build_detector(cfg), torch.device("cpu"), World())
    learner.start_training()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.process_time()
        for _ in range(STEPS):
            learner.step([batch])
        print(1000 * (time.process_time() - start) / STEPS / images, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), int(sys.argv[2]))
