"""Two aerial images of a forest with the boxes of single trees, for the demo.

They are airborne photographs of Yellowstone, which the package DeepForest carries with their annotations
(https://github.com/weecology/DeepForest, MIT license). The package is only unpacked, never run.
"""

from pathlib import Path

from lib.data.dataset import CocoDataset
from lib.utils.packages import download_wheel, unpack

PACKAGE = "deepforest==2.1.0"
SHA256 = "8c2798d8e9be7f0004b194fe207b76c1d9fff6e711b3db67b9508dcd5d00ae54"
# part -> name of an image and of its VOC file: one to train on, of 2472 x 2299 pixels, and one to test, of 1035 x 1249
IMAGES = {"train": "2019_YELL_2_528000_4978000_image_crop2", "test": "2019_YELL_2_541000_4977000_image_crop"}


def fetch_trees(folder: Path) -> dict[str, CocoDataset]:
    """The data sets ``train`` and ``test`` of one image each, in folders of these names.

    Raises:
        PackageError: the package cannot be downloaded, or is not the one that is expected.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wheel = download_wheel(PACKAGE, SHA256, folder)
    for part, name in IMAGES.items():
        unpack(wheel, [f"deepforest/data/{name}{suffix}" for suffix in (".png", ".xml")], folder / part)
    return {part: CocoDataset(folder / part, folder / part) for part in IMAGES}
