"""Pictures of a detector's maps over an image: of each tap the fine path's and, with dual path, the coarse path's."""

from dataclasses import replace
from typing import cast

import cv2
import numpy as np
import torch

from lib.build_data import build_resize
from lib.inference.model_file import Loaded
from lib.inference.network import Network
from lib.inference.predictor import prepare
from lib.models.detector import Detector
from lib.models.dual_path import DualPath
from lib.models.taps import Tap
from lib.utils.sheet import PAPER, enlarged, picture_grid, titled


def taps_by_row(detector: Detector) -> list[list[Tap]]:
    """The maps that the neck reads, each as [fine], or with dual path as [fine, coarse] where the row runs on both."""
    fine_taps = dict.fromkeys(replace(tap, is_coarse=False) for tap in detector.neck.inputs)
    late = detector.backbone.late if isinstance(detector.backbone, DualPath) else ()
    return [[tap, replace(tap, is_coarse=True)] if tap.row in late else [tap] for tap in fine_taps]


def heat_picture(cells: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 BGR: numbers (h, w) from dark to bright, each cell a rectangle of one color."""
    low, high = np.percentile(cells, [1, 99])  # a few cells at the border may exceed all others
    levels = np.clip((cells - low) / max(high - low, 1e-12) * 255, 0, 255).astype(np.uint8)
    colors = cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)
    return cv2.resize(colors, size[::-1], interpolation=cv2.INTER_NEAREST)


@torch.inference_mode()
def map_sheet(loaded: Loaded, image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 BGR: a row a tap, with the image, the fine path's map and the coarse path's, if there is one.

    A map is shown by the mean magnitude of its channels, from its lowest to its highest. ``image`` is (H, W, 3) uint8
    BGR; the network sees it as in testing.
    """
    detector = cast(Detector, loaded.detector)
    network = Network(loaded.cfg, detector)
    images = prepare([image], build_resize(loaded.cfg, detector)).images  # (1, H, W, 3)
    rows = taps_by_row(detector)
    taps = [tap for row in rows for tap in row]
    features = network.detector.get_submodule("backbone")(network.normalize(torch.from_numpy(images)), taps)
    size = enlarged(images.shape[1:3])
    shown = titled(cv2.resize(images[0], size[::-1]), f"input: {images.shape[1]} x {images.shape[2]}")
    columns = 1 + max(map(len, rows))
    pictures = []
    for row in rows:
        line = [shown]
        for tap in row:
            cells = features[tap][0].float().abs().mean(dim=0).numpy()  # (h, w)
            sides, channels = " x ".join(map(str, cells.shape)), len(features[tap][0])
            title = f"tap {tap}: {sides} cells of {round(images.shape[2] / cells.shape[1])} px, {channels} channels"
            line.append(titled(heat_picture(cells, size), title))
        pictures += line + [np.full_like(shown, PAPER[0])] * (columns - len(line))
    return picture_grid(pictures, columns)
