"""What an exported model says of itself, for programs without this project."""

from typing import Any

from lib.build import build_postprocess
from lib.build_data import build_resize
from lib.inference.model_file import Loaded


def about_model(loaded: Loaded) -> dict[str, Any]:
    """The class names, and the numbers that lead from an image to the network's input and from its outputs to boxes:
    tflite_post.py and a port of it need them.
    """
    post, resize = build_postprocess(loaded.cfg), build_resize(loaded.cfg)
    return {
        "classes": list(loaded.classes),
        "background": 0,  # its column of the logits
        "size": list(resize.size),  # (height, width)
        "resize": resize.resize,
        "scale": resize.scale,
        "fill": resize.fill.tolist(),  # BGR
        "activation": post.activation,
        "variances": list(post.coder.variances),
        **{key: value for key, value in post.selection._asdict().items() if key != "soft_sigma"},
    }
