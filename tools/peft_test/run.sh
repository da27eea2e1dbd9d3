#!/bin/sh
# Compares qlora-wgpu with Hugging Face transformers and PEFT; README.md says what is compared.
#   tools/peft_test/run.sh [options of check.py]          adapters that qlora-wgpu writes, loaded by PEFT
#   tools/peft_test/run.sh families [options of families.py]   the same over small random models of every family
#   tools/peft_test/run.sh inputs [options of inputs]     ids, masks and losses of awkward models, rows and adapters
#   tools/peft_test/run.sh mlx [options of mlx_lora.py]   adapters in MLX's and GGUF's format, beside mlx-lm and gguf-py
#   tools/peft_test/run.sh bench [options of bench.py]    training steps timed beside PyTorch's
# PEFT_PYTHON names a Python that has requirements.txt; without it build/peft-venv is made (some 7 GB).
set -eu
cd "$(dirname "$0")/../.."

GOTOOLCHAIN=auto go build -o bin/qlora-wgpu ./cmd/qlora-wgpu

if [ -z "${PEFT_PYTHON:-}" ]; then
  venv=build/peft-venv
  if ! cmp -s tools/peft_test/requirements.txt "$venv/requirements.txt"; then
    python3 -m venv "$venv" || {
      echo "peft_test: Python 3.10 or newer with venv is needed (Debian: apt install python3-venv)" >&2
      exit 2
    }
    "$venv/bin/pip" install --quiet --requirement tools/peft_test/requirements.txt
    cp tools/peft_test/requirements.txt "$venv/"
  fi
  PEFT_PYTHON=$venv/bin/python
fi
[ $# -gt 0 ] || "$PEFT_PYTHON" tools/peft_test/lora_config.py # the keys of adapter_config.json
case ${1-} in
  inputs)
    shift
    PYTHONPATH=tools/peft_test HF_HUB_OFFLINE=1 exec "$PEFT_PYTHON" -m inputs "$@"
    ;;
  families)
    shift
    HF_HUB_OFFLINE=1 exec "$PEFT_PYTHON" tools/peft_test/families.py "$@"
    ;;
  mlx)
    shift
    # Wheels in a folder of their own: the environment stays as it is, and has what mlx-lm's LoRA imports beside them.
    [ -d build/mlx/mlx_lm ] || "$PEFT_PYTHON" -m pip install --quiet --no-deps --target build/mlx \
      mlx==0.32.4 mlx-cpu==0.32.4 mlx-lm==0.32.2
    PYTHONPATH=build/mlx:tools/peft_test HF_HUB_OFFLINE=1 exec "$PEFT_PYTHON" tools/peft_test/mlx_lora.py "$@"
    ;;
  bench)
    shift
    exec "$PEFT_PYTHON" tools/peft_test/bench.py "$@"
    ;;
  *)
    exec "$PEFT_PYTHON" tools/peft_test/check.py "$@"
    ;;
esac
