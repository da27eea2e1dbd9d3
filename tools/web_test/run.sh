#!/bin/sh
# Checks the WebGPU half in a real browser: builds web/check into build/web-check and runs it in headless Chromium on its software adapter.
#   tools/web_test/run.sh [NAME]    only checks whose name contains NAME
# Needs Go, Node and Chromium; as root on Debian it installs Chromium itself. CHROMIUM names another executable.
set -eu
cd "$(dirname "$0")/../.."
out=build/web-check

if [ ! -x "${CHROMIUM:=/usr/bin/chromium}" ]; then
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "web_test: there is no $CHROMIUM; install Debian's package chromium or set CHROMIUM to a Chromium executable" >&2
    exit 2
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium
fi
export CHROMIUM

[ -d tools/web_test/node_modules ] || npm ci --prefix tools/web_test --no-audit --no-fund

rm -rf "$out"
mkdir -p "$out"
cp web/check/index.html web/check/page.js web/check/worker.js "$(go env GOROOT)/lib/wasm/wasm_exec.js" "$out"
GOOS=js GOARCH=wasm go build -o "$out/check.wasm" ./web/check
node tools/web_test/run.mjs "$out" "${1-}"
