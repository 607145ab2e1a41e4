"""Decoded images in memory: read once, by whichever process comes first, and never more than the budget."""

import json
import multiprocessing

import cv2
import numpy as np
import pytest
import torch

from lib.build_data import build_dataset
from lib.config import load_config
from lib.data.augment.presets import build_transform
from lib.data.cache import ImageCache
from lib.data.dataset import CocoDataset
from lib.data.loader import Loader

SIZES = np.array([[400, 700], [256, 1024], [300, 500], [10, 10]])  # 0.80, 0.75, 0.43 and 0 MB


def noise(index):
    return np.random.default_rng(index).integers(0, 256, (*SIZES[index], 3), np.uint8)


@pytest.mark.parametrize(("megabytes", "kept"), [(0, 0), (1, 1), (2, 4)])
def test_first_images_are_kept_as_far_as_the_budget_goes(megabytes, kept):
    cache, read = ImageCache(SIZES, megabytes), []

    def counted(index):
        read.append(index)
        return noise(index)

    for _ in range(2):
        for index in range(4):
            np.testing.assert_array_equal(cache.get(index, counted), noise(index))
    assert cache.num_images == kept
    assert sorted(read) == sorted([*range(4), *range(kept, 4)])
    assert cache._pixels.nbytes <= megabytes * 2**20 and cache._pixels.is_shared()


def test_kept_image_cannot_be_written_to():
    cache = ImageCache(SIZES, 2)
    for _ in range(2):
        with pytest.raises(ValueError, match="read-only"):
            cache.get(2, noise)[0, 0] = 7


def test_image_that_fails_is_not_kept():
    def broken(index):
        raise OSError("no such file")

    cache = ImageCache(SIZES, 2)
    with pytest.raises(OSError, match="no such file"):
        cache.get(1, broken)
    np.testing.assert_array_equal(cache.get(1, noise), noise(1))


def test_data_set_without_images_has_an_empty_cache():
    assert ImageCache(np.zeros((0, 2), np.int64), 5).num_images == 0


def test_impossible_budget_is_refused():
    with pytest.raises(ValueError, match="data.cache_mb must be 0 .* or more; got -1"):
        ImageCache(SIZES, -1)
    with pytest.raises(ValueError, match="data.cache_mb must fit into shared memory .* --shm-size"):
        ImageCache(np.array([[10**6, 10**8]]), 2**40)


def make_files(folder, count=6):
    images = [{"id": i, "file_name": f"{i}.png", "height": 40, "width": 60} for i in range(1, count + 1)]
    for image in images:
        pixels = np.random.default_rng(image["id"]).integers(0, 256, (40, 60, 3), np.uint8)
        cv2.imwrite(str(folder / image["file_name"]), pixels)
    annotations = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 20]}]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}


def pixels_by_id(loader):
    return {int(i): image for batch in loader for i, image in zip(batch.image_ids, batch.images, strict=True)}


@pytest.mark.parametrize(("method", "workers"), [("fork", 2), ("spawn", 1)])  # a spawned one takes seconds to start
def test_second_epoch_of_several_workers_reads_no_file(tmp_path, method, workers, monkeypatch):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this platform has no {method}")
    dataset = CocoDataset(tmp_path, make_files(tmp_path), cache_mb=1)
    loader = Loader(dataset, build_transform("none", (24, 32)), 2, num_workers=workers)
    monkeypatch.setattr(loader._loader, "multiprocessing_context", method)
    first = pixels_by_id(loader)
    for path in tmp_path.glob("*.png"):
        path.unlink()
    loader.set_epoch(1)  # another order, so that workers get images which others have read
    second = pixels_by_id(loader)
    assert len(first) == 6 and all(torch.equal(first[i], second[i]) for i in first)


def test_only_training_images_are_kept(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(make_files(tmp_path)))
    files = {"images": str(tmp_path), "annotations": str(tmp_path / "a.json")}
    cfg = load_config({"data": {"train": files, "val": files, "cache_mb": 1}})
    assert [build_dataset(cfg, split)._cache.num_images for split in ("train", "val")] == [6, 0]
