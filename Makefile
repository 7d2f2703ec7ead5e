# The commands to build, test and measure Qchat. Each installs what it needs: see scripts/setup.sh.

export PATH := $(CURDIR)/end2end/node_modules/.bin:$(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

.PHONY: run cluster watch build test test-rust test-browser torture soak fuzz bench lighthouse pictures check setup

# Builds Qchat and runs it at http://127.0.0.1:3000
run: build
	$(PROGRAM)

# Builds Qchat and runs a cluster of it on this machine: three nodes, at http://127.0.0.1:3001 and the two ports after it, with
# three NATS servers
cluster: build
	scripts/setup.sh nats
	scripts/cluster.sh

# Runs Qchat for development: rebuilds and restarts it whenever a file changes
watch: setup
	cargo leptos watch

# Builds target/release/qchat, with the site embedded, unless it is newer than all of its sources. `cargo leptos build --release`
# does the same, but neither reorders the functions of the WASM nor takes the comments out of the scripts, and rebuilds the
# server each time, since it rewrites the site.
# The modification time of the binary is set to the start of the build, so that files changed during a build are built next time.
SOURCES := .cargo Cargo.toml Cargo.lock Makefile rust-toolchain.toml scripts/setup.sh scripts/order-functions.mjs \
	scripts/strip-comments.mjs end2end/package-lock.json app cluster domain engine frontend server/Cargo.toml server/build.rs server/src style
PROGRAM := target/release/qchat
build: setup
	@if [ ! -e $(PROGRAM) ] || [ -n "$$(find $(SOURCES) -newer $(PROGRAM) -print -quit)" ]; then \
		mkdir -p target && touch target/build-began \
			&& cargo leptos build --release --frontend-only --precompress \
			&& node scripts/order-functions.mjs target/site \
			&& node scripts/strip-comments.mjs target/site \
			&& cargo leptos build --release --server-only \
			&& touch -r target/build-began $(PROGRAM); \
	else \
		echo "$(PROGRAM) is up to date"; \
	fi

# Runs all tests
test: test-rust test-browser

test-rust: setup
	scripts/setup.sh nats
	cargo test
	cargo test --package frontend
	cargo test --package server --test stories attack -- --ignored --test-threads 1

test-browser: build
	scripts/setup.sh nats
	scripts/setup.sh browser
	cd end2end && QCHAT_BROWSER=$$(../scripts/browser.sh) npx playwright test

# Runs the stress tests, for an hour: kills, power failures, unreliable connections, connection storms, damaged files, attacks,
# and faults of the nodes and servers of a cluster. Results, each with its machine, are in docs/results.
torture: setup
	scripts/setup.sh nats
	QCHAT_KILLS=1000 QCHAT_CLIENTS=50 $(TORTURE) crash
	QCHAT_CUTS=12000 $(TORTURE) power_cut
	QCHAT_LINES=500 QCHAT_CUTS_A_LINE=8 QCHAT_OUTAGE_MILLIS=2000 $(TORTURE) jitter
	QCHAT_CONNECTS=10000 QCHAT_VISITS=20000 $(TORTURE) storm
	QCHAT_DAMAGES=20000 $(TORTURE) damage
	QCHAT_FAULTS=200 $(TORTURE) cluster_faults
	QCHAT_ATTACK=10 $(TORTURE) attack --ignored --test-threads 1
	[ "$$(id -u)" != 0 ] || $(TORTURE) --ignored read_only
	[ "$$(id -u)" != 0 ] || $(TORTURE) --ignored disk_of_nats

# Runs the soak test: one hour of mixed load, during which the resource usage of the server must not grow
soak: setup
	QCHAT_SOAK_SECONDS=3600 $(TORTURE) soak

# Stress tests and benchmarks have a target folder of their own, since they are built with the dependencies of tests as well.
TRIALS := --target-dir target/trials
TORTURE := cargo test --release $(TRIALS) --package server --test stories -- --nocapture

# Fuzzes the code that reads untrusted input, with libFuzzer, 10 minutes for each target. RUSTFLAGS has the instrumentation
# that cargo-fuzz uses with a nightly Rust; a stable Rust accepts these flags as well. Needs a C++ compiler.
FUZZ_SECONDS := 600
fuzz: setup
	RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions" \
		cargo build --release --package fuzz --features libfuzzer --target-dir target/fuzz --target $$(rustc --print host-tuple)
	for target in frame command marks record decide envelope; do \
		mkdir -p target/fuzz/corpus/$$target && \
		target/fuzz/$$(rustc --print host-tuple)/release/fuzz_$$target -max_total_time=$(FUZZ_SECONDS) -max_len=4096 \
			-timeout=10 -print_final_stats=1 -artifact_prefix=target/fuzz/ target/fuzz/corpus/$$target fuzz/corpus/$$target || exit 1; \
	done

# Runs the benchmarks, for an hour, and compares Qchat with the limits of the machine and with other servers.
# `make bench BENCH=--short` takes ten minutes, `make bench BENCH=fanout` runs one part. The report is in target/bench.
BENCH :=
bench: build
	scripts/setup.sh bench
	scripts/setup.sh nats
	QCHAT_BENCH_PROGRAM=$(CURDIR)/$(PROGRAM) cargo bench $(TRIALS) --package server --bench bench -- $(BENCH)

# Audits the home page and a chat with Lighthouse, emulating a phone, and writes the results to docs/results
lighthouse: build
	scripts/setup.sh browser
	scripts/setup.sh lighthouse
	cd end2end/lighthouse && QCHAT_BROWSER=$$(../../scripts/browser.sh) node measure.js $(CURDIR)/docs/results/lighthouse.md

# Takes the screenshots of the README
pictures: build
	scripts/setup.sh browser
	mkdir -p docs/pictures
	cd end2end && QCHAT_BROWSER=$$(../scripts/browser.sh) QCHAT_PICTURES=$(CURDIR)/docs/pictures npx playwright test pictures

# Checks formatting, lints and documentation, with warnings denied, the licences, sources and known vulnerabilities of the
# dependencies, and the files of deploy/, with the linters for these that are on this machine
check: setup
	scripts/setup.sh check
	cargo fmt --check
	leptosfmt --quiet --check app/src frontend/src
	cargo clippy --all-targets -- --deny warnings
	cargo clippy --package frontend --target wasm32-unknown-unknown -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --no-deps --document-private-items
	RUSTDOCFLAGS="--deny warnings" cargo doc --package frontend --target wasm32-unknown-unknown --no-deps --document-private-items
	node scripts/import-graph.mjs --check
	cd end2end && npx tsc --noEmit && npx tsc --project ../style
	node --test scripts/later.test.mjs
	node scripts/sizes.mjs
	scripts/check-deploy.sh
	cargo deny check bans licenses sources
	scripts/advisories.sh

setup:
	@scripts/setup.sh
