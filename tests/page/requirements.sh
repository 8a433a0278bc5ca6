#!/usr/bin/env bash
# Chromium, with which the page is tested: installs Debian's where there is none on PATH.
set -euo pipefail
for name in chromium chromium-browser google-chrome; do command -v "$name" >/dev/null && exit 0; done
install() { DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; }
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "The page is tested with Chromium: install it." >&2; exit 1; }
install >/dev/null || { apt-get update -qq && install >/dev/null; }
