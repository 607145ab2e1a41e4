"""Which image files are there: each folder is listed once, which is much faster than to ask for each file."""

import os
from pathlib import Path


class Listing:
    """The files below a folder, listed as they are asked for."""

    def __init__(self, folder: Path):
        self.folder, self._real = folder, os.path.realpath(folder)
        self._folders: dict[str, dict[str, bool]] = {}  # folder -> file -> whether it leads out of ``self.folder``

    def has(self, name: str) -> bool:
        """Whether there is a file at the path ``name`` below the folder."""
        above, _, last = name.rpartition("/")
        return last in self._files(above)

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
