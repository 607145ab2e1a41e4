"""Writes the embedded data set: python tools/make_synthetic.py OUT [--train 2000 --val 300 ...]."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.data.synthetic.dataset import generate  # noqa: E402
from lib.data.synthetic.shapes import SHAPES  # noqa: E402


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Generate synthetic images of small textured shapes, in COCO format: OUT/train/, "
        "OUT/val/, OUT/train.json, OUT/val.json. The same options give the same files; where they lie "
        "there already, nothing is done.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("out", metavar="OUT", help="folder to write; new, empty, or generated before")
    parser.add_argument("--train", type=int, default=2000, help="number of training images")
    parser.add_argument("--val", type=int, default=300, help="number of validation images")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other images")
    parser.add_argument("--classes", type=int, default=8, help=f"how many of: {', '.join(SHAPES)}")
    pair = {"nargs": 2, "metavar": ("LEAST", "GREATEST")}
    parser.add_argument(
        "--image-size", type=int, default=(240, 480), help="height and width in pixels", **pair
    )
    parser.add_argument("--object-size", type=float, default=(6, 150), help="longer side in pixels", **pair)
    parser.add_argument("--objects", type=int, default=(0, 14), help="objects in an image", **pair)
    parser.add_argument("--clutter", type=int, default=(4, 16), help="distractors in an image", **pair)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Generates, and says where."""
    arguments = parse_arguments(argv)
    try:
        root = generate(
            arguments.out,
            num_train=arguments.train,
            num_val=arguments.val,
            seed=arguments.seed,
            num_classes=arguments.classes,
            image_sizes=arguments.image_size,
            object_sizes=arguments.object_size,
            objects=arguments.objects,
            clutter=arguments.clutter,
        )
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"{root}: {arguments.train} training and {arguments.val} validation images")


if __name__ == "__main__":
    main()
