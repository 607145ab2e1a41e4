"""Class names of public checkpoints, and their heads' rows for other classes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from lib.data.formats.voc import NAMES as VOC
from lib.legacy.weights import same_shape
from lib.utils.lookup import lookup

# COCO's categories by their id from 1 on; "" where COCO has no category of that id
_BY_ID = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,,stop sign,"
    "parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,,backpack,umbrella,,,handbag,"
    "tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,"
    "tennis racket,bottle,,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,"
    "hot dog,pizza,donut,cake,chair,couch,potted plant,bed,,dining table,,,toilet,,tv,laptop,mouse,remote,"
    "keyboard,cell phone,microwave,oven,toaster,sink,refrigerator,,book,clock,vase,scissors,teddy bear,"
    "hair drier,toothbrush"
)
COCO_IDS = tuple(name.strip() for name in _BY_ID.split(","))
COCO = tuple(name for name in COCO_IDS if name)
# VOC's names of COCO's classes
SYNONYMS = {"aeroplane": "airplane", "diningtable": "dining table", "motorbike": "motorcycle"}
SYNONYMS |= {"pottedplant": "potted plant", "sofa": "couch", "tvmonitor": "tv"}
BACKGROUND = "background"
# Number of a head's columns -> what they stand for; with background there is one more
COLUMNS = {len(names): names for names in (COCO, COCO_IDS, VOC)}
COLUMNS |= {count + 1: (BACKGROUND, *names) for count, names in COLUMNS.items()}


def class_names(num_classes: int) -> list[str]:
    """Names of the K - 1 classes of a model of K columns: COCO's or VOC's by their count, else numbers."""
    columns = COLUMNS.get(num_classes, ())
    if columns and columns[0] == BACKGROUND:
        return [name or f"unused {label}" for label, name in enumerate(columns[1:], start=1)]
    return [f"class {label}" for label in range(1, num_classes)]


def category_ids(names: Sequence[str]) -> list[int]:
    """COCO's ids of its own classes; 1, 2, ... for any others."""
    if list(names) == list(COCO):
        return [COCO_IDS.index(name) + 1 for name in names]
    return list(range(1, len(names) + 1))


class ClassRows:
    """Fits the class predictors of a checkpoint to a model of other classes.

    Args:
        model: the detector that is to take them.
        mode: ``same``: the classes must be the model's. ``reset``: class predictors stay as they are in the model.
            ``by_name``: each class takes the row of its name; one without stays as it is. ``shifted``: the same for
            checkpoints whose column k stands for class k + 1, and the last for nothing (SSDLite's focal loss).
        names: the model's classes, without background; None: those that their number tells.
        source: the checkpoint's classes, without background; None: those that the number of its columns tells.
    """

    def __init__(self, model: nn.Module, mode: str, names: Sequence[str] | None, source: Sequence[str] | None = None):
        head: Any = model.head
        self.mode = lookup(("same", "reset", "by_name", "shifted"), mode, "model.weights_classes")
        self.names = [_canonical(name) for name in (BACKGROUND, *(names or class_names(head.num_classes)))]
        self.source = source
        predictors = [name for name, x in head.cls.named_modules() if isinstance(x, nn.Conv2d) and x.groups == 1]
        self.outputs = {f"head.cls.{name}.{kind}" for name in predictors for kind in ("weight", "bias")}

    def __call__(self, name: str, theirs: torch.Tensor, ours: torch.Tensor) -> torch.Tensor | None:
        """The tensor to take under our ``name``; None: theirs does not fit."""
        if self.mode == "same" or name not in self.outputs:
            return same_shape(name, theirs, ours)
        if self.mode == "reset":
            return ours
        boxes, rest = divmod(len(ours), len(self.names))
        if rest or len(theirs) % boxes or theirs.shape[1:] != ours.shape[1:]:
            return None
        columns = self._columns(len(theirs) // boxes)
        theirs, ours = theirs.unflatten(0, (boxes, -1)), ours.unflatten(0, (boxes, -1)).clone()
        taken = [row for row, wanted in enumerate(self.names) if wanted in columns]
        ours[:, taken] = theirs[:, [columns.index(self.names[row]) for row in taken]].to(ours)
        return ours.flatten(0, 1)

    def _columns(self, count: int) -> list[str]:
        named = (BACKGROUND, *self.source) if self.source else COLUMNS.get(count)
        if named is None or len(named) != count:
            raise ValueError(
                "model.weights_classes=by_name needs a checkpoint with class names, or of COCO or VOC "
                f"({', '.join(map(str, COLUMNS))} columns); got {count} columns: choose model.weights_classes=reset"
            )
        if self.mode == "shifted":
            named = (*(name for name in named if name != BACKGROUND), BACKGROUND)[:count]
        return [_canonical(name) for name in named]


def _canonical(name: str) -> str:
    return SYNONYMS.get(name.lower(), name.lower())
