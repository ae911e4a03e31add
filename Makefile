# Two commands on a fresh machine: `make demo` shows what this does, `make test` checks that it works.
# The commands behind each, for Windows and for machines without make: docs/install.md.

# If set, every process compiles PyTorch and MONAI again, which takes ten times as long.
unexport PYTHONDONTWRITEBYTECODE

# The environment, created if missing; that of the web page is $(VENV)-web, and so on.
VENV ?= .venv
# Processes that run tests.
JOBS ?= 2
# The folder of the demo, and options of the command.
DEMO ?= s3im_demo

# The first suitable Python that can create environments; PYTHON=... names another.
FIT = import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
	$$python -c '$(FIT)' >/dev/null 2>&1 && echo $$python && break; done)
ENVIRONMENT = $(if $(strip $(PYTHON)),$(PYTHON) tools/environment.py,$(error no Python 3.11, 3.12 or 3.13 with venv \
	found: install one (on Debian and Ubuntu with python3-venv), or name it: make $@ PYTHON=/path/to/python))
BIN = $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
BIN_OF = $(VENV)-$(1)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)

# One thread for each process: as many processes as cores run the tests.
PYTEST_OPTIONS ?=
PYTEST = OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest --durations=25 $(PYTEST_OPTIONS)
SPREAD = -n $(JOBS) --dist loadfile
# Prints how long a command took.
START = start=$$(date +%s)
TOOK = { took=$$(( $$(date +%s) - start )); echo "make $@: passed in $$(( took / 60 )) min $$(( took % 60 )) s"; }
# If this make supports it: parallel jobs do not mix their lines.
TOGETHER = $(MAKE) --no-print-directory -j 2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

# The long tests in two halves, one core each.
HALF = tests/bundle tests/fuzz tests/report tests/slicer_extension

.PHONY: help demo test test-all environment style types test-long test-long-half test-long-rest test-ray test-web site audit pictures

help:
	@echo 'make demo      sets up $(VENV), fuses a synthetic head and prints where the results are'
	@echo 'make test      sets up $(VENV) and runs the tests: at most 10 minutes on 2 cores'
	@echo 'make test-all  the same, then long runs, Ray, the page in the browser, style, types, site, vulnerabilities'
	@echo 'Variables: PYTHON, VENV, TORCH_INDEX (where PyTorch comes from), JOBS, DEMO; see Makefile and docs/install.md'

demo:
	@$(ENVIRONMENT) use --venv $(VENV)
	@$(BIN)/s3im demo $(DEMO)

test:
	@$(START); $(ENVIRONMENT) test --venv $(VENV) && \
	$(PYTEST) $(SPREAD) -m "not long and not slow" && $(TOOK)

# After make test, the rest: two at a time, then what needs all cores.
test-all: test
	@$(START); $(TOGETHER) test-long-half test-web test-long-rest types style site audit && \
	$(MAKE) --no-print-directory test-ray && $(TOOK)

environment:
	@$(ENVIRONMENT) test --venv $(VENV)

style: environment
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python .ci/words.py

types: environment
	$(BIN)/mypy

test-long: test-long-half test-long-rest

test-long-half: environment
	$(PYTEST) -m "long and not slow" $(HALF)

test-long-rest: environment
	$(PYTEST) -m "long and not slow" $(addprefix --ignore ,$(HALF) tests/batch/test_ray_pool.py tests/web)

test-ray: environment
	$(PYTEST) tests/batch/test_ray_pool.py

# The server of the web page, as users install it, without 3D Slicer.
test-web:
	@$(ENVIRONMENT) web --venv $(VENV)-web
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(call BIN_OF,web)/python -m pytest tests/web

# The site reads the code without importing it, so it needs no PyTorch. Then axe checks every page.
site:
	@$(ENVIRONMENT) docs --venv $(VENV)-docs
	NO_MKDOCS_2_WARNING=1 $(call BIN_OF,docs)/mkdocs build --strict --site-dir $(CURDIR)/build/site
	$(call BIN_OF,docs)/python .ci/accessibility.py $(CURDIR)/build/site

# The pictures of the README and the gallery, except those of 3D Slicer.
pictures: environment
	@$(ENVIRONMENT) web --venv $(VENV)-web
	$(BIN)/python docs/draw/gallery.py docs/gallery
	$(BIN)/python docs/draw/report_picture.py docs/gallery
	$(call BIN_OF,web)/python docs/draw/web_picture.py docs/gallery

# Lists the packages and checks them for known vulnerabilities; reports if the service is unreachable.
audit: environment
	@$(ENVIRONMENT) audit --venv $(VENV)-audit
	$(call BIN_OF,audit)/python .ci/audit.py $(BIN)/python $(CURDIR)/build/audited
