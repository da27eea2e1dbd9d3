"""Makes internal/parity/testdata/bnb_nf4 and bnb_nf4_single: QLoRA steps of PyTorch + PEFT + bitsandbytes over folders that hold
bitsandbytes' NF4.

    pip install torch==2.9.1 transformers==5.23.0 peft==0.21.2 bitsandbytes==0.50.2 accelerate safetensors==0.8.0
    python tools/make_4bit_parity_cases.py

The folders are what save_pretrained writes, and what is trained on is what from_pretrained reads of them: bnb_nf4 has double
quantization in blocks of 64, which run across the rows of 48 columns, and a linear that llm_int8_skip_modules leaves in 16 bits;
bnb_nf4_single has blocks of 128, with absmax in float32. All arithmetic is float32 on the CPU, and so is the element type that
the weights decode to; embedding, and what is not quantized, has values that bfloat16 holds. "quantized" in case.json has the
SHA-256 of what the folder holds of each linear, and of what bitsandbytes decodes it to. The rest is as in the other cases: labels
are not shifted, a step's loss is the sum over its window by the window's targets, gradients are clipped by their global norm
before AdamW.
"""

import hashlib
import json
import pathlib
import random
import shutil
import tempfile

import bitsandbytes
import peft
import torch
import transformers
from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
from safetensors.torch import load_file, save_file

TESTDATA = pathlib.Path(__file__).parent.parent / "internal" / "parity" / "testdata"
STEPS, ACCUMULATION, RANK, ALPHA, VOCABULARY = 8, 2, 2, 4, 96
RATE, BETAS, EPSILON, DECAY, MAX_NORM = 2e-3, (0.9, 0.999), 1e-8, 0.01, 1.1
SKIPPED = "model.layers.1.mlp.down_proj"


def decode(packed, state):
    """bitsandbytes' own decoding in torch, which is its CUDA kernel's: where a row does not hold whole blocks, the CPU library of
    0.50.2 takes other blocks' absmax in products and in decoding (error of N(0, 1) in blocks of 64 over 48 columns: 0.12, not 0.073).
    """
    if state.nested:
        absmax = bitsandbytes.functional.dequantize_blockwise(state.absmax, state.state2) + state.offset
    else:
        absmax = state.absmax
    return _dequantize_4bit_compute(packed.reshape(-1), absmax, state.code, state.blocksize, state.shape, state.dtype)


def multiply(x, packed, quant_state, out=None, bias=None):
    return torch.nn.functional.linear(x, decode(packed, quant_state).to(x.dtype), bias)


def source(path):
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=128, rms_norm_eps=1e-5, tie_word_embeddings=True,
        bos_token_id=1, eos_token_id=2)
    model = transformers.LlamaForCausalLM(config).float()
    torch.manual_seed(33)
    with torch.no_grad():
        for value in model.parameters():
            drawn = torch.randn(value.shape)
            value.copy_((drawn * 0.12 if value.dim() == 2 else 1 + 0.1 * drawn).bfloat16().float())
    model.save_pretrained(path)


def quantized(path, out, double):
    """Writes the 4-bit folder."""
    config = transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=double, bnb_4bit_compute_dtype=torch.float32,
        llm_int8_skip_modules=["lm_head", SKIPPED] if double else None)
    model = transformers.LlamaForCausalLM.from_pretrained(path, quantization_config=config, device_map="cpu", dtype=torch.float32)
    if not double:  # the configuration has no name for the size of blocks
        original = load_file(path / "model.safetensors")
        for name, module in model.named_modules():
            if isinstance(module, bitsandbytes.nn.Linear4bit):
                module.weight = bitsandbytes.nn.Params4bit(
                    original[name + ".weight"], requires_grad=False, quant_type="nf4", blocksize=128,
                    compress_statistics=False, module=module)._quantize("cpu")
    model.save_pretrained(out)


