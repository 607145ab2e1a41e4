"""End to end against torchvision: SSDLite320 MobileNetV3-Large, 91 classes, random weights, one image in memory.

    python tools/bench/predictor.py --threads=1      in an interpreter that has torchvision with its operators

Random weights are the worst case for post-processing: nearly all scores pass the threshold. All begin with the same
uint8 BGR image, which torchvision needs as a float tensor. The candidates take turns, in rounds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from lib.inference import Predictor  # noqa: E402
from lib.inference.export.onnx import onnx_bytes  # noqa: E402
from lib.inference.export.quantize import quantize  # noqa: E402
from lib.timing.speed import random_detector  # noqa: E402
from lib.timing.stages import machine, measure, ratios, summary  # noqa: E402
from lib.utils.runtime import readable_errors, set_threads  # noqa: E402
from tools.bench.torchvision_peer import Peer  # noqa: E402

EXPERIMENT = str(ROOT / "experiments/mobilenet_v3/torchvision320_reduced.yml")


def main(argv: list[str] | None = None) -> None:
    """Measures in turns, and prints medians and how many times as long torchvision takes."""
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10)
    args = parser.parse_args(argv)
    set_threads(args.threads)
    cv2.setNumThreads(args.threads)
    torch.manual_seed(0)
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    loaded = random_detector(EXPERIMENT, ["model.num_classes=91"])
    models = {"torchvision": Peer(), "torch": Predictor(loaded, "cpu")}
    models["torch bfloat16"] = Predictor(loaded, "cpu", dtype="bfloat16")
    models["onnxruntime"] = Predictor(loaded, "cpu", backend="onnxruntime")
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(quantize(onnx_bytes(loaded, heads=True), [models["torch"].prepare([image])[0]]))
        file.flush()
        models["onnxruntime int8"] = Predictor(file.name)
    samples = measure(models, [image], args.seconds, warm_up=5)
    print(machine(torch.device("cpu")), "rounds", len(samples["torch"]))
    for name, values in samples.items():
        times, factors = summary(values), ratios(samples["torchvision"], values)
        cells = (f"{stage} {times[stage].median:6.2f} ms x{factors[stage].median:5.2f}" for stage in times)
        print(f"{name:17}", " | ".join(cells), "({:.2f} to {:.2f})".format(*factors["total"][1:]))


if __name__ == "__main__":
    with readable_errors():
        main()
