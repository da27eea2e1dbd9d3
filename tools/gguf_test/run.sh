#!/bin/sh
# Reads files that internal/gguf writes with the gguf package.
# GGUF_PYTHON names a Python that has it; without it build/gguf-venv is made.
set -eu
cd "$(dirname "$0")/../.."

if [ -z "${GGUF_PYTHON:-}" ]; then
  GGUF_PYTHON=build/gguf-venv/bin/python
  [ -x "$GGUF_PYTHON" ] || python3 -m venv build/gguf-venv
  "$GGUF_PYTHON" -m pip install --quiet gguf==0.19.0
fi
QLORA_GGUF_PYTHON=$(realpath -s "$GGUF_PYTHON") GOTOOLCHAIN=auto go test -count=1 -v -run Python ./internal/gguf
