"""Trains an experiment of ours for a job of tools/bench/real.py."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from job import Found, answer, read_job, read_split

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
import train
from lib.inference import Predictor
from lib.inference.model_file import load_detector


def main(job: Any) -> None:
    """Trains, detects, answers."""
    own = {
        f"data.{split}.{key}": value
        for split, key, value in (
            ("train", "annotations", job.train),
            ("train", "images", job.train_images),
            ("val", "annotations", job.val),
            ("val", "images", job.val_images),
        )
    }
    own |= {"train.clock": "cpu", "train.time_limit_s": job.seconds, "train.eval_every": 0, "data.workers": 0}
    own |= {"run.threads": 1, "run.device": "cpu", "run.seed": job.seed, "run.dir": job.folder, "run.name": "run"}
    overrides = [f"{key}={value}" for key, value in {**own, **job.settings}.items()]
    train.main([f"--cfg={job.cfg}", *overrides])
    run = Path(job.folder) / "run"
    last = json.loads((run / "epochs.jsonl").read_text().splitlines()[-1])
    loaded, split = load_detector(run / "last.pth"), read_split(job.val, job.val_images)
    parameters = sum(parameter.numel() for parameter in loaded.detector.parameters())
    predictor: Any = Predictor(loaded, device="cpu")

    def detect(image: np.ndarray) -> Found:
        found = predictor(image)
        return found.boxes.numpy(), found.scores.numpy(), found.labels.numpy() - 1

    figures = {"cfg": job.cfg, "settings": job.settings, "parameters": parameters, "epochs": last["epoch"]}
    answer(job, split, detect, {**figures, "cpu_seconds": last["seconds"], "versions": {"torch": torch.__version__}})


if __name__ == "__main__":
    main(read_job())
