"""Cuts a data set of large images into tiles for training.

python tools/make_tiles.py IMAGES ANN.json OUT --tiles=512
python train.py --cfg=... data.train.images=OUT/images data.train.annotations=OUT/annotations.json
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.data.dataset import CocoDataset  # noqa: E402
from lib.inference.tile_dataset import write_tiles  # noqa: E402
from lib.inference.tiles import parse_tiles  # noqa: E402
from lib.utils.log import setup_logging  # noqa: E402
from lib.utils.runtime import readable_errors, script_parser  # noqa: E402


def main(argv: list[str] | None = None) -> None:
    """Cuts, and prints the counts."""
    parser = script_parser(__doc__)
    parser.add_argument("images", help="folder of the images")
    parser.add_argument("annotations", help="COCO file")
    parser.add_argument("out", type=Path, help="folder to write; must be new or empty")
    parser.add_argument("--tiles", default="512,0.25", help="SIDE[,OVERLAP] (default: %(default)s)")
    parser.add_argument("--share", type=float, default=0.5, help="smallest share of an object in a tile (default: 0.5)")
    parser.add_argument("--empty", action="store_true", help="write tiles without objects, too")
    args = parser.parse_args(argv)
    setup_logging()
    dataset = CocoDataset(args.images, args.annotations)
    tiles = parse_tiles(args.tiles)
    assert tiles is not None, "None is the answer to None alone"
    content = write_tiles(dataset, args.out, tiles, args.share, args.empty)
    count, boxes = len(content["images"]), len(content["annotations"])
    print(f"{args.out}: {count} tiles, {boxes} boxes of {len(dataset)} images")


if __name__ == "__main__":
    with readable_errors():
        main()
