"""The other works whose files we read, a module for each: FAMILIES of checkpoints, and readers of configs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from lib.legacy import classifiers, lufficc, ssds, torchvision
from lib.legacy.family import Family

FAMILIES = (*ssds.FAMILIES, *lufficc.FAMILIES, *torchvision.FAMILIES, *classifiers.FAMILIES)
# Whether a mapping is from a config file of that work -> what makes it one that load_config takes
CONFIG_READERS = {ssds.is_config: ssds.translate_config}


def translate_config(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The mapping of any config file as ``load_config`` takes it; one of ours stays as it is."""
    return next((translate(values) for fits, translate in CONFIG_READERS.items() if fits(values)), values)


def find_family(names: Iterable[str]) -> Family:
    """The family that a checkpoint with tensors of these names belongs to.

    Raises:
        ValueError: it belongs to none; the message names the nearest, and the tensors that it does not have.
    """
    names = list(names)
    fitting = [family for family in FAMILIES if any(re.match(family.mark, name) for name in names)]
    if not fitting:
        known = "; ".join(family.about for family in FAMILIES)
        raise ValueError(
            f"a checkpoint must be ours or of {known}; got tensors such as {', '.join(names[:3]) or 'none'}"
        )
    strangers = {family: [name for name in names if not family.knows(name)] for family in fitting}
    family = min(fitting, key=lambda family: len(strangers[family]))
    if strangers[family]:
        raise ValueError(
            f"a checkpoint must hold nothing but the tensors of one detector or classifier; got "
            f"{len(strangers[family])} that {family.about} does not have, such as {', '.join(strangers[family][:3])}"
        )
    return family
