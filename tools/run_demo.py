"""The main job on the embedded data set: make demo.

    python tools/run_demo.py

Two detectors are fine-tuned from one plain detector for the same time, tested by object size, and compared in a
table, a chart and pictures in runs/demo/.
"""

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
from lib.data.formats.coco_json import read_json  # noqa: E402
from lib.data.synthetic.dataset import generate  # noqa: E402
from lib.evaluation.report.side_by_side import comparison_table, plot_by_size, plot_images  # noqa: E402
from lib.utils.log import progress  # noqa: E402
from lib.utils.runtime import readable_errors, script_parser  # noqa: E402

OUT, EXPERIMENTS = ROOT / "runs" / "demo", ROOT / "experiments" / "demo"
NAMES = ("plain", "S1L0_dual")


def script(*command: str) -> list[str]:
    """A command that runs a script of this project; it is printed as a user would type it."""
    print("$ python", *command, flush=True)
    return [sys.executable, *command]


def train(names: Sequence[str]) -> None:
    """Trains experiments/demo/<name>.yml anew, all at once, so that other load slows them alike."""
    running = {}
    for name in names:
        for old in ("last.pth", "best.pth", "epochs.jsonl"):
            (OUT / name / old).unlink(missing_ok=True)
        options = f"--cfg=experiments/demo/{name}.yml", f"run.dir={OUT}", f"run.name={name}"
        command, log = script("train.py", *options), (OUT / f"{name}.log").open("w")
        running[name] = subprocess.Popen(command, cwd=ROOT, stderr=log)
    limit = load_config(EXPERIMENTS / f"{names[0]}.yml").train.time_limit_s or 0
    for _ in progress(range(int(limit)), f"training {' and '.join(names)}, seconds"):
        if any(process.poll() for process in running.values()):
            break
        time.sleep(1)
    for name, process in running.items():
        if process.wait():
            sys.exit((OUT / f"{name}.log").read_text()[-2000:])


def main(argv: list[str] | None = None) -> None:
    """Generates the data, trains, tests, compares."""
    parser = script_parser(__doc__)
    parser.add_argument("--weights-only", action="store_true", help="train the plain detector to start from")
    args = parser.parse_args(argv)
    generate(OUT / "data", 1200, 200, num_classes=6, image_sizes=(180, 260), object_sizes=(6, 80))
    train(["pretrain"] if args.weights_only else NAMES)
    if args.weights_only:
        save_weights(EXPERIMENTS / "plain.pth", read_run(OUT / "pretrain" / "last.pth"))
        return
    for name in NAMES:
        options = f"--checkpoint={OUT / name / 'last.pth'}", f"--json={OUT / name}.json"
        subprocess.run(script("test.py", *options), cwd=ROOT, check=True)
    results = {name: read_json(OUT / f"{name}.json") for name in NAMES}
    detections = {name: read_json(OUT / name / "detections.json") for name in NAMES}
    print(f"\n{comparison_table(results)}\n")
    dataset = CocoDataset(OUT / "data" / "val", OUT / "data" / "val.json")
    by_size = plot_by_size(results, OUT / "by_size.png")
    for figure in (by_size, plot_images(dataset, detections, OUT / "detections.png")):
        print(f"look at {figure.relative_to(ROOT)}")


if __name__ == "__main__":
    with readable_errors():
        main()
