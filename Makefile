# The whole of daily work: make demo, make test, make check, make format, make docs, make site, make dist.
# Everything lives in .venv, which is made on the first call. One thread per process: see README, "Speed".
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1

.PHONY: demo test check format docs site dist clean

demo: .venv/installed                     # train on the embedded ICU vitals, sample, evaluate, report
	rm -rf demo
	$(BIN)/vitalsynth train icu-demo --preset strong --condition died --steps 1000 --batch 32 --out demo/run
	$(BIN)/vitalsynth sample demo/run --count 1000 --out demo/cohort.parquet
	$(BIN)/vitalsynth evaluate demo/run --label died
	$(BIN)/vitalsynth report demo/run
	@echo "The synthetic cohort is demo/cohort.parquet; open the report: $(CURDIR)/demo/run/report.html"

test: .venv/tested                        # install what tests need, and run them all
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: .venv/checked                      # format, lint, types, import arrows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/python -m pytest -q tests/test_arrows.py

format: .venv/checked
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/installed                     # redraw the pictures of the docs from runs/ (see docs/pictures.py)
	$(BIN)/python docs/building/drawings.py
	$(BIN)/python docs/pictures.py

site: .venv/tested                        # the documentation as a site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "Open $(CURDIR)/site/index.html"

dist: .venv/tested                        # the wheel and the sdist, into dist/; what an earlier build left would get in
	rm -rf dist build src/*.egg-info
	$(BIN)/python -c "from setuptools import build_meta as build; build.build_sdist('dist'); build.build_wheel('dist')"

clean:
	rm -rf demo site build dist .pytest_cache .ruff_cache .hypothesis

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	@touch $@

.venv/tested: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@ .venv/installed

.venv/checked: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@ .venv/tested .venv/installed
