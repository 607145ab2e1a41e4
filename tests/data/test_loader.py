"""Batches: the same images in the same order, however many workers, processes and interruptions."""

import os
import signal

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from lib.build_data import build_loader
from lib.config import load_config
from lib.data.augment.presets import build_transform
from lib.data.dataset import CocoDataset
from lib.data.loader import Loader
from lib.structures import IGNORE, Sample

SIZE = (24, 32)


class Blocks:
    """``count`` images of 40 x 60; image i has id 100 + i and i % 3 boxes."""

    def __init__(self, count):
        self.count, self.sizes = count, np.full((count, 2), (40, 60))

    def __len__(self):
        return self.count

    def load(self, index):
        image = np.full((40, 60, 3), (index, 100, 200), np.uint8)
        image[5:25, 10:30] = 255
        boxes = np.array([[10, 5, 30, 25], [0, 0, 60, 40]], np.float32)[: index % 3]
        return Sample(image, boxes, np.array([2, IGNORE], np.int64)[: index % 3], 100 + index, (40, 60))


def make_loader(count=10, batch_size=4, augment="none", **options):
    return Loader(Blocks(count), build_transform(augment, SIZE), batch_size, **options)


def ids(loader):
    return [batch.image_ids.tolist() for batch in loader]


def assert_equal_batches(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        tensors = zip((a.images, *a.target, *a[2:]), (b.images, *b.target, *b[2:]), strict=True)
        assert all(torch.equal(x, y) for x, y in tensors)


def test_batch_holds_images_and_padded_ground_truth():
    (batch,) = make_loader(count=4)
    assert batch.images.shape == (4, 3, 24, 32) and batch.images.dtype == torch.uint8
    assert sorted(batch.image_ids.tolist()) == [100, 101, 102, 103] and batch.image_ids.dtype == torch.int64
    images, boxes, labels = (x[batch.image_ids.argsort()] for x in (batch.images, *batch.target))
    assert images[1, :, -1, -1].tolist() == [1, 100, 200]
    assert labels.tolist() == [[0, 0], [2, 0], [2, IGNORE], [0, 0]]
    scaled = torch.tensor([10 * 32 / 60, 3.0, 16.0, 15.0])
    torch.testing.assert_close(boxes[1], torch.stack([scaled, torch.zeros(4)]))
    torch.testing.assert_close(boxes[2, 1], torch.tensor([0.0, 0.0, 32.0, 24.0]))


def test_batch_without_any_object_has_no_columns():
    batch = next(iter(make_loader(count=1)))
    assert batch.target.boxes.shape == (1, 0, 4) and batch.target.labels.shape == (1, 0)
    assert batch.target.labels.dtype == torch.int64


def test_channels_are_swapped_on_request():
    bgr, rgb = (next(iter(make_loader(channels=channels))).images for channels in ("bgr", "rgb"))
    assert torch.equal(bgr.flip(1), rgb)


def test_batch_of_one_equals_its_row_in_a_batch_of_many():
    one = list(make_loader(batch_size=1, augment="ssd"))
    many = next(iter(make_loader(batch_size=10, augment="ssd")))
    assert torch.equal(torch.cat([batch.images for batch in one]), many.images)


def test_each_epoch_has_its_own_order_and_augmentation():
    loader = make_loader(augment="ssd")
    first = list(loader)
    again = list(loader)
    loader.set_epoch(1)
    other = list(loader)
    assert_equal_batches(first, again)
    assert sorted(i for batch in first for i in batch.image_ids.tolist()) == list(range(100, 110))
    assert [b.image_ids.tolist() for b in first] != [b.image_ids.tolist() for b in other]


def test_number_of_workers_changes_nothing():
    alone, helped = (make_loader(augment="ssd", num_workers=n, seed=3) for n in (0, 2))
    for epoch in (0, 1):  # the workers persist from one epoch to the next
        alone.set_epoch(epoch)
        helped.set_epoch(epoch)
        assert_equal_batches(list(alone), list(helped))


def test_epoch_can_be_taken_up_in_its_middle():
    loader = make_loader(augment="ssd")
    whole = list(loader)
    loader.set_epoch(0, start=2)
    assert_equal_batches(list(loader), whole[2:])
    assert len(loader) == 3
    loader.set_epoch(0, start=3)
    assert list(loader) == []


@pytest.mark.parametrize("count", [12, 13])
def test_processes_together_see_the_batches_of_one(count):
    one = make_loader(count, batch_size=4, drop_last=True)
    two = [make_loader(count, batch_size=2, drop_last=True, rank=r, world_size=2) for r in (0, 1)]
    steps = [sorted(a + b) for a, b in zip(*map(ids, two), strict=True)]
    assert steps == [sorted(batch) for batch in ids(one)]
    assert len(one) == len(two[0]) == len(two[1]) == 3


@pytest.mark.parametrize(("count", "world"), [(10, 3), (2, 3), (7, 2)])
def test_training_gives_every_process_as_many_batches(count, world):
    shards = [make_loader(count, batch_size=2, rank=r, world_size=world) for r in range(world)]
    seen = [[i for batch in ids(shard) for i in batch] for shard in shards]
    assert len({len(shard) for shard in seen}) == 1
    assert [len(shard) for shard in shards] == [len(ids(shard)) for shard in shards]
    assert set(sum(seen, [])) == set(range(100, 100 + count))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_broken_image_is_named_in_one_line(tmp_path, num_workers):
    for name in ("a.jpg", "b.jpg"):
        cv2.imwrite(str(tmp_path / name), np.zeros((40, 60, 3), np.uint8))
    content = {
        "images": [{"id": i, "file_name": f"{n}.jpg", "width": 60, "height": 40} for i, n in ((1, "a"), (2, "b"))],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 20]}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    dataset = CocoDataset(tmp_path, content)
    (tmp_path / "b.jpg").write_bytes((tmp_path / "b.jpg").read_bytes()[:400])
    loader = Loader(dataset, build_transform("none", SIZE), 1, num_workers=num_workers)
    with pytest.raises(ValueError, match=r"^image .*b\.jpg must be readable; it is truncated .*: replace the file$"):
        list(loader)
    (tmp_path / "b.jpg").unlink()
    with pytest.raises(OSError, match=r"b\.jpg must be a file"):
        list(loader)


