"""Images and annotation files that belong together: what is left out where one of the two is missing or broken."""

from collections.abc import Sequence
from pathlib import Path

from lib.data.image import image_size
from lib.utils.fields import Problems, first_few, one_line

UNREADABLE = "image files that cannot be read"


def measured(path: Path, name: str, upright: bool, notes: Problems) -> tuple[int, int] | None:
    """(height, width) of an image file; None, which is noted, if it cannot be read."""
    try:
        return image_size(path, upright)
    except (ValueError, OSError) as error:
        notes.add(UNREADABLE, str(error).replace(str(path), name))
        return None


def refuse_unreadable(where: Path, notes: Problems) -> None:
    """Raises if some of the images cannot be read."""
    faults = notes.get(UNREADABLE, [])
    if faults:
        such = faults[0] if len(faults) == 1 else f"{len(faults)} cannot ({first_few(faults)})"
        advice = "; tools/check_dataset.py lists all" if len(faults) > 1 else ""
        raise ValueError(f"{one_line(where, 200)} must have images that can be read; {such}{advice}")


def are_left_out(strays: Sequence[Path], num_files: int, num_images: int, images: Path, notes: Problems) -> bool:
    """Whether ``strays``, the annotation files without an image in the folder ``images``, can be left out; it is noted.

    They can if at least half of the annotation files, or half of the images, have their partner. Else the folder is
    likely to be another one.
    """
    num_pairs = num_files - len(strays)
    if not num_pairs or 2 * num_pairs < min(num_files, num_images):
        return False
    notes.add(f"annotation files without an image in {images} (left out)", *(path.name for path in strays))
    return True


def leave_out(strays: Sequence[Path], num_files: int, num_images: int, images: Path, notes: Problems) -> None:
    """Raises if ``strays`` cannot be left out, see ``are_left_out``."""
    if strays and not are_left_out(strays, num_files, num_images, images, notes):
        raise FileNotFoundError(
            f"each annotation file must have its image in {images}; {len(strays)} of {num_files} have none, such as "
            f"{strays[0]}: set data.train.images or data.val.images, or --images in the tools; HEIC pictures are not "
            "read, and annotation files whose images are gone may be removed"
        )
