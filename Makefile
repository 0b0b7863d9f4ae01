# Every command below makes .venv by itself the first time, and again only when the requirements change.
#
#   make demo                   align a phantom through Slicer's scene and worker; pictures and numbers in demo-output/
#   make demo CASE=folder       the same on the fixed_* and moving_* files of a folder
#   make test                   the quick suite;   make test ARGS="-k grid"   a part of it
#   make claims                 the slow checks of what the papers' methods are said to reach
#   make bench                  the numbers beside other registration software
#   make lint                   ruff and mypy
#   make readme                 the tables of README.md that come from what the methods declare
#   make package-list           the list of files that a built extension carries
#   make clean, make distclean  remove what the commands made; the environment too
#
# Variables: PYTHON (interpreter, 3.11 or newer), TORCH (pip requirement), PIP_FLAGS (words for pip install),
# WORKERS (test processes), OUT (folder of the demo).
#
# On Linux the plain wheel of torch brings CUDA with it, several GB. Without an NVIDIA card use the CPU build: point pip
# at PyTorch's CPU index (see "Get started" on its home page), PIP_FLAGS="--extra-index-url INDEX", or at a folder that
# holds the wheel, PIP_FLAGS="--find-links FOLDER"; pip then prefers 2.13.0+cpu to 2.13.0.

PYTHON ?=
TORCH ?= torch==2.13.0
PIP_FLAGS ?=
# one more than cores, for tests wait for processes of theirs a sixth of the time
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN); [ "$$n" -gt 3 ] && echo 4 || echo $$((n + 1)))
OUT ?= demo-output
CASE ?=
ARGS ?=

SHELL := bash
REQUIREMENTS := requirements.txt requirements-dev.txt
STAMP := .venv/made-for-$(shell { echo '$(TORCH)'; cat $(REQUIREMENTS); } | cksum | tr ' ' '-')
PY := .venv/bin/python
export PYTHON PIP_FLAGS
# Absolute, because the worker of a job runs in a folder of its own.
export PYTHONPATH := $(CURDIR)/Testing:$(CURDIR)

.PHONY: help demo test claims bench lint package-list readme system-packages clean distclean
.DELETE_ON_ERROR:

help:
	@sed -n '/^[^#]/q;/^$$/q;s/^# \{0,1\}//p' Makefile

$(STAMP):
	@bash Testing/house/environment.sh .venv '$(TORCH)' requirements-dev.txt
	@rm -f .venv/made-for-*
	@touch $@

# Without these only the drawing fails, and says so: go on.
system-packages:
	@bash Testing/house/system_packages.sh || true

demo: $(STAMP) system-packages
	@$(PY) -m demo $(if $(CASE),--case '$(CASE)') --out '$(OUT)' $(ARGS)

# One thread for each test process: together they fill the cores without getting into each other's way.
test: $(STAMP) system-packages
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(PY) -m pytest -q -n $(WORKERS) $(ARGS)

claims: $(STAMP) system-packages
	@$(PY) -m pytest -q Testing/claims $(ARGS)

bench: $(STAMP) system-packages
	@$(PY) -m bench $(ARGS)

lint: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m mypy

# Writes DeepRegistrationLib/files.cmake, the files that a built extension carries.
package-list:
	@python3 Testing/house/packaged_files.py

# Writes the tables of README.md that come from what the methods declare.
readme: $(STAMP)
	@$(PY) Testing/house/readme_tables.py

clean:
	rm -rf demo-output .bench build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv
