"""What is wrong with a data set, and do priors meet it: python tools/check_dataset.py --gt ann.json [--cfg ...]."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from dataset_report import cover, html_report, json_report, text_report  # noqa: E402

from lib.data.formats.coco_json import check_structure, read_json  # noqa: E402
from lib.data.formats.registry import read_dataset  # noqa: E402
from lib.data.survey import survey  # noqa: E402
from lib.evaluation.protocols import PROTOCOLS, make_protocol, parse_ranges  # noqa: E402
from lib.utils.files import write_json  # noqa: E402


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Look for faults in a data set before training on it.")
    parser.add_argument(
        "--gt", required=True, type=Path, help="COCO file, or folder of VOC, YOLO or VisDrone files"
    )
    parser.add_argument(
        "--images", type=Path, help="folder of the images; without it files are not looked at"
    )
    parser.add_argument("--open", action="store_true", help="decode every image, which finds truncated ones")
    parser.add_argument("--cfg", help="experiment whose priors are held against the objects")
    parser.add_argument("--protocol", default="coco", choices=PROTOCOLS, help="whose size ranges to count by")
    parser.add_argument(
        "--ranges", nargs="+", metavar="NAME=LOW:HIGH", help="own ranges, px^2, such as tiny=0:256"
    )
    parser.add_argument("--json", type=Path, help="file to write: counts and all problems")
    parser.add_argument("--html", type=Path, help="file to write: the report with plots")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Reads, looks, prints and writes."""
    protocol = make_protocol(arguments.protocol, parse_ranges(arguments.ranges) if arguments.ranges else None)
    if arguments.gt.is_file():  # unknown ids are problems to report here, not errors
        coco = read_json(arguments.gt)
        check_structure(coco, str(arguments.gt))
    else:
        coco = read_dataset(arguments.gt, arguments.images)
    if arguments.images and not arguments.images.is_dir():
        raise FileNotFoundError(f"--images must be a folder; {arguments.images} is none: check the path")
    found = survey(coco, arguments.images, arguments.open)
    coverage = cover(found, arguments.cfg) if arguments.cfg else None
    if arguments.json:
        write_json(arguments.json, json_report(found, protocol, coverage))
    if arguments.html:
        arguments.html.write_text(html_report(str(arguments.gt), found, protocol, coverage), encoding="utf-8")
    print(text_report(found, protocol, coverage))


def main(argv: list[str] | None = None) -> None:
    """Runs, with one line for what a user can get wrong."""
    logging.basicConfig(format="%(message)s")
    try:
        run(parse_arguments(argv))
    except (ValueError, TypeError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
