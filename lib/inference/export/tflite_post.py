"""From an image to the input of an exported LiteRT model, or of an ONNX model that ends with its heads, and from its
outputs to boxes: all that a device needs around the network, in plain NumPy and three functions of OpenCV.

It needs nothing else of the project, and is written to be translated, to Kotlin, Swift or C++:

    about = json.loads(zipfile.ZipFile("model.tflite").read("about.json"))
    heads = run(images=prepare(image, about))
    boxes, scores, labels = detect(heads["logits"][0], heads["deltas"][0], heads["priors"], about)
    boxes = to_image(boxes, image, about)
    about["classes"][labels[0] - 1], scores[0], boxes[0]                    the surest object
"""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

MAX_LOG_RATIO = np.float32(np.log(1000 / 16))  # a box is at most 62.5 times as wide as its prior


def prepare(image: np.ndarray, about: Mapping[str, Any]) -> np.ndarray:
    """The network's input (1, H, W, 3) uint8 for an image (h, w, 3) uint8 BGR: Predictor's, up to rounding."""
    height, width = about["size"]
    y, x = pixel_sizes(image, about)
    shown = min(round(image.shape[0] / y), height), min(round(image.shape[1] / x), width)
    canvas = np.full((1, height, width, 3), about["fill"], np.uint8)
    if min(shown) == 0:  # an image that is too narrow to be seen
        return canvas
    # Blocks of whole pixels are averaged first, their edges repeated: what is smaller than a pixel must not vanish.
    rows, columns = (max(int(side + 1e-6), 1) for side in (y, x))
    edges = (0, -image.shape[0] % rows, 0, -image.shape[1] % columns)
    image = cv2.copyMakeBorder(image, *edges, cv2.BORDER_REPLICATE)
    image = cv2.resize(image, (image.shape[1] // columns, image.shape[0] // rows), interpolation=cv2.INTER_AREA)
    y, x = y / rows, x / columns  # now below 2; 0.5 is the center of the first pixel
    back = np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    drawn = cv2.warpAffine(image, back, shown[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    canvas[0, : shown[0], : shown[1]] = drawn
    return canvas


def pixel_sizes(image: np.ndarray, about: Mapping[str, Any]) -> tuple[float, float]:
    """(y, x): pixels of the image for one of the network's input."""
    y, x = (side / most for side, most in zip(image.shape, about["size"], strict=False))
    if about["resize"] == "stretch":
        return y, x
    largest = max(y, x, 1 / about["scale"]) if about["resize"] == "native" else max(y, x)
    return largest, largest


def to_image(boxes: np.ndarray, image: np.ndarray, about: Mapping[str, Any]) -> np.ndarray:
    """Boxes (D, 4) in pixels of the network's input, in pixels of the image (h, w, 3)."""
    (y, x), (height, width) = pixel_sizes(image, about), image.shape[:2]
    scale, limits = np.array([x, y, x, y], np.float32), np.array([width, height, width, height], np.float32)
    return np.clip(boxes * scale, 0, limits)


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
