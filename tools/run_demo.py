"""The main job on the embedded data set: make demo.

    python tools/run_demo.py

Two detectors are fine-tuned from one plain detector for the same time, tested by object size, and compared in a
table, a chart and pictures in runs/demo/.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lib.checkpoint import read_run, save_weights  # noqa: E402
from lib.config import load_config  # noqa: E402
from lib.data.dataset import CocoDataset  # noqa: E402
from lib.data.synthetic.dataset import generate  # noqa: E402
from lib.evaluation.report.side_by_side import comparison_table, plot_by_size, plot_images  # noqa: E402
from lib.utils.log import progress  # noqa: E402
from lib.utils.runtime import readable_errors, script_parser  # noqa: E402

OUT = ROOT / "runs" / "demo"
WEIGHTS = ROOT / "experiments" / "demo" / "plain.pth"
NAMES = ("plain", "S1L0_dual")


def script(*command: str) -> list[str]:
    """Prints a command as a user would type it, a script of this project and its arguments, and returns it."""
    print("$ python", *command, flush=True)
    return [sys.executable, *command]


def train(names: Sequence[str]) -> None:
    """Trains experiments/demo/<name>.yml anew, all at once, so that other load slows them alike."""
    running = {}
    for name in names:
        for old in ("last.pth", "best.pth", "epochs.jsonl"):
            (OUT / name / old).unlink(missing_ok=True)
        config = f"--cfg=experiments/demo/{name}.yml"
        command = script("train.py", config, f"run.dir={OUT}", f"run.name={name}")
        running[name] = subprocess.Popen(command, cwd=ROOT, stderr=(OUT / f"{name}.log").open("w"))
    limit = load_config(ROOT / "experiments" / "demo" / f"{names[0]}.yml").train.time_limit_s or 0
    for _ in progress(range(int(limit)), f"training {' and '.join(names)}, seconds"):
        if any(process.poll() for process in running.values()):
            break
        time.sleep(1)
    for name, process in running.items():
        if process.wait():
            sys.exit((OUT / f"{name}.log").read_text()[-2000:])


def test(name: str) -> tuple[dict, list]:
    """Metrics and detections of a trained detector on the test images."""
    command = script("test.py", f"--checkpoint={OUT / name / 'last.pth'}", f"--json={OUT / name}.json")
    subprocess.run(command, cwd=ROOT, check=True)
    files = OUT / f"{name}.json", OUT / name / "detections.json"
    metrics, detections = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    return metrics, detections


def main(argv: list[str] | None = None) -> None:
    """Generates the data, trains, tests, compares."""
    parser = script_parser(__doc__)
    parser.add_argument("--weights-only", action="store_true", help="train the plain detector to start from")
    args = parser.parse_args(argv)
    generate(OUT / "data", 1200, 200, num_classes=6, image_sizes=(180, 260), object_sizes=(6, 80))
    if args.weights_only:
        train(["pretrain"])
        save_weights(WEIGHTS, read_run(OUT / "pretrain" / "last.pth"))
        print(f"{WEIGHTS.relative_to(ROOT)}: {WEIGHTS.stat().st_size / 1e6:.2f} MB")
        return
    train(NAMES)
    tested = {name: test(name) for name in NAMES}
    results = {name: metrics for name, (metrics, _) in tested.items()}
    detections = {name: entries for name, (_, entries) in tested.items()}
    print(f"\n{comparison_table(results)}\n")
    dataset = CocoDataset(OUT / "data" / "val", OUT / "data" / "val.json")
    by_size = plot_by_size(results, OUT / "by_size.png")
    for figure in (by_size, plot_images(dataset, detections, OUT / "detections.png")):
        print(f"look at {figure.relative_to(ROOT)}")


if __name__ == "__main__":
    with readable_errors():
        main()
