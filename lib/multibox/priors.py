"""Prior boxes: made from the feature maps as they are, for any input size, square or not."""

import logging
import math
from collections.abc import Sequence

import torch
from torch import nn

from lib.ops.boxes import cxcywh_to_xyxy
from lib.ops.checks import check_weight

log = logging.getLogger(__name__)
MAX_CACHED = 32  # sizes of images whose priors are kept
Size = tuple[int, int]
Ratios = Sequence[float]
Shapes = Sequence[Sequence[float]]  # [width, height] pairs


def _checked_ratios(sizes: Sequence[float], ratios: Ratios | Sequence[Ratios]) -> list[tuple[float, ...]]:
    """The ratios of each level; a ValueError unless there are levels, each with ratios, and sizes that rise."""
    if not sizes or min(sizes) <= 0 or list(sizes) != sorted(sizes):
        raise ValueError(f"model.priors.sizes must be positive and rising; got {list(sizes)}")
    num_levels = len(sizes) - 1
    levels = [tuple(level) for level in ratios if isinstance(level, Sequence)]
    plain = tuple(ratio for ratio in ratios if not isinstance(ratio, Sequence))
    result = levels or [plain] * num_levels
    if len(result) != num_levels or (levels and plain):
        raise ValueError(
            f"model.priors.ratios must be one list, or one for each of the {num_levels} levels "
            f"(model.priors.sizes has one entry more than there are levels); got {len(result)}"
        )
    if any(ratio <= 0 for level in result for ratio in level):
        raise ValueError(f"model.priors.ratios must be above 0; got {list(map(list, result))}")
    return result


