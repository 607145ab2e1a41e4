"""Using a trained model: the predictor, tiles of large images, export."""

from lib.inference.predictor import Predictor
from lib.inference.tiles import Tiles, parse_tiles

__all__ = ["Predictor", "Tiles", "parse_tiles"]
