"""Other works' configs and checkpoints become ours."""

from lib.legacy.configs import translate_config
from lib.legacy.weights import translate_weights

__all__ = ["translate_config", "translate_weights"]
