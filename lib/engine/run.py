"""The folder of a run: what was asked for, what came of it, and where to go on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lib.checkpoint import save_checkpoint
from lib.config import dump_config, to_plain


class RunFolder:
    """Files of one training run.

    ``config.yml`` (resolved), ``run.json`` (command, commit, seed, machine), ``log.txt``, ``epochs.jsonl`` (a
    line an epoch), ``tensorboard/``, ``last.pth`` and ``best.pth``.

    Args:
        path: the folder; made if it is not there.
        cfg: the resolved config.
    """

    def __init__(self, path: Path, cfg: Mapping[str, Any]):
        self.path, self.cfg = path, cfg
        self.last, self.best = path / "last.pth", path / "best.pth"
        self._writer = None

    def create(self) -> None:
        """Makes the folder and writes down what was asked for."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "config.yml").write_text(dump_config(self.cfg), encoding="utf-8")
        about = {
            "command": " ".join(sys.argv),
            "commit": git_commit(),
            "seed": self.cfg["run"]["seed"],
            "started": time.strftime("%Y-%m-%d %H:%M:%S"),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        }
        (self.path / "run.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")

    def save(self, file: Path, content: Mapping[str, Any]) -> None:
        """Writes a checkpoint, with the config beside what is given."""
        save_checkpoint(file, {"config": to_plain(self.cfg), **content})

    def log_epoch(self, values: Mapping[str, Any]) -> None:
        """Appends a line to epochs.jsonl, and its numbers to TensorBoard."""
        with (self.path / "epochs.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")
        for name, value in values.items():
            if isinstance(value, (int, float)) and name != "epoch":
                self.scalar(f"epoch/{name}", value, values["epoch"])

    def scalar(self, name: str, value: float, step: int) -> None:
        """One point of a TensorBoard curve."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # costs a second: only runs that log pay it

            self._writer = SummaryWriter(str(self.path / "tensorboard"))
        self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flushes the TensorBoard file."""
        if self._writer is not None:
            self._writer.close()


def git_commit() -> str:
    """The commit of the code, ``-dirty`` if changed; ``unknown`` outside a git checkout."""
    folder = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],  # noqa: S607
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.stdout.strip()
