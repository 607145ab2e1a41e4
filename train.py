"""Train a detector.

    python train.py --cfg=experiments/mobilenet_v1/S1L0_dual.yml
    python train.py --cfg=... data.train.images=DIR data.train.annotations=FILE.json train.epochs=20
    python train.py --cfg=... --resume

Every key of the config can be set behind it as key.key=value; lib/config.py lists them with their meaning.
The run's folder (runs/<experiment>) gets config.yml, epochs.jsonl, tensorboard/, last.pth and best.pth.
"""

import argparse
import logging
from pathlib import Path

from lib.build import (
    build_dataset,
    build_detector,
    build_loader,
    build_loss,
    build_normalizer,
    build_optimizer,
    build_schedule,
    load_initial_weights,
)
from lib.checkpoint import read_run
from lib.config import EasyDict, load_config
from lib.engine.evaluate import Evaluation
from lib.engine.run import RunFolder
from lib.engine.train import Learner, Trainer
from lib.utils.log import setup_logging
from lib.utils.runtime import choose_device, readable_errors, seed_everything, set_threads

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
    return parser.parse_args(argv)


def open_run(cfg: EasyDict, source: str, resume: bool) -> tuple[RunFolder, dict | None]:
    """The run's folder, and the checkpoint to go on from if there is one."""
    experiment = Path(source).with_suffix("")
    parts = (
        experiment.parts[experiment.parts.index("experiments") + 1 :]
        if "experiments" in experiment.parts
        else ()
    )
    cfg.run.name = cfg.run.name or str(Path(*parts) if parts else experiment.name)
    run = RunFolder(Path(cfg.run.dir) / cfg.run.name, cfg)
    if run.last.exists() and not resume:
        raise ValueError(
            f"{run.path} must be a new run; it holds one: go on with --resume, or choose run.name=..."
        )
    return run, read_run(run.last) if run.last.exists() else None


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    setup_logging()
    cfg = load_config(args.cfg, args.overrides)
    device = choose_device(cfg.run.device)
    set_threads(cfg.run.threads)
    seed_everything(cfg.run.seed)
    run, checkpoint = open_run(cfg, args.cfg, args.resume)
    dataset = build_dataset(cfg, "train")
    val = build_dataset(cfg, "val", dataset.classes) if cfg.data.val.annotations else None
    cfg.data.classes = list(dataset.classes)
    model = build_detector(cfg).to(device)
    run.create()
    setup_logging(run.path / "log.txt")
    log.info("%s\n%s", run.path, dataset.report())
    if cfg.model.weights and checkpoint is None:
        load_initial_weights(cfg, model, dataset.classes)
    optimizer, schedule = build_optimizer(cfg, model), build_schedule(cfg)
    learner = Learner(model, build_normalizer(cfg).to(device), build_loss(cfg), optimizer, schedule, device)
    about = {"classes": list(dataset.classes), "category_ids": list(dataset.category_ids)}
    test = Evaluation(cfg, val, device) if val else None
    evaluate = (lambda: test(model).evaluate().metrics) if test else None
    trainer = Trainer(learner, build_loader(cfg, dataset, training=True), cfg.train, run, about, evaluate)
    if checkpoint is not None:
        trainer.resume(checkpoint)
    trainer.train()


if __name__ == "__main__":
    with readable_errors():
        main()
