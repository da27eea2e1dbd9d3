"""Adapters in MLX's and llama.cpp's format: of every family's small random model, between qlora-wgpu, PEFT, mlx-lm and gguf-py.

An adapter that qlora-wgpu trained is exported; mlx-lm loads it over the same base, and its logits have to be PEFT's. One that
mlx-lm made has to have the same loss here as there. What gguf-py reads of the GGUF LoRA has to be PEFT's matrices, in the order of
rows that convert_hf_to_gguf.py puts them. README.md beside this file says more.
"""

import argparse
import json
import pathlib
import shutil
import sys

import check
import families
import gguf
import mlx.core as mx
import numpy as np
import torch
import transformers as hf
from mlx.utils import tree_flatten
from mlx_lm.tuner.utils import linear_to_lora_layers, load_adapters
from mlx_lm.utils import load_model, save_config
from safetensors.numpy import load_file
from transformers.utils import logging

LOGITS = 1e-4  # of the largest logit
TEN = dict(rope_theta=10000.0)
FACTORS = dict(embedding_multiplier=6.0, attention_multiplier=0.09, residual_multiplier=0.4, logits_scaling=2.0)
# class, keys of its configuration, keys that mlx-lm reads beside them, and of GGUF the architecture and whether it has
# q and k interleaved
FAMILIES = {
    "llama": ("LlamaForCausalLM", dict(num_attention_heads=2, num_key_value_heads=1), TEN, "llama", True),
    "mistral": ("MistralForCausalLM", dict(sliding_window=None), TEN, "llama", True),
    "ministral3": ("Ministral3ForCausalLM", dict(head_dim=32, rope_parameters=families.YARN), {}, "mistral3", True),
    "qwen2": ("Qwen2ForCausalLM", dict(tie_word_embeddings=True), TEN, "qwen2", False),
    "qwen3": ("Qwen3ForCausalLM", dict(head_dim=40, tie_word_embeddings=True), TEN, "qwen3", False),
    "gemma2": ("Gemma2ForCausalLM", dict(head_dim=32, query_pre_attn_scalar=32), TEN, "gemma2", False),
    "gemma3_text": ("Gemma3ForCausalLM", families.GEMMA3 | dict(hidden_size=256, rope_parameters={
        "sliding_attention": {"rope_type": "default", "rope_theta": 300.0},
        "full_attention": {"rope_type": "default", "rope_theta": 20000.0}}),
        dict(rope_theta=20000.0, rope_local_base_freq=300.0, sliding_window_pattern=2), "gemma3", False),
    "phi3": ("Phi3ForCausalLM", dict(tie_word_embeddings=False), TEN, "phi3", False),
    "smollm3": ("SmolLM3ForCausalLM", dict(no_rope_layer_interval=2), dict(rope_theta=2e6), "smollm3", True),
    "granite": ("GraniteForCausalLM", FACTORS, TEN, "granite", True),
    "granite4": ("GraniteMoeHybridForCausalLM", FACTORS | dict(
        num_local_experts=0, layer_types=["full_attention"] * 2, shared_intermediate_size=192, position_embedding_type="rope",
        mamba_n_heads=4),
        TEN | dict(layer_types=["attention"] * 2), "granite", True),
    "olmo2": ("Olmo2ForCausalLM", dict(num_key_value_heads=4), TEN, "olmo2", False),
}


def in_mlx(own, keys):
    """The folder's model in mlx-lm, in float32, from a copy whose config.json has the keys that mlx-lm reads beside transformers'."""
    folder = own.model.with_name("mlx-model")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(own.model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | keys))
    model, _ = load_model(folder)
    model.set_dtype(mx.float32)
    model.eval()
    return model


def logits_of(model, rows):
    return [np.array(model(mx.array(ids.numpy())[None])[0]) for ids, _ in rows]


def near(what, got, rows, live):
    worst = 0.0
    with torch.no_grad():
        for mine, (ids, _) in zip(got, rows):
            want = live(input_ids=ids[None]).logits[0].numpy()
            worst = max(worst, float(np.abs(mine - want).max() / np.abs(want).max()))
    print(f"  {what}: logits off by {worst:.1e} of {LOGITS:.0e} {'ok' if worst <= LOGITS else 'FAILED'}")
    return worst <= LOGITS


def made_by_mlx(model, folder, seed):
    """An adapter of mlx-lm's own, saved as its trainer saves one, with a B that does something, over the last layer."""
    mx.random.seed(seed)
    model.freeze()
    config = dict(rank=5, scale=1.7, dropout=0.0)
    linear_to_lora_layers(model, 1, config)
    adapter = {name: mx.random.normal(value.shape) / 8 for name, value in tree_flatten(model.trainable_parameters())}
    model.load_weights(list(adapter.items()), strict=False)
    model.eval()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    mx.save_safetensors(str(folder / "adapters.safetensors"), dict(tree_flatten(model.trainable_parameters())))
    said = dict(fine_tune_type="lora", num_layers=1, lora_parameters=config, model="a/path", train=True)
    save_config(said, folder / "adapter_config.json")
    return model


