"""Converts annotations between COCO JSON, Pascal VOC XML, YOLO txt and VisDrone txt.

    python tools/convert_dataset.py ann.json OUT --to voc
    python tools/convert_dataset.py VOC2007 ann.json --to coco

Every box of four finite numbers is kept; images stay where they are. VOC's pixels are numbered from 1, as in its kit.
"""

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.data.formats.convert import convert
from lib.data.formats.registry import FORMATS, ORIENTATIONS
from lib.utils.command_line import readable_errors, script_parser
from lib.utils.files import check_new_folder


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    add("source", type=Path, help="COCO file, data.yaml, or folder of VOC, YOLO or VisDrone files")
    add("out", type=Path, help="file (coco) or folder to write; must be new, or an empty folder")
    add("--to", required=True, choices=FORMATS, help="format to write")
    add("--from", dest="source_format", choices=FORMATS, help="format to read (default: recognized from the files)")
    add("--images", type=Path, help="folder of the images, if it is not where the format expects it")
    add("--split", default="train", help="split of a data.yaml (default: %(default)s)")
    add("--orientation", choices=ORIENTATIONS, help="which pixels boxes refer to, for photos that are stored sideways")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Converts, and prints the counts."""
    args = parse(argv)
    logging.basicConfig(format="%(message)s")
    check_new_folder(args.out)
    options = (args.source_format, args.images, args.split, args.orientation)
    counts = convert(args.source, args.out, args.to, *options)
    print(f"{args.out}: {counts.images} images, {counts.boxes} boxes, {counts.classes} classes")


if __name__ == "__main__":
    with readable_errors():
        main()
