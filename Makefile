# The commands of Qchat. Each gets what it needs by itself: see scripts/setup.sh.

export PATH := $(CURDIR)/end2end/node_modules/.bin:$(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

NATIVE := --package domain --package app --package server --features app/ssr

.PHONY: run watch build test test-rust test-browser pictures check setup

# Builds Qchat and runs it at http://127.0.0.1:3000
run: build
	target/release/qchat

# Runs Qchat for those who work on it: builds again whenever a file changes
watch: setup
	cargo leptos watch

# Builds target/release/qchat, which carries its site inside
build: setup
	cargo leptos build --release --precompress

# Runs every test
test: test-rust test-browser

test-rust: setup
	cargo test $(NATIVE)
	cargo test --package frontend

test-browser: build
	scripts/setup.sh browser
	cd end2end && QCHAT_BROWSER=$$(../scripts/browser.sh) npx playwright test

# Takes the pictures of the README anew
pictures: build
	scripts/setup.sh browser
	mkdir -p docs/pictures
	cd end2end && QCHAT_BROWSER=$$(../scripts/browser.sh) QCHAT_PICTURES=$(CURDIR)/docs/pictures npx playwright test pictures

# Format, lints and documentation, with warnings denied; and what is built in: its licences, sources and known holes
check: setup
	scripts/setup.sh check
	cargo fmt --check
	cargo clippy $(NATIVE) --all-targets -- --deny warnings
	cargo clippy --package frontend --target wasm32-unknown-unknown -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc $(NATIVE) --no-deps --document-private-items
	RUSTDOCFLAGS="--deny warnings" cargo doc --package frontend --target wasm32-unknown-unknown --no-deps --document-private-items
	cd end2end && npx tsc --noEmit
	cargo deny check bans licenses sources
	scripts/advisories.sh

setup:
	@scripts/setup.sh
