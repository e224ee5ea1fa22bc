# Every command of the project stands here; CI runs the same ones. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.ONESHELL:
MAKEFLAGS += --no-print-directory

CARGO ?= cargo
CACHE ?= $(or $(CARILLON_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/carillon)
CLUSTER := tests/cluster/cluster
MUSL := x86_64-unknown-linux-musl
IMAGE_REPOSITORY ?= carillon.local
IMAGE_TAG ?= dev
IMAGES := target/images

# What the targets below need from Debian: real servers, browsers and tools, never mocks.
DEBIAN_BUILD := musl-tools
DEBIAN_TEST := redis-server chromium prometheus python3-venv jq curl procps iproute2 libfaketime

say = @printf '\033[1m==> %s\033[0m\n' "$(1)"

.PHONY: help
help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: dev
dev: ## Runs `carillon dev`: one process, example tenants, a playground at http://127.0.0.1:3000
	$(call say,building carillon dev (some minutes the first time))
	$(CARGO) run --release -p carillon-cli --bin carillon -- dev $(ARGS)

# Tests are always built for the whole workspace, so that each dependency is built once, with one set of features.
CARGO_TEST := $(CARGO) test --workspace --locked
# Thousands of clients stand in one process.
allow-clients = [[ $$(ulimit -S -n) == unlimited || $$(ulimit -S -n) -ge 8192 ]] || ulimit -S -n 8192

.PHONY: check
check: ## Formatting, lints and unit tests: what to run before every commit
	$(call say,formatting and lints)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features --locked -- -D warnings
	$(MAKE) unit

.PHONY: unit
unit: debian-test ## Unit tests of every crate, with a real Redis where one is needed
	$(call say,unit tests)
	$(CARGO_TEST) --lib --bins --test generated --test documented --test golden --test fetch --test fleet --test http --test quota_simulation --test cli --test program

.PHONY: test
test: ## Everything: installs what it needs, builds, starts real servers and a real Kubernetes, tests, stops them
	@tests/run

.PHONY: e2e
e2e: debian-test node-modules ## End-to-end tests without Kubernetes: real clients, Redis and Chromium
	$(call say,end-to-end tests with real clients)
	$(allow-clients)
	$(CARGO_TEST) --test it

.PHONY: e2e-musl
e2e-musl: debian-test node-modules musl ## The stories of order, slow readers and stress with static builds, as images have them (not a part of `make test`)
	$(call say,end-to-end tests of static builds)
	$(allow-clients)
	$(CARGO) test --locked -p carillon-tests --target $(MUSL) --test it -- order:: slow:: stress::

.PHONY: e2e-cluster
e2e-cluster: debian-test node-modules images ## End-to-end tests on a real Kubernetes, installed by Helm
	$(call say,end-to-end tests on a real Kubernetes)
	tests/cluster/e2e

.PHONY: e2e-control-plane
e2e-control-plane: debian-test ## Faults between the operator, an API server and servers, all of them processes
	$(call say,faults of the control plane)
	tests/control-plane

.PHONY: e2e-cert-manager
e2e-cert-manager: debian-test ## Certificates by a real cert-manager, which is built first (some minutes; not a part of `make test`)
	$(call say,certificates by cert-manager)
	tests/cert-manager/run

.PHONY: chart-test
chart-test: debian-test ## Lints the chart and holds its output by unit tests
	$(call say,chart tests)
	charts/test

.PHONY: generate
generate: ## Writes the CRD YAML and every golden file anew
	$(call say,generating)
	$(CARGO) run --locked -q -p carillon-crds --bin crdgen crds
	cp crds/realtimetenants.yaml crds/realtimetenantclasses.yaml charts/carillon/files/crds/
	UPDATE_GOLDEN=1 $(CARGO_TEST) -q --lib --bins --test golden --test fleet --test http

.PHONY: images
images: musl ## Static images as OCI archives in target/images
	$(call say,building static images (some minutes the first time))
	$(CARGO) build --locked --profile image --target $(MUSL) -p carillon-server -p carillon-operator
	mkdir -p $(IMAGES)
	for part in server operator; do
		$(CLUSTER) image $(IMAGES)/carillon-$$part.tar $(IMAGE_REPOSITORY)/carillon-$$part:$(IMAGE_TAG) /carillon-$$part target/$(MUSL)/image/carillon-$$part
	done

.PHONY: bench
bench: debian-test ## Carillon beside what it replaces and what it is built on, in one interleaved run (about an hour for all of it; ARGS chooses)
	$(call say,building for the benchmark)
	$(CARGO) build --release --locked -p carillon-cli -p carillon-bench
	"$${CARGO_TARGET_DIR:-target}/release/carillon-bench" $(ARGS)

.PHONY: bench-flame
bench-flame: debian-test ## Flame graphs of the three hot paths, into docs/ (about two minutes)
	@tests/install-debian linux-perf
	command -v inferno-flamegraph >/dev/null || $(CARGO) install --locked inferno
	$(call say,building for the benchmark)
	$(CARGO) build --release --locked -p carillon-cli -p carillon-bench
	"$${CARGO_TARGET_DIR:-target}/release/carillon-bench" flame $(ARGS)

.PHONY: bench-audit
bench-audit: ## What an idle connection keeps on the heap, by size and origin (about three minutes)
	$(call say,building for the benchmark)
	$(CARGO) build --release --locked -p carillon-bench --features audit --target-dir "$${CARGO_TARGET_DIR:-target}/audit"
	"$${CARGO_TARGET_DIR:-target}/audit/release/carillon-bench" audit $(ARGS)

.PHONY: bench-scale
bench-scale: debian-test ## What 1,000 and 10,000 tenants cost the operator and 20 servers (about ten minutes)
	$(call say,building for the benchmark)
	$(CLUSTER) build >/dev/null
	$(CARGO) build --release --locked -p carillon-server -p carillon-operator -p carillon-bench
	tests/own-network "$${CARGO_TARGET_DIR:-target}/release/carillon-bench" scale $(ARGS)

.PHONY: cluster-up
cluster-up: ## A real Kubernetes on this machine (about seven minutes the first time)
	$(CLUSTER) up 2

.PHONY: cluster-down
cluster-down: ## Stops it and leaves nothing behind
	$(CLUSTER) down

.PHONY: deny
deny: ## Licences, sources and bans of all dependencies
	command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	cargo deny --all-features check bans licenses sources

.PHONY: musl
musl: debian-build
	rustup target list --installed | grep -q $(MUSL) || rustup target add $(MUSL)

.PHONY: node-modules
node-modules: tests/node/node_modules/.package-lock.json

tests/node/node_modules/.package-lock.json: tests/node/package-lock.json
	$(call say,installing the Socket.IO clients)
	cd tests/node && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error

.PHONY: debian-build debian-test
debian-build:
	@tests/install-debian $(DEBIAN_BUILD)
debian-test:
	@tests/install-debian $(DEBIAN_TEST)
