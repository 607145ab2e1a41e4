"""Writes pictures of what a model is trained on.

    python tools/show.py --cfg=experiments/mobilenet_v1/S1L0.yml
    python tools/show.py --cfg=experiments/mobilenet_v1/S1L0.yml --what=matches data.augment=small

samples: images with their boxes before and after augmentation. priors: the prior boxes (anchors) of one cell of each
feature map. matches: the priors that are matched to each object of augmented images.
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.build import build_detector, build_matcher, build_priors
from lib.build_data import build_augmentation, build_dataset, input_size
from lib.config import load_config
from lib.data.sample_sheet import drawn_samples, sample_sheet
from lib.engine.distributed import World
from lib.engine.fitting import fit_priors_
from lib.models.cost import map_sizes
from lib.multibox.pictures import match_picture, prior_pictures
from lib.structures import Target
from lib.utils.command_line import parse_with_overrides, readable_errors, script_parser
from lib.utils.picture_file import write_picture
from lib.utils.sheet import picture_grid

COLUMNS = 3  # of pictures of priors and matches


def draw_samples(cfg: dict, source: tuple) -> np.ndarray:
    """Images before and after augmentation."""
    return sample_sheet(*source)


def draw_priors(cfg: dict, source: tuple) -> np.ndarray:
    """The priors of one cell at each level, over the first augmented image."""
    detector, size = build_detector(cfg), input_size(cfg)
    maps, image = map_sizes(detector, size), drawn_samples(*source)[0][1].image
    priors = build_priors(cfg["model"]["priors"], maps, size)
    return picture_grid(prior_pictures(image, priors(maps, size), maps, priors.boxes_per_cell), COLUMNS)


def draw_matches(cfg: dict, source: tuple) -> np.ndarray:
    """The priors matched to each object of augmented images."""
    detector, matcher, size = build_detector(cfg), build_matcher(cfg), input_size(cfg)
    priors, pictures = detector.priors(map_sizes(detector, size), size), []
    for _, sample in drawn_samples(*source):
        target = Target(torch.from_numpy(sample.boxes)[None], torch.from_numpy(sample.labels)[None])
        pictures.append(match_picture(sample.image, priors, target, matcher(priors, target)))
    return picture_grid(pictures, COLUMNS)


DRAWINGS = {"samples": draw_samples, "priors": draw_priors, "matches": draw_matches}


def main(argv: list[str] | None = None) -> None:
    """Draws, writes, and prints the paths."""
    parser = script_parser(__doc__)
    parser.add_argument("--cfg", required=True, help="experiment file (.yml)")
    parser.add_argument("--what", choices=DRAWINGS, help="which pictures (default: all three)")
    parser.add_argument("--count", type=int, default=8, help="number of images (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/show"), help="folder to write (default: %(default)s)")
    args = parse_with_overrides(parser, argv, "data.augment=small")
    cfg = load_config(args.cfg, args.overrides)
    source = (build_dataset(cfg, "train"), build_augmentation(cfg), cfg.run.seed, args.count)
    fit_priors_(cfg, source[0], World())
    for what in [args.what] if args.what else DRAWINGS:
        path = args.out / f"{what}.png"
        write_picture(path, DRAWINGS[what](cfg, source))
        print(path)


if __name__ == "__main__":
    with readable_errors():
        main()
