"""The folder of a run: its config, its results, and the checkpoint to resume from."""

import contextlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lib import __version__
from lib.checkpoint import read_run, save_checkpoint
from lib.config import dump_config
from lib.engine.curves import draw_curves, write_results
from lib.engine.distributed import World, is_restart, launcher
from lib.utils.files import remove_leftovers, replacing, write_json, write_text, writing
from lib.utils.lock import locked
from lib.utils.picture_file import write_picture
from lib.utils.reading import read_json
from lib.utils.runtime import device_name
from lib.utils.yaml_files import to_plain

log = logging.getLogger(__name__)


class RunFolder:
    """Files of one training run.

    ``config.yml`` (resolved), ``run.json`` (command, version, commit, seed, machine), ``log.txt``, ``epochs.jsonl`` (a
    line an epoch), the same as ``results.csv`` and ``curves.png``, ``tensorboard/``, ``last.pth``, ``best.pth``. Of
    several processes one ``is_writer``; the others' calls do nothing.
    """

    def __init__(self, path: Path, cfg: Mapping[str, Any], is_writer: bool = True):
        self.path, self.cfg, self.is_writer = path, cfg, is_writer
        self.last, self.best = path / "last.pth", path / "best.pth"
        self._writer: Any = None

    @contextlib.contextmanager
    def held(self) -> Iterator["RunFolder"]:
        """Keeps other runs out of the folder, and removes what killed ones left unfinished in it.

        Raises:
            ValueError: another run is at work there.
        """
        with locked(self.path) if self.is_writer else contextlib.nullcontext():
            if self.is_writer:
                remove_leftovers(self.path)
            yield self

    def checkpoint(self, is_wanted: bool, world: World) -> dict[str, Any] | None:
        """The run's last checkpoint, to resume from; None for a new run.

        Raises:
            ValueError: there is one that is not wanted, or the processes of ``world`` find different ones.
        """
        content = self._checkpoint(is_wanted)
        steps = world.gather(None if content is None else content.get("position", {}).get("steps"))
        if len(set(steps)) > 1:
            found = ", ".join("no run" if number is None else f"{number} steps" for number in steps)
            raise ValueError(
                f"all machines must see the run's folder {self.path}; the processes find there, by rank: {found}: "
                "choose a run.dir that all machines share"
            )
        return content

    def _checkpoint(self, is_wanted: bool) -> dict[str, Any] | None:
        if not self.last.exists():
            if left := [name for name in ("best.pth", "epochs.jsonl") if (self.path / name).exists()]:
                raise ValueError(
                    f"{self.path} must be a new folder, or hold last.pth to continue from; it holds "
                    f"{', '.join(left)} of another run: start this one with run.name=NAME, or move that away"
                )
            return None
        if not is_wanted:
            raise ValueError(
                f"{self.path} must be a new folder; it already holds a training run: continue it with --resume, or "
                "start another one with run.name=NAME"
            )
        return read_run(self.last)

    def is_restarted(self) -> bool:
        """Whether the torchrun that started this run has started this process again, after one of its had died."""
        file = self.path / "run.json"
        return is_restart() and file.exists() and read_json(file).get("launcher") == launcher()

    def create(self, device: torch.device) -> None:
        """Makes the folder and writes the config and how the run was started, on which device."""
        if not self.is_writer:
            return
        write_text(self.path / "config.yml", dump_config(self.cfg))
        about = {
            "command": " ".join(sys.argv),
            "version": __version__,
            "commit": git_commit(),
            "seed": self.cfg["run"]["seed"],
            "started": time.strftime("%Y-%m-%d %H:%M:%S"),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "processes": int(os.environ.get("WORLD_SIZE", "1")),
            "launcher": launcher(),
            "device": device_name(device),
        }
        self.write_json("run.json", about)

    def write_json(self, name: str, values: Mapping[str, Any]) -> Path:
        """Writes values to a file of the folder; returns its path."""
        if self.is_writer:
            write_json(self.path / name, values)
        return self.path / name

    def save(self, file: Path, content: Mapping[str, Any]) -> None:
        """Writes a checkpoint: the given content and the config."""
        if self.is_writer:
            save_checkpoint(file, {"config": to_plain(self.cfg), **content})

    def keep_epoch(self, epoch: int, count: int) -> None:
        """Keeps last.pth also under the epoch's name, and removes all but the last ``count`` of these files."""
        if self.is_writer and count > 1:
            with replacing(self.path / f"epoch_{epoch:04d}.pth") as file:
                try:
                    os.link(self.last, file)  # last.pth is replaced, never written into
                except OSError:  # a disk without hard links
                    shutil.copyfile(self.last, file)
            kept = {
                int(match[1]): path
                for path in self.path.iterdir()
                if (match := re.fullmatch(r"epoch_(\d+)\.pth", path.name))
            }
            for old in sorted(kept)[:-count]:
                kept[old].unlink()

    def epochs(self) -> list[dict[str, Any]]:
        """What was logged, one entry per epoch; without lines that are not whole, which older versions could leave."""
        file, entries = self.path / "epochs.jsonl", []
        lines = file.read_text("utf-8", errors="replace").splitlines() if file.exists() else []
        for number, line in enumerate(lines, start=1):
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict) and isinstance(entry.get("epoch"), int):
                    entries.append(entry)
                    continue
            log.warning("%s: line %d is incomplete and is skipped", file, number)
        return entries

    def log_epoch(self, values: Mapping[str, Any]) -> None:
        """Adds a line to epochs.jsonl, rewrites results.csv, and sends the numbers to TensorBoard."""
        if not self.is_writer:
            return
        epochs = [*self.epochs(), dict(values)]
        write_text(self.path / "epochs.jsonl", "".join(f"{json.dumps(epoch)}\n" for epoch in epochs))
        write_results(self.path / "results.csv", epochs)
        for name, value in values.items():
            if isinstance(value, (int, float)) and name != "epoch":
                self.scalar(f"epoch/{name}", value, values["epoch"])

    def scalar(self, name: str, value: float, step: int) -> None:
        """One point of a TensorBoard curve."""
        if self.is_writer:
            with writing(self.path / "tensorboard"):
                self._tensorboard().add_scalar(name, value, step)

    def picture(self, name: str, image: np.ndarray) -> None:
        """An image (H, W, 3) uint8 BGR, to a PNG file of the folder and to TensorBoard."""
        if self.is_writer:
            write_picture(self.path / f"{name}.png", image)
            with writing(self.path / "tensorboard"):
                self._tensorboard().add_image(name, image[..., ::-1].copy(), dataformats="HWC")

    def _tensorboard(self) -> Any:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # takes a second, so only where it is needed

            self._writer = SummaryWriter(str(self.path / "tensorboard"))
        return self._writer

    @contextlib.contextmanager
    def closed_at_end(self) -> Iterator[None]:
        """Closes the folder after the block. If that ends with an error, one of closing is only logged."""
        try:
            yield
        except BaseException:
            try:
                self.close()
            except OSError as error:
                log.warning("%s", error)
            raise
        self.close()

    def close(self) -> None:
        """Draws the curves and flushes the TensorBoard file."""
        if self.is_writer and self.epochs():
            draw_curves(self.path / "curves.png", self.epochs())
        if self._writer is not None:
            self._writer.close()


def experiment_name(source: str) -> str:
    """``experiments/vgg16/plain.yml`` -> ``vgg16/plain``; for a file elsewhere, its name."""
    path = Path(source).with_suffix("")
    is_ours = "experiments" in path.parts
    return str(Path(*path.parts[path.parts.index("experiments") + 1 :])) if is_ours else path.name


def git_commit() -> str:
    """The commit of the code, ``-dirty`` if changed; ``unknown`` outside a git checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.check_output(command, cwd=Path(__file__).parent, stderr=subprocess.DEVNULL, text=True).strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
