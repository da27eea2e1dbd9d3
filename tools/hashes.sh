#!/usr/bin/env bash
# Prints what a change that claims to change no number must leave as it is: SHA-256 of adapters, of checkpoints' tensors
# and of the losses in the log, a run a line.
#
#   tools/hashes.sh [--model SmolLM2-135M-Instruct.Q4_1.gguf --data alpaca.json] > before
#
# Run it in two checkouts on one machine and compare the outputs. With a model and its data, two steps of that follow.
set -euo pipefail
export GOTOOLCHAIN=auto
model='' data=''
while [ $# -gt 0 ]; do
  case $1 in
    --model) model=$(realpath "$2") ;;
    --data) data=$(realpath "$2") ;;
    *) echo "unknown: $1" >&2; exit 2 ;;
  esac
  shift 2
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -o "$work/qlora-wgpu" ./cmd/qlora-wgpu
cd "$work"
quantized=$work/cache # neither what another run measured nor what it quantized

sum() { sha256sum | cut -c1-16; }

# losses FOLDER are the figures of its log that no clock decides, in whatever order a line has them.
losses() {
  local keys='step|loss|grad_norm|learning_rate|num_tokens|eval_loss|answer|mean_token_accuracy'
  grep -oE "\"($keys)\": *(\"([^\"\\\\]|\\\\.)*\"|[^,}]*)" "$1/trainer_log.jsonl" | tr -d ' ' | sort
}

# hashes NAME FOLDER prints the line of a finished run.
hashes() {
  local tensors
  tensors=$(find "$2" -path '*checkpoint-*' -name '*.safetensors' | sort | while read -r f; do sha256sum <"$f"; done | sum)
  printf '%-58s adapter %s checkpoints %s log %s\n' "$1" "$(sum <"$2/adapter_model.safetensors")" "$tensors" "$(losses "$2" | sum)"
}

quiet() {
  "$@" >"$work/output" 2>&1 || { tail -20 "$work/output" >&2; echo "failed: $*" >&2; exit 1; }
}

quiet ./qlora-wgpu demo --output-dir demo
hashes demo demo/adapter

# six NAME FOLDER FLAG... trains six steps, takes away what the last three left, and goes on from the third.
# The rank is such that matrices have the 4,096 elements from which on moments are kept in 8 bits.
six() {
  local name=$1 out=$2
  shift 2
  local run=(./qlora-wgpu train --model demo/model --data demo/train.jsonl --output-dir "$out" --cache-dir "$quantized"
    --autotune off --max-steps 6 --packing --max-seq-length 96 --lora-r 34 --lora-dropout 0.1 --batch-size 2
    --gradient-accumulation-steps 2 --val-size 6 --eval-steps 2
    --save-steps 3 --save-total-limit 0 "$@")
  quiet "${run[@]}"
  rm -rf "$out/checkpoint-6" "$out"/adapter_* # as a kill in the sixth step leaves it
  quiet "${run[@]}" --resume
  hashes "$name" "$out"
}

for optim in adamw_32bit adamw_8bit paged_adamw_32bit paged_adamw_8bit; do
  for recompute in full selective off; do
    six "$optim $recompute" "run-$optim-$recompute" --optim "$optim" "--gradient-checkpointing=$recompute"
  done
done
six "adamw_32bit selective bf16" run-bf16 --gradient-checkpointing=selective --activation-dtype bf16

if [ -n "$model" ]; then
  quiet ./qlora-wgpu train --model "$model" --data "$data" --output-dir real --cache-dir "$quantized" --autotune off \
    --max-steps 2 --max-seq-length 64 --batch-size 1 --gradient-accumulation-steps 1 --save-steps 1 --save-total-limit 0
  hashes "$(basename "$model")" real
fi
