"""How often an epoch has an image by its objects, and which images may share a batch."""

import numpy as np
import pytest

from lib.data.weighting import aspect_groups, times_of, times_of_rare, times_of_small
from lib.structures import IGNORE


def test_small_objects_decide_how_often_an_image_comes():
    class Boxes:
        """Images with: a square of 31, one of 32, a small crowd, nothing, a sliver of 1000 px^2 beside a square."""

        found = (
            ([[0, 0, 31, 31]], [1]),
            ([[5, 5, 37, 37]], [1]),
            ([[0, 0, 9, 9]], [IGNORE]),
            ([], []),
            ([[0, 0, 100, 100], [0, 0, 500, 2]], [1, 2]),
        )

        def __len__(self):
            return len(self.found)

        def objects(self, index):
            boxes, labels = self.found[index]
            return np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64)

    assert times_of_small(Boxes(), 1.5).tolist() == [1.5, 1, 1, 1, 1.5]
    assert times_of_small(Boxes(), 1.0) is None
    for factor in (0.5, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="data.oversample_small must be 1 .* or more; got"):
            times_of_small(Boxes(), factor)


class Classes:
    """Ten images with an object of class 1; of them two also have class 2, one class 3 twice, and one a crowd."""

    def __len__(self):
        return 10

    def objects(self, index):
        labels = [1, *{0: [2], 1: [2, 3, 3], 2: [IGNORE]}.get(index, [])]
        return np.tile(np.array([0, 0, 9, 9], np.float32), (len(labels), 1)), np.array(labels, np.int64)


def test_images_of_rare_classes_come_more_often_as_in_lvis():
    # shares 1, 0.2 and 0.1: factors 1, sqrt(0.4 / 0.2) and sqrt(0.4 / 0.1)
    assert times_of_rare(Classes(), 0.4).tolist() == pytest.approx([2**0.5, 2] + [1] * 8)
    assert times_of_rare(Classes(), 0.05).tolist() == [1] * 10
    assert times_of_rare(Classes(), 0.0) is None
    with pytest.raises(ValueError, match=r"data.repeat_rare must be 0 .off. to 1, a share of the images; got 2"):
        times_of_rare(Classes(), 2)


def test_rare_classes_and_small_objects_multiply():
    assert times_of(Classes(), 1.5, 0.4).tolist() == pytest.approx([1.5 * 2**0.5, 3] + [1.5] * 8)
    assert times_of(Classes(), 1.5, 0.0).tolist() == [1.5] * 10
    assert times_of(Classes(), 1.0, 0.0) is None


def test_aspect_groups_are_torchvisions():
    sizes = np.array([[300, 100], [200, 100], [150, 100], [100, 100], [101, 100], [100, 199], [100, 200]])
    assert aspect_groups(sizes, 1).tolist() == [0, 1, 1, 2, 1, 2, 3]  # bounds 1/2, 1, 2
    assert aspect_groups(sizes, 2).tolist() == [0, 1, 1, 3, 2, 4, 5]  # and the roots of 1/2 and 2
    assert aspect_groups(sizes, 0) is None
    with pytest.raises(ValueError, match="data.aspect_groups must be 0 .* or more; got -1"):
        aspect_groups(sizes, -1)
