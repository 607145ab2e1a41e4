"""Turn another repository's checkpoint into ours: every tensor is used, or named in the error.

    python tools/convert_weights.py ssd300_vgg16_coco-b556d3b4.pth --sha256=b556d3b4 \\
        --cfg=experiments/vgg16/torchvision300.yml --classes=by_name --out=ssd300.pth
    python tools/convert_weights.py resnet50-11ad3fa6.pth --cfg=experiments/resnet/50.yml --out=start.pth

Detectors: the BMVC 2019 code and its parent, the SSD code of lufficc, SSDLite with MobileNetV2 and MobileNeXt,
torchvision. Classifiers of torchvision and timm give the backbone alone; the rest is as initialised. docs/models.md
lists public files. SOURCE may be an address. No code of the file is run.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.build import build_detector  # noqa: E402
from lib.checkpoint import load_weights, save_checkpoint  # noqa: E402
from lib.config import load_config, to_plain  # noqa: E402
from lib.legacy.classes import category_ids, class_names  # noqa: E402
from lib.utils.log import setup_logging  # noqa: E402
from lib.utils.runtime import readable_errors, seed_everything  # noqa: E402


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="SOURCE.pth", help="the checkpoint, or its address")
    parser.add_argument(
        "--cfg", required=True, help="experiment that builds the same model, ours or a BMVC YAML file"
    )
    parser.add_argument("--out", required=True, help="where to write")
    parser.add_argument("--sha256", help="the file's digest, or its first 8 hex digits or more")
    parser.add_argument(
        "--classes",
        default="same",
        choices=("same", "reset", "by_name", "shifted"),
        help="for other classes: start their predictors anew, or take rows by class name; shifted: by name from a "
        "checkpoint of the SSDLite code with focal loss, whose column 0 is the first class, not background",
    )
    parser.add_argument("--scope", nargs="+", help="parts to take, such as backbone; default: all")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. model.num_classes=81")
    return parser.parse_intermixed_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Converts one file."""
    args = parse(argv)
    setup_logging()
    cfg = load_config(args.cfg, args.overrides)
    seed_everything(cfg.run.seed)
    model = build_detector(cfg)
    names = cfg.data.classes or class_names(model.head.num_classes)
    load_weights(model, args.source, args.scope, sha256=args.sha256, classes=args.classes, names=names)
    cfg.model.weights = None
    content = {"config": to_plain(cfg), "classes": list(names), "category_ids": category_ids(names)}
    save_checkpoint(Path(args.out), {"model": model.state_dict(), **content})
    print(f"{args.out}: {len(model.state_dict())} tensors, {len(names)} classes")


if __name__ == "__main__":
    with readable_errors():
        main()
