"""Convert another project's checkpoint into one of this project. A tensor that cannot be used is an error.

    python tools/convert_weights.py ssd300_vgg16_coco-b556d3b4.pth --sha256=b556d3b4 \\
        --cfg=experiments/vgg16/torchvision300.yml --classes=by_name --out=ssd300.pth
    python tools/convert_weights.py resnet50-11ad3fa6.pth --cfg=experiments/resnet/50.yml --out=start.pth

It reads the detectors of the BMVC 2019 code and its parent, of lufficc's SSD, of SSDLite with MobileNetV2 and
MobileNeXt, and of torchvision. From classifiers of torchvision and timm it takes the backbone; the other parts keep
their random weights. docs/models.md lists public files. No code in the file is run.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.build import build_detector, names_of_classes
from lib.checkpoint import load_weights, save_checkpoint
from lib.config import load_config
from lib.legacy.classes import category_ids
from lib.utils.command_line import parse_with_overrides, readable_errors, script_parser
from lib.utils.download import fetch
from lib.utils.files import refuse_sources
from lib.utils.log import setup_logging
from lib.utils.runtime import seed_everything
from lib.utils.yaml_files import to_plain


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = script_parser(__doc__)
    add = parser.add_argument
    add("source", metavar="SOURCE.pth", help="path or URL of the checkpoint")
    add("--cfg", required=True, metavar="FILE.yml", help="experiment file, ours or theirs, that builds the same model")
    add("--out", required=True, metavar="FILE.pth", help="file to write")
    add("--sha256", metavar="HEX", help="SHA-256 that the file must have, or at least its first 8 hex digits")
    add(
        "--classes",
        choices=("same", "reset", "by_name", "shifted"),
        help="class predictors, if the classes differ: reset starts them anew; by_name copies those of classes with "
        "the same name; shifted is by_name for SSDLite with focal loss, whose column 0 is not background (default: "
        "as model.weights_classes of the experiment says)",
    )
    add("--scope", nargs="+", metavar="PART", help="parts of the model to copy, such as backbone (default: all)")
    return parse_with_overrides(parser, argv, "model.num_classes=81")


def main(argv: list[str] | None = None) -> None:
    """Converts one file."""
    args = parse(argv)
    setup_logging()
    refuse_sources([args.out], [args.source, args.cfg])
    source = fetch(args.source, args.sha256)
    cfg = load_config(args.cfg, args.overrides, start=source)
    seed_everything(cfg.run.seed)
    model = build_detector(cfg)
    names = names_of_classes(cfg)
    load_weights(model, source, args.scope, classes=args.classes or cfg.model.weights_classes, names=names)
    cfg.model.weights = None
    content = {"config": to_plain(cfg), "classes": names, "category_ids": category_ids(names)}
    save_checkpoint(Path(args.out), {"model": model.state_dict(), **content})
    print(f"{args.out}: {len(model.state_dict())} tensors, {len(names)} classes")


if __name__ == "__main__":
    with readable_errors():
        main()
