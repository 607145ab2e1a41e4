"""What tools/bench/training.py measures, in the small."""

import json

import pytest
import torch

from lib.config import load_config
from lib.timing.training import Pair, random_batch, speed_with_loader, take_turns, time_pair
from tools.bench import training as bench_training

CPU = torch.device("cpu")
SMALL = {
    "input": {"size": [96, 128]},
    "model": {
        "num_classes": 4,
        "backbone": {"type": "mobilenet_v1", "width": 0.25},
        "neck": {"extras": [[32, 2], [32, 2]]},
        "priors": {"sizes": [16, 32, 48, 64, 80], "ratios": [2]},
    },
    "data": {"workers": 0},
    "train": {"batch_size": 2},
}


class Peer:
    """Counts its steps."""

    def __init__(self, name, batch, device, dtype):
        self.asked, self.calls = (name, len(batch.images), device, dtype), 0
        Peer.last = self

    def step(self):
        self.calls += 1

    def loss_step(self):
        return self.step


def test_random_boxes_lie_in_the_frame_and_have_an_area():
    boxes, labels = random_batch(load_config(SMALL), 50).target
    assert (boxes >= 0).all()
    assert (boxes <= torch.tensor([128, 96, 128, 96])).all()
    assert ((boxes[..., 2:] - boxes[..., :2]) > 0.03 * torch.tensor([128, 96]) - 1e-3).all()
    assert (labels.min().item(), labels.max().item()) == (1, 3)


def test_sides_take_turns_and_the_first_rounds_do_not_count():
    calls = []
    times = take_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 0, CPU, warm_up=2)
    assert calls == ["a", "b"] * 5
    assert [len(values) for values in times.values()] == [3, 3]


@pytest.mark.parametrize("is_loss", [True, False])
def test_a_pair_is_timed_round_by_round(is_loss):
    times = time_pair(Pair("none", "other", 2, is_loss), load_config(SMALL), CPU, 0, Peer)
    assert Peer.last.asked == ("other", 2, CPU, torch.float32)
    assert Peer.last.calls == 5
    assert times["ratio"].tolist() == (times["peer_ms"] / times["ours_ms"]).tolist()
    assert list(time_pair(Pair("none", "other", 2, is_loss), load_config(SMALL), CPU, 0, None)) == ["ours_ms"]


def test_speed_with_the_loader_on_drawn_scenes():
    found = speed_with_loader(load_config(SMALL), CPU, steps=2, warm_up=1)
    assert found["images_per_s"] > 0
    assert found["peak_mb"] > 10
    assert 0 < found["waiting_share"] < 1


def test_less_data_than_a_batch_is_refused(monkeypatch):
    monkeypatch.setattr("lib.timing.training.build_loader", lambda *args, **options: [])
    with pytest.raises(ValueError, match="data.train must have a batch of images; got less than"):
        speed_with_loader(load_config(SMALL), CPU, steps=1)


def test_the_tool_writes_its_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_training, "TrainingPeer", Peer)
    bench_training.main(["--pairs", "loss", "--seconds", "0", "--json", str(tmp_path / "out.json")])
    written = json.loads((tmp_path / "out.json").read_text())
    assert set(written["figures"]["loss"]) == {"ours_ms", "peer_ms", "ratio"}
    assert {"machine", "date", "torch", "asked"} <= set(written)
    assert written["machine"]["threads"] == 1
