"""End to end against torchvision: SSDLite320 MobileNetV3-Large, 91 classes, random weights, one image in memory.

    python tools/bench_predictor.py --threads=1      in an interpreter that has torchvision, with its operators

Random weights are the worst case for post-processing: nearly all scores pass the threshold. All begin with the same
uint8 BGR image, which torchvision needs as a float tensor. The candidates take turns, in rounds.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lib.build import build_detector  # noqa: E402
from lib.inference import Predictor  # noqa: E402
from lib.inference.benchmark import Spread, machine, time_stages  # noqa: E402
from lib.inference.speed_run import random_detector  # noqa: E402
from lib.models.count import count_parameters  # noqa: E402
from lib.utils.runtime import readable_errors, set_threads  # noqa: E402

EXPERIMENT = ROOT / "experiments/mobilenet_v3/torchvision320_reduced.yml"
OURS = {
    "torch float32": {},
    "torch bfloat16": {"dtype": "bfloat16"},
    "torch compiled": {"compiled": True},
    "onnxruntime float32": {"backend": "onnxruntime"},
}


class Peer:
    """Torchvision's detector, timed as ours are."""

    def __init__(self, image: np.ndarray):
        from torchvision.models.detection import ssdlite320_mobilenet_v3_large

        self.model = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=91).eval()
        self.image = image
        self.small = torch.rand(1, 3, 320, 320)

    @torch.inference_mode()
    def times(self) -> list[float]:
        """Seconds of the network alone, and of all."""
        start = time.perf_counter()
        self.model.head(list(self.model.backbone(self.small).values()))
        middle = time.perf_counter()
        self.model([torch.from_numpy(self.image[..., ::-1].copy()).permute(2, 0, 1) / 255])
        return [middle - start, time.perf_counter() - middle]


def main(argv: list[str] | None = None) -> None:
    """Measures in turns, and prints medians and ratios."""
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--only", nargs="+", default=list(OURS), choices=OURS, help="candidates")
    args = parser.parse_args(argv)
    set_threads(args.threads)
    cv2.setNumThreads(args.threads)
    torch.manual_seed(0)
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    loaded = random_detector(str(EXPERIMENT), ["model.num_classes=91"])
    peer, ours = Peer(image), {name: Predictor(loaded, "cpu", **OURS[name]) for name in args.only}
    print(
        machine(torch.device("cpu")), "parameters", count_parameters(build_detector(loaded.cfg)), end=" and "
    )
    print(count_parameters(peer.model))
    samples: dict[str, list] = {"torchvision": [], **{name: [] for name in ours}}
    for round_number in range(args.rounds + 3):
        rows = {"torchvision": peer.times()}
        for name, predictor in ours.items():
            stages = time_stages(predictor, [image])
            rows[name] = [stages[1], sum(stages)]
        for name, row in rows.items() if round_number >= 3 else ():
            samples[name].append(row)
    first = np.array(samples["torchvision"])
    for name, rows in samples.items():
        for column, what in enumerate(("network", "end to end")):
            spread = Spread.of(np.array(rows)[:, column] * 1000)
            ratio = Spread.of(first[:, column] / np.array(rows)[:, column])
            print(
                f"{name:20} {what:10} {spread.median:7.2f} ms ({spread.p5:.2f} to {spread.p95:.2f})", end="  "
            )
            print(f"torchvision takes {ratio.median:.2f} times as long ({ratio.p5:.2f} to {ratio.p95:.2f})")


if __name__ == "__main__":
    with readable_errors():
        main()
