"""Checks that an adapter written by qlora-wgpu means the same to Hugging Face PEFT.

It trains a few steps, loads the same base model in transformers with the linears quantized to NF4 by bitsandbytes, or
in bfloat16 where a run says --quantization=none, loads the adapter with PEFT, and compares the mean loss on held-out
rows with `qlora-wgpu eval`, with the adapter and without.
Exit status 0: all agree. README.md beside this file says more.
"""

import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
import warnings

import numpy as np
import torch
from bitsandbytes import functional as bnb
from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
from peft import PeftConfig, PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.utils import logging

TOLERANCE = 1e-4  # of the mean loss: float32 sums in another order differ by some 1e-6
PREFIX = "base_model.model."
BLOCK = 64
NESTED_BLOCK = 256

# Settings of each adapter: together they cover a rank that is no multiple of 4, all-linear, a list of targets, rsLoRA,
# and a base that is not quantized.
UNQUANTIZED = "--quantization=none"
SMALL = {
    "all-linear": ["--lora-r=7", "--lora-alpha=16", "--max-steps=6", "--learning-rate=5e-3"],
    "rslora": ["--lora-r=8", "--lora-alpha=8", "--use-rslora", "--lora-target-modules=q_proj,v_proj,down_proj",
               "--max-steps=6", "--learning-rate=1e-2"],
    "16-bit": [UNQUANTIZED, "--lora-r=8", "--lora-alpha=16", "--max-steps=6", "--learning-rate=5e-3"],
}
LARGE = {"all-linear": ["--lora-r=16", "--lora-alpha=16", "--max-steps=2", "--learning-rate=2e-3", "--batch-size=1"]}


def program(options, *arguments, text=None):
    """Standard output of a qlora-wgpu command."""
    done = subprocess.run([options.program, *map(str, arguments)], input=text, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"peft_test: qlora-wgpu {arguments[0]} ended with status {done.returncode}")
    return done.stdout


def encoded_rows(options):
    """Token ids and shifted targets of the held-out rows, as `qlora-wgpu tokenize --chat` prints them."""
    lines = program(options, "tokenize", "--chat", "--model", options.model, options.heldout).splitlines()
    first, _, end = options.rows.partition(":")
    rows = []
    for line in lines[int(first or 0):int(end) if end else None]:
        row = json.loads(line)
        ids = torch.tensor(row["ids"])
        rows.append((ids, torch.where(torch.tensor(row["target"][1:]) == 1, ids[1:], -100)))
    return rows


def mean_loss(model, rows):
    total, count = 0.0, 0
    with torch.no_grad():
        for ids, targets in rows:
            logits = model(input_ids=ids[None]).logits[0, :-1].double()
            total += torch.nn.functional.cross_entropy(logits, targets, ignore_index=-100, reduction="sum").item()
            count += int((targets != -100).sum())
    return total / count, count


def double_quantized(absmax):
    """absmax as it comes back from double quantization by the rule of bitsandbytes' CUDA kernel, which the CPU library does not follow.

    Codes are entries of the signed 8-bit dynamic map. The kernel searches from entry 127 in steps of 64 to 1 and then
    compares with the midpoint to the neighbour; on the midpoint itself it stays where it is.
    """
    entries = bnb.create_dynamic_map().numpy().astype(np.float32)
    values = absmax.numpy().astype(np.float32).ravel()
    offset = np.float32(values.mean(dtype=np.float64))
    blocks = [values[i:i + NESTED_BLOCK] - offset for i in range(0, len(values), NESTED_BLOCK)]
    restored = []
    for block in blocks:
        scale = np.abs(block).max()
        x = block * (np.float32(1) / scale)
        at = np.full(len(x), 127)
        for step in (64, 32, 16, 8, 4, 2, 1):
            at += np.where(x > entries[at], step, -step)
        above = x > entries[at]
        neighbour = np.clip(np.where(above, at + 1, at - 1), 0, 255)
        middle = (entries[at] + entries[neighbour]) * np.float32(0.5)
        code = np.where(np.where(above, x > middle, x < middle), neighbour, at)
        restored.append(entries[code] * scale + offset)
    return torch.from_numpy(np.concatenate(restored))


def quantize(weight):
    """The weight as its NF4 codes with double-quantized absmax decode, float32. The CPU library takes other blocks' absmax where a
    row does not hold whole blocks; bitsandbytes' own decoding in torch does what its CUDA kernel does."""
    packed, state = bnb.quantize_4bit(weight.contiguous(), blocksize=BLOCK, quant_type="nf4", compress_statistics=False)
    absmax = double_quantized(state.absmax)
    return _dequantize_4bit_compute(packed.reshape(-1), absmax, state.code, BLOCK, state.shape, torch.float32)


def load_base(options, base, auto=AutoModelForCausalLM):
    """The model in float32 with the weights that qlora-wgpu computes with: linears NF4, or bfloat16 as embedding and head are."""
    folder, file = options.model, {}
    if options.model.is_file():
        folder, file = options.model.parent, {"gguf_file": options.model.name}
    model = auto.from_pretrained(folder, dtype=torch.float32, **file).eval()
    with torch.no_grad():
        head = model.get_output_embeddings()
        for table in {model.get_input_embeddings().weight, head.weight}:
            table.copy_(table.bfloat16().float())
        for module in model.modules():
            if isinstance(module, torch.nn.Linear) and module is not head:
                module.weight.copy_(module.weight.bfloat16().float() if UNQUANTIZED in base else quantize(module.weight))
    return model


