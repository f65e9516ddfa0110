# Two commands do everything: `make run` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
# The first one that runs and is new enough: a version manager's stub is on the PATH and does not run.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1 && break; done; echo $$python)
VENV := .venv
# Stages say `python`: the one of the environment comes first.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# A project that shares another one's environment runs its own code.
export PYTHONPATH := $(CURDIR)/src
INSTALLED := $(VENV)/installed
NEEDED_GB := 8
PYTEST := OMP_NUM_THREADS=1 GOMP_SPINCOUNT=0 pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
PHOTOS := $(UNFREEZE_REAL_DATA)/ants_bees.7z

.DEFAULT_GOAL := help
.PHONY: help setup run compare export test test-slow lint ablation bench bench-gpu scale new sweep plots verify kill-test sample lock clean clean-checkpoints

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## Make .venv and install what requirements.lock pins

run: setup ## Run the pipeline, print the metrics and where the report is
	@dvc repro
	@echo; unfreeze metrics
	@echo; echo "Report: $(CURDIR)/results/report/index.html"

compare: setup ## Two experiments side by side in one page: make compare A=name B=workspace
	@unfreeze compare "$(A)" "$(B)"

export: setup ## Write the trained network as ONNX and torch.export program to models/export
	@unfreeze export $(ARGS)

test: setup ## Check the style and run the tests but for the slow ones
	@ruff check . && ruff format --check -q .
	@$(PYTEST) -m "not slow" $(ARGS)

test-slow: setup ## Run the slow tests: remotes, kills, ranks, every architecture, real archives
	@$(PYTEST) -m slow $(ARGS)

lint: setup ## Check the style, and mend what can be mended
	@ruff check --fix . ; ruff format .

ablation: setup ## What each technique is worth, over 5 seeds: make ablation ARCHIVE=photos.7z WEIGHTS=file.pth
	@python -m benchmarks.ablation $(ARCHIVE) $(WEIGHTS) $(ARGS)

bench: setup $(VENV)/bench ## Side by side with fastai and with the machine's limit (about an hour on 2 cores)
	@python -m benchmarks.speed $(ARGS)
	@$(if $(ARGS),,[ ! -f "$(PHOTOS)" ] || python -m benchmarks.speed --archive "$(PHOTOS)" --epochs 4 \
	  --arch mobilenet_v2 --weights "$(UNFREEZE_REAL_DATA)/weights/mobilenet_v2-qnnpack-dequantised.pth")

bench-gpu: setup $(VENV)/bench ## The same on a GPU, with a ResNet-18 and a ResNet-50
	@for arch in resnet18 resnet50; do python -m benchmarks.speed --device cuda --batch 256 --arch $$arch --copies 12 \
	  --train-images 400 --epochs 2 $(ARGS) || exit; done

scale: setup ## Seconds and memory of each stage, from 10,000 to 1,000,000 made images (about an hour)
	@python -m benchmarks.scale $(ARGS)

sample: setup ## Write the sample archive data/raw/digits.7z again
	@rm -f data/raw/digits.7z; unfreeze sample

lock: ## Pin the newest versions within pyproject.toml's ranges (needs uv)
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-annotate --no-header --no-emit-index-url --no-emit-find-links --upgrade -o requirements.lock
	uv pip compile pyproject.toml --group bench --constraint requirements.lock --universal --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links -o benchmarks/requirements.lock

clean-checkpoints: ## Forget interrupted training
	rm -rf .checkpoints

new: setup ## A project of your own for some data: make new DATA=photos.zip TO=../photos
	@unfreeze new "$(TO)" --data "$(DATA)" $(ARGS)

sweep: setup ## One param at several values: make sweep PARAM=train_head.lr VALUES=0.003,0.01 SEEDS=5
	@unfreeze sweep $(PARAM) $(VALUES) --seeds $(or $(SEEDS),3) $(ARGS)

plots: setup ## DVC's plots in one page without a network: make plots [REVISIONS="main exp-name"]
	@unfreeze plots $(REVISIONS)

verify: setup ## Run the current commit in a fresh clone: does it give the same numbers?
	@unfreeze verify

kill-test: setup ## Kill runs at random moments: do they end the same? make kill-test KILLS=100
	@python benchmarks/kill_test.py --kills $(or $(KILLS),20) $(ARGS)

clean: ## Remove what the pipeline made (the cache in .dvc/cache stays)
	rm -rf data/images data/features data/tables data/*.* models results/*/

$(VENV)/bench: benchmarks/requirements.lock
	@echo "Installing fastai, to compare with ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(INSTALLED): requirements.lock pyproject.toml
	@command -v git > /dev/null || { echo "unfreeze needs git, and there is none on the PATH."; exit 1; }
	@[ -e .git ] || \
	  { echo "$(CURDIR) has no .git, which DVC needs: get unfreeze by git clone, not as an archive of its files."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1 || \
	  { echo "unfreeze needs Python 3.11 or newer, which $(PYTHON) is not. Set PYTHON=/path/to/python3.11."; exit 1; }
	@free=$$(df -Pk . | awk 'NR == 2 {print int($$4 / 1048576)}'); [ "$$free" -ge $(NEEDED_GB) ] || \
	  { echo "Installing needs $(NEEDED_GB) GB of disk space; $(CURDIR) has $$free GB free."; exit 1; }
	@[ -x $(VENV)/bin/python ] || $(PYTHON) -m venv $(VENV) || \
	  { echo "$(PYTHON) cannot make virtual environments: install its venv module (Debian: python3-venv)."; exit 1; }
	@echo "Installing into $(VENV) (once, a minute or two) ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock \
	  2> $(VENV)/install.log || \
	  { echo "Installing failed: is there a network, and space on the disk? What pip said is in $(VENV)/install.log."; exit 1; }
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . \
	  2>> $(VENV)/install.log || { echo "Installing failed: see $(VENV)/install.log."; exit 1; }
	@touch $@
