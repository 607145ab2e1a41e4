"""The main job on the embedded data set (make demo): two detectors fine-tuned from one plain detector for the
same time, tested by object size, compared in a table, a chart and pictures in runs/demo/.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lib.checkpoint import read_run, save_checkpoint  # noqa: E402
from lib.data.coco import CocoDataset  # noqa: E402
from lib.data.synthetic import generate  # noqa: E402
from lib.evaluation.side_by_side import comparison_table, plot_by_size, plot_images  # noqa: E402
from lib.utils.runtime import readable_errors  # noqa: E402

OUT = ROOT / "runs" / "demo"
WEIGHTS = ROOT / "experiments" / "demo" / "plain.pth"
NAMES = ("plain", "S1L0_dual")


def run(*command: str) -> None:
    """Runs a script of this project as a user would, shown first."""
    print("\n$ python", *command, flush=True)
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True)


def train(name: str) -> Path:
    """Trains experiments/demo/<name>.yml anew; its last checkpoint."""
    folder = OUT / name
    (folder / "last.pth").unlink(missing_ok=True)
    run("train.py", f"--cfg=experiments/demo/{name}.yml", f"run.dir={OUT}", f"run.name={name}")
    return folder / "last.pth"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--weights-only", action="store_true", help="train the plain detector that the demo starts from"
    )
    args = parser.parse_args()
    generate(OUT / "data", 1200, 200, num_classes=6, image_sizes=(180, 260), object_sizes=(6, 80))
    if args.weights_only:
        run_content = read_run(train("pretrain"))
        save_checkpoint(
            WEIGHTS, {key: run_content[key] for key in ("model", "config", "classes", "category_ids")}
        )
        print(f"{WEIGHTS}: {WEIGHTS.stat().st_size / 1e6:.2f} MB")
        return
    results, detections = {}, {}
    for name in NAMES:
        checkpoint = str(train(name))
        run("test.py", f"--checkpoint={checkpoint}", f"--json={OUT / name}.json")
        results[name] = json.loads((OUT / f"{name}.json").read_text())
        detections[name] = json.loads((OUT / name / "detections.json").read_text())
    print(f"\n{comparison_table(results)}")
    dataset = CocoDataset(OUT / "data" / "val", OUT / "data" / "val.json")
    for figure in (
        plot_by_size(results, OUT / "by_size.png"),
        plot_images(dataset, detections, OUT / "detections.png"),
    ):
        print(f"look at {figure.relative_to(ROOT)}")


if __name__ == "__main__":
    with readable_errors():
        main()
