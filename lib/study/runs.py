"""The runs of a study: trained and tested by the project's own scripts, several at once, one JSON file each."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch

from lib.build import build_detector, build_protocol
from lib.build_data import build_dataset, input_size
from lib.checkpoint import read_run
from lib.evaluation.analysis import size_curve
from lib.evaluation.arrays import DetectionTable, GroundTruth, make_detections, make_ground_truth
from lib.evaluation.protocols import Protocol
from lib.models.cost import cost_of
from lib.study.grid import Run
from lib.utils.files import write_json
from lib.utils.log import progress
from lib.utils.reading import read_json
from lib.utils.runtime import choose_device, device_name

ROOT = Path(__file__).resolve().parents[2]
log = logging.getLogger(__name__)


class RunFailed(ValueError):
    """A script of a run failed; the message names its log and has its last line."""


def jobs_on(device: torch.device) -> int:
    """Runs at once: one on a GPU, else one for each core."""
    if device.type == "cuda":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # not on macOS


def run_all(runs: Sequence[Run], results: Path, overrides: Sequence[str], jobs: int) -> list[str]:
    """Trains and tests, ``jobs`` at once, what has no result of the same configuration in the folder ``results`` yet.

    A failure does not stop the other runs. Returns the names of those that failed.
    """
    with ThreadPoolExecutor(jobs) as pool:
        done = pool.map(lambda run: _run(run, results, overrides), runs)
        outcomes = list(progress(done, "runs of the study", total=len(runs)))
    return [run.name for run, has_result in zip(runs, outcomes, strict=True) if not has_result]


def train(run: Run, overrides: Sequence[str]) -> None:
    """Trains a run, or what is left of it. The last weights count, so there is no test during training."""
    # Without annotations a data.layout still has test images, so both keys are needed.
    no_test = ("data.val.annotations=null", "train.eval_every=0")
    place = (f"run.dir={run.folder.parent}", f"run.name={run.folder.name}")
    _script(run.folder, "train.py", f"--cfg={run.file}", "--resume", *overrides, *no_test, *place)


def is_done(run: Run, results: Path) -> bool:
    """Whether the run has a result, of this very configuration."""
    file = results / f"{run.name}.json"
    return file.exists() and read_json(file)["digest"] == run.digest


def _run(run: Run, results: Path, overrides: Sequence[str]) -> bool:
    """Trains and tests a run unless that is done; whether it has its result."""
    if is_done(run, results):
        log.info("%s is done already", run.name)
        return True
    started = time.monotonic()
    files = f"--checkpoint={run.folder / 'last.pth'}", f"--json={run.folder / 'metrics.json'}"
    try:
        train(run, overrides)
        _script(run.folder, "test.py", f"--cfg={run.file}", *files, *overrides)
    except RunFailed as error:
        log.error("%s FAILED: %s", run.name, error)
        return False
    write_json(results / f"{run.name}.json", _result(run))
    log.info("%s took %.0f s", run.name, time.monotonic() - started)
    return True


def _script(folder: Path, name: str, *arguments: str) -> None:
    """Runs a script of this project; what it prints goes to study.log."""
    folder.mkdir(parents=True, exist_ok=True)
    log_file = folder / "study.log"
    with log_file.open("a", encoding="utf-8") as file:
        command = [sys.executable, str(ROOT / name), *arguments]
        status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    if status:
        last = log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-1:]
        raise RunFailed(f"{name} must end with status 0; got {status}, see {log_file}: {' '.join(last)}")


def _result(run: Run) -> dict[str, Any]:
    """What reports need of a run that was trained and tested: plain values, a few kilobytes."""
    metrics, about = (read_json(run.folder / name) for name in ("metrics.json", "run.json"))
    position = read_run(run.folder / "last.pth")["position"]
    curve = size_curve(*tested(run))
    with torch.device("meta"):
        cost = cost_of(build_detector(run.cfg), input_size(run.cfg))
    return {
        **{key: getattr(run, key) for key in ("row", "budget", "seed", "digest")},
        **{key: metrics[key] for key in ("metrics", "counts")},
        "curve": None if curve is None else {name: value.tolist() for name, value in curve._asdict().items()},
        "input_size": list(input_size(run.cfg)),
        "priors": cost.num_priors,
        "gmac": cost.macs / 1e9,
        "parameters": cost.parameters,
        "epochs": position["epoch"],
        "images_seen": position["steps"] * run.cfg.train.batch_size,
        "seconds": position["seconds"],
        "commit": about["commit"],
        "date": about["started"],
        "device": device_name(choose_device(run.cfg.run.device)),
        "torch": about["torch"],
        "threads": run.cfg.run.threads,
        "precision": run.cfg.train.precision,
    }


class Tested(NamedTuple):
    """What the test of a run compared, and by which protocol."""

    ground_truth: GroundTruth
    detections: DetectionTable
    protocol: Protocol


def tested(run: Run) -> Tested:
    """Ground truth, detections and protocol of a run that was tested."""
    classes = read_run(run.folder / "last.pth")["classes"]
    dataset, protocol = build_dataset(run.cfg, "val", classes), build_protocol(run.cfg)
    truth = make_ground_truth(dataset.ground_truth, protocol, dataset.category_ids)
    return Tested(truth, make_detections(read_json(run.folder / "detections.json"), truth), protocol)
