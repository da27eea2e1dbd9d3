"""Times QLoRA steps of PyTorch + PEFT + bitsandbytes beside `qlora-wgpu bench train`, on the same machine and the same
shape with random weights.

Both train LoRA of one rank on all linears of the layers, on one sequence of random tokens a step, every token a target.
float32 computes in float32 on both sides. bf16 is, in PyTorch, a model and products in bfloat16 and, in qlora-wgpu,
activations kept in bfloat16 and products in float32.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time

# hidden, intermediate, layers, heads, key and value heads, vocabulary, tied embedding
SHAPES = {
    "smollm2-135m": (576, 1536, 30, 9, 3, 49152, True),
    "llama-3.2-1b": (2048, 8192, 16, 32, 8, 128256, True),
    "llama-3.2-3b": (3072, 8192, 28, 24, 8, 128256, True),
    "llama-3.1-8b": (4096, 14336, 32, 32, 8, 128256, False),
}


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--arch", choices=SHAPES, default="smollm2-135m")
    p.add_argument("--layers", type=int, default=0, help="only so many of the layers; 0: all")
    p.add_argument("--tokens", type=int, default=128)
    p.add_argument("--steps", type=int, default=4, help="timed after a first one")
    p.add_argument("--lora-r", type=int, default=16)
    p.add_argument("--gradient-checkpointing", choices=("full", "off"), default="full")
    p.add_argument("--program", default="bin/qlora-wgpu")
    p.add_argument("--torch", choices=("float32", "bf16"), help=argparse.SUPPRESS)  # one run, in a process of its own
    return p.parse_args()


def quantize(module, dtype):
    """Replaces the linears below module by bitsandbytes' NF4 with double quantization."""
    import bitsandbytes as bnb
    import torch

    for name, child in module.named_children():
        if isinstance(child, torch.nn.Linear):
            linear = bnb.nn.Linear4bit(child.in_features, child.out_features, bias=False, compute_dtype=dtype,
                                       compress_statistics=True, quant_type="nf4")
            linear.weight = bnb.nn.Params4bit(child.weight.data, requires_grad=False, compress_statistics=True, quant_type="nf4")
            setattr(module, name, linear)
        else:
            quantize(child, dtype)


def torch_steps(o):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    dtype = {"float32": torch.float32, "bf16": torch.bfloat16}[o.torch]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    hidden, intermediate, layers, heads, kv, vocabulary, tied = SHAPES[o.arch]
    config = LlamaConfig(
        hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=o.layers or layers,
        num_attention_heads=heads, num_key_value_heads=kv,
        vocab_size=vocabulary, tie_word_embeddings=tied, max_position_embeddings=max(o.tokens, 2048), use_cache=False,
    )
    torch.manual_seed(1)
    torch.set_default_dtype(dtype)
    with torch.device(device):  # where billions of random weights take no minutes
        model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    quantize(model.model.layers, dtype)
    model = model.to(device)
    if device == "cuda":  # the peak is that of training, not of the weights before quantization
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    if o.gradient_checkpointing == "full":
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = get_peft_model(model, LoraConfig(r=o.lora_r, lora_alpha=o.lora_r, target_modules=names, lora_dropout=0.0))
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-4, weight_decay=0.0)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    seconds = []
    for _ in range(1 + o.steps):
        ids = torch.randint(vocabulary, (1, o.tokens), device=device)
        labels = torch.randint(vocabulary, (1, o.tokens), device=device)
        wait()
        start = time.perf_counter()
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        wait()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({
        "device": torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()}, {torch.get_num_threads()} threads",
        "tokens_per_second": o.tokens / statistics.median(seconds[1:]),
        "peak_device_bytes": torch.cuda.max_memory_allocated() if device == "cuda" else None,
        "peak_resident_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }))


def result(what, command):
    """The one object of JSON that a command prints, or why there is none."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        print(f"{what}: not measured: {(done.stderr.strip().splitlines() or ['no message'])[-1]}", file=sys.stderr)
        return None
    return json.loads(done.stdout[done.stdout.index("{"):])


def main():
    o = parse()
    if o.torch:
        return torch_steps(o)
    print(f"{o.arch}, {o.layers or 'all'} layers, {o.tokens} tokens a step, r {o.lora_r}, "
          f"gradient checkpointing {o.gradient_checkpointing}")
    print(f"{'':40} {'tokens/s':>10} {'device MiB':>11} {'resident MiB':>13}  device", flush=True)
    missing = 0
    for dtype, kept in (("float32", "f32"), ("bf16", "bf16")):
        checkpointing = "--gradient-checkpointing=" + o.gradient_checkpointing
        for what, command in (
            (f"qlora-wgpu, {dtype}", [
                o.program, "bench", "train", "--arch", o.arch, "--random-weights", "--layers", str(o.layers),
                "--max-seq-length", str(o.tokens), "--steps", str(o.steps),
                "--lora-r", str(o.lora_r), checkpointing, "--activation-dtype", kept, "--json"]),
            (f"PyTorch + PEFT + bitsandbytes, {dtype}", [sys.executable, os.path.abspath(__file__), "--torch", dtype, *sys.argv[1:]]),
        ):
            r = result(what, command)
            if r is None:
                missing += 1
                continue
            device = "-" if r["peak_device_bytes"] is None else f"{r['peak_device_bytes'] / 2**20:.0f}"
            name = r["device"]["name"] if isinstance(r["device"], dict) else r["device"]
            print(f"{what:40} {r['tokens_per_second']:10.1f} {device:>11} {r['peak_resident_kib'] / 2**10:13.0f}  {name}", flush=True)
    return min(missing, 1)


if __name__ == "__main__":
    sys.exit(main())
