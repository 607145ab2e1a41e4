"""Other works' configs and checkpoints become ours."""

from lib.legacy.weights import translate_weights
from lib.legacy.works import translate_config

__all__ = ["translate_config", "translate_weights"]
