"""Parts of a model by name: ``backbone``, ``head.box``, ``backbone.layers.1`` (not 10) or ``backbone.layers.0-2``."""

from collections.abc import Iterable, Sequence

# Parts that some necks are without: configs of the BMVC code name them for every model.
OPTIONAL = ("neck.norm", "neck.refine", "neck.extras", "neck.transforms", "neck.pyramids")


def is_in(name: str, part: str) -> bool:
    """Whether a parameter or module lies in a part, or is it: a part covers whole steps of a dotted name."""
    steps, wanted = name.split("."), part.split(".")
    return len(steps) >= len(wanted) and all(map(_is_same, steps, wanted))


def is_in_any(name: str, parts: Iterable[str] | None) -> bool:
    """Whether a name lies in one of the parts; None: in any case."""
    return parts is None or any(is_in(name, part) for part in parts)


def _is_same(step: str, wanted: str) -> bool:
    first, dash, last = wanted.partition("-")
    if dash and step.isdigit() and first.isdigit() and last.isdigit():
        return int(first) <= int(step) <= int(last)
    return step == wanted


def names_in(names: Iterable[str], parts: Sequence[str] | None, where: str) -> set[str]:
    """Those of the names, of parameters or modules, that lie in any of the parts; None: in no part.

    A part that holds none of them is a ValueError, which names ``where``, the config key of the parts. One that is
    OPTIONAL may hold none if another part holds some.
    """
    names, parts = list(names), list(map(str, parts or ()))
    inside = {part: {name for name in names if is_in(name, part)} for part in parts}
    chosen: set[str] = set().union(*inside.values())
    for part in parts:
        if not inside[part] and (part not in OPTIONAL or not chosen):
            raise ValueError(
                f"{where} must name parts such as backbone, neck, head, or rows such as backbone.layers.0-2; "
                f"got {part!r}, which holds nothing here"
            )
    return chosen
