#!/bin/sh
# Tests of the browser half, in headless Chromium on its software adapter.
#   tools/web_test/run.sh              all but the last four
#   tools/web_test/run.sh check [NAME] web/check: every shader, every operation's cases and training steps; only what contains NAME
#   tools/web_test/run.sh wait         a read-back that takes longer than five seconds, on Chromium's software adapter without Chromium
#   tools/web_test/run.sh page [NAME]  the page of `qlora-wgpu web`: the tests whose name fits NAME
#   tools/web_test/run.sh walk [N] [SEED]  N actions of a random visitor, 300
#   tools/web_test/run.sh cancels [N]  pause at N moments of a run, 100, and a device that is lost
#   tools/web_test/run.sh long         SmolLM2-135M in the page, compared with a native run; wants its GGUF in ../shared
#   tools/web_test/run.sh firefox [NAME]  the page in Firefox, where there is one; its WebGPU works on the system's Vulkan driver
# Installs Chromium and Node where they are missing and Debian's packages can be installed. CHROMIUM names another
# executable.
set -eu
cd "$(dirname "$0")/../.."
export GOTOOLCHAIN=auto
part=${1-all}
[ $# -eq 0 ] || shift

: "${CHROMIUM:=$(command -v chromium || true)}"
if [ -z "$CHROMIUM" ]; then
  .ci/install chromium
  CHROMIUM=$(command -v chromium)
fi
export CHROMIUM
command -v npm >/dev/null || .ci/install node
for package in playwright-core axe-core; do
  [ -d "tools/web_test/node_modules/$package" ] || npm ci --prefix tools/web_test --no-audit --no-fund
done

check() {
  out=build/web-check
  rm -rf "$out"
  mkdir -p "$out"
  cp web/check/index.html web/check/page.js web/check/worker.js "$(go env GOROOT)/lib/wasm/wasm_exec.js" "$out"
  cp -R internal/parity/testdata/tiny "$out/parity"
  names=$(cd "$out/parity" && find . -type f | cut -c3-)
  echo "$names" >"$out/parity/names.txt"
  GOOS=js GOARCH=wasm go build -o "$out/check.wasm" ./web/check
  node tools/web_test/check.mjs "$out" "${1-}"
}

program() {
  make web build
}

# Chromium's SwiftShader as a native driver: it works in a thread of its own as GPUs do, and not within the submission.
busy() {
  icd=/usr/lib/chromium/vk_swiftshader_icd.json
  [ -f "$icd" ] || { echo "SKIP waiting for a busy device: $icd is absent"; return 0; }
  VK_DRIVER_FILES=$icd VK_ICD_FILENAMES=$icd QLORA_TEST_LONG=1 go test -count=1 -run TestReadWaitsForAsLongAsItTakes ./gpu
}

in_firefox() {
  : "${FIREFOX:=$(command -v firefox || command -v firefox-esr || true)}"
  [ -n "$FIREFOX" ] || { echo "SKIP the page in Firefox: there is none (Debian: apt-get install firefox-esr)"; return 0; }
  export FIREFOX
  program && node tools/web_test/web.mjs build/web-test-firefox "${1-}"
}

case $part in
  all) busy && check && program && node tools/web_test/web.mjs build/web-test ;;
  wait) busy ;;
  check) check "${1-}" ;;
  page) program && node tools/web_test/web.mjs build/web-test "${1-}" ;;
  walk) program && QLORA_WALK=${1-300} QLORA_SEED=${2-1} node tools/web_test/web.mjs build/web-test 'whatever a visitor does' ;;
  cancels) program && QLORA_CANCELS=${1-100} node tools/web_test/web.mjs build/web-test 'at any moment' ;;
  long) program && node tools/web_test/long.mjs build/web-test-long ;;
  firefox) in_firefox "${1-}" ;;
  *) echo "unknown: $part" >&2; exit 2 ;;
esac
