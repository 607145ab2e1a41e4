"""Configs, overrides and checkpoints with random damage: a message may name a key of the config only."""

import copy
import functools
import io
import json
import random
import warnings
from pathlib import Path

import torch
from fuzz.attempts import Target

from lib import build, build_data
from lib.checkpoint import load_weights, read_checkpoint, read_run
from lib.config import DEFAULTS, dump_config, load_config
from lib.utils.yaml_files import dump_yaml, to_plain
from tests.small_config import SMALL

SCALARS = [
    None,
    True,
    -1,
    0,
    1,
    3,
    10**9,
    10**30,
    0.5,
    -0.5,
    float("inf"),
    float("nan"),
    "",
    "x",
    "no",
    "12",
    "a.b",
    "$",
]
LISTS = [[], [[]], [None], [1, "x"], ["x"], [-1, 0], [[1, 2], [3]], {}, {"a": 1}, {"type": "x"}, {"type": None}, {1: 2}]
SNIPPETS = [
    "{",
    "[",
    ": ",
    "- ",
    "&a ",
    "*a",
    "!!omap ",
    "\t",
    "\n",
    "'",
    '"',
    "\x00",
    "é",
    "<<: ",
    "2:1",
    "1e999",
    "%",
]
KNOWN = (
    *DEFAULTS,
    "must be a finite number",
    "override",
    "config key",
    "must be YAML",
    "must hold keys and values",
    "_base_",
    "case.",
    "weights_scope",
)


def use(cfg):
    """Builds everything that a config describes."""
    with torch.device("meta"):
        model = build.build_detector(cfg)
        optimizer = build.build_optimizer(cfg, model)
    assert optimizer.param_groups
    build.build_schedule(cfg)(0.5)
    for part in ("normalizer", "coder", "loss", "postprocess", "protocol"):
        getattr(build, f"build_{part}")(cfg)
    build_data.build_augmentation(cfg)


def damaged(value, rng):
    """A copy of a mapping with one value at a random place replaced, removed or repeated elsewhere."""
    result = copy.deepcopy(value)
    places = []

    def walk(part):
        for key in part if isinstance(part, dict) else range(len(part)):
            places.append((part, key))
            if isinstance(part[key], (dict, list)):
                walk(part[key])

    walk(result)
    part, key = rng.choice(places)
    kind = rng.randrange(6)
    if kind == 0:
        del part[key]
    elif kind == 1:
        other, name = rng.choice(places)
        part[key] = copy.deepcopy(other[name])
    else:
        part[key] = rng.choice(SCALARS if kind < 4 else LISTS)
    return result


def damaged_bytes(content, rng):
    """Bytes with a piece removed, repeated, overwritten, or with a snippet of YAML in it."""
    start = rng.randrange(len(content))
    end = min(start + rng.choice((1, 1, 4, 40, 400)), len(content))
    snippet = rng.choice(SNIPPETS).encode()
    middle = rng.choice(
        (b"", content[start:end] * 2, rng.randbytes(end - start), snippet, content[start:end] + snippet)
    )
    return content[:start] + middle + content[end:]


@functools.cache
def seeds() -> list[dict]:
    """Configs to damage, as plain mappings."""
    variants = (
        ["loss.type=multibox"],
        ["data.augment=[{type: photometric}, {type: iou_crop}, {type: flip}]", "train.rates={backbone: 0.1}"],
        ["model.backbone.type=mobilenet_v1_S1L0", "model.dual_path={split: 0}", "train.frozen=[backbone.layers.0-2]"],
        ["train.optimizer={type: adamw, betas: [0.9, 0.99]}", "train.schedule={type: step, milestones: [3]}"],
        ["evaluation.ranges={tiny: [0, 64], rest: [64, .inf]}", "data.classes=[a, b]", "model.num_classes=null"],
    )
    return [to_plain(load_config(SMALL, overrides)) for overrides in variants]


def make_config(folder: Path, rng: random.Random) -> Path:
    file, seed = folder / "case.yml", rng.choice(seeds())
    if rng.random() < 0.6:
        file.write_text(dump_yaml(damaged(seed, rng)))
    else:
        file.write_bytes(damaged_bytes(dump_config(seed).encode(), rng))
    return file


def read_config(file: Path, rng: random.Random) -> None:
    use(load_config(file))


def make_overrides(folder: Path, rng: random.Random) -> Path:
    """One or two overrides, as JSON."""
    keys = [(section, key) for section, part in DEFAULTS.items() for key in (part if isinstance(part, dict) else [""])]
    texts = []
    for _ in range(rng.choice((1, 1, 2))):
        key = ".".join(filter(None, rng.choice(keys)))
        value = dump_yaml(rng.choice(SCALARS + LISTS), flow=True).split("\n")[0]
        text = f"{key}{rng.choice(('', '', '.type', '.x'))}={value}"
        texts.append(damaged_bytes(text.encode(), rng).decode(errors="replace") if rng.random() < 0.5 else text)
    (folder / "overrides").write_text(json.dumps(texts))
    return folder / "overrides"


def read_overrides(file: Path, rng: random.Random) -> None:
    use(load_config(SMALL, json.loads(file.read_text())))


@functools.cache
def whole() -> tuple[dict, torch.nn.Module]:
    """A checkpoint of a run: its content and its model."""
    cfg = load_config(SMALL)
    model = build.build_detector(cfg)
    position = {"epoch": 1, "step": 0, "steps": 3, "seconds": 1.5, "best": 0.5, "best_epoch": 1}
    content = {"format": 1, "version": "1", "config": to_plain(cfg), "classes": ["a", "b"], "category_ids": [1, 2]}
    content |= {"model": model.state_dict(), "position": position, "sums": {"steps": 1.0}, "optimizer": {}, "rng": {}}
    return content, model


def make_checkpoint(folder: Path, rng: random.Random) -> Path:
    file, buffer = folder / "case.pth", io.BytesIO()
    is_of_content = rng.random() < 0.5
    torch.save(damaged(whole()[0], rng) if is_of_content else whole()[0], buffer)
    data = buffer.getvalue()
    if not is_of_content:
        data = rng.choice((data[: rng.randrange(len(data))], data, data))
        for _ in range(rng.choice((1, 3, 30))):
            data = damaged_bytes(data, rng) if data else b""
    file.write_bytes(data)
    return file


def read_checkpoint_file(file: Path, rng: random.Random) -> None:
    with warnings.catch_warnings(action="ignore"):
        read_checkpoint(file)
        load_config(read_run(file)["config"])
        load_weights(copy.deepcopy(whole()[1]), file)


CONFIG_TARGETS = {
    "config": Target(make_config, read_config, KNOWN),
    "overrides": Target(make_overrides, read_overrides, KNOWN),
    "checkpoint": Target(make_checkpoint, read_checkpoint_file, KNOWN),
}
