# Needs python3 >= 3.11 with venv; everything else goes into .venv (or VENV=folder).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
TEST_STAMP := $(VENV)/.installed-test
VERIFY_STAMP := $(VENV)/.installed-verify
BENCH_STAMP := $(VENV)/.installed-bench
STATISTICS_STAMP := $(VENV)/.installed-statistics

.PHONY: run test bench verify mutants trial survival studies lint clean

run: $(STAMP)
	mkdir -p out
	$(BIN)/mst-abm run configs/quickstart.yaml -o out/quickstart.h5 --force

test: $(TEST_STAMP)
	$(BIN)/python -m pytest -m "not verify"

bench: $(BENCH_STAMP)
	$(BIN)/python -m benchmarks

# SEED=number, or SEED=fresh; without it the fixed seeds of `make test`
verify: $(VERIFY_STAMP)
	$(BIN)/python -m pytest -n logical -m "proof or verify" --proofs=out/verify $(if $(SEED),--seed=$(SEED))

mutants: $(TEST_STAMP)
	$(BIN)/python tests/mutants.py

# virtual patients of all protocols beside what trials saw: the table of docs/calibration.md (half an hour on two cores);
# then the randomised trial in elderly patients, with intervals and figures
trial: $(STATISTICS_STAMP)
	$(BIN)/mst-abm trial configs/trials/one_population.yaml --workers 2 -o out/one_population
	$(BIN)/mst-abm trial configs/trials/elderly_aml.yaml --workers 2 -o out/elderly_aml

# relapse and survival after years: the section Years of docs/calibration.md (some ten minutes on two cores for the first two arms; patients cured by a transplant take half an hour each)
survival: $(STATISTICS_STAMP)
	$(BIN)/mst-abm trial configs/trials/survival.yaml --workers 2 -o out/survival

# figures of docs/studies.md (half an hour on two cores, and twenty minutes for the sweeps)
studies: $(STAMP)
	$(BIN)/python -m studies.patches --workers 2
	$(BIN)/python -m studies.host_and_dose --workers 2
	$(BIN)/python -m studies.quiet
	for study in configs/studies/*.yaml; do $(BIN)/mst-abm sweep $$study --workers 2 -o out/$$(basename $$study .yaml) || exit; done

lint: $(TEST_STAMP)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

clean:
	rm -rf $(VENV) build dist out .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) numpy numba
	{ $(BIN)/python -m mst_abm.runs.warm & $(PIP) -e . && wait; }
	touch $@

$(TEST_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $(STAMP) $@

$(VERIFY_STAMP): $(TEST_STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[verify]'
	touch $@

$(STATISTICS_STAMP): $(STAMP)
	$(PIP) -e '.[statistics]'
	touch $@

$(BENCH_STAMP): $(TEST_STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	touch $@
