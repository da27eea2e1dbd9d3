#!/bin/sh
# Compares what `qlora-wgpu export` writes with an unmodified llama.cpp, which loads it: token ids of 200 texts, logits
# of 64 positions beside our own in float64; and with the gguf package, which reads its values. Linux on x86-64.
# GGUF_PYTHON names a Python that has the package, LLAMA a folder with the shared libraries of a llama.cpp; without
# them build/gguf-venv and build/llama are made, as by tools/gguf_test/run.sh. Options are those of go test.
set -eu
cd "$(dirname "$0")/../.."

if [ -z "${GGUF_PYTHON:-}" ]; then
  GGUF_PYTHON=build/gguf-venv/bin/python
  [ -x "$GGUF_PYTHON" ] || python3 -m venv build/gguf-venv
  "$GGUF_PYTHON" -m pip install --quiet gguf==0.19.0
fi
if [ -z "${LLAMA:-}" ]; then
  LLAMA=build/llama/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64
  [ -d "$LLAMA" ] || npm install --prefix build/llama --no-audit --no-fund @node-llama-cpp/linux-x64@3.22.1
fi
GOTOOLCHAIN=auto go build -o bin/qlora-wgpu ./cmd/qlora-wgpu
QLORA_PROGRAM=$PWD/bin/qlora-wgpu QLORA_GGUF_PYTHON=$(realpath -s "$GGUF_PYTHON") QLORA_LLAMA=$(realpath -s "$LLAMA") \
  GOTOOLCHAIN=auto go test -count=1 -timeout 60m -v "$@" ./tools/export_test
