"""Makes internal/parity/testdata/tiny_16bit: LoRA steps of PyTorch + PEFT over a small Llama that is not quantized.

    pip install torch==2.9.1 transformers==5.23.0 peft==0.21.2 safetensors==0.8.0 numpy==2.4.6
    python tools/make_16bit_parity_case.py

The model file holds float16, of which most values are no bfloat16: linears, embedding and head are rounded to bfloat16
before anything is computed; biases (every linear has one) and norms stay as they are. All arithmetic is float32 on the CPU.
case.json says that nothing is quantized, and which bytes each linear's weight is after rounding ("frozen"). The rest is as in
the quantized cases: labels are not shifted, a step's loss is the sum over its window by the window's targets, gradients are
clipped by their global norm before AdamW.
"""

import hashlib
import json
import pathlib
import random
import shutil

import peft
import torch
import transformers
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).parent.parent / "internal" / "parity" / "testdata" / "tiny_16bit"
STEPS, ACCUMULATION, RANK, ALPHA = 20, 2, 8, 16
RATE, BETAS, EPSILON, DECAY, MAX_NORM = 5e-3, (0.9, 0.999), 1e-8, 0.01, 2.0


def base():
    """The model as it computes, the state as the file holds it, and the hash of each linear's bytes."""
    config = transformers.LlamaConfig(
        vocab_size=320, hidden_size=96, intermediate_size=264, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=1, max_position_embeddings=128, rms_norm_eps=1e-5, tie_word_embeddings=False,
        attention_bias=True, mlp_bias=True, bos_token_id=1, eos_token_id=2)
    config.architectures = ["LlamaForCausalLM"]
    config._attn_implementation = "eager"
    model = transformers.LlamaForCausalLM(config).float()
    torch.manual_seed(21)
    state, frozen = {}, {}
    for name, value in model.state_dict().items():
        drawn = torch.randn(value.shape)
        state[name] = (drawn * 0.07 if value.dim() == 2 else 1 + 0.1 * drawn if "norm" in name else 0.1 * drawn).half()
        used = state[name].float()
        if value.dim() == 2:
            rounded = used.bfloat16()
            if "proj" in name:
                frozen[name] = hashlib.sha256(rounded.view(torch.uint8).numpy().tobytes()).hexdigest()
            used = rounded.float()
        with torch.no_grad():
            value.copy_(used)
    return config, model, state, frozen


def windows():
    """Micro-batches of one sequence each, of which the first tokens are no targets."""
    rng = random.Random(17)
    samples = []
    for _ in range(8):
        ids = [rng.randrange(3, 320) for _ in range(rng.randrange(6, 50))]
        prompt = rng.randrange(1, len(ids) - 1)
        samples.append({"input_ids": ids, "labels": [-100] * prompt + ids[prompt:]})
    order = [samples[i % len(samples)] for i in range(STEPS * ACCUMULATION)]
    return [order[i:i + ACCUMULATION] for i in range(0, len(order), ACCUMULATION)]


def main():
    torch.set_num_threads(2)
    shutil.rmtree(OUT, ignore_errors=True)
    (OUT / "model").mkdir(parents=True)
    config, model, state, frozen = base()
    config.save_pretrained(OUT / "model")
    save_file(state, OUT / "model" / "model.safetensors", metadata={"format": "pt"})

    linears = sorted({name.split(".")[-2] for name in frozen})
    model = peft.get_peft_model(model, peft.LoraConfig(
        r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=linears, task_type="CAUSAL_LM"))
    model.train()
    trained = {name.replace(".default", ""): p for name, p in model.named_parameters() if p.requires_grad}
    for name, p in trained.items():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.02)  # at zero, A would have no gradient
    model.save_pretrained(OUT / "init_adapter")
    (OUT / "init_adapter" / "README.md").unlink(missing_ok=True)

    optimizer = torch.optim.AdamW(trained.values(), lr=RATE, betas=BETAS, eps=EPSILON, weight_decay=DECAY)
    steps, losses, norms = windows(), [], []
    for step, window in enumerate(steps):
        targets = sum(label != -100 for sample in window for label in sample["labels"][1:])
        total = 0.0
        for sample in window:
            logits = model(input_ids=torch.tensor([sample["input_ids"]])).logits[0]
            if not losses and total == 0.0:
                save_file({"logits": logits[:16].detach().contiguous()}, OUT / "logits_step1.safetensors")
            loss = torch.nn.functional.cross_entropy(
                logits[:-1], torch.tensor(sample["labels"][1:]), ignore_index=-100, reduction="sum") / targets
            loss.backward()
            total += loss.item()
        if step == 0:
            save_file({name: p.grad.clone() for name, p in trained.items()}, OUT / "grads_step1.safetensors")
        norms.append(torch.nn.utils.clip_grad_norm_(trained.values(), MAX_NORM).item())
        losses.append(total)
        optimizer.step()
        optimizer.zero_grad()
        print(step + 1, losses[-1], norms[-1], flush=True)
    save_file({name: p.detach().clone() for name, p in trained.items()}, OUT / "adapter_after.safetensors")
    (OUT / "case.json").write_text(json.dumps({
        "versions": {m.__name__: m.__version__ for m in (torch, transformers, peft)}, "quantization": "none",
        "rank": RANK, "lora_alpha": ALPHA, "learning_rate": RATE, "betas": BETAS, "eps": EPSILON, "weight_decay": DECAY,
        "max_grad_norm": MAX_NORM, "steps": steps, "loss": losses, "grad_norm_before_clip": norms, "frozen": frozen,
    }) + "\n")


if __name__ == "__main__":
    main()
