"""Writes a picture of the maps that a detector computes over an image: those of its taps, which the neck reads.

    python tools/show_maps.py IMAGE --checkpoint=experiments/light/hituav.pth --out=maps.png
    python tools/show_maps.py IMAGE --checkpoint=runs/medium/best.pth --out=medium.png

A row of the picture has the image, a map on the fine path and, with dual path, the same map on the coarse path, which
is as large as the plain network's: side by side they show what taking out a stride changes. The color of a cell is the
mean magnitude of its channels.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.build_data import build_reading
from lib.data.image import read_image
from lib.inference.map_pictures import map_sheet
from lib.inference.model_file import load_detector
from lib.utils.command_line import parse_with_overrides, readable_errors, script_parser
from lib.utils.download import fetch
from lib.utils.files import refuse_sources
from lib.utils.picture_file import write_picture


def main(argv: list[str] | None = None) -> None:
    """Draws one picture, and prints its path."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    add("image", type=Path, metavar="IMAGE", help="image file")
    add("--checkpoint", required=True, metavar="FILE.pth", help="path or URL of the checkpoint")
    add("--cfg", metavar="FILE.yml", help="experiment file (default: the config inside the checkpoint)")
    add("--out", type=Path, default=Path("runs/show/maps.png"), help="file to write (default: %(default)s)")
    args = parse_with_overrides(parser, argv, "input.test_size=[640,640]")
    refuse_sources([args.out], [args.image])
    loaded = load_detector(fetch(args.checkpoint), args.cfg, args.overrides)
    write_picture(args.out, map_sheet(loaded, read_image(args.image, reading=build_reading(loaded.cfg))))
    print(args.out)


if __name__ == "__main__":
    with readable_errors():
        main()
