PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test lint format types tests report-check docs stores soak bench clean

help:  ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

install: $(STAMP)  ## Make .venv with lrkit and the tools that check it; then use .venv/bin/lrkit

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install  ## Train on MNIST while the learning rate adjusts itself, then compare schedules
	$(BIN)/lrkit train mnist --out runs/demo --overwrite
	$(BIN)/lrkit compare mnist --schedules tutorial --lr 0.03,0.1,0.3,1 --epochs 5 --seeds 8 --selection-seeds 1 --out runs/demo-compare --overwrite

test: lint types tests  ## Everything that must hold: linter, format, types, tests, doctests

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

tests: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist loadscope

report-check: install  ## Check the report of a comparison in headless Chromium: needs Debian's chromium and chromium-driver
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,browser]'
	OMP_NUM_THREADS=1 $(BIN)/python tools/check_report.py

docs: install  ## Write docs/schedules.md, its pictures, and those of lanes and predictions from the code
	$(BIN)/python tools/catalogue.py
	$(BIN)/python tools/lanes_figure.py
	$(BIN)/python tools/predict_figure.py

stores:  ## Read what the real MLflow and trackio write, in an environment of its own
	$(PYTHON) -m venv .venv-stores
	.venv-stores/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[stores]' pytest pytest-randomly hypothesis
	OMP_NUM_THREADS=1 .venv-stores/bin/python -m pytest -q tests/test_tracker_stores.py

soak: install  ## Kill a run 200 times at random moments; takes about ten minutes
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -s tests/test_kills.py -k random_moments --kills 200

bench: install  ## Compare with other libraries, and what is found with what is best; takes hours, on a quiet machine with two cores
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python benchmarks/schedules.py
	$(BIN)/python benchmarks/first_job.py
	$(BIN)/python benchmarks/lanes.py
	$(BIN)/python benchmarks/finder.py
	$(BIN)/python benchmarks/found_rates.py
	$(BIN)/python benchmarks/compare.py
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/predict.py
	$(BIN)/python benchmarks/predict_speed.py
	$(BIN)/python benchmarks/predict_own.py
	$(BIN)/python benchmarks/predict_optimised.py
	$(BIN)/python benchmarks/records.py

format: install  ## Mend what the linter and the formatter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## Remove the environment and what was built
	rm -rf $(VENV) .venv-stores build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
