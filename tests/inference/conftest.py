"""A checkpoint of a tiny detector whose scores are spread like a trained one's, and images of several sizes."""

import fcntl
import os

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from lib.build import build_detector
from lib.checkpoint import save_checkpoint
from lib.config import load_config
from lib.utils.yaml_files import to_plain
from tests.engine.conftest import load_script

CONFIG = {
    "input": {"size": [64, 96], "channels": "rgb", "std": [58.0, 57.0, 57.5]},
    "data": {"classes": ["disc", "ring"]},
    "model": {
        "backbone": {"type": "mobilenet_v1_S1L0", "width": 0.25},
        "dual_path": {"split": 0},
        "neck": {"taps": [1, 3], "extras": [[32, 2]]},
        "priors": {"sizes": [8, 16, 40, 80], "ratios": [2], "reference": 0.0},
    },
    "postprocess": {"max_detections": 20},
    "run": {"threads": 1},
}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A file as train.py writes it."""
    generator = torch.Generator().manual_seed(0)
    config = load_config(CONFIG)
    with torch.random.fork_rng():
        torch.manual_seed(0)  # every worker has the same biases too
        model = build_detector(config).train()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter, generator=generator)
    with torch.no_grad():
        model(torch.randn(4, 3, 64, 96, generator=generator))  # BatchNorm has statistics of its own now
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.pth"
    save_checkpoint(path, {"model": model.state_dict(), "config": to_plain(config), "classes": ["disc", "ring"]})
    return path


@pytest.fixture(scope="session")
def spread_detector(checkpoint):
    """The detector of the checkpoint with scores from .4 to .6, no two alike, so that their order says something."""
    from lib.inference.model_file import load_detector

    loaded = load_detector(checkpoint)
    with torch.no_grad():
        for name, parameter in loaded.detector.named_parameters():
            parameter *= 0.03 if name.startswith("head.cls.") else 1
    return loaded


@pytest.fixture(scope="session")
def files(checkpoint, tmp_path_factory):
    """Exported models, {detections, heads: path}; making them takes seconds, so all tests share them, also those of
    other workers: the first one makes them, and the others wait.
    """
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: make")
    pytest.importorskip("onnxscript", reason="needs onnxscript: make")
    from lib.inference.export.onnx import onnx_bytes
    from lib.inference.model_file import load_detector

    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    paths = {name: root / f"{name}.onnx" for name in ("detections", "heads")}
    with (root / "exports.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not all(path.exists() for path in paths.values()):
            loaded = load_detector(checkpoint)
            for name, path in paths.items():
                path.write_bytes(onnx_bytes(loaded, heads=name == "heads"))
    return paths


@pytest.fixture(scope="session")
def spread(files, tmp_path_factory):
    """The exported detections with scores far apart: else nearly all are 1, and rounding decides which come first."""
    import onnx

    model = onnx.load(files["detections"])
    (softmax,) = (node for node in model.graph.node if node.op_type == "Softmax")
    scale = onnx.helper.make_node("Constant", [], ["scale"], value_float=0.1)
    smaller = onnx.helper.make_node("Mul", [softmax.input[0], "scale"], ["smaller"])
    softmax.input[0] = "smaller"
    place = list(model.graph.node).index(softmax)
    for node in (smaller, scale):
        model.graph.node.insert(place, node)
    path = tmp_path_factory.mktemp("spread") / "spread.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="session")
def images():
    """Six images, none square and none of the network's size."""
    rng = np.random.default_rng(0)
    sizes = [(70, 120), (64, 90), (200, 131), (50, 310), (97, 65), (129, 193)]
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]


@pytest.fixture
def demo(checkpoint, tmp_path):
    """Runs demo.py on a source with the given arguments; its exit status."""

    def run(source, *arguments):
        options = [f"--checkpoint={checkpoint}", f"--out={tmp_path / 'out'}", "--no-show", "--score=0.01"]
        return load_script("demo").main([str(source), *options, *arguments])

    return run


@pytest.fixture
def video(tmp_path):
    """12 frames of 64 x 96 pixels."""
    path = tmp_path / "film.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (96, 64))
    rng = np.random.default_rng(0)
    for _ in range(12):
        writer.write(rng.integers(0, 256, (64, 96, 3), np.uint8))
    writer.release()
    return path
