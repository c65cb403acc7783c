# make install   .venv with exactly the versions of requirements.lock, calstream from this folder, kernels compiled
# make demo      a small simulated downlink through all services; products and a page in demo-output/
#                BUS=kafka: the same on an Apache Kafka that is started for it and stopped (Java 17, Maven)
# make test      the whole test suite (peer tests too, where .venv-peer is: make peer)
# make chaos     services killed at every point: all of what the test suite does a part of; on Kafka too where
#                CALSTREAM_REQUIRE_KAFKA=1
# make parity-full  full frames of every instrument, raw to rate, beside the peer
# make lint      ruff, mypy, import-linter
# make bench     speed and memory beside the peer, the jwst package
# make soak      2,000 small exposures through all services: everything once, and flat memory
# make lock      resolve both lock files for what pyproject.toml asks; LOCKFLAGS=--upgrade takes newer versions

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := -m pip --disable-pip-version-check install --quiet
PEER := .venv-peer
BUS := embedded
BROKER := demo-output/kafka
CALSTREAM_PEER_PYTHON ?= $(if $(wildcard $(PEER)/.done),$(CURDIR)/$(PEER)/bin/python)
export CALSTREAM_PEER_PYTHON

.PHONY: install demo demo-services test chaos parity-full bench tables soak lint lock peer clean
.DELETE_ON_ERROR:

install: $(VENV)/.done
	-@$(BIN)/python -m streams.warm

$(VENV)/.done: requirements.lock pyproject.toml
	@$(call make-venv,$(VENV))
	@echo "Installing into $(VENV) ..."
	@$(BIN)/python $(PIP) --require-hashes --requirement requirements.lock
	@$(BIN)/python $(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

peer: $(PEER)/.done

$(PEER)/.done: requirements-peer.lock
	@$(call make-venv,$(PEER))
	@echo "Installing the jwst package into $(PEER) ..."
	@$(PEER)/bin/python $(PIP) --require-hashes --requirement requirements-peer.lock
	@touch $@

demo: install
	@test ! -d $(BROKER) || $(BIN)/calstream kafka down --dir $(BROKER)
	@rm -rf demo-output
	$(BIN)/calstream simulate NRC_IMAGE --out demo-output --seed 4
	@$(call demo-on-$(BUS))

demo-services:
	. demo-output/env.sh && $(BIN)/calstream up --bus $(AT) --store demo-output/store \
	  --ingest demo-output --every 1 --until-idle --env demo-output/env.sh
	. demo-output/env.sh && $(BIN)/calstream export --out demo-output --quiet
	. demo-output/env.sh && $(BIN)/calstream report demo-output --truth demo-output/truth --check

test: install
	$(BIN)/python -m pytest --durations=15

chaos: install
	CALSTREAM_CHAOS=whole $(BIN)/python -m pytest tests/chaos --durations=15

parity-full: install peer
	CALSTREAM_PARITY=full $(BIN)/python -m pytest tests/parity/test_full_frames.py -q -s

lint: $(VENV)/.done
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	$(BIN)/python -m tests.bench

tables: install
	$(BIN)/python -m tests.tables

soak: install
	$(BIN)/python -m tests.soak

lock:
	@$(call make-venv,$(VENV))
	@$(BIN)/python $(PIP) uv
	@$(call resolve,requirements.lock,pyproject.toml --group dev)
	@$(call resolve,requirements-peer.lock,requirements-peer.in)

clean:
	rm -rf $(VENV) $(PEER) build dist demo-output bench-output soak-output .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find schemas processors streams simulator tests -name __pycache__ -prune -exec rm -rf {} +

demo-on-embedded = $(MAKE) --no-print-directory demo-services AT=embedded:demo-output/bus
demo-on-kafka = trap '$(BIN)/calstream kafka down --dir $(BROKER)' EXIT; trap 'exit 130' INT TERM; \
  at=$$($(BIN)/calstream kafka up --dir $(BROKER) --port 0) && \
  $(MAKE) --no-print-directory demo-services AT="$$at" && \
  echo "the broker is stopped; \`calstream kafka up --dir $(BROKER)\` starts it again with all that is on it"

make-venv = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
  "calstream needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] + "; say which: make PYTHON=python3.11")' \
  && { test -x $(1)/bin/pip || $(PYTHON) -m venv $(1) || { rm -rf $(1); \
  echo "$(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }; }

# Neither hosts nor options: where packages come from is for whoever installs them to say.
resolve = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
  --no-annotate --no-emit-index-url --no-emit-find-links $(LOCKFLAGS) --output-file $(1) $(2) >/dev/null
