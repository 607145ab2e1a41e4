"""Train a detector on the images and boxes that an experiment file names.

    python train.py --cfg=experiments/light/small.yml data.train.annotations=data.yaml data.val.annotations=data.yaml
    python train.py --cfg=... data.train.images=DIR data.train.annotations=FILE.json train.epochs=20
    python train.py --cfg=... --resume
    torchrun --nproc_per_node=4 train.py --cfg=... train.norm=sync

Every key of the config can be set as key.key=value; lib/config.py lists the keys with their meaning. The run writes
config.yml, results.csv, curves.png, tensorboard/, last.pth and best.pth to its folder, runs/<experiment>, or
runs/<run.name>.
"""

import argparse
import logging
import os
from pathlib import Path

from lib.build import build_detector, headline, load_initial_weights
from lib.build_data import build_augmentation, build_dataset, build_loader, describe_sizes, has_data, warn_of_overlap
from lib.config import WEIGHTS, load_config
from lib.data.sample_sheet import sample_sheet
from lib.engine.distributed import is_restart, processes
from lib.engine.evaluate import tester
from lib.engine.fitting import fit_priors_
from lib.engine.learner import Learner
from lib.engine.resume import check_resume
from lib.engine.run import RunFolder, experiment_name
from lib.engine.train import Trainer
from lib.utils.command_line import parse_with_overrides, readable_errors, script_parser
from lib.utils.log import setup_logging
from lib.utils.runtime import keep_memory, prepare_torch

log = logging.getLogger("train")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = script_parser(__doc__)
    parser.add_argument("--cfg", required=True, metavar="FILE.yml", help="experiment file, or an older SSD project's")
    parser.add_argument("--resume", action="store_true", help="continue from the run's last.pth, if there is one")
    return parse_with_overrides(parser, argv, "train.epochs=10 run.name=mine")


def main(argv: list[str] | None = None) -> None:
    """Trains one detector."""
    args = parse(argv)
    setup_logging(is_quiet=os.environ.get("RANK", "0") != "0")  # what a config of another work becomes is in the log
    is_resumed = args.resume or is_restart()
    cfg = load_config(args.cfg, args.overrides, start=None if is_resumed else WEIGHTS)
    name = cfg.run.name or experiment_name(args.cfg)
    folder = Path(cfg.run.dir) / name
    if is_resumed:
        cfg = load_config(args.cfg, args.overrides, start=folder / "last.pth")
    cfg.run.name = name
    prepare_torch(cfg.run.seed, cfg.run.threads, cfg.run.tf32)
    if cfg.run.keep_memory:
        keep_memory()
    with processes(cfg.run.device) as (world, device), RunFolder(folder, cfg, world.is_writer).held() as run:
        setup_logging(is_quiet=not world.is_writer)
        checkpoint = run.checkpoint(args.resume or world.first(run.is_restarted()), world)
        data = build_dataset(cfg, "train")
        val = build_dataset(cfg, "val", data.classes) if has_data(cfg, "val") else None
        cfg.data.classes = list(data.classes)
        fitted = fit_priors_(cfg, data, world, checkpoint)
        model = build_detector(cfg).to(device)
        changes = check_resume(run.last, checkpoint, cfg, data.classes, model) if checkpoint is not None else []
        run.create(device)
        setup_logging(run.path / "log.txt" if world.is_writer else None, is_quiet=not world.is_writer)
        reports = [split.report() for split in (data, val) if split]
        log.info("%s\n%s", run.path, "\n".join([*reports, describe_sizes(cfg), *fitted, *changes]))
        if val:
            warn_of_overlap(data, val)
        if checkpoint is None:
            if args.resume and world.is_writer:
                log.warning("--resume: no last.pth in %s: a new run starts", run.path)
            run.picture("samples", sample_sheet(data, build_augmentation(cfg), cfg.run.seed, 4))
            with world.writer_first():
                load_initial_weights(cfg, model, data.classes)
        learner = Learner(cfg, model, device, world)
        loader = build_loader(cfg, data, rank=world.rank, world_size=world.size)
        test = tester(cfg, val, device, world) if val else None
        about = {"classes": list(data.classes), "category_ids": list(data.category_ids)}
        trainer = Trainer(learner, loader, cfg.train, run, about, test, headline(cfg))
        if checkpoint is not None:
            trainer.resume(checkpoint)
        trainer.train()


if __name__ == "__main__":
    with readable_errors():
        main()
