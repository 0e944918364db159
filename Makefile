# Every target sets up .venv first. Where nothing has changed, that check takes a fraction of a second; then comes the work.
PYTHON ?= python3
BIN := .venv/bin
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test drills lint types imports check docs locks bench-scan bench-scale bench-listing bench-train bench-serve crds manifests cluster cluster-scan cluster-stop clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## create .venv with the pinned CPU environment
	@$(PYTHON) tools/setup_env.py

demo: setup ## scan the sample images with the built-in model
	@run="demo-output/$$(date -u +%Y%m%dT%H%M%SZ)" && \
	$(BIN)/fakescan scan samples/pairs --output "$$run" && \
	$(BIN)/python tools/show_results.py "$$run" && \
	$(BIN)/fakescan report "$$run" && \
	printf '\nThe results are in %s; to look at them, open %s\n' "$$run" "$$run/report/report.html"

cluster: setup ## start a cluster of three nodes on this machine, in the background
	@$(BIN)/python tools/local_cluster.py start

cluster-scan: setup ## run the demo on it, as a job of Ray
	@$(BIN)/python tools/local_cluster.py scan

cluster-stop: setup ## end it
	@$(BIN)/python tools/local_cluster.py stop

test: setup ## what every change must pass; PYTEST_ARGS="-m unit" for the fast ones
	@$(BIN)/pytest -n 2 --dist loadgroup $(PYTEST_ARGS)

drills: setup ## the long rest, before a release: kills in scans and trainings, malformed requests, roll-backs, the workshop
	@$(BIN)/pytest tests/drills $(PYTEST_ARGS)

lint: setup ## ruff: rules and formatting
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: setup ## mypy --strict on fakevlm, fakescan and the benchmarks
	@$(BIN)/mypy

imports: setup ## the import contracts of pyproject.toml
	@$(BIN)/lint-imports

check: lint types imports ## everything but the tests

docs: setup ## write what is made of the code: tables of settings and metrics in docs/, and dashboards
	@$(BIN)/python tools/settings_tables.py
	@$(BIN)/python tools/metrics_tables.py
	@$(BIN)/python tools/monitoring_files.py

locks: setup ## write the hashes of constraints/; GPU=--gpu resolves gpu.txt anew
	@$(BIN)/python -m tools.lock $(GPU)

crds: setup ## KubeRay's definitions, for `make manifests`
	@$(BIN)/python tools/fetch_crds.py

manifests: setup ## check the manifests of cluster/kuberay without a cluster
	@$(BIN)/python tools/check_manifests.py cluster/kuberay/overlays/* cluster/kuberay/prepull cluster/kuberay/kueue-queues

bench-scan: setup ## throughput of scan against a plain script and ray.data.llm
	@$(BIN)/python benchmarks/scan.py

bench-scale: setup ## a million manifest rows with the fake engine
	@$(BIN)/python benchmarks/scale.py

bench-listing: setup ## the cost of listing a big bucket
	@$(BIN)/python benchmarks/listing.py

bench-train: setup ## training against a plain loop of transformers and torch
	@$(BIN)/python benchmarks/train.py

bench-serve: setup ## the server beside the bare engine, overloaded, and with a replica killed
	@$(BIN)/python benchmarks/serve.py

clean: ## remove caches, builds and demo results, but not .venv
	@rm -rf dist build demo-output .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
