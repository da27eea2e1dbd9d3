"""Checks that adapters which Hugging Face PEFT writes mean the same to qlora-wgpu, or are refused by the name of the key.

PEFT makes each adapter from a configuration, with matrices that change the loss, and saves it. Where it computes what
plain LoRA computes, `qlora-wgpu eval` has to give PEFT's loss on the held-out rows; where not, it has to end with
status 2 and name the key. Options are those of check.py.
"""

import copy
import json
import pathlib
import shutil
import subprocess
import sys
import types

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers.utils import logging

import check

MODEL, HELDOUT = pathlib.Path("internal/demo/model"), pathlib.Path("internal/demo/heldout.jsonl")
OPTIONS = types.SimpleNamespace(model=MODEL, heldout=HELDOUT, rows="0:4", program=pathlib.Path("bin/qlora-wgpu"))
OUT = pathlib.Path("build/peft-test/written-by-peft")

LOADED = {
    "list": {"target_modules": ["q_proj", "v_proj", "down_proj"]},
    "all-linear": {"target_modules": "all-linear"},
    "expression": {"target_modules": r".*\.(q_proj|up_proj)"},
    "look-ahead": {"target_modules": r"^(?!.*layers\.0).*\.(q_proj|up_proj)$"},
    "whole-names": {"target_modules": ["model.layers.0.self_attn.q_proj", "layers.3.mlp.down_proj"]},
    "exclude": {"target_modules": ["q_proj", "up_proj"], "exclude_modules": r".*layers\.[12]\..*"},
    "layers": {"target_modules": ["q_proj", "up_proj"], "layers_to_transform": [0, 3], "layers_pattern": "layers"},
    "patterns": {"target_modules": ["q_proj", "up_proj"], "rank_pattern": {"layers.1.*": 2, "up_proj": 6},
                 "alpha_pattern": {"^model.layers.3.*q_proj": 40, "layers.[01].mlp.up_proj": 1}},
    "rslora-patterns": {"target_modules": ["q_proj", "up_proj"], "use_rslora": True, "rank_pattern": {"up_proj": 2},
                        "alpha_pattern": {"q_proj": 3}},
    "fan-in-fan-out": {"target_modules": ["q_proj"], "fan_in_fan_out": True},
    "gaussian": {"target_modules": ["q_proj"], "init_lora_weights": "gaussian"},
    "orthogonal": {"target_modules": ["q_proj"], "init_lora_weights": "orthogonal"},
    "no-initialization": {"target_modules": ["q_proj"], "init_lora_weights": False},
    "mica": {"target_modules": ["q_proj"], "init_lora_weights": "mica"},
}
REFUSED = {
    "velora": {"velora_config": {"num_groups": 64}},
    "pissa": {"init_lora_weights": "pissa"},
    "pissa-niter": {"init_lora_weights": "pissa_niter_4"},
    "olora": {"init_lora_weights": "olora"},
    "alora": {"alora_invocation_tokens": [4]},
    "dora": {"use_dora": True},
    "lora-bias": {"lora_bias": True},
    "modules-to-save": {"modules_to_save": ["lm_head"]},
    "tokens": {"trainable_token_indices": [3]},
    "replication": {"layer_replication": [[0, 3], [1, 5]]},
    "kasa": {"kasa_config": {"beta": 0.1}},
    "monteclora": {"monteclora_config": {"num_samples": 2}},
}


def write(base, name, keys):
    """Saves an adapter with matrices that are not zero; returns its folder."""
    torch.manual_seed(sum(map(ord, name)))
    model = get_peft_model(copy.deepcopy(base), LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, **keys))
    with torch.no_grad():
        for key, value in model.named_parameters():
            if ".lora_A." in key or ".lora_B." in key:
                value.normal_(std=0.2)
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    return folder


def main():
    logging.disable_progress_bar()
    sys.stdout.reconfigure(line_buffering=True)
    rows = check.encoded_rows(OPTIONS)
    base = check.load_base(OPTIONS, ())
    plain, _ = check.mean_loss(base, rows)
    ok = True
    for name, keys in LOADED.items():
        folder = write(base, name, keys)
        agree, loss = check.compare(OPTIONS, name, PeftModel.from_pretrained(copy.deepcopy(base), folder).eval(), rows, "--adapter", folder)
        if abs(loss - plain) < 100 * check.TOLERANCE:
            print(f"  the adapter changes the loss by only {abs(loss - plain):.1e}: this proves nothing")
            agree = False
        ok = ok and agree
    for name, keys in REFUSED.items():
        folder = write(base, name, {"target_modules": ["q_proj"], **keys})
        done = subprocess.run([OPTIONS.program, "eval", "--model", MODEL, "--data", HELDOUT, "--adapter", folder], capture_output=True, text=True)
        key, = keys
        right = done.returncode == 2 and f"unsupported: {key} is {json.dumps(keys[key])[:1]}" in done.stderr
        print(f"  {name}: status {done.returncode}, {done.stderr.strip().splitlines()[-1]} {'ok' if right else 'WRONG'}")
        ok = ok and right
    print("adapters of PEFT mean the same here, or are refused" if ok else "FAILED")
    sys.exit(0 if ok else 1)


main()
