"""A data set and a model small enough to train in a test."""

import contextlib
import itertools
import json
from pathlib import Path
from types import ModuleType

import pytest

from lib.data.synthetic.dataset import generate
from lib.engine import run as run_module
from lib.engine.learner import Learner
from tests.modules import ROOT, load_module

CONFIG = """
input: {{size: [64, 96]}}
data:
  train: {{images: {data}/train, annotations: {data}/train.json}}
  val: {{images: {data}/val, annotations: {data}/val.json}}
  workers: 0
model:
  backbone: {{type: mobilenet_v1_S1L0, width: 0.25}}
  dual_path: {{split: 0}}
  neck: {{taps: [5, 11], extras: [[32, 2]]}}
  priors: {{sizes: [8, 16, 40, 80], ratios: [2], reference: 0}}
train: {{epochs: 2, batch_size: 4, optimizer: {{type: sgd, lr: 0.01}}, log_every: 1}}
run: {{dir: {runs}, threads: 1, device: cpu}}  # on a GPU no two runs are the same to the bit
"""


def load_script(name: str) -> ModuleType:
    """train.py or test.py as a module (``import test`` would find Python's own)."""
    return load_module(f"script_{name}", ROOT / f"{name}.py")


def leave_pictures_out(set_attribute=setattr):
    """Runs of this process no longer draw and load TensorBoard, which takes longer than their steps."""
    set_attribute(run_module, "draw_curves", lambda *_: None)
    for name in ("picture", "scalar"):
        set_attribute(run_module.RunFolder, name, lambda *_: None)


def epochs_of(folder):
    """What a run logged, one entry per epoch, without the values that depend on the time."""
    lines = [json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "images_per_s")} for line in lines]


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """14 training and 4 test images of 64 to 100 pixels, two classes, in COCO format."""
    root = tmp_path_factory.mktemp("synthetic")
    return generate(root / "data", 14, 4, num_classes=2, image_sizes=(64, 100), object_sizes=(8, 40), progress=False)


def write_experiment(folder, data):
    path = folder / "tiny.yml"
    path.write_text(CONFIG.format(data=data, runs=folder / "runs"))
    return path


@pytest.fixture(scope="session")
def whole(tmp_path_factory, data):
    """The folder of a run of two epochs, with everything that it writes. Tests only read it."""
    experiment = write_experiment(tmp_path_factory.mktemp("whole"), data)
    load_script("train").main([f"--cfg={experiment}"])
    return experiment.parent / "runs" / "tiny"


@pytest.fixture
def experiment(tmp_path, data):
    """An experiment file on that data."""
    return write_experiment(tmp_path, data)


@pytest.fixture
def train(experiment, monkeypatch):
    """Runs train.py on the experiment with the given arguments; the run's folder. Curves and pictures are left out:
    ``whole`` has them."""
    leave_pictures_out(monkeypatch.setattr)

    def run(*arguments: str) -> Path:
        load_script("train").main([f"--cfg={experiment}", *arguments])
        name = next((a.split("=")[1] for a in arguments if a.startswith("run.name=")), "tiny")
        return experiment.parent / "runs" / name

    return run


@pytest.fixture
def test():
    """Runs test.py with the given arguments."""
    return lambda *arguments: load_script("test").main(list(arguments))


@pytest.fixture
def interrupted(monkeypatch):
    """A context whose training is interrupted after some steps."""

    @contextlib.contextmanager
    def after(steps_before):
        original, count = Learner.step, itertools.count()

        def step(self, *arguments):
            if next(count) == steps_before:
                raise KeyboardInterrupt
            return original(self, *arguments)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Learner, "step", step)
            yield

    return after
