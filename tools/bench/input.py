"""Times how fast one core prepares images for training SSD300: our preset `ssd` beside torchvision's v2 transforms.

    python tools/bench/input.py                                       on drawn scenes
    python tools/bench/input.py --images=DIR --annotations=FILE.json

Run it in an interpreter that has torchvision; without it only our sides are timed. All sides read the same JPEG files
of 640x480 pixels and quality 90. Each round augments all of them anew.
"""

import itertools
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lib.data.augment.presets import build_transform  # noqa: E402
from lib.data.dataset import CocoDataset  # noqa: E402
from lib.data.loader import Loader  # noqa: E402
from lib.data.synthetic.dataset import generate  # noqa: E402
from lib.timing.turns import Call, Case, run_cases  # noqa: E402
from lib.utils.runtime import readable_errors, script_parser, set_threads  # noqa: E402
from tools.bench.peers import load_torchvision_peer  # noqa: E402

WIDTH, HEIGHT, QUALITY = 640, 480, 90  # of the JPEG files
INPUT, BATCH = (300, 300), 8


def write_jpegs(source: CocoDataset, folder: Path) -> dict[str, Any]:
    """Writes a data set's images as JPEGs of one size; returns their annotations in COCO's form."""
    content: dict[str, Any] = {**source.ground_truth, "images": [], "annotations": []}
    resize = build_transform("none", (HEIGHT, WIDTH))
    for index in range(len(source)):
        sample, name = resize(source.load(index), np.random.default_rng(0)), f"{index}.jpg"
        cv2.imwrite(str(folder / name), sample.image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        content["images"].append({"id": index, "file_name": name, "height": HEIGHT, "width": WIDTH})
        for (x1, y1, x2, y2), label in zip(sample.boxes.tolist(), sample.labels.tolist(), strict=True):
            entry = {"image_id": index, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": int(label < 0)}
            content["annotations"].append(entry | {"category_id": source.category_ids[max(label, 1) - 1]})
    return content


def make_case(folder: Path, content: dict[str, Any], name: str) -> Case:
    """Preparing all images once, augmented anew at each call; by torchvision too, where it is installed."""
    transform = build_transform("ssd", INPUT, fill=(103.94, 116.78, 123.68))

    def ours(dataset: CocoDataset) -> Call:
        loader, epochs = Loader(dataset, transform, BATCH, shuffle=True), itertools.count()

        def epoch() -> None:
            loader.set_epoch(next(epochs))
            list(loader)

        return epoch

    dataset, reduced = CocoDataset(folder, content), CocoDataset(folder, content, decode="reduced")
    sides: dict[str, Call | None] = {"ours": ours(dataset), "ours, decode: reduced": ours(reduced)}
    if peers := load_torchvision_peer():
        prepare = peers.input_peer(INPUT)
        images = [(str(folder / file), *dataset.objects(index)) for index, file in enumerate(dataset.files)]
        sides["torchvision v2"] = lambda: [prepare(*image) for image in images]
    return Case(f"{len(content['images'])} images of {name}", sides, images=len(content["images"]))


def main(argv: list[str] | None = None) -> None:
    """Times, prints, writes."""
    parser = script_parser(__doc__)
    parser.add_argument("--images", help="folder of images to use instead of drawn scenes")
    parser.add_argument("--annotations", help="their COCO JSON file")
    parser.add_argument(
        "--json", default="runs/bench_input.json", help="where to write (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=60, help="to measure for (default: %(default)s)")
    args = parser.parse_args(argv)
    set_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        images, annotations, name = args.images, args.annotations, args.annotations
        if not (images and annotations):
            root = generate(f"{folder}/drawn", 32, 1, image_sizes=(HEIGHT, WIDTH), progress=False)
            images, annotations, name = root / "train", root / "train.json", "drawn scenes"
        content = write_jpegs(CocoDataset(images, annotations), Path(folder))
        case = make_case(Path(folder), content, name)
        run_cases([case], args.seconds / len(case.sides), torch.device("cpu"), args.json, warm_up=1, least=5)


if __name__ == "__main__":
    with readable_errors():
        main()
