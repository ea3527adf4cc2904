# The README's two commands are `make run` and `make test`; nothing else needs to be known.
PYTHON ?= python3
BIN    := .venv/bin
CORES  := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)

# One chapter a core and one thread a chapter: quicker than chapters whose threads fight over the cores
WORKERS ?= $(CORES)
export OMP_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1
# Tables and benchmarks take the photos and weights beside the checkout, unless told otherwise
TABLES ?= lesson09.py
ifneq ($(filter tables bench,$(MAKECMDGOALS)),)
ifneq ($(wildcard ../shared/data),)
FASTAI_HOME ?= ../shared
TORCH_HOME ?= ../shared/weights
endif
endif
# Chapters run inside nbs/ or one of its folders, so a relative folder of data or weights must be made absolute
ifdef FASTAI_HOME
override export FASTAI_HOME := $(abspath $(FASTAI_HOME))
endif
ifdef TORCH_HOME
override export TORCH_HOME := $(abspath $(TORCH_HOME))
endif

.PHONY: run site lab test test-hard test-lab test-oldest export screenshots clean tables bench playground
.DEFAULT_GOAL := run

.venv/installed: settings.ini setup.py pyproject.toml
	@echo "Installing into .venv: 2 to 5 minutes and 6 GB the first time, nothing later"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --progress-bar off -q -e '.[dev]'
	@touch $@

.venv-oldest/installed: settings.ini setup.py pyproject.toml constraints-oldest.txt
	@echo "Installing the oldest versions into .venv-oldest: 2 to 5 minutes and 6 GB the first time, nothing later"
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --progress-bar off -q -c constraints-oldest.txt -e '.[dev]'
	@touch $@

run: .venv/installed ## Execute the course and build its site, _site/ (CHAPTERS="07_unknown engine/core" for some of it; deeper/unseen_sets only so)
	$(BIN)/python tools/run_course.py --workers $(WORKERS) $(CHAPTERS)

site: .venv/installed ## Build the site anew without executing anything
	$(BIN)/python tools/site/build_site.py

screenshots: site ## Take the README's pictures anew, images/*.png; needs Chromium
	$(BIN)/python tools/screenshots.py

lab: .venv/installed ## Open the course in JupyterLab (which takes uploads above 10 MB, so that an explorer can refuse them)
	$(BIN)/jupyter lab nbs --ServerApp.tornado_settings="{'websocket_max_message_size': 100000000}"

test: .venv/installed ## Export in sync, notebooks clean, every notebook's checks, then pytest
	$(BIN)/python -m pytest -q tests/test_sync.py
	$(BIN)/python tools/site/build_site.py & $(BIN)/python -c "from mlc_course.draw import cells,datasets; datasets.drawn_pets(); cells.drawn_atlas()" && wait $$!
	$(BIN)/nbdev-test --n-workers $(WORKERS) --timing
	$(BIN)/python -m pytest -q tests/browser tests --ignore=tests/browser/test_lab.py --ignore=tests/hard --ignore=tests/test_sync.py -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-hard: .venv/installed ## The wheel in an empty environment, hostile files, models from strangers, kill -9, the same seed, several processes: about 4 minutes
	$(BIN)/python -m pytest -q tests/hard/test_wheel.py tests/hard -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-lab: .venv/installed ## Lessons and whatever takes seconds, in a real JupyterLab in Chromium, every explorer moved: about 15 minutes
	$(BIN)/python -m pytest -q tests/browser/test_lab.py -n $(WORKERS) --maxschedchunk 1

test-oldest: .venv-oldest/installed ## pytest with the oldest versions of what the package requires, such as Colab's
	.venv-oldest/bin/python -m pytest -q tests --ignore=tests/browser --ignore=tests/hard --ignore=tests/test_sync.py \
		-n $(WORKERS) --dist loadfile --no-loadscope-reorder

export: .venv/installed ## After editing a notebook: write the package, clean the notebooks
	$(BIN)/nbdev-export
	$(BIN)/nbdev-clean
	$(BIN)/python tools/still_pictures.py

tables: .venv/installed ## Measure stored tables anew: nbs/results/*.csv (TABLES="pointing.py silence.py" for others)
	for o in $(TABLES); do $(BIN)/python benchmarks/$$o || exit 1; done

playground: .venv/installed ## Train the playground's networks anew, with three seeds: nbs/playground/, nbs/results/web_seeds.csv (10 minutes)
	$(BIN)/python tools/train_playground.py

# Each side gets all cores and the threads that it takes by itself
bench: .venv/installed ## Time the package beside what people would use otherwise: benchmarks/README.md (PARTS="labelling growth" for some of it)
	env -u OMP_NUM_THREADS -u MKL_NUM_THREADS $(BIN)/python benchmarks/run.py $(PARTS)

clean: ## Remove what the other commands made
	rm -rf .venv .venv-oldest _site build *.egg-info
