"""Which tests are slow, and why."""

import pytest

# What `make check` leaves out (pytest -m "not slow"): a file or a test, with the reason. Tests that take long start
# first, so that no worker is left alone with one at the end: keep the longest at the top.
SLOW = {
    "tests/engine/test_training.py": "trains, kills and resumes whole runs",
    "tests/engine/test_distributed.py": "starts groups of two processes",
    "tests/test_experiments.py": "builds every experiment at full size",
    "tests/study/test_study_runs.py": "trains a grid of four runs",
    "tests/inference/export/test_export.py": "exports models to ONNX and runs them",
    "tests/csrc/test_build.py::test_a_second_build_finds_all_up_to_date": "compiles all kernels",
    "tests/csrc/test_cuda_logic.py": "compiles the CUDA kernels for the CPU",
    "tests/legacy/test_convert_weights.py": "runs other projects' detectors at full size",
    "tests/test_legacy.py": "runs the BMVC detectors at full size",
    "tests/engine/test_learner.py::test_compiled_network_gives_the_same_gradient": "waits for torch.compile",
    "tests/tools/test_count.py": "counts detectors at full size",
    "tests/study/test_grid.py::test_every_row_of_every_grid_builds": "builds detectors at full size",
}


def slow_place(item: pytest.Item) -> int:
    """The item's place in SLOW, or their number where it is not among them."""
    for place, name in enumerate(SLOW):
        if item.nodeid == name or item.nodeid.startswith((f"{name}::", f"{name}[")):
            return place
    return len(SLOW)


def mark_slow_(items: list[pytest.Item]) -> None:
    """Marks the slow tests, and puts their files first."""
    places = {id(item): slow_place(item) for item in items}
    for item in items:
        if places[id(item)] < len(SLOW):
            item.add_marker(pytest.mark.slow)
    first = {}
    for item in items:
        first[item.path] = min(first.get(item.path, len(SLOW)), places[id(item)])
    items.sort(key=lambda item: first[item.path])
