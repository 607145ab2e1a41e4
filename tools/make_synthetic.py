"""Generates the embedded data set: images of small textured shapes, in COCO format.

    python tools/make_synthetic.py OUT
    python tools/make_synthetic.py OUT --train=200 --val=50 --classes=3

It writes OUT/train/, OUT/val/, OUT/train.json and OUT/val.json. The same options give the same files; where these lie
there already, nothing is done.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.data.synthetic.dataset import generate  # noqa: E402
from lib.data.synthetic.shapes import SHAPES  # noqa: E402
from lib.utils.runtime import readable_errors, script_parser  # noqa: E402


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    add("out", metavar="OUT", help="folder to write; new, empty, or generated before")
    for flag, default, text in (
        ("train", 2000, "number of training images"),
        ("val", 300, "number of validation images"),
        ("seed", 0, "another seed gives other images"),
        ("classes", 8, f"how many of: {', '.join(SHAPES)}"),
    ):
        add(f"--{flag}", type=int, default=default, help=f"{text} (default: %(default)s)")
    for flag, kind, pair, text in (
        ("image-size", int, (240, 480), "height and width in pixels"),
        ("object-size", float, (6, 150), "longer side in pixels"),
        ("objects", int, (0, 14), "objects in an image"),
        ("clutter", int, (4, 16), "distractors in an image"),
    ):
        text = f"{text} (default: {pair[0]} {pair[1]})"
        add(f"--{flag}", type=kind, default=pair, help=text, nargs=2, metavar=("LEAST", "GREATEST"))
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Generates, and says where."""
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
