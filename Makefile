# make demo    train, evaluate, draw and animate: the main job, in minutes
# make test    the tests, with coverage      make check   format, lint, types and the fast tests
# make faults  all of the tests: every kill, every policy resumed and exported, every dtype
# make gallery the pictures of the README, from policies that it trains first: some ten minutes
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
DEMO ?= runs/demo

.PHONY: demo test faults check lint speed gallery clean

demo: $(INSTALLED)
	@test ! -e $(DEMO) || { echo "$(DEMO) is there already: remove it, or make demo DEMO=another/folder"; exit 1; }
	$(BIN)/interact-env demo --out $(DEMO)

test: $(INSTALLED)
	$(BIN)/pytest -n auto --dist worksteal --cov --cov-report=term

faults: $(INSTALLED)
	$(BIN)/pytest -n auto --dist worksteal -m "long or not long"

check: lint
	$(BIN)/pytest -n auto --dist worksteal -m "not slow and not long"

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

speed: $(INSTALLED)
	$(BIN)/interact-env speed

gallery: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" bash assets/gallery.sh

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

clean:
	find . -name __pycache__ -prune -exec rm -rf {} +
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache
