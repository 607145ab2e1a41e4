"""Times SSDLite320 MobileNetV3-Large in each backend against torchvision's: end to end, an image in memory, 91 classes.

    python tools/bench/predictor.py --threads=1      in an interpreter that has torchvision with its operators

What is not installed is left out, with a note. All begin with the same uint8 BGR image, which torchvision needs as a
float tensor, and take turns. Weights are random, which is the worst case for post-processing: nearly all scores pass
the threshold.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from lib.inference import Predictor  # noqa: E402
from lib.inference.backends import usable_backends  # noqa: E402
from lib.inference.export.onnx import onnx_bytes  # noqa: E402
from lib.inference.export.quantize import quantize  # noqa: E402
from lib.inference.model_file import Loaded  # noqa: E402
from lib.timing.report import speed_table  # noqa: E402
from lib.timing.stages import make_images, random_detector, run_speed  # noqa: E402
from lib.utils.optional import MissingPackage  # noqa: E402
from lib.utils.runtime import readable_errors, script_parser, seed_everything, set_threads  # noqa: E402
from tools.bench.peers import load_torchvision_peer  # noqa: E402

EXPERIMENT = str(ROOT / "experiments/mobilenet_v3/torchvision320_reduced.yml")


def variants(loaded: Loaded, images: list[np.ndarray], folder: Path) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Name, source and options of the predictors beside the plain one."""
    yield "torch bfloat16", loaded, {"dtype": "bfloat16"}
    heads = folder / "heads.onnx"
    heads.write_bytes(onnx_bytes(loaded, heads=True))
    for backend in usable_backends(heads):
        yield backend, heads, {"backend": backend}
    yield "openvino bfloat16", heads, {"backend": "openvino", "dtype": "bfloat16"}
    small = folder / "int8.onnx"
    try:
        small.write_bytes(quantize(heads.read_bytes(), [Predictor(heads).prepare(images).images]))
    except MissingPackage as error:
        print(f"without int8: {error}")
        return
    for backend in usable_backends(small):
        yield f"{backend} int8", small, {"backend": backend}


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
    with tempfile.TemporaryDirectory() as folder:
        for name, source, options in variants(loaded, images, Path(folder)):
            try:
                models[name] = Predictor(source, device, **options)
            except ValueError as error:  # not installed, or not in this processor
                print(f"without {name}: {error}")
    print(speed_table(run_speed(models, images, args.seconds, device)))


if __name__ == "__main__":
    with readable_errors():
        main()
