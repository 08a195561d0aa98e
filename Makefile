# Each target is one visible command or two. `make run` and `make test` need nothing but Rust, Node 20+ with npm, make and a C compiler.

.PHONY: run build cluster cluster-stop web test test-rust test-web test-browser backing faketime chromium lint crash chaos conformance bench instructions screenshots measure check-deploy image test-image reproduce help

# Programs and tests in one call: cargo would build every dependency once more for the programs alone, whose features are others.
BUILD := cargo build --workspace --all-features --locked --bins --tests

WEB := services/web
WEB_SOURCES := $(shell find $(WEB)/src $(WEB)/public $(WEB)/index.html $(WEB)/vite.config.ts -type f 2>/dev/null)

help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: build ## Builds everything and serves Snug at http://localhost:8080
	target/release/snug serve

build: web ## Builds the binary target/release/snug with the browser client in it
	cargo build --release --locked -p snug-gateway --bin snug

cluster: build ## Runs a cluster on this machine: load balancer, three nodes, Redis, Postgres; http://localhost:8080
	@deploy/cluster

cluster-stop: ## Stops what make cluster started
	@deploy/cluster stop

web: $(WEB)/dist/index.html ## Builds the browser client

$(WEB)/node_modules/.package-lock.json: $(WEB)/package-lock.json
	cd $(WEB) && npm ci --no-audit --no-fund

$(WEB)/dist/index.html: $(WEB)/node_modules/.package-lock.json $(WEB_SOURCES)
	cd $(WEB) && npm run build
	@touch $@

test: test-web test-rust test-browser ## Runs every test: web client, Rust, browser
	@tests/setup/containers

test-web: web ## Type check, lint and unit tests of the browser client
	cd $(WEB) && npm run check && npm run lint && npm test

backing: ## Makes sure that the tests find real Redis, Postgres and HAProxy servers
	@tests/setup/containers

faketime: ## Makes sure that the fault suite can give a node a wrong clock
	@tests/setup/faketime

test-rust: web backing faketime ## Unit and integration tests in Rust
	$(BUILD)
	cargo test --workspace --all-features --locked

tests/browser/node_modules/.package-lock.json: tests/browser/package-lock.json
	cd tests/browser && npm ci --no-audit --no-fund

chromium: ## Makes sure that a Chromium is there for the browser tests
	@tests/setup/chromium

test-browser: web chromium backing tests/browser/node_modules/.package-lock.json ## End-to-end tests in a real headless Chromium
	$(BUILD)
	cd tests/browser && npm test

screenshots: web chromium tests/browser/node_modules/.package-lock.json ## Pictures of the page in use, for the README
	$(BUILD)
	cd tests/browser && npm run screenshots

crash: ## The crash test for longer: SECONDS=120 make crash
	$(BUILD)
	SNUG_CRASH_SECONDS=$${SECONDS:-120} cargo test --all-features --locked -p snug-tests --test crash -- --nocapture

chaos: web backing faketime ## The fault suite of the cluster for longer: SECONDS=600 SEED=7 make chaos
	$(BUILD)
	SNUG_CHAOS_SECONDS=$(or $(SECONDS),600) SNUG_CHAOS_SEED=$(SEED) SNUG_CHAOS_ONLY=$(ONLY) SNUG_CHAOS_STORM=2000 \
	  cargo test --all-features --locked -p snug-tests --test chaos -- --nocapture

measure: ## Appends and hints a second, on a machine that does nothing else (release build)
	@tests/setup/measure

bench: build backing ## Measures one node and a cluster of two; the reports go into target/bench. ARGS="--scenario big --step-seconds 2" for parts of it
	cargo build --release --locked -p snug-loadgen
	$(BUILD)
	target/debug/snug-bench target/release target/bench $(ARGS)

instructions: ## Instructions an append and a delivery take, by callgrind: a figure without noise, to be compared over time
	@tests/setup/instructions

conformance: web ## Autobahn's WebSocket suite against the socket layer
	$(BUILD)
	tests/conformance/run target/debug/snug

check-deploy: ## Manifests, compose file and Dockerfile against schemas and linters
	deploy/checks/run

image: ## The container image snug:local, built in containers
	docker build -f deploy/Dockerfile -t snug:local --build-arg REVISION=$$(git rev-parse HEAD) .

test-image: web chromium tests/browser/node_modules/.package-lock.json ## Builds and runs the container image, and the compose file's cluster with browsers
	tests/image/run

reproduce: ## Builds the program twice in different folders and compares every byte (two release builds)
	deploy/reproduce

lint: ## Formatting and clippy
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
