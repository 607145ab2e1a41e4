"""The demos: two detectors fine-tuned side by side for the same time, tested by object size, and compared."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lib.checkpoint import read_run, save_weights
from lib.config import load_config
from lib.data.dataset import CocoDataset
from lib.data.synthetic.dataset import generate
from lib.data.trees import fetch_trees
from lib.engine.evaluate import evaluate
from lib.evaluation.report.hits_and_misses import Results, outcome_of, plot_outcome, score_to_count
from lib.evaluation.report.side_by_side import comparison_table, plot_by_size, plot_images
from lib.inference.predictor import Predictor
from lib.inference.tile_dataset import write_tiles
from lib.inference.tiles import Tiles
from lib.utils.log import progress
from lib.utils.packages import PackageError
from lib.utils.reading import read_json
from lib.utils.table import align

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("plain", "S1L0_dual")
TREE_TILES = Tiles(512, 0.5)  # to train on, in random parts
SEARCH_TILES = Tiles(360, 0.25)  # for the test


class Demo(NamedTuple):
    """A demo. Its experiments are ``plain.yml`` and ``S1L0_dual.yml`` of a folder; they find their data in ``out``."""

    experiments: Path
    out: Path
    prepare: Callable[[Path], CocoDataset]  # writes the data below ``out``; gives the images of the test
    test_options: tuple[str, ...]  # of test.py
    draw: Callable[[CocoDataset, Mapping[str, Any], Mapping[str, Results], Path], Sequence[Path]]


def prepare_trees(out: Path) -> CocoDataset:
    """Two aerial images: one is cut into tiles to train on, the other one is for the test."""
    data = fetch_trees(out)
    shutil.rmtree(out / "tiles", ignore_errors=True)
    write_tiles(data["train"], out / "tiles", TREE_TILES, least_share=0.4, empty=True)
    return data["test"]


def draw_trees(dataset: CocoDataset, _: Any, detections: Mapping[str, Results], out: Path) -> Sequence[Path]:
    """Prints how many trees are counted; a picture of the whole test image for each detector.

    A detection counts from the score on that is best in the training image.
    """
    rows: list[tuple] = [("", "labeled trees", "detections", "correct", "missed", "false", "score threshold")]
    train_set, files = CocoDataset(out / "train", out / "train"), []
    for name, results in detections.items():
        predictor = Predictor(out / name / "last.pth", "cpu", tiles=SEARCH_TILES)
        min_score = score_to_count(train_set, evaluate(predictor, train_set).results())
        outcome = outcome_of(dataset, results, min_score)
        lists = (outcome.hits, outcome.missed, outcome.false_positives)
        rows.append((name, len(outcome.objects), outcome.num_counted, *map(len, lists), min_score))
        files.append(plot_outcome(dataset.load(0).image, outcome, "trees", out / f"{name}.jpg"))
    print(f"{align(rows)}\n")
    return files


def prepare_shapes(out: Path) -> CocoDataset:
    """Generated images of simple shapes."""
    generate(out / "data", 1200, 200, num_classes=6, image_sizes=(180, 260), object_sizes=(6, 80))
    return CocoDataset(out / "data" / "val", out / "data" / "val.json")


def draw_shapes(
    dataset: CocoDataset, results: Mapping[str, Any], detections: Mapping[str, Results], out: Path
) -> Sequence[Path]:
    """A chart by size, and the fullest images with what each detector finds."""
    return plot_by_size(results, out / "by_size.png"), plot_images(dataset, detections, out / "detections.png")


TEST_TREES = (
    f"--tiles={SEARCH_TILES.size},{SEARCH_TILES.overlap}",
    "data.val.images=runs/demo/test",
    "data.val.annotations=runs/demo/test",
)
DEMOS = {
    "trees": Demo(ROOT / "experiments" / "trees", ROOT / "runs" / "demo", prepare_trees, TEST_TREES, draw_trees),
    "synthetic": Demo(
        ROOT / "experiments" / "synthetic", ROOT / "runs" / "demo_synthetic", prepare_shapes, (), draw_shapes
    ),
}


def run_demo(name: str) -> None:
    """Prepares the data, trains, tests and compares. Where a package of images cannot be had, shapes replace them."""
    demo = DEMOS[name]
    try:
        dataset = demo.prepare(demo.out)
    except PackageError as error:
        print(f"the photographs cannot be downloaded, so the demo uses generated images instead: {error}", flush=True)
        demo = DEMOS["synthetic"]
        dataset = demo.prepare(demo.out)
    train(demo, NAMES)
    for name in NAMES:
        files = f"--checkpoint={demo.out / name / 'last.pth'}", f"--json={demo.out / name}.json"
        subprocess.run(_script("test.py", *files, *demo.test_options), cwd=ROOT, check=True)
    results = {name: read_json(demo.out / f"{name}.json") for name in NAMES}
    detections = {name: read_json(demo.out / name / "detections.json") for name in NAMES}
    print(f"\n{comparison_table(results)}\n")
    for figure in demo.draw(dataset, results, detections, demo.out):
        print(f"look at {figure.relative_to(ROOT)}")


def make_weights(demo: Demo) -> None:
    """Trains the plain detector that both detectors of a demo start from, ``pretrain.yml``, and saves its weights."""
    demo.prepare(demo.out)
    train(demo, ["pretrain"])
    save_weights(demo.experiments / "plain.pth", read_run(demo.out / "pretrain" / "last.pth"))


def train(demo: Demo, names: Sequence[str]) -> None:
    """Trains the experiments of these names anew, all at once, so that other load slows them alike."""
    running = {}
    for name in names:
        for old in ("last.pth", "best.pth", "epochs.jsonl"):
            (demo.out / name / old).unlink(missing_ok=True)
        file = (demo.experiments / f"{name}.yml").relative_to(ROOT)
        command = _script("train.py", f"--cfg={file}", f"run.dir={demo.out}", f"run.name={name}")
        log = (demo.out / f"{name}.log").open("w")
        running[name] = subprocess.Popen(command, cwd=ROOT, stderr=log)
    limit = load_config(demo.experiments / f"{names[0]}.yml").train.time_limit_s
    _wait(running, limit, demo.out)


def _wait(running: Mapping[str, subprocess.Popen], limit_s: float | None, out: Path) -> None:
    """Returns when all processes have ended well. When one fails, the others are stopped and its log is shown.

    They may take longer than their limit, where it counts the seconds of a busy CPU.
    """
    with progress(None, f"training {' and '.join(running)}, seconds", total=int(limit_s or 0) or None) as bar:
        while None in (states := [process.poll() for process in running.values()]) and not any(states):
            time.sleep(1)
            bar.update()
    for name, process in running.items():
        if process.poll():
            for other in running.values():
                other.terminate()
            sys.exit((out / f"{name}.log").read_text()[-2000:])


def _script(*command: str) -> list[str]:
    """A command that runs a script of this project; it is printed as a user would type it."""
    print("$ python", *command, flush=True)
    return [sys.executable, *command]
