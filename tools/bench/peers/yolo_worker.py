"""Trains YOLO11n from random weights for a job of tools/bench/real.py: needs ultralytics.

Its own rule for a time limit is used, which fits the number of epochs and so the schedule to the limit; what it takes
for the time is the CPU time of this process. ``steps`` are batches. Nothing is tested on the way, nothing downloaded.
"""

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from job import Budget, Found, Split, answer, read_job, read_split

job = read_job()
os.environ.update(YOLO_CONFIG_DIR=job.folder, YOLO_AUTOINSTALL="false", YOLO_OFFLINE="true")  # read on import
import ultralytics
from ultralytics import YOLO
from ultralytics.engine import trainer as engine

DEFAULTS: dict[str, Any] = {"model": "yolo11n.yaml", "imgsz": 640, "cache": "ram"}
DETECTION = {"conf": 0.001, "iou": 0.7, "max_det": 300}  # of its own validation


def write_yolo(splits: dict[str, Split], folder: Path) -> Path:
    """The data set in YOLO's form, its images as links; the path of its data.yaml."""
    for name, split in splits.items():
        for kind in ("images", "labels"):
            (folder / kind / name).mkdir(parents=True)
        for picture in split.pictures:
            stem, scale = f"{picture.id:012d}", np.array([picture.width, picture.height] * 2)
            (folder / "images" / name / f"{stem}{picture.file.suffix}").symlink_to(picture.file.resolve())
            x1, y1, x2, y2 = (np.array(picture.boxes).reshape(-1, 4) / scale).T
            rows = zip(picture.classes, (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, strict=True)
            lines = [" ".join(map(str, row)) for row in rows]
            (folder / "labels" / name / f"{stem}.txt").write_text("\n".join(lines))
    names = "\n".join(f"  {index}: {name!r}" for index, name in enumerate(splits["train"].names))
    (folder / "data.yaml").write_text(f"path: {folder}\ntrain: images/train\nval: images/val\nnames:\n{names}\n")
    return folder / "data.yaml"


def main() -> None:
    """Trains, detects, answers."""
    torch.set_num_threads(1)
    train, val = read_split(job.train, job.train_images), read_split(job.val, job.val_images)
    settings = {**DEFAULTS, **job.settings}
    data = write_yolo({"train": train, "val": val}, Path(job.folder) / "data")
    model = YOLO(settings["model"])
    figures: dict[str, Any] = {}
    engine.time = SimpleNamespace(time=time.process_time)

    def begin(trainer: Any) -> None:
        trainer.validate, trainer.final_eval = lambda: ({}, 0.0), lambda: None
        figures.update(budget=Budget(job.seconds), steps=0)

    def count(trainer: Any) -> None:  # its own rule looks at the time only where the optimizer steps
        figures["steps"] += 1
        trainer.stop |= figures["budget"].share == 1

    def end(trainer: Any) -> None:
        figures.update(cpu_seconds=figures.pop("budget").used, last=trainer.last, batch=trainer.batch_size)

    for event, call in (("start", begin), ("batch_end", count), ("end", end)):
        model.add_callback(f"on_train_{event}", call)
    where = {"data": str(data), "project": job.folder, "name": "run", "device": "cpu", "workers": 0}
    options = {key: value for key, value in settings.items() if key != "model"}
    limits = {"time": job.seconds / 3600, "seed": job.seed, "val": False, "plots": False, "pretrained": False}
    model.train(**where, **limits, **options)
    torch.set_num_threads(1)  # ultralytics sets its own number
    model = YOLO(figures.pop("last"))

    def detect(image: np.ndarray) -> Found:
        boxes = model.predict(image, imgsz=settings["imgsz"], device="cpu", verbose=False, **DETECTION)[0].boxes
        return boxes.xyxy.numpy(), boxes.conf.numpy(), boxes.cls.numpy().astype(int)

    parameters = sum(parameter.numel() for parameter in model.model.parameters())
    figures["epochs"] = figures["steps"] * figures["batch"] / len(train.pictures)
    versions = {module.__name__: module.__version__ for module in (torch, ultralytics)}
    figures |= {"settings": settings, "parameters": parameters, "versions": versions}
    answer(job, val, detect, figures)


if __name__ == "__main__":
    main()
