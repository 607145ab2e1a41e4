"""Evaluates any detector's COCO results: AP, recall and errors by object size and by class.

python tools/evaluate.py --gt ann.json --dt detections.json --images DIR --html report.html --json out.json
python tools/evaluate.py --gt ann.json --dt detections.json --ranges tiny=0:256 small=256:1024 large=1024:
"""

import argparse
import gc
import json
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.data.truth import picture_reader
from lib.engine.results_files import add_truth_options, read_judged
from lib.evaluation.engines import ENGINES
from lib.evaluation.evaluator import evaluate
from lib.utils.command_line import readable_errors, script_parser
from lib.utils.files import refuse_sources, write_text


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = script_parser(__doc__)
    add_truth_options(parser)
    add = parser.add_argument
    add("--dt", required=True, help="COCO results: a JSON list of detections")
    images = (
        "folder of the images: for the pictures in the report, and for YOLO or VisDrone data that keep them elsewhere"
    )
    add("--images", help=images)
    add("--links", action="store_true", help="let the pictures follow symbolic links that lead out of --images")
    add("--iou", nargs="+", type=float, help="IoU thresholds instead of the protocol's, such as 0.5 0.75")
    limits = "limits on the detections of each class in an image (visdrone: of all), such as 1 10 100"
    add("--max-detections", nargs="+", type=int, help=limits)
    add("--engine", default="hotcoco", choices=ENGINES, help="package that computes the metrics (default: %(default)s)")
    add("--json", type=Path, help="JSON file to write: metrics, also by class, and counts")
    add("--csv", type=Path, help="CSV file to write: one line per class and range")
    add("--html", type=Path, help="HTML file to write: the report with its plots")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Reads, evaluates, writes and prints."""
    args = parse(argv)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    refuse_sources([args.json, args.csv, args.html], [args.gt, args.dt])
    dataset, protocol, ground_truth, (detections,) = read_judged(args, [args.dt], args.iou, args.max_detections)
    result = evaluate(ground_truth, detections, protocol, args.engine)
    outputs = {args.json: lambda: json.dumps(result.to_json(), indent=1), args.csv: result.to_csv}
    if args.html:
        from lib.evaluation.report.evaluation import build_report  # plots take a second to import

        title, folder = f"{args.dt} on {args.gt}", args.images and Path(args.images)
        read = picture_reader(dataset, folder) if folder else None
        report = (title, result, ground_truth, detections, dataset["images"], folder, args.links, read)
        outputs[args.html] = lambda: build_report(*report)
    for path, write in outputs.items():
        if path is not None:
            write_text(path, write())
    print(result.table())


if __name__ == "__main__":
    gc.disable()  # large files become many small objects that stay: looking through them costs a quarter of the time
    with readable_errors():
        main()
