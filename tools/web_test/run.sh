#!/bin/sh
# Checks the WebGPU half in a real browser: builds web/check into build/web-check and runs it in headless Chromium on its software adapter.
#   tools/web_test/run.sh [NAME]    only checks whose name contains NAME
# Installs Chromium and Node where they are missing and Debian's packages can be installed. CHROMIUM names another executable.
set -eu
cd "$(dirname "$0")/../.."
out=build/web-check
export GOTOOLCHAIN=auto

: "${CHROMIUM:=$(command -v chromium || true)}"
if [ -z "$CHROMIUM" ]; then
  .ci/install chromium
  CHROMIUM=$(command -v chromium)
fi
export CHROMIUM
command -v npm >/dev/null || .ci/install node
[ -d tools/web_test/node_modules ] || npm ci --prefix tools/web_test --no-audit --no-fund

rm -rf "$out"
mkdir -p "$out"
cp web/check/index.html web/check/page.js web/check/worker.js "$(go env GOROOT)/lib/wasm/wasm_exec.js" "$out"
cp -R internal/parity/testdata/tiny "$out/parity"
names=$(cd "$out/parity" && find . -type f | cut -c3-)
echo "$names" >"$out/parity/names.txt"
GOOS=js GOARCH=wasm go build -o "$out/check.wasm" ./web/check
node tools/web_test/run.mjs "$out" "${1-}"