def load_adapter(base, folder, key_mapping=None):
    """The base with the adapter. Fails on any warning, as PEFT gives of unknown keys and of missing tensors, and unless every
    tensor arrived."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        PeftConfig.from_pretrained(folder)
        model = PeftModel.from_pretrained(base, folder, key_mapping=key_mapping)
        again = model.load_adapter(folder, adapter_name="again", key_mapping=key_mapping)
        model.delete_adapter("again")
    complaints = [str(w.message) for w in caught if not issubclass(w.category, (DeprecationWarning, FutureWarning))]
    missing = [k for k in again.missing_keys if ".again." in k]
    if complaints or missing or again.unexpected_keys:
        sys.exit(f"peft_test: {folder}: warnings {complaints}, missing {missing}, unexpected {again.unexpected_keys}")
    written, loaded = load_file(folder / "adapter_model.safetensors"), get_peft_model_state_dict(model)
    for pattern, name in (key_mapping or {}).items():
        written = {PREFIX + re.sub(pattern, name, key.removeprefix(PREFIX)): tensor for key, tensor in written.items()}
    if not written or written.keys() != loaded.keys():
        sys.exit(f"peft_test: {folder}: tensors {sorted(written.keys() ^ loaded.keys())} are on one side only")
    for name, tensor in written.items():
        if not torch.equal(tensor, loaded[name]):
            sys.exit(f"peft_test: {folder}: {name} changed on its way")
    print(f"  PEFT loaded {len(written)} tensors: no warning, none missing, none unexpected")
    return model.eval()


def compare(options, name, model, rows, *arguments):
    """Prints both losses. Returns whether they agree, and PEFT's."""
    evaluate = ["eval", "--json", "--model", options.model, "--data", options.heldout, "--rows", options.rows]
    ours = json.loads(program(options, *evaluate, *arguments))
    theirs, count = mean_loss(model, rows)
    difference = abs(ours["loss"] - theirs)
    agree = difference <= TOLERANCE and ours["target_tokens"] == count
    print(f"  {name}: qlora-wgpu {ours['loss']:.7f}, PyTorch {theirs:.7f}, difference {difference:.1e} of {TOLERANCE:.0e} "
          f"({ours['target_tokens']} and {count} target tokens) {'ok' if agree else 'DIFFERENT'}")
    return agree, theirs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=pathlib.Path, default="internal/demo/model", help="Hugging Face folder")
    parser.add_argument("--smollm2", type=pathlib.Path, metavar="GGUF", help="the 135M model instead; minutes on a CPU")
    parser.add_argument("--data", type=pathlib.Path, help="rows to train on (default: the demo's; with --smollm2 the held-out file)")
    parser.add_argument("--heldout", type=pathlib.Path, help="conversations to compare losses on")
    parser.add_argument("--rows", help="rows of the held-out file, FROM:TO")
    parser.add_argument("--program", type=pathlib.Path, default="bin/qlora-wgpu")
    parser.add_argument("--out", type=pathlib.Path, default="build/peft-test")
    options = parser.parse_args()
    logging.disable_progress_bar()
    sys.stdout.reconfigure(line_buffering=True)
    settings = SMALL
    if options.smollm2:
        options.model, settings = options.smollm2, LARGE
        options.heldout = options.heldout or pathlib.Path("../shared/data/alpaca_en_demo.json")
        options.data = options.data or options.heldout
    options.data = options.data or pathlib.Path("internal/demo/train.jsonl")
    options.heldout = options.heldout or pathlib.Path("internal/demo/heldout.jsonl")
    options.rows = options.rows or ("900:904" if options.smollm2 else "0:20")
    for path in (options.program, options.model, options.data, options.heldout):
        if not path.exists():
            sys.exit(f"peft_test: there is no {path}")

    rows = encoded_rows(options)
    print(f"base model {options.model}, {len(rows)} rows of {options.heldout}")
    ok, losses = True, {}
    for name, flags in settings.items():
        folder = options.out / name
        base = tuple(flag for flag in flags if flag == UNQUANTIZED)
        if base not in losses:
            agree, losses[base] = compare(options, " ".join(["without adapter", *base]), load_base(options, base), rows, *base)
            ok = ok and agree
        shutil.rmtree(folder, ignore_errors=True)
        print(f"adapter {name}: {' '.join(flags)}")
        program(options, "train", "--model", options.model, "--data", options.data, "--output-dir", folder,
                "--lr-scheduler-type=constant", "--shuffle=false", "--save-steps=0", *flags)
        agree, loss = compare(options, "with adapter", load_adapter(load_base(options, base), folder), rows, "--adapter", folder, *base)
        ok = ok and agree
        if abs(loss - losses[base]) < 100 * TOLERANCE:
            print(f"  the adapter changes the loss by only {abs(loss - losses[base]):.1e}: this run proves nothing")
            ok = False
    print("the adapters mean the same to PEFT" if ok else "FAILED")
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
