"""Steps of an epoch: the same images for one process and for many, some more often, one shape a step."""

from collections import Counter
from itertools import chain

import numpy as np
import pytest

from lib.data.sampler import Steps


def steps(count=10, batch_size=2, **options):
    defaults = {"drop_last": True, "seed": 0, "rank": 0, "world_size": 1, "accumulate": 1}
    return Steps(count, batch_size, **({"times": None, "groups": None} | defaults | options))


def in_epoch(sampler, epoch, start=0):
    sampler.epoch, sampler.start = epoch, start
    return list(sampler)


TIMES = np.where(np.arange(30) < 5, 2.5, 1.0)
GROUPS = np.repeat([0, 2], [18, 12])  # a group without images among them


@pytest.mark.parametrize("options", [{}, {"times": TIMES}, {"groups": GROUPS}, {"times": TIMES, "groups": GROUPS}])
@pytest.mark.parametrize("drop_last", [True, False])
def test_parts_of_all_processes_are_the_step_of_one(options, drop_last):
    one = steps(30, 8, drop_last=drop_last, **options)
    shared = {"batch_size": 2, "world_size": 2, "accumulate": 2, "drop_last": drop_last}
    ranks = [steps(30, rank=rank, **shared, **options) for rank in (0, 1)]
    for epoch in (0, 1):
        alone, halves = in_epoch(one, epoch), [in_epoch(rank, epoch) for rank in ranks]
        parts = [sorted(a + b) for a, b in zip(*halves, strict=True)]
        full = [batch for batch in alone if len(batch) == 8]
        together = [sorted(parts[2 * k] + parts[2 * k + 1]) for k in range(len(full))]
        assert together == [sorted(step) for step in full]
        seen = {index for _, index, _ in chain(*parts)}
        assert drop_last or seen == set(range(30))
        assert [one.num_batches, *(rank.num_batches for rank in ranks)] == [len(alone), *map(len, halves)]


@pytest.mark.parametrize("options", [{}, {"times": TIMES, "groups": GROUPS}])
@pytest.mark.parametrize("world_size", [1, 3])
def test_epoch_taken_up_in_its_middle_goes_on_alike(options, world_size):
    sampler = steps(30, 3, rank=world_size - 1, world_size=world_size, **options)
    whole = in_epoch(sampler, 4)
    assert in_epoch(sampler, 4, start=2) == whole[2:] and len(sampler) == len(whole) - 2
    assert in_epoch(sampler, 4, start=9**9) == [] and len(sampler) == 0


def test_images_come_as_often_as_told_and_no_copy_is_like_another():
    sampler = steps(30, 1, times=TIMES)
    counts = [Counter(index for ((_, index, _),) in in_epoch(sampler, epoch)) for epoch in range(40)]
    assert {sum(count.values()) for count in counts} == {37}  # 25 + 5 * 2.5 = 37.5
    assert all(count[index] == 1 for count in counts for index in range(5, 30))
    assert all(count[index] in (2, 3) for count in counts for index in range(5))
    assert np.mean([count[index] for count in counts for index in range(5)]) == pytest.approx(2.4, abs=0.11)
    keys = [key for (key,) in in_epoch(sampler, 0)]
    assert len(set(keys)) == len(keys) and {copy for _, _, copy in keys} == {0, 1, 2}


def test_step_of_all_processes_holds_one_group():
    ranks = [steps(30, 2, groups=GROUPS, rank=rank, world_size=2) for rank in (0, 1)]
    batches = [a + b for a, b in zip(*(in_epoch(rank, 3) for rank in ranks), strict=True)]
    assert [len({GROUPS[index] for _, index, _ in batch}) for batch in batches] == [1] * 7
    assert Counter(GROUPS[batch[0][1]] for batch in batches) == {0: 4, 2: 3}  # 18 // 4 and 12 // 4


def test_rests_of_groups_share_steps_so_that_only_the_rest_of_all_is_left_out():
    groups = np.repeat([0, 1, 2, 3], [7, 3, 2, 5])  # with steps of 4, two groups fill none of their own
    ranks = [steps(17, 2, groups=groups, rank=rank, world_size=2) for rank in (0, 1)]
    seen = Counter()
    for epoch in range(60):
        batches = [a + b for a, b in zip(*(in_epoch(rank, epoch) for rank in ranks), strict=True)]
        kinds = [{int(groups[index]) for _, index, _ in batch} for batch in batches]
        assert [len(batches), *(kinds.count({group}) for group in (0, 3))] == [4, 1, 1]  # 17 // 4, 7 // 4, 5 // 4
        images = [index for _, index, _ in chain(*batches)]
        assert len(set(images)) == len(images) == 16
        seen.update(images)
    assert min(seen[index] for index in range(17)) >= 45


def test_rests_of_groups_come_last_and_go_round_the_processes():
    ranks = [steps(5, 2, drop_last=False, groups=np.array([0, 0, 0, 1, 1]), rank=r, world_size=2) for r in (0, 1)]
    seen = [[index for _, index, _ in chain(*in_epoch(rank, 0))] for rank in ranks]
    assert [len(part) for part in seen] == [3, 3] and set(chain(*seen)) == set(range(5))
