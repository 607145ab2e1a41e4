"""A tap: a map of the backbone that the neck reads. This file alone knows how a config writes taps."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch


@dataclass(frozen=True)
class Tap:
    """The output of a row, or of a stage inside it; with ``joined``, several maps joined along the channels.

    As text: ``13``, ``13.expand``, ``coarse.13``, and ``13+coarse.11`` for joined maps.
    """

    row: int  # of the backbone's table
    stage: str = ""  # of the row's block, such as ``expand``; empty: the whole row
    is_coarse: bool = False  # whether the map is one of the coarse path
    joined: tuple["Tap", ...] = ()  # the maps that follow this one along the channels

    @property
    def parts(self) -> tuple["Tap", ...]:
        """The single maps, in the order in which they are joined."""
        return (Tap(self.row, self.stage, self.is_coarse), *self.joined)

    def on_last_path(self, has_coarse_path: bool) -> "Tap":
        """The same map of the coarse path if there is one; joined maps stay as they are."""
        return self if self.joined else replace(self, is_coarse=has_coarse_path)

    def read(self, features: Mapping["Tap", torch.Tensor]) -> torch.Tensor:
        """(B, C, h, w): its map, from the single maps that the backbone gave.

        Raises:
            ValueError: joined maps differ in size, which is seen when a detector is built.
        """
        maps = [features[part] for part in self.parts]
        if len(maps) == 1:
            return maps[0]
        if maps[0].is_meta and len(sizes := {tuple(x.shape[2:]) for x in maps}) > 1:
            raise ValueError(
                f"maps that are joined must be of one size; those of {str(self)!r} in model.neck are "
                f"{', '.join(f'{h}x{w}' for h, w in sorted(sizes))}: choose rows with no stride between them"
            )
        return torch.cat(maps, dim=1)  # (B, sum of C, h, w)

    def __str__(self) -> str:
        text = f"{'coarse.' if self.is_coarse else ''}{self.row}{'.' if self.stage else ''}{self.stage}"
        return "+".join([text, *map(str, self.joined)])


def parse_tap(text: int | str) -> Tap:
    """The tap that a config writes as a row's number or as text; ValueError if it is neither."""
    matches = [re.fullmatch(r"(coarse\.)?(\d+)(?:\.([a-z]+))?", part) for part in str(text).split("+")]
    taps = [Tap(int(match[2]), match[3] or "", match[1] is not None) for match in matches if match]
    if len(taps) < len(matches) or isinstance(text, float):  # YAML reads 13.2 as a number
        raise ValueError(
            f"model.neck.taps must be rows such as 11 or coarse.13; got {text!r}: write a stage inside a row as "
            "13.expand, and join taps by +, as in 13+coarse.11"
        )
    return replace(taps[0], joined=tuple(taps[1:]))


def parse_taps(neck: Mapping[str, Any]) -> dict[str, Any]:
    """The options of ``model.neck``, its ``taps`` and ``source`` as values."""
    if not neck["taps"]:
        raise ValueError("model.neck.taps must name a row at least, such as [11, 13]; got []")
    options = {**neck, "taps": [parse_tap(tap) for tap in neck["taps"]]}
    if neck.get("source") is not None:
        options["source"] = parse_tap(neck["source"])
    return options
