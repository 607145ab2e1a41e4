"""Times SSDLite320 MobileNetV3-Large end to end against torchvision's: one image in memory, 91 classes.

    python tools/bench/predictor.py --threads=1      in an interpreter that has torchvision with its operators

All begin with the same uint8 BGR image, which torchvision needs as a float tensor, and take turns. Weights are random,
which is the worst case for post-processing: nearly all scores pass the threshold.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from lib.inference import Predictor  # noqa: E402
from lib.inference.export.onnx import onnx_bytes  # noqa: E402
from lib.inference.export.quantize import quantize  # noqa: E402
from lib.timing.report import speed_table  # noqa: E402
from lib.timing.stages import make_images, random_detector, run_speed  # noqa: E402
from lib.utils.runtime import readable_errors, script_parser, seed_everything, set_threads  # noqa: E402
from tools.bench.peers import load_torchvision_peer  # noqa: E402

EXPERIMENT = str(ROOT / "experiments/mobilenet_v3/torchvision320_reduced.yml")


def main(argv: list[str] | None = None) -> None:
    """Prints what each stage takes, and how many times as long as in torch."""
    parser = script_parser(__doc__)
    parser.add_argument("--threads", type=int, default=1, help="of all libraries (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="to measure for (default: %(default)s)")
    args = parser.parse_args(argv)
    set_threads(args.threads)
    cv2.setNumThreads(args.threads)
    seed_everything(0)
    device, images = torch.device("cpu"), make_images(None, (480, 640), 1, np.random.default_rng(0))
    loaded = random_detector(EXPERIMENT, ["model.num_classes=91"])
    models: dict[str, Any] = {"torch": Predictor(loaded, device)}
    if peers := load_torchvision_peer():
        models["torchvision"] = peers.PredictorPeer()
    models["torch bfloat16"] = Predictor(loaded, device, dtype="bfloat16")
    models["onnxruntime"] = Predictor(loaded, device, backend="onnxruntime")
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(quantize(onnx_bytes(loaded, heads=True), [models["torch"].prepare(images).images]))
        file.flush()
        models["onnxruntime int8"] = Predictor(file.name)
    print(speed_table(run_speed(models, images, args.seconds, device)))


if __name__ == "__main__":
    with readable_errors():
        main()
