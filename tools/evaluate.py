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

from lib.data.formats.coco_json import read_results
from lib.data.formats.registry import ORIENTATIONS
from lib.data.truth import picture_reader, read_truth
from lib.evaluation.arrays import ids_of_classes, make_detections, make_ground_truth, warn_of_undetected
from lib.evaluation.engines import ENGINES
from lib.evaluation.evaluator import evaluate
from lib.evaluation.protocols import PROTOCOLS, make_protocol, parse_ranges
from lib.utils.command_line import readable_errors, script_parser
from lib.utils.fields import reading
from lib.utils.files import refuse_sources, write_text


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    add("--gt", required=True, help="COCO file, data.yaml, or folder of VOC, YOLO or VisDrone files")
    add("--dt", required=True, help="COCO results: a JSON list of detections")
    add("--split", default="val", help="split of a data.yaml (default: %(default)s)")
    images = (
        "folder of the images: for the pictures in the report, and for YOLO or VisDrone data that keep them elsewhere"
    )
    add("--images", help=images)
    orientation = "the data.orientation that the test used; matters only for photos with an EXIF orientation"
    add("--orientation", choices=ORIENTATIONS, help=orientation)
    add("--links", action="store_true", help="let the pictures follow symbolic links that lead out of --images")
    classes = "names of the classes to evaluate: those of the detector, if the file has others too (default: all)"
    add("--classes", nargs="+", metavar="NAME", help=classes)
    add("--protocol", default="coco", choices=PROTOCOLS, help="rules of the evaluation (default: %(default)s)")
    ranges = "size ranges instead of the protocol's, as areas in px^2, such as tiny=0:256"
    add("--ranges", nargs="+", metavar="NAME=LOW:HIGH", help=ranges)
    add("--iou", nargs="+", type=float, help="IoU thresholds instead of the protocol's, such as 0.5 0.75")
    limits = "numbers of detections per image to evaluate, instead of the protocol's, such as 1 10 100"
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
    ranges = parse_ranges(args.ranges) if args.ranges else None
    protocol = make_protocol(args.protocol, ranges, args.iou, args.max_detections)
    dataset = read_truth(args.gt, args.images, args.split, args.orientation)
    ground_truth = make_ground_truth(dataset, protocol, ids_of_classes(dataset, args.classes))
    with reading(args.dt):
        detections = make_detections(read_results(args.dt, dataset), ground_truth)
    warn_of_undetected(args.dt, detections, ground_truth)
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
