"""From a checkpoint to use: the predictor, tiles of large images, export."""

from lib.inference.predictor import Predictor
from lib.inference.tiles import Tiles

__all__ = ["Predictor", "Tiles"]