def loss_of(logits, rows):
    total, count = 0.0, 0
    for mine, (_, targets) in zip(logits, rows):
        total += torch.nn.functional.cross_entropy(torch.from_numpy(mine[:-1]).double(), targets, ignore_index=-100, reduction="sum").item()
        count += int((targets != -100).sum())
    return total / count


def interleaved(b, heads):
    """permute in convert_hf_to_gguf.py"""
    return b.reshape(heads, 2, b.shape[0] // heads // 2, b.shape[1]).swapaxes(1, 2).reshape(b.shape)


def same_in_gguf(file, adapter, config, architecture, permuted):
    """What gguf-py reads is what PEFT's file holds."""
    reader = gguf.GGUFReader(file)
    said = {key: reader.get_field(key).contents() for key in ("general.architecture", "general.type", "adapter.type", "adapter.lora.alpha")}
    alpha = json.loads((adapter / "adapter_config.json").read_text())["lora_alpha"]
    ok = list(said.values()) == [architecture, "adapter", "lora", alpha]
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, architecture.upper()), config.num_hidden_layers)
    want = {}
    for key, value in load_file(adapter / "adapter_model.safetensors").items():
        module, _, half = key.removeprefix(check.PREFIX).removesuffix(".weight").rpartition(".")
        parts = {module: value}
        if module.endswith("shared_mlp.input_linear"):
            layer = module.rpartition(".shared_mlp")[0]
            gate, up = np.split(value, 2) if half == "lora_B" else (value, value)
            parts = {f"{layer}.mlp.gate_proj": gate, f"{layer}.mlp.up_proj": up}
        for name, part in parts.items():
            heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.rpartition(".")[2])
            if permuted and heads and half == "lora_B":
                part = interleaved(part, heads)
            name = name.replace("shared_mlp.output_linear", "mlp.down_proj")
            want[names.get_name(name) + ".weight." + half.lower()] = part
    got = {tensor.name: tensor.data for tensor in reader.tensors}
    ok = ok and got.keys() == want.keys() and all(np.array_equal(got[name], want[name]) for name in want)
    print(f"  gguf-py: {said}, {len(got)} tensors {'ok' if ok else 'DIFFERENT'}")
    return ok


def family(options, name, seed):
    cls, keys, read, architecture, permuted = FAMILIES[name]
    own, adapter = families.options_of(options, name)
    cls = getattr(hf, cls)
    families.folder_of(families.spread(cls(cls.config_class(**families.SIZES | keys)), seed), own.model)
    base = (check.UNQUANTIZED,)
    rows = check.encoded_rows(own)
    ok = near("base", logits_of(in_mlx(own, read), rows), rows, check.load_base(own, base))

    families.train(own, adapter, [*base, "--lora-target-modules=all-linear"])
    live = check.load_adapter(check.load_base(own, base), adapter)
    agree, loss = check.compare(own, "PEFT's format", live, rows, "--adapter", adapter, *base)
    mlx, lora = adapter.with_name("mlx"), adapter.with_name("lora.gguf")
    shutil.rmtree(mlx, ignore_errors=True)
    lora.unlink(missing_ok=True)
    exported = ["export", "--model", own.model, "--adapter", adapter]
    check.program(own, *exported, "--format=mlx", "--output", mlx)
    check.program(own, *exported, "--adapter-only", "--output", lora)
    ok = near("MLX's format in mlx-lm", logits_of(load_adapters(in_mlx(own, read), mlx), rows), rows, live) and agree and ok
    ok = same_in_gguf(lora, adapter, live.config, architecture, permuted) and ok
    for folder in (mlx, lora):
        ok = check.compare(own, f"{folder.name} again here", live, rows, "--adapter", folder, *base)[0] and ok

    theirs = made_by_mlx(in_mlx(own, read), adapter.with_name("by-mlx"), seed)
    want = loss_of(logits_of(theirs, rows), rows)
    said = check.program(own, "eval", "--json", "--model", own.model, "--data", own.heldout, "--rows", own.rows, "--adapter",
                         adapter.with_name("by-mlx"), *base)
    got = json.loads(said)["loss"]
    print(f"  mlx-lm's own adapter: loss {got:.7f} here, {want:.7f} there {'ok' if abs(got - want) <= check.TOLERANCE else 'DIFFERENT'}")
    return ok and abs(got - want) <= check.TOLERANCE and families.counts(loss_of(logits_of(in_mlx(own, read), rows), rows), want)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="families whose name has it")
    parser.add_argument("--program", type=pathlib.Path, default="bin/qlora-wgpu")
    parser.add_argument("--heldout", type=pathlib.Path, default="internal/demo/heldout.jsonl")
    parser.add_argument("--rows", default="0:4")
    parser.add_argument("--out", type=pathlib.Path, default="build/peft-test/mlx")
    options = parser.parse_args()
    logging.disable_progress_bar()
    sys.stdout.reconfigure(line_buffering=True)
    mx.set_default_device(mx.cpu)
    failed, ran = [], 0
    for seed, name in enumerate(FAMILIES):
        if options.only in name:
            print(name)
            ran += 1
            if not family(options, name, seed):
                failed.append(name)
    print(f"FAILED: {', '.join(failed)}" if failed else f"adapters of {ran} models mean the same to mlx-lm, gguf-py and PEFT")
    sys.exit(1 if failed or not ran else 0)


if __name__ == "__main__":
    main()
