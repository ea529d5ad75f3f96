# Two targets take a fresh machine through everything: quickstart and test.
PYTHON ?= python3
# The release the tests run on. On a machine with NVIDIA GPUs this is the CUDA build.
TORCH ?= torch==2.13.0
# What of the optional packages to install too: EXTRAS=dev,dali for the tests of the DALI loader.
EXTRAS ?= dev
BIN := .venv/bin
INSTALLED := .venv/installed
GLYPHS := data/glyphs
RUN := runs/quickstart

.PHONY: quickstart test check format clean

quickstart: $(GLYPHS)/train.rec  ## train two processes on real images, verify on unseen classes
	OMP_NUM_THREADS=1 $(BIN)/torchrun --standalone --nproc-per-node 2 \
		-m partialfc train configs/quickstart.yaml
	$(BIN)/partialfc evaluate $(RUN) --pairs $(GLYPHS)/pairs.bin
	$(BIN)/partialfc report $(RUN)

$(GLYPHS)/train.rec: | $(INSTALLED)
	$(BIN)/partialfc data glyphs $(GLYPHS)

test: $(INSTALLED)  ## the whole suite; slow and distributed tests included
	$(BIN)/python -m pytest

check: $(INSTALLED)  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet "$(TORCH)" --editable ".[$(EXTRAS)]"
	touch $@

clean:
	rm -rf .venv data runs build *.egg-info
