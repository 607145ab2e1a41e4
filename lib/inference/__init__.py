"""From a checkpoint to use: the predictor, tiles of large images, export."""

from lib.inference.evaluate import evaluate_predictor
from lib.inference.predictor import Predictor
from lib.inference.tiles import Tiles, parse_tiles

__all__ = ["Predictor", "Tiles", "evaluate_predictor", "parse_tiles"]
