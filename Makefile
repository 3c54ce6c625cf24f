# Everything is set up on first use, in .venv beside this file.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-slow lint install clean docs notebooks package

demo: $(VENV)/.installed
	@$(BIN)/python -m qsm_recon.run --algo fansi --dataset "phantom:sim2?size=reduced" --out out || test $$? -eq 3
	@echo "demo: open out/figure.png; the susceptibility map is out/chi.nii.gz, the record of the run out/report.json"

test: $(VENV)/.installed-test lint
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -q -n logical --maxprocesses 4 --dist loadfile
	@$(BIN)/python tools/check_package.py
	@echo "test: all passed; run 'make demo' for a reconstruction, 'make test-slow' for the long tests"

test-slow: $(VENV)/.installed-test $(VENV)/.installed-docs
	@$(BIN)/python -m pytest -m slow -q
	@echo "test-slow: all passed"

lint: $(VENV)/.installed-test
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m mypy
	@$(BIN)/python tools/check_house.py

# As a user gets it: sdist and wheel, installed into an environment of its own and run there.
package: $(VENV)/.installed-test
	@$(BIN)/python tools/check_package.py --fresh

install: $(VENV)/.installed

$(VENV)/bin/python:
	@echo "setting up $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing qsm_recon and what it needs"
	@$(PIP) -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "installing what the tests need"
	@$(PIP) -e ".[test]"
	@touch $@

# Warnings are errors.  INTERSPHINX=1 links to the documentation of other packages, which needs the network.
docs: $(VENV)/.installed-docs
	@INTERSPHINX=$(INTERSPHINX) $(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b html docs docs/_build/html
	@echo "docs: open docs/_build/html/index.html"

notebooks: $(VENV)/.installed-docs
	@$(BIN)/python notebooks/execute.py
	@echo "notebooks: executed in place"

$(VENV)/.installed-docs: $(VENV)/.installed
	@echo "installing what documentation and notebooks need"
	@$(PIP) -e ".[docs,notebooks]"
	@touch $@

clean:
	rm -rf $(VENV) .venv-torch out build docs/_build docs/api docs/notebooks *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: benchmark benchmark-full
# Under half an hour on two cores: the slowest methods and the other inputs are left to benchmark-full.
QUICK := --inputs fit --only tkd tsvd tikhonov tv fansi wl1l2 medi ndi rts tgv fansi-tgv tfi mctfi
benchmark: SUITE := --size reduced $(QUICK)
benchmark-full: SUITE := --size full
benchmark benchmark-full: $(VENV)/.installed
	@$(PIP) -e ".[benchmark]"
	@$(BIN)/python -m benchmarks.rc2 --stage 1 $(SUITE)
	@$(BIN)/python -m benchmarks.rc2 --stage 2 $(SUITE)
	@$(BIN)/python -m benchmarks.figures $(wordlist 1,2,$(SUITE))
	@$(BIN)/python -m benchmarks.document
	@echo "$@: tables are in docs/benchmarks.md, rows and figures in benchmarks/results/suite; an interrupted run goes on"

.PHONY: test-torch
# The kernels on tensors against the compiled ones, and the learned methods, in an environment of their own: torch is
# large.  Any build of it will
# do, one for the CPU too; which one pip finds is pip's setting, or TORCH="torch @ PATH_OF_A_WHEEL".
TORCH ?= torch
TORCH_VENV ?= .venv-torch
test-torch: $(TORCH_VENV)/.installed
	@OMP_NUM_THREADS=1 $(TORCH_VENV)/bin/python -m pytest tests/tensors tests/learned tests/cohort/test_device.py -q
	@echo "test-torch: all passed"

$(TORCH_VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	@echo "installing qsm_recon with torch into $(TORCH_VENV)"
	@$(PYTHON) -m venv $(TORCH_VENV)
	@$(TORCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	  "$(TORCH)" -e ".[torch,cohort]" pytest
	@touch $@

.PHONY: browser-test
browser-test: $(VENV)/.installed-test
	@{ command -v chromium && command -v chromedriver; } >/dev/null || { echo "installing Debian's chromium"; \
	  { apt-get install -y -q chromium chromium-driver || { apt-get update -q && apt-get install -y -q chromium chromium-driver; }; } \
	    >/dev/null 2>&1 || { echo "chromium cannot be installed here; install chromium and chromium-driver" >&2; exit 1; }; }
	@$(PIP) -e ".[browser]"
	@$(BIN)/python -m pytest tests/browser -q
	@echo "browser-test: all passed"
