"""Sides take turns in rounds, and what is said of their times."""

import json

import numpy as np
import pytest
import torch

from lib.timing.turns import Case, Spread, compare, comparison_text, machine, run_cases, take_turns

CPU = torch.device("cpu")


def test_sides_take_turns_and_the_first_rounds_do_not_count():
    calls = []
    sides = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    times = take_turns(sides, 0, CPU)
    assert calls == ["a", "b"] * 5
    assert [len(values) for values in times.values()] == [3, 3]
    times = take_turns(sides, 0, CPU, warm_up=0, least=1)
    assert calls == ["a", "b"] * 6
    assert all(values.shape == (1,) and values > 0 for values in times.values())


@pytest.fixture
def side(monkeypatch):
    """(name, milliseconds) -> a call that takes so long by a clock of ours, and is written down in ``side.calls``."""
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def make(name, time_ms):
        def call():
            make.calls.append(name)
            clock[0] += time_ms / 1000

        return call

    make.calls = []
    return make


def test_rounds_begin_until_the_seconds_are_over(side):
    times = take_turns({"a": side("a", 4), "b": side("b", 6)}, 0.045, CPU, warm_up=1, least=1)
    assert len(times["a"]) == len(times["b"]) == 5
    np.testing.assert_allclose(times["a"], 4)
    np.testing.assert_allclose(times["b"], 6)


def test_a_short_call_is_repeated_to_fill_its_block_and_a_long_one_is_not(side):
    sides = {"long": side("long", 9), "short": side("short", 1.5)}
    times = take_turns(sides, 0, CPU, warm_up=1, least=2, block_ms=4)
    assert side.calls == ["long", "short", *["long", "short", "short"] * 2]
    np.testing.assert_allclose(times["long"], 9)
    np.testing.assert_allclose(times["short"], 1.5)


def test_the_device_is_waited_for_on_both_sides_of_a_turn(monkeypatch):
    order = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: order.append(str(device)))
    take_turns({"a": lambda: order.append("call")}, 0, torch.device("cuda:1"), warm_up=0, least=1)
    assert order == ["cuda:1", "call", "cuda:1"]


def test_spread_and_ratio_by_hand():
    times = {"a": np.array([2.0, 4, 3]), "b": np.array([4.0, 4, 9])}
    assert Spread.of(times["a"]) == Spread(3.0, 2.1, 3.9)
    figures = compare(times)
    assert figures["a"]["ratio"] == {"median": 1, "p5": 1, "p95": 1}
    assert figures["b"]["time_ms"] == {"median": 4, "p5": 4, "p95": 8.5}
    assert figures["b"]["ratio"] == {"median": 2, "p5": pytest.approx(1.1), "p95": pytest.approx(2.9)}
    assert comparison_text("job", figures).splitlines() == [
        "job",
        "    a                       3 (2.1 to 3.9) ms, 333 per second",
        "    b                       4 (4 to 8.5) ms, 250 per second, 2 (1.1 to 2.9) times as long as a",
    ]


def test_large_times_have_no_exponent():
    assert str(Spread(123456.7, 999.6, 0.0123456)) == "123,457 (1,000 to 0.0123)"


def test_ours_is_not_compared_with_itself_since_a_peer_may_give_another_form(tmp_path):
    case = Case("one", {"ours": lambda: 1, "peer": lambda: {"x": 1}}, lambda ours, theirs: ours == theirs["x"])
    run_cases([case], 0, CPU, tmp_path / "out.json", least=1)
    figures = json.loads((tmp_path / "out.json").read_text())["cases"]["one"]
    assert [figures[side]["same"] for side in ("ours", "peer")] == [True, True]


def test_cases_are_compared_and_written(tmp_path, capsys):
    sides = {"ours": lambda: 1, "theirs": lambda: 1, "wrong": lambda: 2, "not installed": None}
    cases = [Case("one", sides, lambda ours, theirs: ours == theirs), Case("two", {"ours": lambda: None}, images=4)]
    run_cases(cases, 0, CPU, tmp_path / "out.json", least=5)
    written = json.loads((tmp_path / "out.json").read_text())
    assert {"device", "torch", "torchvision", "threads", "kernels", "load", "date"} == set(written["machine"])
    assert {side: figures["same"] for side, figures in written["cases"]["one"].items()} == {
        "ours": True,
        "theirs": True,
        "wrong": False,
    }
    assert set(written["cases"]["two"]["ours"]) == {"time_ms", "ratio", "same"}
    assert written["cases"]["two"]["ours"]["same"] is None
    shown = capsys.readouterr().out
    assert shown.count("DIFFERENT RESULT") == 1
    assert [line.split()[0] for line in shown.splitlines() if "DIFFERENT RESULT" in line] == ["wrong"]


def test_times_are_those_of_an_image(tmp_path, side):
    run_cases([Case("four", {"ours": side("ours", 20)}, images=4)], 0, CPU, tmp_path / "out.json")
    median = json.loads((tmp_path / "out.json").read_text())["cases"]["four"]["ours"]["time_ms"]["median"]
    assert median == pytest.approx(5)


def test_machine_names_the_processor():
    assert machine(CPU)["device"].startswith("cpu: ")
    assert machine(CPU)["torch"] == torch.__version__
