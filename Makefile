# Two commands set everything up: `make demo` shows the station, `make test` proves it.

PYTHON ?= python3
DATA ?= $(or $(LEUKOSCOPE_DATA),../shared/data)
DEMO_ENV := .venv
TEST_ENV := .venv-test
DEMO_DONE := $(DEMO_ENV)/installed
TEST_DONE := $(TEST_ENV)/installed
BIN := $(TEST_ENV)/bin
TRAINER := $(BIN)/leukoscope-trainer
EXPORT := $(BIN)/leukoscope-export
STARTER := edge/starter
RUNS := runs/starter
QUANTIZED := runs/quantized
# Counts up with every starter bundle: a station takes none that is older than its own.
RELEASE ?= 4
# Processes that run the suite, a file each at a time, in the order of the files: the longest come first.
WORKERS ?= 2
QUIET := --quiet --disable-pip-version-check
COMPILE = uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header

# Threads that spin while they wait make each other crawl where several programs share the processors.
export OMP_WAIT_POLICY := PASSIVE

# What eight bits cost, where runs were quantized. $(1): detector or classifier; $(2): a folder of real pictures.
eight_bits = $(if $(wildcard $(QUANTIZED)/$(1)-*),$(BIN)/python benchmarks/quantization.py \
	$(wildcard $(QUANTIZED)/$(1)-*) --pictures $(2),@echo "no quantized $(1) in $(QUANTIZED)")

.DEFAULT_GOAL := help
.PHONY: help demo test nightly lint types schemas requirements starter-bundle benchmarks system-packages clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 18

demo: $(DEMO_DONE) ## install the station alone and open its page on a generated smear
	$(DEMO_ENV)/bin/leukoscope-edge demo $(ARGS)

test: $(TEST_DONE) system-packages ## install everything and run the whole suite
	$(BIN)/python -m pytest -m "not nightly" -n $(WORKERS) --dist loadfile --no-loadscope-reorder

nightly: $(TEST_DONE) system-packages ## the long tests
	$(BIN)/python -m pytest -m nightly

lint: $(TEST_DONE) ## rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(TEST_DONE) ## strict types of all packages
	$(BIN)/mypy

schemas: $(TEST_DONE) ## write the JSON Schemas of everything that crosses a wall
	$(BIN)/python -m edge.contract.schemas docs/schemas

benchmarks: $(TEST_DONE) ## print the tables of figures
	$(BIN)/python benchmarks/station.py
	$(BIN)/python benchmarks/camera.py
	$(BIN)/python benchmarks/calibration.py
	$(BIN)/python benchmarks/gates.py --every 3
	$(BIN)/python benchmarks/slide_map.py
	$(BIN)/python benchmarks/slide_session.py
	$(BIN)/python -m benchmarks.outbox
	$(BIN)/python -m benchmarks.reliability
	$(BIN)/python -m benchmarks.update
	$(BIN)/python benchmarks/tensorrt.py
	$(BIN)/python benchmarks/bundle.py $(STARTER) --frames $(DATA)/bccd/JPEGImages
	$(BIN)/python benchmarks/detector.py --data $(DATA)
	$(BIN)/python benchmarks/classifier.py --data $(DATA) $(RUNS)/classifier-folds
	$(BIN)/python benchmarks/training.py --data $(DATA)
	$(call eight_bits,detector,$(DATA)/bccd)
	$(call eight_bits,classifier,$(DATA)/bccd_cells)

system-packages: ## the system's programs that the suite drives; installed where that is allowed
	@sh tests/system-packages.sh

