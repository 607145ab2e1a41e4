"""Which tests are slow, and why."""

import pytest

# What `make check` leaves out (pytest -m "not slow"): a file or a test, with the reason. Tests that take long start
# first, so that no worker is left alone with one at the end: keep the longest at the top.
SLOW = {
    "tests/engine/test_training.py": "trains, kills and resumes whole runs",
    "tests/engine/test_distributed.py": "starts groups of two processes",
    "tests/test_experiments.py": "builds every experiment at full size",
    "tests/models/test_zoo.py::test_runs_on_two_sizes_and_every_parameter_gets_a_gradient": "all backbones and heads",
    "tests/study/test_study_runs.py": "trains a grid of four runs",
    "tests/engine/test_bad_input.py": "starts a run for each kind of broken data",
    "tests/inference/export/test_export.py": "exports models to ONNX and runs them",
    "tests/engine/test_learner.py::test_compiled_network_gives_the_same_gradient": "waits for torch.compile",
    "tests/engine/test_learner.py::test_half_precision_learns_as_single_does": "half precision is slow on many CPUs",
    "tests/csrc/test_build.py": "compiles the kernels",
    "tests/csrc/test_cuda_logic.py": "compiles the CUDA kernels for the CPU",
    "tests/legacy/test_convert_weights.py": "runs other projects' detectors at full size",
    "tests/test_legacy.py": "runs the BMVC detectors at full size",
    "tests/timing/test_stages.py::test_a_mistake_ends_the_script_with_status_2_and_one_line": "starts a process",
    "tests/evaluation/test_engines.py::test_coco_is_plain_pycocotools_to_the_bit_on_a_thousand_sets": "a thousand sets",
    "tests/data/test_cache.py::test_second_epoch_of_several_workers_reads_no_file": "starts many processes",
    "tests/tools/test_count.py": "counts detectors at full size",
    "tests/engine/test_bmvc_config.py": "trains and tests a whole run",
    "tests/study/test_grid.py::test_every_row_of_every_grid_builds": "builds detectors at full size",
    "tests/study/test_grid.py::test_the_control_of_the_default_grid_costs_what_S1L0_costs": "builds them at full size",
    "tests/engine/test_learner.py::test_parts_of_a_step_have_the_gradient_of_the_whole": "trains in double precision",
    "tests/engine/test_budget.py": "trains until a budget is spent",
    "tests/engine/test_frozen.py::test_a_run_with_frozen_rows_resumes_to_the_bit": "trains and resumes a run",
    "tests/models/test_separate_norms.py::test_separate_statistics_survive_folding_and_export": "exports a model",
    "tests/models/test_convolution.py::test_compiled_and_exported_as_it_is": "waits for torch.compile",
    "tests/models/test_zoo.py::test_mobile_backbones_cost_what_theirs_did": "builds detectors at full size",
    "tests/ops/test_operators.py": "waits for torch.compile",
    "tests/utils/test_memory.py": "starts processes",
    "tests/tools/test_help.py::test_help_of_a_script_in_a_process_of_its_own_ends_with_status_0": "starts a process",
    "tests/evaluation/report/test_report.py": "draws reports",
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
