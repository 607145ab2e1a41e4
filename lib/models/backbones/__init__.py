"""The backbones by name. A new one is a table function and a line here."""

from __future__ import annotations

import re

from lib.models.backbones.mobilenet import mobilenet_v1, mobilenet_v2
from lib.models.backbones.vgg import vgg16

BACKBONES = {"mobilenet_v1": mobilenet_v1, "mobilenet_v2": mobilenet_v2, "vgg16": vgg16}


def split_name(name: str) -> tuple[str, dict[int, int]]:
    """Splits a short form such as ``mobilenet_v1_S1L0`` into the backbone's name and its new strides.

    *S(number of strides taken out)L(rows)*: ``S2L0_6`` is ``{0: 1, 6: 1}``.
    """
    match = re.fullmatch(r"(.+)_S(\d+)L(\d+(?:_\d+)*)", str(name))
    if not match:
        return name, {}
    rows = [int(row) for row in match[3].split("_")]
    if len(rows) != int(match[2]):
        raise ValueError(
            f"model.backbone.type: S{match[2]} must name {match[2]} rows after L; got {len(rows)} in {name!r}"
        )
    return match[1], dict.fromkeys(rows, 1)
