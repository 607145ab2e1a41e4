"""Which image file an XML file of VOC belongs to."""

from functools import cached_property
from pathlib import Path, PurePosixPath

from lib.data.formats.folder import IMAGE_SUFFIXES, files_below
from lib.data.formats.listing import Names


class ImageNames:
    """Finds the image of an XML file among the files of a folder; None: no image is there."""

    def __init__(self, folder: Path | None):
        paths = files_below(folder, IMAGE_SUFFIXES) if folder and folder.is_dir() else []
        self.names = {path.relative_to(folder).as_posix() for path in paths} if folder else set()
        self.of_stem: dict[str, list[str]] = {}
        for name in sorted(self.names):
            self.of_stem.setdefault(_stem(name), []).append(name)
        self._stems = Names(self.of_stem)
        self.spellings: dict[str, str] = {}  # stems that are spelled otherwise -> those of the images
        self.others: list[str] = []  # XML files that name another image than their own, though both are there
        self.elsewhere: list[str] = []  # XML files whose image lies in a folder that they do not name
        self.unreadable: list[str] = []

    def find(self, stem: str, told: str) -> str:
        """The image's file of the XML file ``stem`` (its path without .xml), in which ``filename`` is ``told``."""
        told = PurePosixPath(told.replace("\\", "/")).as_posix() if told else ""
        last, above = PurePosixPath(told).name, PurePosixPath(stem).parent
        places = (told, (above / told).as_posix(), last, (above / last).as_posix()) if told else ()
        own, wanted = self._pick(stem, told), next(filter(None, map(self._named, places)), None)
        if own and wanted and _stem(wanted) != _stem(own):
            self.others.append(f"{stem}.xml names {wanted}")
        if image := own or wanted:
            return image
        flat = () if "/" in stem else (stem, _stem(last))
        if far := next(filter(None, map(self._elsewhere, flat)), None):
            self.elsewhere.append(f"{stem}.xml: {far}")
            return far
        # Without any image, it lies in the subfolder of the XML file.
        return (told if "/" in told else (above / told).as_posix()) if told else f"{stem}.jpg"

    @cached_property
    def _of_last(self) -> dict[str, list[str]]:
        """Last part of a path without suffix -> the images called so, in all folders."""
        names: dict[str, list[str]] = {}
        for name in self.names:
            names.setdefault(PurePosixPath(name).stem, []).append(name)
        return names

    def _elsewhere(self, stem: str) -> str | None:
        """The image that alone is called so, in whatever folder."""
        found = self._of_last.get(stem, [])
        return found[0] if len(found) == 1 else None

    def _named(self, name: str) -> str | None:
        """The image of a name, whose suffix may be missing or another one."""
        return name if name in self.names else self._pick(_stem(name), name) or self._pick(name, name)

    def _pick(self, stem: str, told: str) -> str | None:
        """The image of a stem, with the suffix of ``told`` if there are several."""
        found, suffix = self._stems.find(stem), PurePosixPath(told).suffix
        if found and found != stem:
            self.spellings[stem] = found
        names = self.of_stem[found] if found else []
        return min(names, key=lambda name: PurePosixPath(name).suffix != suffix, default=None)


def _stem(name: str) -> str:
    """A path without its suffix."""
    return PurePosixPath(name).with_suffix("").as_posix() if PurePosixPath(name).name else name
