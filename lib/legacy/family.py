"""How another work names the tensors of its checkpoints."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch

Tensors = Mapping[str, torch.Tensor]


class Family(NamedTuple):
    """One code's way to name the tensors of a checkpoint.

    Attributes:
        about: what such a checkpoint is, for messages.
        mark: pattern of a name that every checkpoint of the family has.
        parts: (pattern at the start of a name, our part); the first that fits counts. None: tensors of a classifier
            that a detector does not need.
        prepare: changes the tensors first, such as fully connected layers into convolutions.
    """

    about: str
    mark: str
    parts: tuple[tuple[str, str | None], ...]
    prepare: Callable[[Tensors], dict[str, torch.Tensor]] = dict

    @property
    def is_classifier(self) -> bool:
        """Whether it gives a backbone only, and may have more layers than that backbone uses."""
        return all(part in ("backbone", None) for _, part in self.parts)

    def part_of(self, name: str) -> str | None:
        """Our part that a tensor belongs to; None: to none."""
        return next((part for pattern, part in self.parts if re.match(pattern, name)), None)

    def knows(self, name: str) -> bool:
        """Whether the family has a tensor of that name at all."""
        return any(re.match(pattern, name) for pattern, _ in self.parts)
