"""To which work a configuration file belongs, told by its content, and what it says in our keys."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lib.legacy import keras_json, ssds, yacs

Source = Mapping[str, Any]


class Reader(NamedTuple):
    """One work's files."""

    about: str
    is_theirs: Callable[[Source], bool]  # by the content of a file
    translate: Callable[[Source, str | None], Source]  # the content and the folder of the data, if it is known


READERS = (
    Reader("the MobileNetV3 and MobileDet SSDLite in Keras", keras_json.is_keras, keras_json.translate),
    Reader("lufficc's SSD, or SSDLite with MobileNetV2 and MobileNeXt", yacs.is_yacs, yacs.translate),
    Reader("the BMVC 2019 code or its parent ssds.pytorch", ssds.is_ssds, ssds.translate),
)


def find_reader(source: Source) -> Reader | None:
    """The work that a file's content belongs to; None: ours, or no work that is known."""
    return next((reader for reader in READERS if reader.is_theirs(source)), None)


def translate_config(source: Source, root: str | None = None) -> Source:
    """A file of another work as ``load_config`` takes it; a file of ours stays as it is.

    Args:
        source: the content of the file.
        root: the folder of the data, where it is known: some works count training in iterations, which become epochs
            by the number of images.

    Raises:
        ValueError, TypeError: an unknown key, or a value that has no counterpart. What is not used is in the log.
    """
    reader = find_reader(source)
    return reader.translate(source, root) if reader else source


class _Notes(logging.Handler):
    """Keeps the messages of a translation."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def translate_with_notes(source: Source) -> tuple[Source, list[str]]:
    """``translate_config``, and what it says in the log: what has no counterpart, and what became something else."""
    notes, log = _Notes(), logging.getLogger("lib.legacy")
    level = log.level
    log.addHandler(notes)
    log.setLevel(logging.INFO)
    try:
        return translate_config(source), notes.texts
    finally:
        log.removeHandler(notes)
        log.setLevel(level)
