"""Tells whether one detector is better than another, by a paired bootstrap over the images that both were tested on.

python tools/compare.py a/detections.json b/detections.json --gt ann.json --html comparison.html
"""

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.data.formats.coco_json import read_results
from lib.data.formats.registry import ORIENTATIONS
from lib.data.truth import read_truth
from lib.evaluation.arrays import ids_of_classes, make_detections, make_ground_truth, warn_of_undetected
from lib.evaluation.compare import compare
from lib.evaluation.protocols import PROTOCOLS, make_protocol, parse_ranges
from lib.evaluation.report.comparison import build_comparison, comparison_rows, short_names, summary
from lib.utils.command_line import readable_errors, script_parser
from lib.utils.fields import reading
from lib.utils.files import refuse_sources, write_json, write_text
from lib.utils.runtime import set_threads
from lib.utils.table import align


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    add("first", help="COCO results of the first detector")
    add("second", help="COCO results of the second")
    add("--gt", required=True, help="COCO file, data.yaml, or folder of VOC, YOLO or VisDrone files")
    add("--split", default="val", help="split of a data.yaml (default: %(default)s)")
    add("--images", help="folder of the images, if it is not where the YOLO or VisDrone format expects it")
    orientation = "the data.orientation that the tests used; matters only for photos with an EXIF orientation"
    add("--orientation", choices=ORIENTATIONS, help=orientation)
    classes = "names of the classes to evaluate: those of the detector, if the file has others too (default: all)"
    add("--classes", nargs="+", metavar="NAME", help=classes)
    add("--protocol", default="coco", choices=PROTOCOLS, help="rules of the evaluation (default: %(default)s)")
    ranges = "size ranges instead of the protocol's, as areas in px^2, such as tiny=0:256"
    add("--ranges", nargs="+", metavar="NAME=LOW:HIGH", help=ranges)
    add("--resamples", type=int, default=1000, help="number of bootstrap resamples (default: %(default)s)")
    add("--seed", type=int, default=0, help="seed of the resampling (default: %(default)s)")
    add("--json", type=Path, help="JSON file to write: values, intervals, p-values")
    add("--html", type=Path, help="HTML file to write: tables and plots")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Reads, compares, prints and writes."""
    args = parse(argv)
    logging.basicConfig(format="%(message)s")
    refuse_sources([args.json, args.html], [args.first, args.second, args.gt])
    set_threads(1)  # the work is many small steps: threads would only wait for each other
    protocol = make_protocol(args.protocol, parse_ranges(args.ranges) if args.ranges else None)
    dataset = read_truth(args.gt, args.images, args.split, args.orientation)
    truth = make_ground_truth(dataset, protocol, ids_of_classes(dataset, args.classes))
    paths = args.first, args.second
    tables = []
    for path in paths:
        with reading(path):
            tables.append(make_detections(read_results(path, dataset), truth))
        warn_of_undetected(path, tables[-1], truth)
    first, second = tables
    names = short_names(*paths)
    comparison = compare(truth, first, second, protocol, args.resamples, args.seed)
    if args.json:
        parts = {key: [row.to_json() for row in getattr(comparison, key)] for key in ("metrics", "classes")}
        write_json(args.json, {"first": names[0], "second": names[1], **parts})
    if args.html:
        write_text(args.html, build_comparison(comparison, names))
    rows = comparison_rows([*comparison.metrics, *comparison.classes], names)
    print(f"{align(rows)}\n\n{summary(comparison, names)}")


if __name__ == "__main__":
    with readable_errors():
        main()