class PriorGenerator(nn.Module):
    """SSD's priors (SSD, section 2.2, with the sizes of its published code).

    A cell of level l has a square of side ``sizes[l]``, one of side ``sqrt(sizes[l] * sizes[l + 1])``, and for
    each ratio r a pair of the first one's area, r times as wide as high and the other way round.

    Args:
        sizes: one side a level and one more, in pixels of an input of ``reference`` pixels. They and ``ratios`` say
            nothing where ``boxes`` has the shapes of every level.
        ratios: for each level, or once for all levels.
        reference: side of the square input that ``sizes`` and ``steps`` are meant for. Sizes scale with the
            geometric mean of the input's sides. None: they are pixels whatever the input.
        steps: distance of the centers in pixels at each level, on an input of ``reference`` pixels; on another, or
            with None, the cells tile the image exactly.
        boxes: for each level the ``[width, height]`` pairs of a cell, in the pixels of ``sizes``, instead of
            those that ``sizes`` and ``ratios`` give; None, for a level or for all: those.
        clip: whether center, width and height are each clipped to the image, as SSD's published code does.
        clip_centers: with ``clip``, whether the center is; torchvision's default boxes keep it.
        size: (height, width) of the input in training, by which ``sizes`` scale: a network that then sees images of
            another size keeps the boxes it has learned. None: they scale with each image.
    """

    def __init__(
        self,
        sizes: Sequence[float] = (),
        ratios: Ratios | Sequence[Ratios] = (),
        reference: float | None = None,
        steps: Sequence[float] | None = None,
        boxes: Sequence[Shapes | None] | None = None,
        clip: bool = True,
        clip_centers: bool = True,
        size: Size | None = None,
    ):
        super().__init__()
        check_weight(reference or 0.0, "model.priors.reference")
        if any(not step > 0 for step in steps or ()):
            raise ValueError(f"model.priors.steps must be above 0, or null to tile the image; got {list(steps or ())}")
        has_all = bool(boxes) and all(shapes is not None for shapes in boxes or ())
        num_levels = len(boxes or ()) if has_all else len(sizes) - 1
        self.ratios: list[tuple[float, ...]] = [] if has_all else _checked_ratios(sizes, ratios)
        for name, values in (("steps", steps), ("boxes", boxes)):
            if values is not None and len(values) != num_levels:
                raise ValueError(
                    f"model.priors.{name} must have {num_levels} entries, one per level; got {len(values)}"
                )
        if any(shapes is not None and not shapes for shapes in boxes or ()):
            raise ValueError(f"model.priors.boxes must have a [width, height] or more for each level; got {boxes}")
        for shape in (shape for shapes in boxes or () for shape in shapes or ()):
            if len(shape) != 2 or min(shape) <= 0:
                raise ValueError(f"model.priors.boxes must be [width, height] pairs above 0; got {list(shape)}")
        self.boxes = list(boxes) if boxes else [None] * num_levels
        self.sizes, self.reference, self.steps = list(sizes), reference, steps
        self.clip, self.clip_centers, self.size = clip, clip_centers, size
        self._cache: dict[tuple[tuple[Size, ...], Size, str], torch.Tensor] = {}

    @property
    def boxes_per_cell(self) -> list[int]:
        """Priors of a cell, for each level."""
        return [len(self._sides(level)) for level in range(len(self.boxes))]

    def fractions(self, maps: Sequence[Size], image_size: Size) -> torch.Tensor:
        """Priors as fractions of the image, (P, 4) float32 by map, row, column, box: center x, center y, width and
        height, the form of the published code. ``maps`` and ``image_size`` are (height, width).
        """
        height, width = image_size
        scale = math.sqrt(math.prod(self.size or image_size)) / self.reference if self.reference else 1.0
        levels = []
        for level, (rows, columns) in enumerate(maps):
            step_y, step_x = self._steps(level, (rows, columns), image_size)
            y, x = (torch.arange(n, dtype=torch.float64) + 0.5 for n in (rows, columns))
            centers = torch.cartesian_prod(y * step_y / height, x * step_x / width).flip(-1)  # (cells, 2)
            sides = torch.tensor(self._sides(level), dtype=torch.float64) * scale
            sides = sides / torch.tensor([width, height])  # (A, 2)
            pairs = (centers.repeat_interleave(len(sides), dim=0), sides.repeat(len(centers), 1))
            levels.append(torch.cat(pairs, dim=1))  # (cells * A, 4)
        priors = torch.cat(levels).float()
        if self.clip and not self.clip_centers:
            return torch.cat([priors[:, :2], priors[:, 2:].clamp(max=1)], dim=-1)
        self._report_outside(priors)
        return priors.clamp(0, 1) if self.clip else priors

    @staticmethod
    def _report_outside(priors: torch.Tensor) -> None:
        """Warns of steps that do not tile the image; a trace, or a pass without values, says nothing."""
        if priors.device.type == "meta" or torch.compiler.is_compiling():
            return
        if outside := int((priors[:, :2].amax(dim=1) > 1).sum()):
            message = (
                "%d of %d priors have their center outside the image: model.priors.steps do not tile it; choose "
                "model.priors.steps=null to fit the steps to the image"
            )
            log.warning(message, outside, len(priors))

    def _steps(self, level: int, cells: Size, image_size: Size) -> tuple[float, float]:
        is_other = self.reference and any(side != self.reference for side in image_size)
        if self.steps is None or is_other:  # a network's strides do not grow with its input
            return image_size[0] / cells[0], image_size[1] / cells[1]
        return self.steps[level], self.steps[level]

    def _sides(self, level: int) -> list[tuple[float, float]]:
        shapes = self.boxes[level]
        if shapes is not None:
            return [(width, height) for width, height in shapes]
        side, larger = self.sizes[level], math.sqrt(self.sizes[level] * self.sizes[level + 1])
        pairs = [(side * math.sqrt(r), side / math.sqrt(r)) for r in self.ratios[level]]
        return [(side, side), (larger, larger), *(box for w, h in pairs for box in ((w, h), (h, w)))]

    def forward(self, maps: Sequence[Size], image_size: Size, device: torch.device | str = "cpu") -> torch.Tensor:
        """Priors in pixels of the network's input: (P, 4) float32 xyxy. Computed once a size and device."""
        key = (tuple(maps), (image_size[0], image_size[1]), str(device))
        priors = self._cache.get(key)
        if priors is None:
            if len(self._cache) >= MAX_CACHED:
                self._cache.clear()
            height, width = image_size
            boxes = cxcywh_to_xyxy(self.fractions(maps, image_size))
            # Returned from here, not from the cache, which another thread may clear.
            priors = self._cache[key] = (boxes * torch.tensor([width, height, width, height])).to(device)
        return priors
