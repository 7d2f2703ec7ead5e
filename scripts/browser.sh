#!/usr/bin/env bash
# Prints the path of the Chromium for the browser tests: an installed one, or else the one that Playwright downloaded.
set -euo pipefail
cd "$(dirname "$0")/../end2end"
for name in chromium chromium-browser google-chrome; do
  command -v "$name" && exit 0
done
own=$(node -e 'console.log(require("@playwright/test").chromium.executablePath())' 2>/dev/null || true)
[ -x "$own" ] && printf '%s\n' "$own"
