"""Times how fast one core prepares images for training SSD300: our preset `ssd` beside torchvision's v2 transforms.

    python tools/bench/input.py                                       # on drawn scenes
    python tools/bench/input.py --images=DIR --annotations=FILE.json

Run it in an interpreter that has torchvision; without it only our sides are timed. All sides read the same JPEG files
of 640x480 pixels and quality 90. Each round augments all of them anew.
"""

import sys
import tempfile
from pathlib import Path

import cv2
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lib.data.dataset import CocoDataset
from lib.data.synthetic.dataset import generate
from lib.timing.turns import run_cases
from lib.utils.command_line import readable_errors, script_parser
from lib.utils.runtime import set_threads
from tools.bench.peers.input_case import HEIGHT, WIDTH, make_case, write_jpegs


def main(argv: list[str] | None = None) -> None:
    """Times, prints, writes."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    add("--images", help="folder of images to use instead of drawn scenes")
    add("--annotations", help="their COCO JSON file")
    add("--json", default="runs/bench_input.json", help="where to write the figures (default: %(default)s)")
    add("--seconds", type=float, default=60, help="to measure for (default: %(default)s)")
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
