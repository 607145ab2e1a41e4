"""Checks a data set for faults before training, and with --cfg how well an experiment's priors fit its objects.

python tools/check_dataset.py --gt ann.json --images DIR --html data.html
python tools/check_dataset.py --gt ann.json --images DIR --open input.depth=percentile data.orientation=upright
python tools/check_dataset.py --gt ann.json --cfg experiments/mobilenet_v1/S1L0_dual.yml
"""

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.build_data import build_reading
from lib.config import load_config
from lib.data.formats.registry import known_images, read_content
from lib.data.survey import survey
from lib.engine.data_report import DataReport, cover
from lib.evaluation.protocols import PROTOCOLS, make_protocol, parse_ranges
from lib.utils.command_line import parse_with_overrides, readable_errors, script_parser
from lib.utils.files import refuse_sources, write_json, write_text


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    add("--gt", required=True, type=Path, help="COCO file, data.yaml, or folder of VOC, YOLO or VisDrone files")
    add("--split", default="train", help="split of a data.yaml (default: %(default)s)")
    add("--images", type=Path, help="folder of the images, if it is not where training finds it; COCO files need it")
    add("--open", action="store_true", help="decode every image, to find truncated ones")
    add("--cfg", help="experiment whose priors are compared with the objects")
    add("--protocol", default="coco", choices=PROTOCOLS, help="protocol whose size ranges are used (default: coco)")
    add("--ranges", nargs="+", metavar="NAME=LOW:HIGH", help="other size ranges, as areas in px^2, such as tiny=0:256")
    add("--json", type=Path, help="JSON file to write: counts and all problems")
    add("--html", type=Path, help="HTML file to write: the report with plots")
    return parse_with_overrides(parser, argv, "data.orientation=upright")


def main(argv: list[str] | None = None) -> None:
    """Reads, looks, prints and writes."""
    args = parse(argv)
    logging.basicConfig(format="%(message)s")
    refuse_sources([args.json, args.html], [args.gt, args.cfg])
    protocol = make_protocol(args.protocol, parse_ranges(args.ranges) if args.ranges else None)
    if args.images and not args.images.is_dir():
        raise FileNotFoundError(f"image folder {args.images} must exist; there is no such folder: check the path")
    images = args.images or known_images(args.gt, args.split)
    if args.open and not images:
        raise ValueError(f"--open must have images to decode; {args.gt} does not say where they are: give --images")
    cfg = load_config(args.cfg or "", args.overrides)
    data = read_content(args.gt, images, split=args.split, lenient=True, orientation=cfg.data.orientation)
    content = survey(data, images, args.open, build_reading(cfg))
    report = DataReport(content, protocol, cover(content, cfg) if args.cfg else None)
    if args.json:
        write_json(args.json, report.to_json())
    if args.html:
        write_text(args.html, report.html(str(args.gt)))
    print(report.text())


if __name__ == "__main__":
    with readable_errors():
        main()
