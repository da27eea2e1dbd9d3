"""Adapters of every family: trained by qlora-wgpu on a small random model of it, loaded by PEFT, both losses compared.

Each model is made by its class in transformers, with the tokenizer of the embedded model. Of a language model within a class that
reads images the adapter has to load into that class, and into the language model's own class as the model card says; and
qlora-wgpu has to read what PEFT saves of either. README.md beside this file says more.
"""

import argparse
import json
import pathlib
import re
import shutil
import sys

import check
import torch
import transformers as hf
from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
from bitsandbytes.functional import dequantize_blockwise
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers.utils import logging

TOKENIZER = pathlib.Path("internal/demo/model")
VOCABULARY = json.loads((TOKENIZER / "config.json").read_text())["vocab_size"]
# What transformers' classes get beside their defaults. Heads of 40 make 160 columns, which blocks of 64 do not divide.
SIZES = dict(vocab_size=VOCABULARY, hidden_size=128, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=256, bos_token_id=None, eos_token_id=1, pad_token_id=None)
LLAMA3 = {"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}
YARN = {"rope_type": "yarn", "rope_theta": 30.0, "factor": 16.0, "original_max_position_embeddings": 8, "beta_fast": 4.0,
        "beta_slow": 0.25, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.3}
LONGROPE = {"rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75, "short_factor": [1.0 + i / 8 for i in range(12)],
            "long_factor": [1.5 + i / 4 for i in range(12)], "original_max_position_embeddings": 24}
SOME_SLIDE = ["sliding_attention", "full_attention"]
GEMMA3 = dict(num_key_value_heads=1, head_dim=40, query_pre_attn_scalar=24, sliding_window=7, layer_types=SOME_SLIDE, rope_parameters={
    "sliding_attention": {"rope_type": "default", "rope_theta": 300.0},
    "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 20000.0}})
VISION = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)

# class, keys of its configuration, further options of the run
FAMILIES = {
    "llama": ("Llama", dict(tie_word_embeddings=False, num_attention_heads=2, num_key_value_heads=1), []),
    "llama with biases": ("Llama", dict(attention_bias=True, mlp_bias=True, tie_word_embeddings=True, rope_parameters=LLAMA3), []),
    "qwen2": ("Qwen2", dict(tie_word_embeddings=True, use_sliding_window=True, sliding_window=7, max_window_layers=1), []),
    "qwen3": ("Qwen3", dict(head_dim=40, tie_word_embeddings=True), []),
    "mistral": ("Mistral", dict(sliding_window=7), ["--lora-target-modules=q_proj,down_proj"]),
    "ministral3": ("Ministral3", dict(head_dim=32, rope_parameters=YARN), []),
    "gemma2": ("Gemma2", dict(head_dim=40, query_pre_attn_scalar=24, sliding_window=7, attn_logit_softcapping=4.0,
                              final_logit_softcapping=6.0), []),
    "gemma3_text": ("Gemma3", GEMMA3, []),
    "phi3": ("Phi3", dict(rope_parameters=LONGROPE, original_max_position_embeddings=24), []),
    "phi3, named": ("Phi3", dict(tie_word_embeddings=True, sliding_window=9), ["--lora-target-modules=qkv_proj,gate_up_proj"]),
    "smollm3": ("SmolLM3", dict(no_rope_layer_interval=2), []),
    "granite": ("Granite", dict(embedding_multiplier=6.0, attention_multiplier=0.09, residual_multiplier=0.4, logits_scaling=2.0), []),
    "granite4": ("GraniteMoeHybrid", dict(embedding_multiplier=6.0, attention_multiplier=0.09, residual_multiplier=0.4, logits_scaling=2.0,
                                              layer_types=["full_attention"] * 2, num_local_experts=0, shared_intermediate_size=104,
                                              position_embedding_type="rope", mamba_n_heads=4), []),
    "olmo2": ("Olmo2", dict(num_key_value_heads=4), []),
    "olmo2, 16-bit": ("Olmo2", dict(num_key_value_heads=4), [check.UNQUANTIZED]),
}
WRAPPED = {
    "gemma3 that reads images": ("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration", dict(
        text_config=SIZES | GEMMA3, vision_config=VISION, mm_tokens_per_image=4, image_token_index=VOCABULARY - 1,
        boi_token_index=VOCABULARY - 2, eoi_token_index=VOCABULARY - 3), []),
    "mistral3": ("MistralForCausalLM", "Mistral3ForConditionalGeneration", dict(
        text_config=SIZES | dict(model_type="mistral", head_dim=32, sliding_window=None),
        vision_config=VISION | dict(model_type="pixtral", head_dim=8), image_token_index=VOCABULARY - 1),
                 ["--lora-target-modules=v_proj,layers.1.mlp.up_proj"]),
    "ministral3 that reads images": ("Ministral3ForCausalLM", "Mistral3ForConditionalGeneration", dict(
        text_config=SIZES | dict(model_type="ministral3", head_dim=32, rope_parameters=YARN),
        vision_config=VISION | dict(model_type="pixtral", head_dim=8), image_token_index=VOCABULARY - 1), []),
}
TRAIN = ["--lora-r=5", "--lora-alpha=16", "--max-steps=6", "--learning-rate=1e-2", "--lr-scheduler-type=constant", "--shuffle=false",
         "--save-steps=0"]


def spread(model, seed):
    """Random weights with which attention is not flat, norms and biases count, and logits are not all alike."""
    generator = torch.Generator().manual_seed(seed)
    gemma = "Gemma" in type(model).__name__
    with torch.no_grad():
        for name, value in model.named_parameters():
            drawn = torch.randn(value.shape, generator=generator)
            if name.endswith("norm.weight"):
                drawn = 0.3 * drawn + (0 if gemma else 1)
            elif value.dim() == 1:
                drawn = 0.3 * drawn
            elif "embed_tokens" in name:
                drawn = drawn * (0.15 if model.config.tie_word_embeddings else 0.5)
            else:
                drawn = 1.2 * drawn / value[0].numel() ** 0.5
            value.copy_(drawn.bfloat16())
    return model


def folder_of(model, folder):
    shutil.rmtree(folder, ignore_errors=True)
    model.bfloat16().save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / name, folder)


def options_of(options, name):
    folder = options.out / re.sub(r"\W+", "_", name)
    own = argparse.Namespace(program=options.program, model=folder / "model", heldout=options.heldout, rows=options.rows)
    return own, folder / "adapter"


def train(own, adapter, flags):
    shutil.rmtree(adapter, ignore_errors=True)
    settings = [flag for flag in TRAIN if not any(flag.split("=")[0] == other.split("=")[0] for other in flags)]
    check.program(own, "train", "--model", own.model, "--data", "internal/demo/train.jsonl", "--output-dir", adapter, *settings, *flags)


def counts(without, with_adapter):
    """An adapter that hardly changes the loss would prove nothing."""
    if abs(with_adapter - without) < 100 * check.TOLERANCE:
        print(f"  the adapter changes the loss by only {abs(with_adapter - without):.1e}: this run proves nothing")
        return False
    return True


def merged(own, adapter, live, rows, flags, auto=hf.AutoModelForCausalLM):
    """The merged folder in transformers: over the weights that training saw its logits are the live adapter's, and over those of
    the files, in their type, it loads without a tensor missing or left over."""
    ok = True
    for base in ("dequantized", "original"):
        folder = adapter.with_name(f"merged-{base}")
        shutil.rmtree(folder, ignore_errors=True)
        more = ["--base=dequantized", "--dtype=f32", *flags] if base == "dequantized" else []
        check.program(own, "merge", "--model", own.model, "--adapter", adapter, "--output", folder, "--report=off", *more)
        model, said = auto.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
        if any(said[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")):
            print(f"  merged, {base}: {said}")
            ok = False
        if base == "original":
            continue
        worst = 0.0
        with torch.no_grad():
            for ids, _ in rows:
                want, got = live(input_ids=ids[None]).logits, model.eval()(input_ids=ids[None]).logits
                worst = max(worst, ((want - got).abs().max() / want.abs().max()).item())
        print(f"  merged: logits off by {worst:.1e} of 1e-05 {'ok' if worst <= 1e-5 else 'FAILED'}")
        ok = ok and worst <= 1e-5
    return ok


def decoded(module):
    """A linear's weight in float32, by the rule of CUDA's kernels: the CPU library's mistakes rows that cut a block."""
    state = module.weight.quant_state
    absmax = dequantize_blockwise(state.absmax, state.state2) + state.offset if state.nested else state.absmax
    return _dequantize_4bit_compute(module.weight.data.reshape(-1), absmax, state.code, state.blocksize, state.shape, torch.float32)


def quantized(own, live, auto=hf.AutoModelForCausalLM):
    """The folder in NF4 in transformers with bitsandbytes: what its linears decode to is what the live base computes with."""
    ok, plain = True, dict(live.named_modules())
    for flag in ("--double-quant", "--no-double-quant"):
        folder = own.model.with_name("nf4" + flag)
        shutil.rmtree(folder, ignore_errors=True)
        check.program(own, "quantize", "--model", own.model, "--output", folder, flag)
        model = auto.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
        found = {name: decoded(module) for name, module in model.named_modules() if type(module).__name__ == "Linear4bit"}
        off = max((value - plain[name].weight).abs().max().item() for name, value in found.items())
        right = not any("vision" in name for name in found) and (off == 0 if flag == "--double-quant" else 0 < off < 0.05)
        print(f"  quantized {flag}: {len(found)} linears, off by {off:.1e} {'ok' if right else 'FAILED'}")
        ok = ok and right
    return ok


def family(options, name, seed):
    kind, keys, flags = FAMILIES[name]
    own, adapter = options_of(options, name)
    cls = getattr(hf, kind + "ForCausalLM")
    folder_of(spread(cls(cls.config_class(**SIZES | keys)), seed), own.model)
    base = tuple(flag for flag in flags if flag == check.UNQUANTIZED)
    rows = check.encoded_rows(own)
    first, without = check.compare(own, "without adapter", check.load_base(own, base), rows, *base)
    if not base:
        first = quantized(own, check.load_base(own, base)) and first
    train(own, adapter, flags)
    model = check.load_adapter(check.load_base(own, base), adapter)
    second, loss = check.compare(own, "with adapter", model, rows, "--adapter", adapter, *base)
    return merged(own, adapter, model, rows, base) and first and second and counts(without, loss)


def alone(model, kind):
    """The language model of a wrapper in its own class."""
    own = getattr(hf, kind)(model.config.text_config).float().eval()
    own.model.load_state_dict(model.model.language_model.state_dict())
    own.get_output_embeddings().load_state_dict(model.get_output_embeddings().state_dict())
    return own


def mapping_of(adapter):
    """The key_mapping that the model card tells."""
    return eval(re.search(r"key_mapping=(\{.*?\})`", (adapter / "README.md").read_text())[1])


def saved(model, adapter, keys=lambda name: name):
    """A folder of what PEFT saves of the model, its tensors under other names."""
    shutil.rmtree(adapter, ignore_errors=True)
    model.save_pretrained(adapter)
    file = adapter / "adapter_model.safetensors"
    save_file({keys(name): tensor for name, tensor in load_file(file).items()}, file)
    return adapter


def wrapped(options, name, seed):
    kind, wrapper, keys, flags = WRAPPED[name]
    own, adapter = options_of(options, name)
    cls = getattr(hf, wrapper)
    folder_of(spread(cls(cls.config_class(**keys)), seed), own.model)

    def load():
        return check.load_base(own, (), hf.AutoModelForImageTextToText)

    rows = check.encoded_rows(own)
    ok, without = check.compare(own, f"{wrapper} without adapter", load(), rows)
    ok = quantized(own, load(), hf.AutoModelForImageTextToText) and ok
    train(own, adapter, flags)
    both = check.load_adapter(load(), adapter)
    agree, loss = check.compare(own, f"{wrapper} with adapter", both, rows, "--adapter", adapter)
    ok = counts(without, loss) and agree and ok

    ok = merged(own, adapter, both, rows, (), hf.AutoModelForImageTextToText) and ok

    def also(what, model, folder):
        nonlocal ok
        agree, other = check.compare(own, what, model, rows, "--adapter", folder)
        ok = ok and agree and counts(without, other)

    text = check.load_adapter(alone(load(), kind), adapter, key_mapping=mapping_of(adapter))
    also(f"{kind}, by the card's key_mapping", text, adapter)
    also("what PEFT saves of that", text, saved(text, adapter.with_name("text")))
    again = check.load_adapter(load(), adapter.with_name("text"), key_mapping={r"^model\.": "model.language_model."})
    also(f"that in {wrapper}, by key_mapping", again, adapter.with_name("text"))
    also(f"what PEFT saves of {wrapper}", both, saved(both, adapter.with_name("both")))
    old = saved(both, adapter.with_name("old"), lambda key: key.replace("model.model.language_model.", "model.language_model.model."))
    also("names of before 4.52", both, old)
    torch.manual_seed(seed)
    everywhere = get_peft_model(load(), LoraConfig(r=4, lora_alpha=32, target_modules="all-linear", init_lora_weights=False)).eval()
    also("PEFT's all-linear, with the encoder's linears", everywhere, saved(everywhere, adapter.with_name("all")))
    return ok


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="families whose name has it")
    parser.add_argument("--program", type=pathlib.Path, default="bin/qlora-wgpu")
    parser.add_argument("--heldout", type=pathlib.Path, default="internal/demo/heldout.jsonl")
    parser.add_argument("--rows", default="0:8")
    parser.add_argument("--out", type=pathlib.Path, default="build/peft-test/families")
    options = parser.parse_args()
    logging.disable_progress_bar()
    sys.stdout.reconfigure(line_buffering=True)
    failed, ran = [], 0
    for cases, run in ((FAMILIES, family), (WRAPPED, wrapped)):
        for seed, name in enumerate(cases):
            if options.only in name:
                print(name)
                ran += 1
                if not run(options, name, seed):
                    failed.append(name)
    print(f"FAILED: {', '.join(failed)}" if failed else f"adapters of {ran} models mean the same to PEFT")
    sys.exit(1 if failed or not ran else 0)


if __name__ == "__main__":
    main()
