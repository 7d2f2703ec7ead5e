# The commands of Qchat. Each gets what it needs by itself: see scripts/setup.sh.

export PATH := $(CURDIR)/scripts/tools:$(CURDIR)/end2end/node_modules/.bin:$(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

.PHONY: run watch build test test-rust test-browser torture soak fuzz bench lighthouse pictures check setup

# Builds Qchat and runs it at http://127.0.0.1:3000
run: build
	$(PROGRAM)

# Runs Qchat for those who work on it: builds again whenever a file changes
watch: setup
	cargo leptos watch

# Builds target/release/qchat, which carries its site inside, unless nothing it is made of has changed since
SOURCES := .cargo Cargo.toml Cargo.lock rust-toolchain.toml scripts/setup.sh scripts/tools end2end/package-lock.json app domain engine frontend \
	server/Cargo.toml server/build.rs server/src style
# Cargo would build the server anew each time, since cargo-leptos writes the site anew, which is in it: two minutes for nothing.
# The program is made as old as the moment before the build, so that what is changed meanwhile is built the next time.
PROGRAM := target/release/qchat
build: setup
	@if [ ! -e $(PROGRAM) ] || [ -n "$$(find $(SOURCES) -newer $(PROGRAM) -print -quit)" ]; then \
		mkdir -p target && touch target/build-began && cargo leptos build --release --precompress && touch -r target/build-began $(PROGRAM); \
	else \
		echo "$(PROGRAM) is as new as its sources"; \
	fi

# Runs every test
test: test-rust test-browser

test-rust: setup
	cargo test
	cargo test --package frontend
	cargo test --package server --test stories attack -- --ignored --test-threads 1

test-browser: build
	scripts/setup.sh browser
	cd end2end && QCHAT_BROWSER=$$(../scripts/browser.sh) npx playwright test

# Tries hard, for half an hour: kills, power cuts, lines that come and go, storms, damage, attacks. What came of it on which
# machine is in docs/results.
torture: setup
	QCHAT_KILLS=1000 QCHAT_CLIENTS=50 $(TORTURE) crash
	QCHAT_CUTS=12000 $(TORTURE) power_cut
	QCHAT_LINES=500 QCHAT_CUTS_A_LINE=8 QCHAT_OUTAGE_MILLIS=2000 $(TORTURE) jitter
	QCHAT_CONNECTS=10000 QCHAT_VISITS=20000 $(TORTURE) storm
	QCHAT_DAMAGES=20000 $(TORTURE) damage
	QCHAT_ATTACK=10 $(TORTURE) attack --ignored --test-threads 1
	[ "$$(id -u)" != 0 ] || $(TORTURE) --ignored read_only

# An hour under mixed load: what the server takes of the machine does not grow
soak: setup
	QCHAT_SOAK_SECONDS=3600 $(TORTURE) soak

# What is built to try it hard and to measure it has a folder of its own: it has more in it than what is shipped.
TRIALS := --target-dir target/trials
TORTURE := cargo test --release $(TRIALS) --package server --test stories -- --nocapture

# Has libFuzzer look for inputs that break what reads from outside, 10 minutes each. What cargo-fuzz asks of a nightly
# Rust are these flags of the ordinary one. Needs a C++ compiler.
FUZZ_SECONDS := 600
fuzz: setup
	RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions" \
		cargo build --release --package fuzz --features libfuzzer --target-dir target/fuzz --target $$(rustc --print host-tuple)
	for target in frame command record decide; do \
		mkdir -p target/fuzz/corpus/$$target && \
		target/fuzz/$$(rustc --print host-tuple)/release/fuzz_$$target -max_total_time=$(FUZZ_SECONDS) -max_len=4096 \
			-timeout=10 -print_final_stats=1 -artifact_prefix=target/fuzz/ target/fuzz/corpus/$$target fuzz/corpus/$$target || exit 1; \
	done

# Measures, beside the limit of the machine and peers, for half an hour: `make bench BENCH=--short` for four minutes,
# `make bench BENCH=fanout` for one part. The report is in target/bench.
BENCH :=
bench: build
	scripts/setup.sh bench
	QCHAT_BENCH_PROGRAM=$(CURDIR)/$(PROGRAM) cargo bench $(TRIALS) --package server --bench bench -- $(BENCH)

# Has Lighthouse judge the home page and a chat as phones see them, and writes what it says into docs/results
lighthouse: build
	scripts/setup.sh browser
	scripts/setup.sh lighthouse
	cd end2end/lighthouse && QCHAT_BROWSER=$$(../../scripts/browser.sh) node measure.js $(CURDIR)/docs/results/lighthouse.md

# Takes the pictures of the README anew
pictures: build
	scripts/setup.sh browser
	mkdir -p docs/pictures
	cd end2end && QCHAT_BROWSER=$$(../scripts/browser.sh) QCHAT_PICTURES=$(CURDIR)/docs/pictures npx playwright test pictures

# Format, lints and documentation, with warnings denied; and what is built in: its licences, sources and known holes
check: setup
	scripts/setup.sh check
	cargo fmt --check
	leptosfmt --quiet --check app/src frontend/src
	cargo clippy --all-targets -- --deny warnings
	cargo clippy --package frontend --package wasm-streams --target wasm32-unknown-unknown -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --no-deps --document-private-items
	RUSTDOCFLAGS="--deny warnings" cargo doc --package frontend --target wasm32-unknown-unknown --no-deps --document-private-items
	node scripts/import-graph.mjs --check
	cd end2end && npx tsc --noEmit
	cargo deny check bans licenses sources
	scripts/advisories.sh

setup:
	@scripts/setup.sh
