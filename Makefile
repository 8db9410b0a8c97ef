# Thin: each target is a script of the same name in scripts/. Pass options with ARGS="…".
.DEFAULT_GOAL := help
.PHONY: help demo test check docs packages bench clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: ## see a fleet at work, no Redis needed
	@scripts/demo $(ARGS)

test: ## run the tests, e.g. make test ARGS="-k lease"
	@scripts/test $(ARGS)

check: ## format, lint, types, imports, Lua, sizes, words, docs
	@scripts/check $(ARGS)

docs: ## build the site of the documentation into build/site, and inspect it
	@scripts/docs-site $(ARGS)

packages: ## build the wheel and the sdist, and try the wheel with each extra
	@scripts/packages $(ARGS)

bench: ## measure, e.g. make bench ARGS="--help"
	@scripts/bench $(ARGS)

clean: ## remove caches and build output (.venv and .jobfleet stay)
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	@find . -name .venv -prune -o -name .git -prune -o -name __pycache__ -type d -exec rm -rf {} +
