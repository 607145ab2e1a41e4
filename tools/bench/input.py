"""Images a second that one core prepares for training SSD300, by our `ssd` preset and by torchvision's v2 one.

    python tools/bench/input.py [--images DIR --annotations FILE.json] [--json OUT] [--seconds 60]

Run it in an interpreter that has torchvision; without it only our rows are timed. All sides read the same JPEG files,
640x480 and of quality 90, made of the images given or of drawn scenes. They take turns, all images a round, and each
round augments anew. A ratio is that of two times of one round.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from lib.data.dataset import CocoDataset  # noqa: E402
from lib.data.synthetic.dataset import generate  # noqa: E402
from lib.timing.stages import Spread, machine  # noqa: E402
from lib.utils.files import write_json  # noqa: E402
from lib.utils.runtime import readable_errors  # noqa: E402
from tools.bench.input_sides import HEIGHT, PEER, WIDTH, make_sides, write_jpegs  # noqa: E402


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--images", type=Path, help="folder of images to use instead of drawn scenes")
    parser.add_argument("--annotations", type=Path, help="their COCO JSON file")
    parser.add_argument(
        "--json", type=Path, default=Path("runs/bench_input.json"), help="where to write the figures"
    )
    parser.add_argument("--seconds", type=float, default=60, help="after which no further round begins")
    return parser.parse_args(argv)


def measure(sides: Mapping[str, Callable[[int], Any]], seconds: float) -> dict[str, np.ndarray]:
    """Name -> seconds of each round, 5 of them at least; one before them does not count."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    end = time.perf_counter() + seconds
    while len(times["ours"]) < 6 or time.perf_counter() < end:
        for name, side in sides.items():
            start = time.perf_counter()
            side(len(times[name]))
            times[name].append(time.perf_counter() - start)
    return {name: np.array(values[1:]) for name, values in times.items()}


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        images, annotations, source = args.images, args.annotations, str(args.annotations)
        if not (images and annotations):
            root = generate(Path(folder) / "drawn", 32, 1, image_sizes=(HEIGHT, WIDTH), progress=False)
            images, annotations, source = root / "train", root / "train.json", "drawn scenes"
        content = write_jpegs(CocoDataset(images, annotations), Path(folder))
        times = measure(make_sides(Path(folder), content), args.seconds)
    count = len(content["images"])
    report = {"machine": machine(torch.device("cpu")), "date": datetime.date.today().isoformat()}
    report |= {"load": os.getloadavg()[0], "source": source, "images": count, "rounds": len(times["ours"])}
    report["images_per_s"] = {name: Spread.of(count / values)._asdict() for name, values in times.items()}
    for name in times if PEER in times else ():
        report.setdefault(f"times_{PEER}", {})[name] = Spread.of(times[PEER] / times[name])._asdict()
    write_json(args.json, report)
    print(args.json.read_text(encoding="utf-8"))


if __name__ == "__main__":
    with readable_errors():
        main()
