"""Cuts a data set of large images into tiles for training.

Images of more than 8 bits become 8-bit tiles as input.depth says, so give the settings that training would have.

python tools/make_tiles.py IMAGES ANN.json OUT --tiles=512
python tools/make_tiles.py IMAGES ANN.json OUT input.depth=[0,4095] data.orientation=upright
python train.py --cfg=... data.train.images=OUT/images data.train.annotations=OUT/annotations.json
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.build_data import build_reading
from lib.config import load_config
from lib.data.dataset import CocoDataset
from lib.inference.tile_dataset import write_tiles
from lib.inference.tiles import parse_tiles
from lib.utils.command_line import parse_with_overrides, readable_errors, script_parser
from lib.utils.log import setup_logging


def main(argv: list[str] | None = None) -> None:
    """Cuts, and prints the counts."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    add("images", help="folder of the images")
    add("annotations", help="COCO file, or folder of VOC, YOLO or VisDrone files")
    add("out", type=Path, help="folder to write; must be new or empty")
    add("--tiles", default="512,0.25", help="SIDE[,OVERLAP], in pixels and as a fraction of it (default: %(default)s)")
    add(
        "--share",
        type=float,
        default=0.5,
        help="fraction of an object's area, 0 to 1, that a tile must show; objects cut more than that become ignored "
        "regions (default: %(default)s)",
    )
    add("--empty", action="store_true", help="write tiles without objects, too")
    add("--cfg", help="experiment that tells how images are read")
    args = parse_with_overrides(parser, argv, "input.depth=percentile")
    setup_logging()
    cfg = load_config(args.cfg or "", args.overrides)
    reading = {"orientation": cfg.data.orientation, "way": build_reading(cfg)}
    dataset = CocoDataset(args.images, args.annotations, cfg.data.classes, cfg.data.bad_boxes, **reading)
    print(dataset.report())
    tiles = parse_tiles(args.tiles)
    assert tiles is not None, "None is the answer to None alone"
    content = write_tiles(dataset, args.out, tiles, args.share, args.empty)
    count, boxes = len(content["images"]), len(content["annotations"])
    print(f"{args.out}: {count} tiles, {boxes} boxes of {len(dataset)} images")


if __name__ == "__main__":
    with readable_errors():
        main()
