"""Using a trained model: the predictor, tiles of large images, export."""

from lib.inference.predictor import Predictor, evaluate_predictor
from lib.inference.tiles import Tiles, parse_tiles

__all__ = ["Predictor", "Tiles", "evaluate_predictor", "parse_tiles"]
