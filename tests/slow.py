"""Which tests are slow, and why."""

import pytest

# What `make check` leaves out (pytest -m "not slow"): folders, files and tests, with the reason. Long ones start
# first, so that no worker is left alone with one at the end: keep the longest at the top.
SLOW = {
    "tests/engine/test_training.py": "trains, kills and resumes whole runs",
    "tests/engine/test_distributed.py": "starts groups of two processes",
    "tests/test_experiments.py": "builds every experiment at full size",
    "tests/models/test_zoo.py": "builds and trains all backbones and heads",
    "tests/study/test_study_runs.py": "trains a grid of four runs",
    "tests/engine/test_resume.py": "trains and resumes runs",
    "tests/engine/test_bad_input.py": "starts a run for each kind of broken data",
    "tests/inference/export/test_export.py": "exports models to ONNX and runs them",
    "tests/engine/test_learner.py": "trains in double and half precision, waits for torch.compile",
    "tests/csrc/test_build.py": "compiles the kernels",
    "tests/ops/test_sanitizers.py": "compiles the kernels with sanitizers",
    "tests/inference/export/test_quantize.py": "quantizes a model",
    "tests/inference/test_backends.py": "exports models",
    "tests/inference/export/test_tflite.py": "exports models to LiteRT and runs them",
    "tests/inference/export/test_web.py": "runs exported models in a browser",
    "tests/inference/test_onnx_model.py": "exports models and damages them",
    "tests/inference/export/test_export_tool.py": "exports models",
    "tests/csrc/test_cuda_logic.py": "compiles the CUDA kernels for the CPU",
    "tests/legacy/test_convert_weights.py": "runs other projects' detectors at full size",
    "tests/test_legacy.py": "runs the BMVC detectors at full size",
    "tests/timing": "times detectors, starts processes",
    "tests/evaluation/test_engines.py::test_coco_is_plain_pycocotools_to_the_bit_on_a_thousand_sets": "a thousand sets",
    "tests/data/test_cache.py::test_second_epoch_of_several_workers_reads_no_file": "starts many processes",
    "tests/tools/test_count.py": "counts detectors at full size",
    "tests/engine/test_bmvc_config.py": "trains and tests a whole run",
    "tests/engine/test_their_configs.py": "trains and tests whole runs",
    "tests/legacy/test_yacs.py": "builds other projects' detectors at full size",
    "tests/study/test_grid.py::test_every_row_of_every_grid_builds": "builds detectors at full size",
    "tests/engine/test_budget.py": "trains until a budget is spent",
    "tests/engine/test_fitting.py::test_run_keeps_its_boxes_when_resumed_and_tested": "trains, resumes and tests a run",
    "tests/engine/test_frozen.py::test_a_run_with_frozen_rows_resumes_to_the_bit": "trains and resumes a run",
    "tests/models/test_separate_norms.py": "trains and exports a model",
    "tests/models/test_convolution.py::test_compiled_and_exported_as_it_is": "waits for torch.compile",
    "tests/ops/test_operators.py": "waits for torch.compile",
    "tests/utils/test_runtime.py::test_kept_memory_causes_no_page_faults": "starts processes",
    "tests/fuzz": "reads hundreds of broken files",
    "tests/utils/test_signals.py::test_a_signal_is_not_lost_where_python_throws_exceptions_away": "starts processes",
    "tests/inference/test_tracking.py::test_video_of_300_frames_with_known_tracks": "follows 40 objects",
    "tests/inference/test_video_file.py::test_a_browser_plays_the_file_to_its_end": "starts Chromium",
    "tests/inference/test_demo.py::test_a_display_that_is_named_but_dead_is_no_display": "starts a process",
    "tests/tools/test_help.py::test_help_of_a_script_in_a_process_of_its_own_ends_with_status_0": "starts a process",
    "tests/evaluation/report": "draws reports",
    "tests/ops/test_training_operators.py::test_operators_pass_opcheck": "runs each operator in many ways",
    "tests/ops/test_properties.py": "compares with the reference on many random boxes",
}


def slow_place(item: pytest.Item) -> int:
    """The item's place in SLOW, or their number where it is not among them."""
    for place, name in enumerate(SLOW):
        if item.nodeid == name or item.nodeid.startswith((f"{name}::", f"{name}[", f"{name}/")):
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