starter-bundle: $(TEST_DONE) ## train both networks and make edge/starter of them; goes on where it was interrupted
	$(TRAINER) detector fit --data $(DATA) --out $(RUNS)/detector-learned --resume
	$(TRAINER) detector fit --data $(DATA) --out $(RUNS)/detector-judged --begin-with $(RUNS)/detector-learned \
		--epochs 16 --rate 0.001 --real-share 0.8 --natural 0.8 --usual 0.7 --virtual-fields 80 --resume
	$(TRAINER) detector evaluate --data $(DATA) $(RUNS)/detector-judged
	$(TRAINER) detector fit --data $(DATA) --out $(RUNS)/detector --begin-with $(RUNS)/detector-judged \
		--list train --list val --epochs 6 --rate 0.0004 --real-share 0.72 --natural 0.6 --usual 0.5 \
		--virtual-fields 80 --resume
	$(TRAINER) detector evaluate --data $(DATA) --figures-from $(RUNS)/detector-judged $(RUNS)/detector
	$(TRAINER) classifier cross-validate --data $(DATA) --out $(RUNS)/classifier-folds --resume
	$(TRAINER) classifier fit --data $(DATA) --split all --out $(RUNS)/classifier --resume
	$(TRAINER) classifier evaluate --data $(DATA) --measured $(RUNS)/classifier-folds $(RUNS)/classifier
	for run in detector-judged detector classifier-folds/house classifier; do \
		$(EXPORT) onnx $(RUNS)/$$run --out $(RUNS)/$$run.onnx || exit 1; done
	$(EXPORT) quantize $(RUNS)/detector-judged $(RUNS)/detector-judged.onnx --out $(RUNS)/detector-judged.int8.onnx
	$(EXPORT) quantize $(RUNS)/classifier-folds/house $(RUNS)/classifier-folds/house.onnx \
		--out $(RUNS)/classifier-folds/house.int8.onnx
	$(EXPORT) quantize $(RUNS)/detector $(RUNS)/detector.onnx --out $(RUNS)/detector.int8.onnx \
		--cost-from $(RUNS)/detector-judged.int8.onnx
	$(EXPORT) quantize $(RUNS)/classifier $(RUNS)/classifier.onnx --out $(RUNS)/classifier.int8.onnx \
		--cost-from $(RUNS)/classifier-folds/house.int8.onnx
	$(EXPORT) bundle --detector $(RUNS)/detector --detector-int8 $(RUNS)/detector.int8.onnx \
		--classifier $(RUNS)/classifier --classifier-int8 $(RUNS)/classifier.int8.onnx --out $(STARTER) \
		--name starter --release $(RELEASE) --frames $(DATA)/bccd --cells $(DATA)/bccd_cells
	$(EXPORT) inspect $(STARTER)

requirements: ## pin all packages anew, with hashes and without an index address
	$(COMPILE) --python-version 3.10 --extra demo pyproject.toml requirements/build.in \
		--output-file requirements/station.txt
	$(COMPILE) --python-version 3.11 --extra dev pyproject.toml requirements/build.in requirements/tested-pair.in \
		--constraint requirements/station.txt --output-file requirements/test.txt
	$(COMPILE) --python-version 3.10 --no-deps requirements/headless.in --output-file requirements/headless.txt
	$(COMPILE) --python-version 3.10 requirements/uv.in --output-file requirements/uv.txt

clean: ## remove the environments; runs and bundles stay
	rm -rf $(DEMO_ENV) $(TEST_ENV)

$(DEMO_DONE): pyproject.toml requirements/station.txt requirements/headless.txt
	@echo "installing the station into $(DEMO_ENV)"
	@$(PYTHON) -m venv --clear $(DEMO_ENV)
	@$(DEMO_ENV)/bin/pip install $(QUIET) --require-hashes -r requirements/station.txt
	@$(DEMO_ENV)/bin/pip install $(QUIET) --no-deps --no-build-isolation -e .
	@# OpenCV's full build needs the system's libGL, which a machine without a screen may lack.
	@$(DEMO_ENV)/bin/python -c 'import cv2' 2>/dev/null || { \
		$(DEMO_ENV)/bin/pip uninstall --quiet --yes opencv-python && \
		$(DEMO_ENV)/bin/pip install $(QUIET) --no-deps --require-hashes -r requirements/headless.txt; }
	@touch $@

$(TEST_DONE): pyproject.toml requirements/test.txt requirements/uv.txt
	@echo "installing everything into $(TEST_ENV)"
	@$(PYTHON) -m venv --clear $(TEST_ENV)
	@$(BIN)/pip install $(QUIET) --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/test.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@
