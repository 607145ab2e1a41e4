"""Trains a detector for an equal CPU time on COCO files, ours or a peer, and tests it in pixels of the images.

Training runs in one thread, and its whole CPU time counts, the loading of images included; each learning-rate schedule
spans this time. The weights of the last step are then tested on the images of --val, one at a time. OUT.json gets the
metrics by our evaluator, CPU seconds, parameters, the time of an image, machine and versions; OUT.dt.json gets the
detections, for tools/evaluate.py and tools/compare.py.

ours: an experiment, by --cfg. ssdlite: torchvision's SSDLite320 and recipe over EfficientNet-Lite0 with the ImageNet
weights that ours starts from; --python must have torch, torchvision and timm. yolo11n: from random weights;
--python must have ultralytics. None of these packages is installed or imported by this script.

    DATA="--images=DIR --train=TRAIN.json --val=VAL.json"
    python tools/bench/real.py --peer=ours --cfg=experiments/light/half_hour.yml $DATA --out=ours.json
    python tools/bench/real.py --peer=ssdlite --python=VENV/bin/python $DATA --out=ssdlite.json batch=8
    python tools/bench/real.py --peer=yolo11n --python=VENV/bin/python $DATA --out=yolo11n.json nbs=16
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from lib.data.truth import read_truth
from lib.evaluation.arrays import make_detections, make_ground_truth
from lib.evaluation.evaluator import evaluate
from lib.evaluation.protocols import make_protocol
from lib.models.pretrained import pretrained, weight_file
from lib.timing.turns import machine
from lib.utils.command_line import readable_errors, script_parser
from lib.utils.files import refuse_sources, try_to_write, write_json
from lib.utils.yaml_files import read_yaml

WORKERS = {"ours": "ours_worker.py", "ssdlite": "ssdlite_worker.py", "yolo11n": "yolo_worker.py"}
# One thread; and freed memory is kept for the next step, as our train.py does by itself: it saves all of them time.
ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1"),
    **{"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)},
}


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    peers = "detector to train: ours (an experiment of this project), ssdlite (torchvision) or yolo11n (ultralytics)"
    add("--peer", required=True, choices=WORKERS, help=peers)
    python = "Python interpreter that runs the training (default: this one)"
    add("--python", default=sys.executable, metavar="INTERPRETER", help=python)
    add(
        "--cfg",
        default="experiments/light/half_hour.yml",
        help="experiment file, with --peer=ours (default: %(default)s)",
    )
    add("--images", required=True, metavar="DIR", help="folder of the images")
    add("--val-images", metavar="DIR", help="folder of the validation images (default: --images)")
    add("--train", required=True, metavar="FILE.json", help="COCO file to train on")
    add("--val", required=True, metavar="FILE.json", help="COCO file to test on")
    add("--seconds", type=float, default=1800, help="CPU seconds of the training (default: %(default)s)")
    add("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    add("--out", required=True, type=Path, metavar="OUT.json", help="file to write")
    add(
        "settings",
        nargs="*",
        metavar="key=value",
        help="settings of the peer's recipe, or of the config with --peer=ours",
    )
    return parser.parse_intermixed_args(argv)


def run_worker(args: argparse.Namespace, folder: str) -> dict[str, Any]:
    """The answer of the peer's worker, which runs in a process of its own."""
    paths = {"train": args.train, "val": args.val, "train_images": args.images}
    job: dict[str, Any] = {name: str(Path(path).resolve()) for name, path in paths.items()}
    job["val_images"] = str(Path(args.val_images or args.images).resolve())
    pairs = (text.partition("=") for text in args.settings)
    job["settings"] = {key: read_yaml(value, f"the value of {key}") for key, _, value in pairs}
    job |= {"seconds": args.seconds, "seed": args.seed, "folder": folder, "cfg": str(Path(args.cfg).resolve())}
    if args.peer == "ssdlite":
        job["weights"] = weight_file(pretrained("efficientnet_lite0"))
    file = Path(folder) / "job.json"
    file.write_text(json.dumps(job))
    command = [args.python, str(ROOT / "tools" / "bench" / "peers" / WORKERS[args.peer]), str(file)]
    status = subprocess.run(command, env={**os.environ, **ENVIRONMENT}).returncode
    if status:
        raise RuntimeError(f"{args.peer} ended with status {status}; its own error stands above")
    answer: dict[str, Any] = json.loads((Path(folder) / "answer.json").read_text())
    return answer


def main(argv: list[str] | None = None) -> None:
    """Trains, tests, writes and prints."""
    args = parse(argv)
    refuse_sources([args.out], [args.train, args.val])
    try_to_write({"--out=OUT.json": args.out})
    protocol, start = make_protocol(), time.perf_counter()
    truth = make_ground_truth(read_truth(args.val), protocol)
    with tempfile.TemporaryDirectory(prefix="real_") as folder:
        answer = run_worker(args, folder)
    result = evaluate(truth, make_detections(answer["results"], truth), protocol)
    report = {"peer": args.peer, "seed": args.seed, "budget_s": args.seconds, **answer["figures"], **result.to_json()}
    report |= {"wall_seconds": time.perf_counter() - start, "machine": machine(torch.device("cpu"))}
    write_json(args.out, report)
    write_json(args.out.with_suffix(".dt.json"), answer["results"])
    print(result.table())
    for key in ("cpu_seconds", "wall_seconds", "epochs", "parameters", "latency_ms"):
        print(key, report[key])


if __name__ == "__main__":
    with readable_errors():
        main()
