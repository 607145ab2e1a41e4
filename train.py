"""Train a detector.

    python train.py --cfg=experiments/mobilenet_v1/S1L0_dual.yml
    python train.py --cfg=... data.train.images=DIR data.train.annotations=FILE.json train.epochs=20
    python train.py --cfg=... --resume
    torchrun --nproc_per_node=4 train.py --cfg=... train.norm=sync

Every key of the config can be set behind it as key.key=value; lib/config.py lists them with their meaning.
The run's folder (runs/<experiment>) gets config.yml, results.csv, curves.png, tensorboard/, last.pth, best.pth.
"""

import argparse
import logging
from pathlib import Path

from lib.build import build_augmentation, build_dataset, build_detector, build_loader, load_initial_weights
from lib.config import load_config
from lib.data.sample_sheet import sample_sheet
from lib.engine.distributed import is_restart, processes
from lib.engine.evaluate import Evaluation
from lib.engine.learner import Learner
from lib.engine.run import RunFolder, experiment_name
from lib.engine.train import Trainer
from lib.utils.log import setup_logging
from lib.utils.memory import keep_memory
from lib.utils.runtime import readable_errors, seed_everything, set_tf32, set_threads

log = logging.getLogger("train")


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cfg", required=True, help="experiment file (.yml), ours or of the BMVC 2019 code")
    parser.add_argument("--resume", action="store_true", help="go on from the run's last.pth, if it is there")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="e.g. train.epochs=10 run.name=mine"
    )
    return parser.parse_intermixed_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    cfg = load_config(args.cfg, args.overrides)
    if cfg.run.keep_memory:
        keep_memory()
    set_threads(cfg.run.threads)
    set_tf32(cfg.run.tf32)
    seed_everything(cfg.run.seed)
    with processes(cfg.run.device) as (world, device):
        setup_logging(is_quiet=not world.is_writer)
        cfg.run.name = cfg.run.name or experiment_name(args.cfg)
        run = RunFolder(Path(cfg.run.dir) / cfg.run.name, cfg, world.is_writer)
        checkpoint = run.checkpoint(args.resume or is_restart())
        data = build_dataset(cfg, "train")
        val = build_dataset(cfg, "val", data.classes) if cfg.data.val.annotations or cfg.data.layout else None
        cfg.data.classes = list(data.classes)
        model = build_detector(cfg).to(device)
        run.create()
        setup_logging(run.path / "log.txt" if world.is_writer else None, is_quiet=not world.is_writer)
        log.info("%s\n%s", run.path, data.report())
        if checkpoint is None:
            run.picture("samples", sample_sheet(data, build_augmentation(cfg), cfg.run.seed, 4))
            with world.writer_first():
                load_initial_weights(cfg, model, data.classes)
        learner = Learner(cfg, model, device, world)
        loader = build_loader(cfg, data, training=True, rank=world.rank, world_size=world.size)
        test = Evaluation(cfg, val, device, world) if val else None
        evaluate = (lambda model: test(model).evaluate().metrics) if test else None
        about = {"classes": list(data.classes), "category_ids": list(data.category_ids)}
        trainer = Trainer(learner, loader, cfg.train, run, about, evaluate)
        if checkpoint is not None:
            trainer.resume(checkpoint)
        trainer.train()


if __name__ == "__main__":
    with readable_errors():
        main()
