"""Is the gain real? python tools/compare.py A.json B.json --gt ann.json: paired bootstrap over images."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch  # noqa: E402

from lib.data.formats.coco_json import read_results  # noqa: E402
from lib.data.formats.registry import read_dataset  # noqa: E402
from lib.evaluation.arrays import make_detections, make_ground_truth  # noqa: E402
from lib.evaluation.compare import compare, comparison_rows, short_names, summary  # noqa: E402
from lib.evaluation.options import parse_ranges  # noqa: E402
from lib.evaluation.protocols import PROTOCOLS, make_protocol  # noqa: E402
from lib.evaluation.tables import align  # noqa: E402
from lib.utils.files import write_json  # noqa: E402


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Compare two detectors' COCO results on the same images.")
    parser.add_argument("first", help="COCO results of the first detector")
    parser.add_argument("second", help="COCO results of the second")
    parser.add_argument("--gt", required=True, help="COCO file, or folder of VOC, YOLO or VisDrone files")
    parser.add_argument(
        "--images", help="folder of the images, where a YOLO or VisDrone folder does not have it"
    )
    parser.add_argument("--protocol", default="coco", choices=PROTOCOLS)
    parser.add_argument(
        "--ranges", nargs="+", metavar="NAME=LOW:HIGH", help="own ranges, px^2, such as tiny=0:256"
    )
    parser.add_argument("--resamples", type=int, default=1000, help="drawings of the images (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the drawings (default: 0)")
    parser.add_argument("--json", type=Path, help="file to write: values, intervals, p-values")
    parser.add_argument("--html", type=Path, help="file to write: tables and plots")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Reads, compares, prints and writes."""
    protocol = make_protocol(arguments.protocol, parse_ranges(arguments.ranges) if arguments.ranges else None)
    dataset = read_dataset(arguments.gt, arguments.images)
    truth = make_ground_truth(dataset, protocol)
    paths = arguments.first, arguments.second
    tables = [make_detections(read_results(path, dataset), truth) for path in paths]
    names = short_names(*paths)
    comparison = compare(truth, *tables, protocol, arguments.resamples, arguments.seed)
    if arguments.json:
        parts = {
            key: [found.to_json() for found in getattr(comparison, key)] for key in ("metrics", "classes")
        }
        write_json(arguments.json, {"first": names[0], "second": names[1], **parts})
    if arguments.html:
        from lib.evaluation.report.comparison import build_comparison  # plots take a second to import

        arguments.html.write_text(build_comparison(comparison, names), encoding="utf-8")
    print(f"{align(comparison_rows(comparison, names))}\n\n{summary(comparison, names)}")


def main(argv: list[str] | None = None) -> None:
    """Runs, with one line for what a user can get wrong."""
    logging.basicConfig(format="%(message)s")
    torch.set_num_threads(1)  # the work is many small steps: threads would only wait for each other
    try:
        run(parse_arguments(argv))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
