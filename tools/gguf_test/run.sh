#!/bin/sh
# Compares internal/gguf with the gguf package, which reads the files that it writes, and with ggml, of which the
# quantized bytes have to be the same; llama.cpp also says the types of whole models. Linux on x86-64.
# GGUF_PYTHON names a Python that has the package, LLAMA a folder with the shared libraries of a llama.cpp; without
# them build/gguf-venv and build/llama are made. QLORA_GGUF_BLOCKS: how many blocks of 256 values are quantized.
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
QLORA_GGUF_PYTHON=$(realpath -s "$GGUF_PYTHON") QLORA_LLAMA=$(realpath -s "$LLAMA") GOTOOLCHAIN=auto \
  go test -count=1 -v -run Python ./internal/gguf
