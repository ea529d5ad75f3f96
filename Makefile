# Two targets take a fresh machine through everything: quickstart and test.
PYTHON ?= python3
# The release the tests run on. On a machine with NVIDIA GPUs this is the CUDA build.
TORCH ?= torch==2.13.0
# What of the optional packages to install too: EXTRAS=dev,dali for the tests of the DALI loader.
EXTRAS ?= dev
BIN := .venv/bin
INSTALLED := .venv/installed-$(EXTRAS)
BUILDER := build/builder# an environment with what builds a wheel, and nothing else
GLYPHS := data/glyphs
# Processes that tests run in: one more than there are cores, as some tests wait for what others compute.
JOBS ?= $(shell expr $$(nproc) + 1)
RUN := runs/quickstart

# make monitor: the port of the page (Prometheus's own), rank 0's metrics port (0: any free one), and the run.
MONITOR_PORT ?= 9190
METRICS_PORT ?= 0
MONITOR_RUN ?= configs/quickstart.yaml run.dir=runs/monitor train.steps=4000 train.log_every=10 \
	verification.every_steps=100

# make gpu: a Python that has torch for the machine's GPU, wheels for one without a network (make gpu-wheels),
# and arcface_torch to compare with: ARCFACE_TORCH=insightface/recognition/arcface_torch
GPU_PYTHON ?= python3
GPU_WHEELS ?= gpu-wheels
GPU_PACKAGES := build/gpu-packages# and a folder in it for each version of Python
GPU_MACHINE ?= x86_64
PYTHON_VERSION ?= 3.12
ARCFACE_TORCH ?=
GPU_OPTIONS ?=

# make vendor: the version to change to; empty: that of the lock, partialfc/report/vendor/uplot/lock.json.
UPLOT ?=

.PHONY: quickstart monitor test integration gpu gpu-wheels check format docs vendor dist clean

quickstart: $(GLYPHS)/train.rec  ## train two processes on real images, verify on unseen classes
	OMP_NUM_THREADS=1 $(BIN)/torchrun --standalone --nproc-per-node 2 \
		-m partialfc train configs/quickstart.yaml
	$(BIN)/partialfc evaluate $(RUN) --pairs $(GLYPHS)/pairs.bin
	$(BIN)/partialfc report $(RUN)

$(GLYPHS)/train.rec: | $(INSTALLED)
	$(BIN)/partialfc data glyphs $(GLYPHS)

monitor: $(GLYPHS)/train.rec  ## Prometheus, a long quickstart and a page with its live curves
	$(BIN)/python docker/monitor/monitor.py --port $(MONITOR_PORT) --metrics-port $(METRICS_PORT) \
		--folder runs/prometheus-$(MONITOR_PORT) $(MONITOR_RUN)

test: $(INSTALLED)  ## the whole suite; slow and distributed tests included
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal

integration: $(INSTALLED)  ## a real Slurm and the container image; as root on Debian it installs what they need
	tests/integration/install.sh
	$(BIN)/python -m pytest -m integration

gpu:  ## all that needs a GPU, in nine minutes; a table to commit
	@command -v "$(GPU_PYTHON)" > /dev/null || { echo "GPU_PYTHON=$(GPU_PYTHON) is not there;" \
		"give the Python that has torch, as in make gpu GPU_PYTHON=/opt/venv/bin/python" >&2; exit 2; }
	@version=$$("$(GPU_PYTHON)" benchmarks/gpu_python.py "$(GPU_PYTHON)") && \
		$(MAKE) --no-print-directory "$(GPU_PACKAGES)/$$version/installed"
	version=$$("$(GPU_PYTHON)" -c "import sys; print('{}.{}'.format(*sys.version_info))") && \
		PYTHONPATH="$(CURDIR)/$(GPU_PACKAGES)/$$version:$(CURDIR)" "$(GPU_PYTHON)" benchmarks/gpu.py \
		$(if $(ARCFACE_TORCH),--peer "$(ARCFACE_TORCH)") $(GPU_OPTIONS)

gpu-wheels:  ## what make gpu lacks on a machine without a network: make gpu-wheels PYTHON_VERSION=3.12
	@$(PYTHON) benchmarks/gpu_packages.py collect "$(GPU_WHEELS)" \
		--python-version "$(PYTHON_VERSION)" --machine "$(GPU_MACHINE)"

$(GPU_PACKAGES)/%/installed: pyproject.toml $(wildcard $(GPU_WHEELS)/*.whl)
	"$(GPU_PYTHON)" benchmarks/gpu_packages.py install "$(@D)" --wheels "$(GPU_WHEELS)"
	touch $@

check: $(INSTALLED)  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/docs-installed  ## the documentation as a site, build/docs/index.html; a warning is an error
	$(BIN)/sphinx-build -W --keep-going --quiet --fresh-env docs build/docs

dist: $(BUILDER)/installed  ## an sdist and the wheel that is built of it, in dist/; the same files give the same bytes
	.ci/dist dist $(BUILDER)/bin/python

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet "$(TORCH)" --editable ".[$(EXTRAS)]"
	touch $@

$(BUILDER)/installed: pyproject.toml
	$(PYTHON) -m venv $(BUILDER)
	$(BUILDER)/bin/python -c "import tomllib; \
		print(*tomllib.load(open('pyproject.toml', 'rb'))['build-system']['requires'], sep='\n')" > $(BUILDER)/requires
	$(BUILDER)/bin/python -m pip install --quiet --requirement $(BUILDER)/requires
	touch $@

.venv/docs-installed: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $@

vendor: $(INSTALLED)  ## uPlot of npm, as locked; make vendor UPLOT=1.6.32 takes another version
	$(BIN)/python -m partialfc.report.vendor.refresh $(UPLOT)

clean:
	rm -rf .venv data runs build dist *.egg-info
