"""Generates the synthetic data set: images of small textured shapes, in COCO format.

    python tools/make_synthetic.py OUT
    python tools/make_synthetic.py OUT --train=200 --val=50 --classes=3

It writes OUT/train/, OUT/val/, OUT/train.json and OUT/val.json. The same options give the same files. If OUT already
holds them, nothing is done.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.data.synthetic.dataset import generate
from lib.data.synthetic.shapes import SHAPES
from lib.utils.command_line import readable_errors, script_parser


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    add("out", metavar="OUT", help="folder to write; must be new, empty, or generated before")
    add("--train", type=int, default=2000, help="number of training images (default: %(default)s)")
    add("--val", type=int, default=300, help="number of validation images (default: %(default)s)")
    add("--seed", type=int, default=0, help="another seed gives other images (default: %(default)s)")
    add("--classes", type=int, default=8, help=f"number of classes, from: {', '.join(SHAPES)} (default: %(default)s)")
    pair: dict[str, Any] = {"nargs": 2, "metavar": ("LEAST", "GREATEST")}
    add("--image-size", type=int, default=(240, 480), help="height and width, px (default: 240 480)", **pair)
    add("--object-size", type=float, default=(6, 150), help="longer side, px (default: 6 150)", **pair)
    add("--objects", type=int, default=(0, 14), help="objects per image (default: 0 14)", **pair)
    add("--clutter", type=int, default=(4, 16), help="distractors per image (default: 4 16)", **pair)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Generates, and prints the folder."""
    args = parse(argv)
    root = generate(
        args.out,
        num_train=args.train,
        num_val=args.val,
        seed=args.seed,
        num_classes=args.classes,
        image_sizes=args.image_size,
        object_sizes=args.object_size,
        objects=args.objects,
        clutter=args.clutter,
    )
    print(f"{root}: {args.train} training and {args.val} validation images")


if __name__ == "__main__":
    with readable_errors():
        main()
