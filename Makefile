# Names of commands; what they do is in the files they call.
SHELL := /bin/bash
CONSOLE := dashboards/console
BIN = $(shell cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/up/turnpike

.PHONY: help bench bench-kubernetes up test test-rust test-cluster cluster cluster-down demo-cluster conformance lint fmt golden engine console images deny setup partners chaos fuzz

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

up: engine console ## build and start everything with examples/shop and demo traffic; ONCE=1 stops by itself
	cargo build --profile up -p turnpike
	$(BIN) up examples/shop --demo examples/shop-traffic.json $(if $(ONCE),--once)

test: setup engine console partners lint test-rust deny test-cluster ## all tests

# One selection of packages for everything: another one would build the dependencies with other features, and again.
test-rust:
	cargo build --workspace --all-targets
	cargo test --workspace

test-cluster: ## what is shown on a real Kubernetes node: example, changes under load, conformance
	./tests/cluster/test.sh

cluster: ## start a real Kubernetes node in a network namespace (as root, with Go)
	./tests/cluster/up.sh

cluster-down: ## remove it with every trace
	./tests/cluster/down.sh

demo-cluster: ## the shop example on that node: charts, a fleet, traffic, usage
	./tests/cluster/demo.sh

conformance: ## run the Gateway API conformance suite with the fast path on and off, and write docs/conformance
	mkdir -p docs/conformance && ./tests/cluster/conformance.sh docs/conformance/report.yaml
	./tests/cluster/conformance.sh docs/conformance/report-fast-path-off.yaml --set fleet.fastPath.enabled=false

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

fmt: ## format all Rust code
	cargo fmt --all

golden: ## rewrite generated files and golden outputs; read the difference before you commit it
	UPDATE_GOLDEN=1 UPDATE_GENERATED=1 INSTA_UPDATE=always cargo test --workspace

engine: ## fetch the embedded ClickHouse engine
	./analytics/engine/fetch.sh

console: $(CONSOLE)/dist/index.html ## build the console's web page

$(CONSOLE)/dist/index.html: docs/reference/openapi.json $(shell find $(CONSOLE) -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null)
	cd $(CONSOLE) && npm ci --no-audit --no-fund && npm run build

images: console engine ## build container images as OCI archives in target/images; PROFILE=dev for quick, large ones
	./images/build.sh $(if $(PROFILE),--profile $(PROFILE),--pgo)

setup: ## install what tests need on a Debian machine (as root)
	./tests/setup.sh

partners: ## build the real programs that tests run against, once (Alertmanager, Jaeger, h2spec, ...)
	./tests/partners/build.sh >/dev/null

deny: ## licences, advisories and sources of dependencies
	./tests/deny.sh

fuzz: ## fuzz every parser of outside bytes for a while: make fuzz SECONDS=60
	./tests/fuzz.sh $(or $(SECONDS),60)

bench: ## Turnpike beside nginx, HAProxy, Envoy and bare pingora, and what a request and size cost, into docs/benchmarks.md (as root, alone on the machine); QUICK=1 for short rounds
	./tests/bench/peers.sh $(if $(QUICK),QUICK) >docs/benchmarks.md
	cargo bench --profile $(or $(PROFILE),dist) -p tests --bench cost -- $(if $(QUICK),quick) >>docs/benchmarks.md

bench-kubernetes: ## How long a change takes on the node of `make cluster`, into docs/benchmarks-kubernetes.md
	./tests/bench/propagation.sh >docs/benchmarks-kubernetes.md

chaos: engine ## a longer kill test: make chaos KILLS=1000 SEED=1
	cargo build --workspace --all-targets
	KILLS=$(or $(KILLS),1000) cargo test --workspace --test kill -- --nocapture
