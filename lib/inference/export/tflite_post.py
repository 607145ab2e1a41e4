"""From the outputs of an exported LiteRT model to boxes: all that a device needs behind the network, in plain NumPy.

It needs nothing else of the project, and is written to be translated, to Kotlin, Swift or C++:

    about = json.loads(zipfile.ZipFile("model.tflite").read("about.json"))
    boxes, scores, labels = detect(logits[0], deltas[0], priors, about)     of one image
    about["classes"][labels[0] - 1], scores[0], boxes[0]                    the surest object
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

MAX_LOG_RATIO = np.float32(np.log(1000 / 16))  # a box is at most 62.5 times as wide as its prior


def detect(
    logits: np.ndarray, deltas: np.ndarray, priors: np.ndarray, about: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The objects of one image, by falling score.

    Args:
        logits, deltas, priors: (P, K), (P, 4), (P, 4) float32, as the network gives them; class 0 is the background.
        about: what the file says of itself: size, activation, variances, thresholds and limits.

    Returns:
        (D, 4) boxes xyxy in pixels of the network's input; (D,) scores; (D,) labels from 1 on.
    """
    boxes = decode(deltas, priors, about["variances"], about["size"])
    scores = score(logits, about["activation"])
    found = [np.zeros((0, 3))]  # rows of score, prior, label
    for label in range(1, scores.shape[1]):
        rows = np.flatnonzero(scores[:, label] > about["score_threshold"])
        rows = rows[np.argsort(-scores[rows, label], kind="stable")][: about["max_candidates"]]
        kept = rows[suppress(boxes[rows], about["iou_threshold"])]
        found.append(np.stack([scores[kept, label], kept, np.full(len(kept), label)], axis=1))
    best = np.concatenate(found)
    best = best[np.argsort(-best[:, 0], kind="stable")][: about["max_detections"]]
    return boxes[best[:, 1].astype(int)], best[:, 0].astype(np.float32), best[:, 2].astype(int)


def decode(deltas: np.ndarray, priors: np.ndarray, variances: list[float], size: list[int]) -> np.ndarray:
    """(P, 4) boxes to which the offsets lead from the priors (SSD, eq. 2), clipped to the image."""
    sides, centers = priors[:, 2:] - priors[:, :2], (priors[:, 2:] + priors[:, :2]) / 2
    centers = centers + deltas[:, :2] * np.float32(variances[0]) * sides
    sides = sides * np.exp(np.minimum(deltas[:, 2:] * np.float32(variances[1]), MAX_LOG_RATIO))
    boxes = np.concatenate([centers - sides / 2, centers + sides / 2], axis=1)
    height, width = size
    return np.clip(boxes, 0, np.array([width, height, width, height], np.float32))


def score(logits: np.ndarray, activation: str) -> np.ndarray:
    """(P, K) scores."""
    if activation == "sigmoid":
        return 1 / (1 + np.exp(-logits))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def suppress(boxes: np.ndarray, iou_threshold: float) -> list[int]:
    """NMS: the rows to keep of boxes that come by falling score; a box goes where one before it overlaps it more."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    for row in range(len(boxes)):
        low = np.maximum(boxes[kept, :2], boxes[row, :2])
        high = np.minimum(boxes[kept, 2:], boxes[row, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=1)
        if not (shared > iou_threshold * (areas[kept] + areas[row] - shared)).any():
            kept.append(row)
    return kept