def test_failing_transform_names_the_image():
    def fail(sample, rng, others):
        raise KeyError("a bug")

    with pytest.raises(KeyError) as error:
        list(Loader(Blocks(3), fail, 1))
    assert error.value.__notes__ == ["while preparing image 2 of the data set in epoch 0, seed 0"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size 1 or more"),
        ({"rank": 2, "world_size": 2}, "got 4, and 2 of 2"),
        ({"num_workers": -1}, "num_workers must be 0 or more; got -1"),
        ({"channels": "gbr"}, "channels must be one of bgr, rgb; got 'gbr'"),
        ({"batch_size": 11, "drop_last": True}, "batch_size must be at most 10"),
    ],
)
def test_impossible_loader_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_loader(**options)


class Deadly(Blocks):
    """The worker that loads image 5 is killed, as by a system without memory."""

    def load(self, index):
        if index == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().load(index)


def test_dead_worker_is_named_with_what_to_choose(monkeypatch):
    # torch looks after its workers when it has waited for a batch for five seconds
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.1,))
    loader = Loader(Deadly(8), build_transform("none", SIZE), 1, num_workers=2)
    handler = signal.getsignal(signal.SIGCHLD)
    with pytest.raises(OSError, match=r"number 0 of 2 \(pid \d+\) was killed by SIGKILL, .* fewer data.workers"):
        list(loader)
    assert signal.getsignal(signal.SIGCHLD) is handler  # so nothing else is interrupted


def test_worker_that_is_killed_between_two_epochs_is_named(monkeypatch):
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.1,))
    loader = Loader(Blocks(4), build_transform("none", SIZE), 2, num_workers=1)
    list(loader)
    worker = loader._loader._iterator._workers[0]
    worker.kill()
    worker.join()
    loader.set_epoch(1)
    with pytest.raises(OSError, match=r"number 0 of 1 \(pid \d+\) was killed by SIGKILL"):
        list(loader)


def test_number_of_parts_of_a_step_is_that_of_its_batches():
    loader = make_loader(11, batch_size=2, drop_last=True, accumulate=2, world_size=2)
    assert len(loader) == len(ids(loader)) == 2
    with pytest.raises(ValueError, match="batch_size must be at most 8, since training has 11 images and .*; got 12"):
        make_loader(11, batch_size=3, drop_last=True, accumulate=2, world_size=2)


@pytest.mark.parametrize(("device", "expected"), [("cpu", False), ("cuda", True), ("auto", True)])
def test_memory_is_pinned_only_for_a_run_on_a_gpu(monkeypatch, device, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    cfg = load_config({"train": {"batch_size": 4}, "run": {"device": device}})
    assert build_loader(cfg, Blocks(8))._loader.pin_memory is expected


def test_processes_and_parts_share_the_batch_of_the_config():
    cfg = load_config({"train": {"batch_size": 12, "accumulate": 2}, "data": {"workers": 0, "augment": "none"}})
    (batch, *_) = build_loader(cfg, Blocks(24), rank=1, world_size=3)
    assert len(batch.images) == 2
    with pytest.raises(ValueError, match=r"must be a multiple of 10, 5 processes .*=2 .*; got 12: choose such as 10"):
        build_loader(cfg, Blocks(24), world_size=5)
