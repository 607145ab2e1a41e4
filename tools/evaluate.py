"""Judges any detector's COCO results by size: python tools/evaluate.py --gt ann.json --dt detections.json."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.data.formats.coco_json import read_results  # noqa: E402
from lib.data.formats.registry import read_dataset  # noqa: E402
from lib.evaluation.arrays import make_detections, make_ground_truth  # noqa: E402
from lib.evaluation.engines import ENGINES  # noqa: E402
from lib.evaluation.evaluator import evaluate  # noqa: E402
from lib.evaluation.options import parse_ranges  # noqa: E402
from lib.evaluation.protocols import PROTOCOLS, make_protocol  # noqa: E402


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="AP, recall and errors by object size and class.")
    parser.add_argument("--gt", required=True, help="COCO file, or folder of VOC, YOLO or VisDrone files")
    parser.add_argument("--dt", required=True, help="COCO results: a JSON list of detections")
    parser.add_argument("--images", help="folder of the images, for the gallery of the report")
    parser.add_argument("--protocol", default="coco", choices=PROTOCOLS)
    parser.add_argument(
        "--ranges", nargs="+", metavar="NAME=LOW:HIGH", help="own ranges, px^2, such as tiny=0:256"
    )
    parser.add_argument("--iou", nargs="+", type=float, help="own IoU thresholds")
    parser.add_argument("--max-detections", nargs="+", type=int, help="own numbers of detections an image")
    parser.add_argument("--engine", default="hotcoco", choices=ENGINES)
    parser.add_argument("--json", type=Path, help="file to write: metrics, by class, counts")
    parser.add_argument("--csv", type=Path, help="file to write: one line a class and range")
    parser.add_argument("--html", type=Path, help="file to write: the report with its plots")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Reads, evaluates, writes and prints."""
    ranges = parse_ranges(arguments.ranges) if arguments.ranges else None
    protocol = make_protocol(arguments.protocol, ranges, arguments.iou, arguments.max_detections)
    dataset = read_dataset(arguments.gt, arguments.images)
    ground_truth = make_ground_truth(dataset, protocol)
    detections = make_detections(read_results(arguments.dt, dataset), ground_truth)
    result = evaluate(ground_truth, detections, protocol, arguments.engine)
    outputs = {arguments.json: lambda: json.dumps(result.to_json(), indent=1), arguments.csv: result.to_csv}
    if arguments.html:
        from lib.evaluation.report.evaluation import build_report  # plots take a second to import

        title, folder = f"{arguments.dt} on {arguments.gt}", arguments.images and Path(arguments.images)
        report = (title, result, ground_truth, detections, dataset["images"], folder)
        outputs[arguments.html] = lambda: build_report(*report)
    for path, write in outputs.items():
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(write(), encoding="utf-8")
    print(result.table())


def main(argv: list[str] | None = None) -> None:
    """Runs, with one line for what a user can get wrong."""
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    try:
        run(parse_arguments(argv))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    gc.disable()  # large files become many small objects that stay: looking through them costs a quarter of the time
    main()
