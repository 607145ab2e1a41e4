"""Tells whether one detector is better than another, by a paired bootstrap over the images that both were tested on.

python tools/compare.py a/detections.json b/detections.json --gt ann.json --html comparison.html
"""

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.engine.results_files import add_truth_options, read_judged
from lib.evaluation.compare import compare
from lib.evaluation.report.comparison import build_comparison, comparison_rows, short_names, summary
from lib.utils.command_line import readable_errors, script_parser
from lib.utils.files import refuse_sources, write_json, write_text
from lib.utils.runtime import set_threads
from lib.utils.table import align


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    add("first", help="COCO results of the first detector")
    add("second", help="COCO results of the second")
    add_truth_options(parser)
    add("--images", help="folder of the images, if it is not where the YOLO or VisDrone format expects it")
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
    paths = args.first, args.second
    _, protocol, truth, (first, second) = read_judged(args, paths)
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
