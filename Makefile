# Two commands do everything: `make report` and `make test`. `make help` lists all.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Python 3.12: python3.12, python3, or the newest that pyenv has.
PYTHON ?= $(shell for candidate in python3.12 python3 $$(ls -d $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.12*/bin/python 2>/dev/null); do \
	"$$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null && "$$candidate" -c 'import sys; print(sys.executable)' && break; done)
# An installed uv that works (a pyenv shim may not), or a private one that `make setup` installs.
UV = $(shell uv --version >/dev/null 2>&1 && command -v uv || echo .venv-uv/bin/uv)
RUN = $(UV) run --locked --no-sync
CONFIG ?= configs/default.yaml
CORES ?= all

export MUJOCO_GL ?= egl
# Compiled files make the many process starts of a pipeline several times faster.
unexport PYTHONDONTWRITEBYTECODE
export UV_COMPILE_BYTECODE ?= 1
export HF_HUB_DISABLE_TELEMETRY := 1
export TOKENIZERS_PARALLELISM := false
# Idle threads sleep: on a shared machine spinning ones slow a two-thread step tenfold.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help setup report smoke ablations slurm test test-slow test-chaos test-slurm lint bench-env bench-update bench-starts bench-actors bench-rollouts bench-evaluation bench-cloning pull mlflow docs docs-serve clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: ## get uv if absent, install the locked dependencies, check rendering
	@test -n "$(PYTHON)" || { echo "no Python 3.12 found (looked for python3.12, python3 and pyenv): install one"; exit 1; }
	@uv --version >/dev/null 2>&1 || test -x .venv-uv/bin/uv || { "$(PYTHON)" -m venv .venv-uv && .venv-uv/bin/pip install --quiet uv; }
	$(UV) sync --locked --quiet --python "$(PYTHON)"
	@$(RUN) pirl-doctor --only rendering --install

report: setup ## the whole pipeline with CONFIG (configs/default.yaml), up to the report
	$(RUN) snakemake --configfile $(CONFIG) --cores $(CORES) report

smoke: setup ## the same pipeline with configs/smoke.yaml: every stage, minutes
	$(RUN) snakemake --configfile configs/smoke.yaml --cores $(CORES) all

ablations: setup ## one training per file of configs/ablations, from what `make report` left; three hours (estimate)
	for config in configs/ablations/*.yaml; do \
		$(RUN) snakemake --configfile $$config --cores $(CORES) results/$$(basename $$config .yaml)/pi_rl_flow_sde/smoke_wide.json; done
	$(RUN) python -m pirl.reporting.ablations configs/ablations

slurm: setup ## make report, every rule a Slurm job (workflow/profiles/slurm)
	$(RUN) snakemake report --workflow-profile workflow/profiles/slurm --configfile $(CONFIG)

test: setup ## the default test suite
	$(RUN) pytest -n 2 --dist loadfile

test-slow: setup ## tests that take minutes each
	$(RUN) pytest -m slow

test-chaos: setup ## tests that kill real processes
	$(RUN) pytest -m chaos

test-slurm: setup ## the pipeline on a Slurm of one node, started for the test (apt-get install slurm-wlm munge)
	$(RUN) pytest -m slurm

lint: setup ## formatter, linter, types, workflow
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy pirl
	$(RUN) snakefmt --check Snakefile workflow
	$(RUN) snakemake --lint

bench-env: setup ## speed of the LIBERO environment against LeRobot's, results/bench/env.json
	$(RUN) python -m pirl.benchmarks.env

bench-starts: setup ## expert and blind replay from each kind of start, results/bench/starts.json
	$(RUN) python -m pirl.benchmarks.starts

bench-actors: setup ## rollout speed against the number of actors, results/bench/actors.json
	$(RUN) python -m pirl.benchmarks.actors

bench-rollouts: setup ## rollout speed against the environments per actor, results/bench/rollouts.json
	$(RUN) python -m pirl.benchmarks.rollouts

bench-evaluation: setup ## speed of the evaluator against lerobot-eval, results/bench/evaluation.json
	$(RUN) python -m pirl.benchmarks.evaluation

bench-cloning: setup ## what cloning on a CPU spends on reading and memory, results/bench/cloning.json
	$(RUN) python -m pirl.benchmarks.cloning

bench-update: setup ## cost of a PI-RL update against its floor, results/bench/update.json
	$(RUN) python -m pirl.benchmarks.update

pull: setup ## fetch the artefacts of CONFIG with DVC, and tell Snakemake that they are up to date
	$(RUN) dvc pull
	$(RUN) python -m pirl.doctor --output results/$(basename $(notdir $(CONFIG)))/doctor.json
	$(RUN) snakemake --configfile $(CONFIG) --cores 1 --touch all

mlflow: setup ## open the MLflow UI on loopback
	$(RUN) mlflow server --backend-store-uri "sqlite:///$(CURDIR)/mlflow.db" --host 127.0.0.1 --port 5000

docs: setup ## build the documentation into site/, every warning an error
	NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --strict

docs-serve: setup ## the documentation on http://127.0.0.1:8000, rebuilt at every change
	NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs serve --dev-addr 127.0.0.1:8000

clean: ## remove results, runs and demonstrations of CONFIG
	rm -rf results/$(basename $(notdir $(CONFIG))) runs/$(basename $(notdir $(CONFIG))) data/demos/$(basename $(notdir $(CONFIG)))
