# Commands for a checkout on Linux and macOS; each makes its own virtual environment.
#   make demo    the whole way on the sample project, into ./cellgennet-demo
#   make test    style, types and tests (make lint: without the tests)
# PYTHON names another interpreter: make demo PYTHON=python3.12

PYTHON ?= python3
PIP = -m pip --disable-pip-version-check -qq install -c constraints.txt

.PHONY: demo test lint clean

demo: .venv-demo/installed
	.venv-demo/bin/cellgennet demo

# Without the Groovy compilers the tests that need them are skipped and say so.
test: lint
	-.venv-test/bin/python tests/groovy_compilers.py .venv-test/groovy
	.venv-test/bin/python -m pytest

lint: .venv-test/installed
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .
	.venv-test/bin/mypy

.venv-test/installed: EXTRAS = [dev]

# torch first and by itself: where a build without CUDA is offered (PIP_FIND_LINKS, an index), it is
# taken then, and what follows leaves it alone.
.venv-%/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))" || \
		{ echo "$(PYTHON) is not Python 3.11, 3.12 or 3.13: name one with PYTHON=..." >&2; exit 1; }
	@echo "Installing into $(@D); this takes some minutes the first time." >&2
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python $(PIP) $$(grep '^torch==' constraints.txt)
	$(@D)/bin/python $(PIP) -e ".$(EXTRAS)"
	@touch $@

clean:
	rm -rf .venv-demo .venv-test cellgennet-demo
