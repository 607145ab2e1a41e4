"""Which image files are there: each folder is listed once, which is much faster than to ask for each file."""

import os
import unicodedata
from collections.abc import Collection, Iterable
from pathlib import Path

SPELLINGS = "names that differ from their file's in case or in the form of accents only (taken for the same)"


class Names:
    """Finds names as file systems do that ignore case and the two forms of Unicode, NFC and NFD, of accents."""

    def __init__(self, names: Collection[str]):
        self._names = names
        self._folded: dict[str, list[str]] | None = None  # made when a name is missing

    def find(self, name: str) -> str | None:
        """The name itself if it is there; else the only one that differs in case or in the form of accents only."""
        if name in self._names:
            return name
        if self._folded is None:
            self._folded = {}
            for other in self._names:
                self._folded.setdefault(_fold(other), []).append(other)
        like = self._folded.get(_fold(name), [])
        return like[0] if len(like) == 1 else None


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


class Listing:
    """The files below a folder, listed as they are asked for."""

    def __init__(self, folder: Path):
        self.folder, self._real = folder, os.path.realpath(folder)
        self._folders: dict[str, dict[str, bool]] = {}  # folder -> file -> whether it leads out of ``self.folder``
        self._children: dict[str, Names] = {}  # folder -> the files and folders in it

    def has(self, name: str) -> bool:
        """Whether there is a file at the path ``name`` below the folder."""
        above, _, last = name.rpartition("/")
        return last in self._files(above)

    def find(self, name: str) -> str | None:
        """The path of the file at ``name``, each part of which may differ as ``Names`` allows; None: it is missing."""
        if self.has(name):
            return name
        found = ""
        for part in name.split("/"):
            child = self._names(found).find(part)
            if child is None:
                return None
            found = f"{found}/{child}" if found else child
        return found if self.has(found) else None

    def _names(self, folder: str) -> Names:
        if folder not in self._children:
            try:
                self._children[folder] = Names(set(os.listdir(os.path.join(self.folder, folder))))
            except OSError:
                self._children[folder] = Names(())
        return self._children[folder]

    def leads_out(self, name: str) -> bool:
        """Whether the file is a link to a file outside of the folder, or lies behind such a link."""
        above, _, last = name.rpartition("/")
        return self._files(above).get(last, False)

    def _files(self, above: str) -> dict[str, bool]:
        if above not in self._folders:
            place = os.path.join(self.folder, above)
            is_out = not self._is_inside(place)
            try:
                with os.scandir(place) as entries:
                    files = {entry.name: entry.is_symlink() for entry in entries if entry.is_file()}
            except (OSError, ValueError):
                files = {}
            links = {name for name, is_link in files.items() if is_link}
            self._folders[above] = {
                name: is_out or (name in links and not self._is_inside(os.path.join(place, name))) for name in files
            }
        return self._folders[above]

    def _is_inside(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real == self._real or real.startswith(self._real.rstrip("/") + "/")


def real_paths(folder: Path, names: Iterable[str]) -> set[str]:
    """Where the files ``names`` below a folder really are, links followed."""
    folders: dict[str, str] = {}
    paths = set()
    for name in names:
        above, _, last = name.rpartition("/")
        if above not in folders:
            folders[above] = os.path.realpath(os.path.join(folder, above))
        path = os.path.join(folders[above], last)
        paths.add(os.path.realpath(path) if os.path.islink(path) else path)
    return paths
