# make = compile the kernels. Everything that is installed goes into .venv; PYTHON= chooses the interpreter.
PYTHON ?= python3
VENV   := .venv
EXTRAS := .venv-extras
PY     := $(VENV)/bin/python
# A module is compiled to bytecode when it is first imported; most modules of these packages never are.
INSTALL := $(PY) -m pip install --quiet --no-compile --disable-pip-version-check --requirement
export MPLBACKEND := Agg

# Workers with one thread each, one more than there are cores: some tests wait for processes that they start. A file's
# tests stay together, so that what they share is made once; files start in the order of tests/slow.py, the longest first.
# A worker that dies ends the run with the name of its test; pytest-xdist would wait forever for the rest of its file.
WORKERS := $(shell $(PYTHON) -c 'import os; print(min(8, (os.cpu_count() or 1) + 1))')
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest --numprocesses=$(WORKERS) --max-worker-restart=0 \
	--dist=loadfile --no-loadscope-reorder

.PHONY: kernels extras test-extras demo demo-synthetic demo-weights study test check quick bench lint style types clean help
kernels: $(VENV)/ready  ## compile the CPU kernels, and the CUDA ones where nvcc is found (default)
	$(PY) csrc/build.py

$(VENV)/ready: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, got " + sys.version.split()[0] + ": choose one by make PYTHON=...") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) requirements.txt
	touch $@

# What only tests and linters need.
$(VENV)/dev: $(VENV)/ready requirements-dev.txt
	$(INSTALL) requirements-dev.txt
	touch $@

extras: $(VENV)/extras  ## install the optional packages, each for one feature: OpenVINO, int8, LiteRT, GeoTIFF, H.264, tracking

$(VENV)/extras: $(VENV)/ready requirements-extras.txt
	$(INSTALL) requirements-extras.txt
	touch $@

demo: kernels  ## fine-tune two detectors on an aerial image and count the trees in another one; results in runs/demo/
	$(PY) tools/run_demo.py trees

demo-synthetic: kernels  ## the same on generated shapes, with AP by object size; results in runs/demo_synthetic/
	$(PY) tools/run_demo.py synthetic

demo-weights: kernels  ## train the plain detector that the synthetic demo starts from (about 15 minutes)
	$(PY) tools/run_demo.py synthetic --weights-only

study: kernels  ## train a grid of detectors and measure what stride surgery gains (38 minutes); results in runs/study/
	$(PY) tools/study.py

test: kernels $(VENV)/dev  ## run all tests, on all cores
	$(PYTEST)

test-extras: $(EXTRAS)/ready  ## run the LiteRT and browser tests, in a separate environment
	$(EXTRAS)/bin/python csrc/build.py
	OMP_NUM_THREADS=1 $(EXTRAS)/bin/python -m pytest tests/inference/test_tflite_model.py \
		tests/inference/export/test_tflite.py tests/inference/export/test_web.py

$(EXTRAS)/ready: requirements-litert.txt requirements-dev.txt requirements.txt
	$(PYTHON) -m venv $(EXTRAS)
	$(EXTRAS)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-litert.txt
	touch $@

check: kernels  ## run lint and the fast tests in parallel, before a commit (85 s on 2 cores; 110 s the first time)
	@$(MAKE) --no-print-directory --jobs=3 style types quick

quick: kernels $(VENV)/dev
	$(PYTEST) -m "not slow"

bench: kernels  ## time the kernels against other implementations
	$(PY) tools/bench/kernels.py

lint: style types  ## run ruff and mypy: mistakes, imports, formatting, types

style: $(VENV)/dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/dev
	$(PY) -m mypy lib tools train.py test.py demo.py

clean:  ## remove everything built or installed, but keep runs/
	rm -rf build $(VENV) $(EXTRAS) .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name '*.so' -delete -o -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 16
