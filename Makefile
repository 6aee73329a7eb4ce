# Every target does all of its own set-up. `make demo` shows the thing, `make test` proves it.
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# Real systems mostly wait for something; what shares one stays together (tests/conftest.py).
SIDE_BY_SIDE := -n 2 --dist loadscope --durations 15

.PHONY: demo test test-systems test-facility test-long bundle lint clean
.DELETE_ON_ERROR:

$(STAMP): pyproject.toml
	python3 -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[agents,postgresql,rollout,test,fuzz,dev,rollout-dev]'
	touch $@

demo: $(STAMP)
	$(VENV)/bin/openportal demo

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/ansible-lint --offline --strict -q

# A release for hosts that reach no package index: dist/openportal-agents-<version>-bundle.tar
bundle: $(STAMP)
	$(VENV)/bin/openportal bundle . --to dist

test: $(STAMP)
	@.ci/timed 'make test' 35 sh -c '$(MAKE) --no-print-directory lint && $(VENV)/bin/pytest -q -m "not long and not facility and (not systems or smoke)"'

# Whole facilities on systemd hosts in network namespaces, as root: rolled out, upgraded, rotated, broken and mended.
test-facility: $(STAMP)
	@.ci/timed 'make test-facility' 30 $(VENV)/bin/pytest -q $(SIDE_BY_SIDE) -m "facility or smoke" tests/facility

# Everything that needs a real system; those that are not at hand are built first (minutes).
test-systems: $(STAMP)
	@.ci/timed 'make test-systems' 30 $(VENV)/bin/pytest -q $(SIDE_BY_SIDE) -m "systems and not long and not facility" --ignore tests/facility

# More of the same: more worlds, more kills, more moments at which the power goes.
test-long: $(STAMP)
	@.ci/timed 'make test-long' 60 $(VENV)/bin/pytest -q $(SIDE_BY_SIDE) -m long

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
