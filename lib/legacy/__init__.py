"""Other repositories' YAML files and checkpoints become ours."""

from lib.legacy.config import translate_config, vgg_row
from lib.legacy.weights import translate_weights

__all__ = ["translate_config", "translate_weights", "vgg_row"]
