"""What tools/bench/training.py measures, in the small."""

import json
from types import SimpleNamespace

import pytest
import torch

from lib.config import load_config
from lib.timing.turns import run_cases
from tools.bench import training as bench_training
from tools.bench.peers import checkouts
from tools.bench.peers.training_case import PAIRS, Pair, pair_case, random_batch, speed_with_loader

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


@pytest.mark.parametrize("name", ["loss", "step"])
def test_a_pair_is_timed_beside_its_peer(name, monkeypatch, tmp_path):
    monkeypatch.setitem(PAIRS, name, Pair("none", "other", 2))
    case = pair_case(name, load_config(SMALL), CPU, Peer)
    assert Peer.last.asked == ("other", 2, CPU, torch.float32)
    run_cases([case], 0, CPU, tmp_path / "out.json")
    assert Peer.last.calls == 5
    assert list(pair_case(name, load_config(SMALL), CPU, None).sides) == ["ours"]


def test_speed_with_the_loader_on_drawn_scenes():
    speed = speed_with_loader(load_config(SMALL), CPU, steps=2, warm_up=1)
    assert speed["images_per_s"] > 0
    assert speed["peak_mb"] > 10
    assert 0 < speed["waiting_share"] < 1


def test_less_data_than_a_batch_is_refused(monkeypatch):
    monkeypatch.setattr("tools.bench.peers.training_case.build_loader", lambda *args, **options: [])
    with pytest.raises(ValueError, match="data.train must have the images of a batch; got fewer than"):
        speed_with_loader(load_config(SMALL), CPU, steps=1)


def test_the_tool_writes_its_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_training, "load_torchvision_peer", lambda: SimpleNamespace(TrainingPeer=Peer))
    bench_training.main(["--pairs", "loss", "--seconds", "0", "--json", str(tmp_path / "out.json")])
    written = json.loads((tmp_path / "out.json").read_text())
    assert list(written["cases"]) == ["loss"]
    assert set(written["cases"]["loss"]) == {"ours", "torchvision"}
    assert set(written["cases"]["loss"]["torchvision"]) == {"time_ms", "ratio", "same"}
    assert {"machine", "command"} <= set(written)
    assert written["machine"]["threads"] == 1
    assert {"torch", "torchvision", "date"} <= set(written["machine"])


def test_the_tool_times_models_with_their_input(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_training, "experiment", lambda name, overrides: load_config(SMALL, overrides))
    out = tmp_path / "out.json"
    bench_training.main(["--models", "tiny", "--steps=1", f"--json={out}", "--device=cpu", "train.batch_size=3"])
    figures = json.loads(out.read_text())["models"]["tiny"]
    assert set(figures) == {"images_per_s", "peak_mb", "waiting_share"}


WORKER = """
import os, sys
print("ready", flush=True)
for number, _ in enumerate(sys.stdin):
    print({"a": 10, "b": 25}[os.path.basename(sys.argv[1])] + 100 * (number < 2), flush=True)
"""


def test_steps_of_two_checkouts_take_turns(tmp_path, monkeypatch, capsys):
    (tmp_path / "worker.py").write_text(WORKER)
    monkeypatch.setattr(checkouts, "WORKER", tmp_path / "worker.py")
    roots = {name: tmp_path / name for name in ("a", "b")}
    for root in roots.values():
        (root / "lib").mkdir(parents=True)
    times = checkouts.step_times(roots, 0)  # the first two rounds, of 110 and 125 ms, do not count
    assert {name: values.tolist() for name, values in times.items()} == {"a": [10.0] * 3, "b": [25.0] * 3}
    checkouts.compare_checkouts(roots, 0, tmp_path / "out.json")
    assert "2.5 (2.5 to 2.5) times as long as a" in capsys.readouterr().out
    assert json.loads((tmp_path / "out.json").read_text())["cpu_per_image"]["b"]["ratio"]["median"] == 2.5


def test_a_checkout_that_is_none_or_whose_step_fails_is_an_error(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="--against must be a checkout of this project; got .*nowhere"):
        bench_training.main(["--against", str(tmp_path / "nowhere")])
    (tmp_path / "worker.py").write_text("raise SystemExit(1)")
    monkeypatch.setattr(checkouts, "WORKER", tmp_path / "worker.py")
    (tmp_path / "lib").mkdir()
    with pytest.raises(RuntimeError, match="the training step of mine failed"):
        checkouts.step_times({"mine": tmp_path}, 0)
