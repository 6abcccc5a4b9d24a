# Each target is a line that one could type; `make run` and `make test` set up all they need.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: docs foreign bench fuzz help run repro test test-all lint format ui studio up screenshots ablation reference constraints clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

# A .venv that came along with a copied or moved checkout would run the other one's code.
FOREIGN := $(shell test -e $(BIN)/activate && ! grep -qF "$(CURDIR)/.venv" $(BIN)/activate && echo foreign)
foreign:
	@echo "this .venv belongs to another checkout: making it again"
	rm -rf .venv

$(BIN)/.installed: pyproject.toml constraints.txt $(FOREIGN)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

run: $(BIN)/.installed  ## colour at once with base, then fine-tune it on your photographs and judge; PRESET=scratch|smoke|thesis
	tintlab sheet reports/first.jpg --model base --photos 12
	tintlab repro $(if $(PRESET),--preset $(PRESET))
	tintlab adopt
	tintlab register
	tintlab judge
	tintlab promote --if-passed
	tintlab champion

PROCESSES ?= 2
test: $(BIN)/.installed  ## the quick test suite, its files shared among 2 processes; PROCESSES=0 for one
	OMP_NUM_THREADS=1 pytest -m 'not slow' -n $(PROCESSES) --dist loadfile

test-all: $(BIN)/.installed  ## the long tests too: about half an hour
	OMP_NUM_THREADS=1 pytest -rs -n $(PROCESSES) --dist loadfile --durations=40 --durations-min=5

BENCHMARKS := step variants limit data_path time_to_quality score_rate overhead scale
bench: $(BIN)/.installed  ## measure every claim of bench/README.md anew, on 2 quiet cores, after `make run`
	for name in $(BENCHMARKS); do python bench/$$name.py || exit 1; done
	python bench/table.py

fuzz: $(BIN)/.installed  ## damaged photographs, read and coloured; SECONDS=600 for longer
	python -m tests.hostile.fuzz $(or $(SECONDS),60)

lint: $(BIN)/.installed  ## style, types, import order
	ruff check .
	ruff format --check .
	mypy
	lint-imports

format: $(BIN)/.installed  ## mend what can be mended
	ruff check --fix .
	ruff format .

ui: $(BIN)/.installed  ## browse the runs in MLflow
	tintlab ui

studio: $(BIN)/.installed  ## a page to colour, compare, steer and hint photographs; docs/studio.md
	tintlab studio --open

up: $(BIN)/.installed  ## MLflow, Prefect, a worker and the studio on this machine, until Ctrl-C; docs/operations.md
	tintlab up

screenshots: $(BIN)/.installed  ## pictures of both UIs into docs/, while `make up` runs; needs chromium
	python docs/screenshots.py

FROM_NOTHING := -S train.init_from=null -S train.hints=false -S train.guidance_epochs=0 \
	-S train.rebalancing=0 -S train.lambda_kernel=0 -S train.context_dropout=0.3 -S train.saturation=1.15 \
	-S train.l1_learning_rate=0.001 -S train.learning_rate=0.0003
HALF := $(FROM_NOTHING) -S train.iterations_per_epoch=25 -S train.gan_warmup=35 -S train.epochs=11 -S train.variety_epochs=0 -S train.z_dim=0
ablation: $(BIN)/.installed  ## the recipe beside its variants, at half its length: hours; docs/recipe.md has the table
	tintlab sources refresh
	dvc exp run --queue -S train.seed=0,1,2 -S train.l1_epochs=8,11 $(HALF)
	dvc exp run --queue -S train.seed=0,1,2 -S train.lambda_perceptual=0 -S train.l1_epochs=8 $(HALF)
	dvc exp run --queue -S train.lambda_perceptual=0 -S train.l1_epochs=11 $(HALF)
	dvc exp run --queue -S train.ema_decay=0 -S train.l1_epochs=8 $(HALF)
	dvc exp run --queue -S 'train.crop=[240,240]' -S train.l1_epochs=8 $(HALF)
	dvc exp run --queue -S validate.min_colourfulness=0 -S train.l1_epochs=8 $(HALF)
	dvc exp run --run-all
	dvc exp show --only-changed

docs: $(BIN)/.installed  ## the documentation site into site/; every link is checked
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

reference:  ## from now on, compare reports with the present one
	cp reports/per_photo.csv reports/reference.csv

constraints: $(BIN)/.installed  ## renew constraints.txt from what pyproject.toml resolves to today
	rm -rf .venv-constraints && $(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/python -m pip install --quiet --disable-pip-version-check '.[dev]'
	.venv-constraints/bin/python -m pip freeze --exclude tintlab | sed 's/+cpu$$//' > constraints.txt
	rm -rf .venv-constraints

clean:  ## forget the environment (not the data, not the models)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