def sha(tensor):
    return hashlib.sha256(tensor.detach().contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()


def fingerprints(folder, model):
    """What the folder holds, and what the model that was read of it decodes it to."""
    stored, prints = load_file(folder / "model.safetensors"), {}
    for name, module in model.named_modules():
        if not isinstance(module, bitsandbytes.nn.Linear4bit):
            continue
        key, state = name + ".weight", module.weight.quant_state
        prints[key] = {
            "shape": list(state.shape), "block_size": state.blocksize, "packed": sha(stored[key]), "absmax": sha(stored[key + ".absmax"]),
            "dequantized": sha(decode(module.weight.data, state)),
        }
        if state.nested:
            prints[key] |= {"nested_absmax": sha(stored[key + ".nested_absmax"]), "offset": state.offset.item()}
    return prints


def windows():
    """Micro-batches of one sequence each, of which the first tokens are no targets."""
    rng = random.Random(19)
    samples = []
    for _ in range(STEPS * ACCUMULATION):
        ids = [rng.randrange(3, VOCABULARY) for _ in range(rng.randrange(6, 40))]
        prompt = rng.randrange(1, len(ids) - 1)
        samples.append({"input_ids": ids, "labels": [-100] * prompt + ids[prompt:]})
    return [samples[i:i + ACCUMULATION] for i in range(0, len(samples), ACCUMULATION)]


def case(out, path, double, seed):
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    quantized(path, out / "model", double)
    (out / "model" / "generation_config.json").unlink()
    model = transformers.LlamaForCausalLM.from_pretrained(out / "model", device_map="cpu", dtype=torch.float32)
    prints = fingerprints(out / "model", model)
    assert len(prints) == 13 + (not double)

    torch.manual_seed(seed)
    model = peft.get_peft_model(model, peft.LoraConfig(
        r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, task_type="CAUSAL_LM",
        target_modules=sorted({name.split(".")[-2] for name in prints})))
    model.train()
    trained = {name.replace(".default", ""): p for name, p in model.named_parameters() if p.requires_grad}
    for name, p in trained.items():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.05)  # at zero, A would have no gradient
    model.save_pretrained(out / "init_adapter")
    (out / "init_adapter" / "README.md").unlink(missing_ok=True)
    config = out / "init_adapter" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": None}, indent=2) + "\n")

    optimizer = torch.optim.AdamW(trained.values(), lr=RATE, betas=BETAS, eps=EPSILON, weight_decay=DECAY)
    steps, losses, norms = windows(), [], []
    for step, window in enumerate(steps):
        targets = sum(label != -100 for sample in window for label in sample["labels"][1:])
        total = 0.0
        for sample in window:
            logits = model(input_ids=torch.tensor([sample["input_ids"]])).logits[0]
            if not losses and total == 0.0:
                save_file({"logits": logits[:16].detach().contiguous()}, out / "logits_step1.safetensors")
            loss = torch.nn.functional.cross_entropy(
                logits[:-1], torch.tensor(sample["labels"][1:]), ignore_index=-100, reduction="sum") / targets
            loss.backward()
            total += loss.item()
        if step == 0:
            gradients = {name: p.grad.clone() for name, p in trained.items()}
            save_file(gradients, out / "grads_step1.safetensors")
            # AdamW's first step is the sign: an element near zero would go the other way after another rounding
            smallest = min((g.abs().min() / g.square().mean().sqrt()).item() for g in gradients.values())
            print("smallest gradient by its tensor's rms:", smallest)
        norms.append(torch.nn.utils.clip_grad_norm_(trained.values(), MAX_NORM).item())
        losses.append(total)
        optimizer.step()
        optimizer.zero_grad()
        print(step + 1, losses[-1], norms[-1], flush=True)
    save_file({name: p.detach().clone() for name, p in trained.items()}, out / "adapter_after.safetensors")
    (out / "case.json").write_text(json.dumps({
        "versions": {m.__name__: m.__version__ for m in (torch, transformers, peft, bitsandbytes)},
        "rank": RANK, "lora_alpha": ALPHA, "learning_rate": RATE, "betas": BETAS, "eps": EPSILON, "weight_decay": DECAY,
        "max_grad_norm": MAX_NORM, "steps": steps, "loss": losses, "grad_norm_before_clip": norms, "quantized": prints,
    }) + "\n")


def main():
    torch.set_num_threads(1)
    bitsandbytes.matmul_4bit = multiply
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        source(path)
        # of 30 seeds, ones with no gradient near zero
        case(TESTDATA / "bnb_nf4", path, True, 58)
        case(TESTDATA / "bnb_nf4_single", path, False, 36)


if __name__ == "__main__":
    main()
