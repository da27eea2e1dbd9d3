#!/bin/sh
# Builds the release twice, in this folder and from scratch in a clone elsewhere, compares the bytes, and runs what is
# in the archives: that for ARM by qemu, as far as it needs no GPU. make test-windows runs the program for Windows.
set -eu
cd "$(dirname "$0")/../.."
export GOTOOLCHAIN=auto
[ -z "$(git status --porcelain)" ] || { echo "FAIL: a release is built from a commit, and files differ from it"; exit 1; }
.ci/install qemu
commit=$(git rev-parse HEAD)
other=$(mktemp -d)
trap 'rm -rf "$other"' EXIT

tools/release/release.sh
git clone -q . "$other/another folder"
GOCACHE="$other/cache" "$other/another folder/tools/release/release.sh" >"$other/log" 2>&1 || { cat "$other/log"; exit 1; }

failed=0
check() {
  what=$1
  shift
  if "$@"; then echo "PASS: $what"; else echo "FAIL: $what"; failed=1; fi
}
check "the same bytes when built twice" cmp build/release/SHA256SUMS "$other/another folder/build/release/SHA256SUMS"

mkdir "$other/unpacked"
for archive in build/release/*.tar.gz; do tar -C "$other/unpacked" -xzf "$archive"; done
# works COMMAND… runs a program as far as it needs no device.
works() {
  "$@" version --json | grep -q "\"commit\": \"$commit\"" &&
    "$@" --help | grep -q "Fine-tune language models" &&
    "$@" plan --arch llama-3.1-8b --json >/dev/null &&
    [ "$(echo '{"text": "Ahoy, matey!"}' | "$@" tokenize --model internal/demo/model)" = "$want" ]
}
amd64=$(ls -d "$other"/unpacked/*-linux-amd64) arm64=$(ls -d "$other"/unpacked/*-linux-arm64)
want=$(echo '{"text": "Ahoy, matey!"}' | "$amd64/qlora-wgpu" tokenize --model internal/demo/model)
check "linux/amd64 runs" works "$amd64/qlora-wgpu"
check "linux/arm64 runs by qemu" works qemu-aarch64 -L /usr/aarch64-linux-gnu "$arm64/qlora-wgpu"
for name in qlora-wgpu README.md LICENSE licences.txt docs/releasing.md; do
  check "linux/arm64 holds $name" test -s "$arm64/$name"
done
check "the page is inside" grep -q "engine.wasm.br" "$arm64/qlora-wgpu"
check "no path of this machine is inside" sh -c '! grep -q "$1" "$2" "$3"' - "$PWD/" "$amd64/qlora-wgpu" "$arm64/qlora-wgpu"
exit $failed
