# Commands for a checkout on Linux and macOS; each makes its own virtual environment.
#   make demo       the loop of detecting, correcting and training on the sample project, into ./cellgennet-demo
#   make test       style, types, documentation and tests
#   make lint       style and types only
#   make docs       the documentation as a website, into ./site
#   make dist       a wheel and a source archive, into ./dist
#   make coverage   the tests with a report of the lines that they run
# PYTHON names another interpreter: make demo PYTHON=python3.12
# WORKERS is the number of processes that run the tests: make test WORKERS=8 (each needs about 2 GB of memory)

PYTHON ?= python3
WORKERS ?= 2
PIP = -m pip --disable-pip-version-check -qq install -c constraints.txt
BIN = .venv-test/bin
MARKDOWN = README.md CHANGELOG.md CONTRIBUTING.md docs findings sample_projects .github

.PHONY: demo test lint docs dist groovy coverage clean

demo: .venv-demo/installed
	.venv-demo/bin/cellgennet demo

test: lint docs groovy
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

lint: .venv-test/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/pymarkdown scan --recurse $(MARKDOWN)
	$(BIN)/mypy

docs: .venv-test/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

dist: .venv-test/installed
	$(BIN)/python -m build --no-isolation

# Without the Groovy compilers the tests that need them are skipped and say so.
groovy: .venv-test/installed
	-$(BIN)/python tests/groovy_compilers.py .venv-test/groovy

coverage: groovy
	$(BIN)/python -m pytest --cov --cov-report=term-missing:skip-covered --cov-report=html

.venv-demo/installed: EXTRAS =
.venv-test/installed: EXTRAS = [dev]

# torch goes first and by itself: where a build without CUDA is offered (PIP_FIND_LINKS, an index), pip takes
# it then, and the later installs keep it.
.venv-%/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))" || \
		{ echo "$(PYTHON) is not Python 3.11, 3.12 or 3.13: name one with PYTHON=..." >&2; exit 1; }
	@echo "Installing into $(@D); this takes some minutes the first time." >&2
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python $(PIP) $$(grep '^torch==' constraints.txt)
	$(@D)/bin/python $(PIP) -e ".$(EXTRAS)"
	@touch $@

clean:
	rm -rf .venv-demo .venv-test cellgennet-demo dist site htmlcov .coverage
