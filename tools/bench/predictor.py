"""Times SSDLite320 MobileNetV3-Large in each backend against torchvision's: end to end, an image in memory, 91 classes.

    python tools/bench/predictor.py --threads=1      # in an interpreter that has torchvision with its operators
    python tools/bench/predictor.py --checkpoint=best.pth --models heads.onnx small.onnx model.tflite --images photos/

What is not installed is left out, with a note. All begin with the same uint8 BGR image, which torchvision needs as a
float tensor, and take turns. Weights are random, which is the worst case for post-processing: nearly all scores pass
the threshold.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from lib.build_data import build_reading
from lib.inference import Predictor
from lib.inference.backends import usable_backends
from lib.inference.export.onnx import onnx_bytes
from lib.inference.export.quantize import quantize
from lib.inference.model_file import Loaded, load_detector
from lib.timing.report import speed_table
from lib.timing.stages import make_images, random_detector, run_speed
from lib.utils.command_line import parse_with_overrides, readable_errors, script_parser
from lib.utils.files import write_json
from lib.utils.optional import MissingPackage
from lib.utils.runtime import fast_precision, keep_memory, seed_everything, set_threads
from tools.bench.peers import load_torchvision_peer

EXPERIMENT = str(ROOT / "experiments/mobilenet_v3/torchvision320_reduced.yml")


def export(loaded: Loaded, images: list[np.ndarray], folder: Path) -> list[Path]:
    """ONNX files of a detector in a folder, with float32 convolutions and, where nncf is installed, with int8 ones."""
    heads, small = folder / "heads.onnx", folder / "int8.onnx"
    heads.write_bytes(onnx_bytes(loaded, heads=True))
    try:
        small.write_bytes(quantize(heads.read_bytes(), [Predictor(heads).prepare(images).images]))
    except MissingPackage as error:
        print(f"without int8: {error}")
        return [heads]
    return [heads, small]


def variants(loaded: Loaded, files: Sequence[Path]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Name, source and options of the predictors beside the plain one: each file in each backend that runs it."""
    if fast_precision(torch.device("cpu")) == torch.bfloat16:  # emulated, it would take most of the time
        yield "torch bfloat16", loaded, {"dtype": "bfloat16"}
    for file in files:
        for backend in usable_backends(file):
            yield f"{backend} {file.name}", file, {"backend": backend}
    yield "openvino bfloat16", files[0], {"backend": "openvino", "dtype": "bfloat16"}


def main(argv: list[str] | None = None) -> None:
    """Prints what each stage takes, and how many times as long as in torch."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    add("--checkpoint", type=Path, help="detector to time instead (.pth), without torchvision's beside it")
    add(
        "--models",
        type=Path,
        nargs="+",
        help="exported files (.onnx, .tflite) of the detector (default: ONNX files made here)",
    )
    add("--images", help="image, folder or video whose first image is used (default: noise of 480x640)")
    add("--threads", type=int, default=1, help="number of CPU threads (default: %(default)s)")
    add("--seconds", type=float, default=10, help="seconds to measure (default: %(default)s)")
    add("--json", type=Path, help="JSON file for all figures")
    args = parse_with_overrides(parser, argv, "input.test_size=[512,640]")
    set_threads(args.threads)
    keep_memory()
    cv2.setNumThreads(args.threads)
    seed_everything(0)
    device = torch.device("cpu")
    overrides = args.overrides if args.checkpoint else ["model.num_classes=91", *args.overrides]
    own = args.checkpoint and load_detector(args.checkpoint, overrides=overrides)
    loaded = own or random_detector(EXPERIMENT, overrides)
    images = make_images(args.images, (480, 640), 1, np.random.default_rng(0), build_reading(loaded.cfg))
    models: dict[str, Any] = {"torch": Predictor(loaded, device)}
    if not own and (peers := load_torchvision_peer()):
        models["torchvision"] = peers.PredictorPeer()
    with tempfile.TemporaryDirectory() as folder:
        for name, source, options in variants(loaded, args.models or export(loaded, images, Path(folder))):
            try:
                models[name] = Predictor(source, device, **options)
            except ValueError as error:  # not installed, or not in this processor
                print(f"without {name}: {error}")
    report = run_speed(models, images, args.seconds, device)
    print(speed_table(report))
    if args.json:
        write_json(args.json, report)


if __name__ == "__main__":
    with readable_errors():
        main()
