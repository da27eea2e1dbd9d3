"""Makes internal/parity/testdata/tiny_16bit, ministral3 and granite4: LoRA steps of PyTorch + PEFT over models that are not quantized.

    pip install torch==2.9.1 transformers==5.23.0 peft==0.21.2 safetensors==0.8.0 numpy==2.4.6
    python tools/make_16bit_parity_cases.py [--check] [NAME …]

tiny_16bit is a small Llama whose file holds float16, of which most values are no bfloat16: linears, embedding and head are rounded
to bfloat16 before anything is computed; biases (every linear has one) and norms stay as they are. ministral3 has an original
context of 8 tokens, of which its sequences are up to five times as long, so that YaRN mixes frequencies and queries grow; its file
holds bfloat16. granite4 is a dense model of Granite 4's class, with all of its factors. All arithmetic is float32 on the
CPU. case.json says that nothing is quantized, and which bytes each linear's weight is after rounding ("frozen"). The rest is as
in the quantized cases: labels are not shifted, a step's loss is the sum over its window by the window's targets,
gradients are clipped by their global norm before AdamW.

--check writes nothing: it prints how far each mistake that can be made of ministral3 moves the first loss.
"""

import argparse
import copy
import hashlib
import json
import pathlib
import random
import shutil

import peft
import torch
import transformers
from safetensors.torch import save_file
from transformers.models.ministral3 import modeling_ministral3

TESTDATA = pathlib.Path(__file__).parent.parent / "internal" / "parity" / "testdata"
ACCUMULATION, BETAS, EPSILON, DECAY = 2, (0.9, 0.999), 1e-8, 0.01


class Tiny:
    """A Llama with a bias on each linear."""

    out, steps, rank, alpha, rate, max_norm, spread_b = "tiny_16bit", 20, 8, 16, 5e-3, 2.0, 0.02
    samples, seed = (8, 17, range(6, 50)), 21
    kind, dtype, vocabulary = transformers.LlamaForCausalLM, torch.float16, 320

    def config(self):
        return transformers.LlamaConfig(
            vocab_size=self.vocabulary, hidden_size=96, intermediate_size=264, num_hidden_layers=2, num_attention_heads=3,
            num_key_value_heads=1, max_position_embeddings=128, rms_norm_eps=1e-5, tie_word_embeddings=False,
            attention_bias=True, mlp_bias=True, bos_token_id=1, eos_token_id=2)

    def draw(self, name, drawn):
        return drawn * 0.07 if drawn.dim() == 2 else 1 + 0.1 * drawn if "norm" in name else 0.1 * drawn


class Ministral3:
    """Scores of about 2, so that attention is not flat."""

    out, steps, rank, alpha, rate, max_norm, spread_b = "ministral3", 8, 2, 4, 2e-3, 2.0, 0.05
    samples, seed = (16, 23, range(6, 42)), 80
    kind, dtype, vocabulary = transformers.Ministral3ForCausalLM, torch.bfloat16, 101

    def config(self):
        return transformers.Ministral3Config(
            vocab_size=self.vocabulary, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=16, max_position_embeddings=128, rms_norm_eps=1e-5, tie_word_embeddings=False,
            bos_token_id=1, eos_token_id=2, pad_token_id=0, rope_parameters={
                "rope_type": "yarn", "rope_theta": 30.0, "factor": 16.0, "original_max_position_embeddings": 8, "beta_fast": 4.0,
                "beta_slow": 0.25, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.3})

    def draw(self, name, drawn):
        if drawn.dim() == 1:
            return 1 + 0.3 * drawn
        spread = next((s for part, s in {"q_proj": 1.4, "k_proj": 1.4, "lm_head": 1.5, "down_proj": 0.8}.items() if part in name), 1.0)
        return drawn * (0.5 if "embed" in name else spread / drawn.shape[1] ** 0.5)


class Granite4(Ministral3):
    """A dense model of Granite 4's class: no recurrent layer, no expert."""

    out, steps, samples, seed, vocabulary = "granite4", 6, (12, 26, range(6, 28)), 326, 41
    kind = transformers.GraniteMoeHybridForCausalLM

    def config(self):
        return transformers.GraniteMoeHybridConfig(
            vocab_size=self.vocabulary, hidden_size=24, intermediate_size=72, shared_intermediate_size=40, num_hidden_layers=2,
            num_attention_heads=3, num_key_value_heads=1, max_position_embeddings=128, rms_norm_eps=1e-5, tie_word_embeddings=True,
            bos_token_id=1, eos_token_id=2, pad_token_id=0, layer_types=["full_attention"] * 2, num_local_experts=0,
            position_embedding_type="rope", rope_parameters={"rope_type": "default", "rope_theta": 30.0}, mamba_n_heads=4,
            embedding_multiplier=3.0, attention_multiplier=0.4, residual_multiplier=0.6, logits_scaling=1.7)


def base(case):
    """The model as it computes, the state as the file holds it, and the hash of each linear's bytes."""
    config = case.config()
    config.architectures = [case.kind.__name__]
    config._attn_implementation = "eager"
    model = case.kind(config).float()
    torch.manual_seed(case.seed)
    state, frozen = {}, {}
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        state[name] = case.draw(name, torch.randn(value.shape)).to(case.dtype)
        used = state[name].float()
        if value.dim() == 2:
            rounded = used.bfloat16()
            if "proj" in name or "shared_mlp" in name:
                frozen[name] = hashlib.sha256(rounded.view(torch.uint8).numpy().tobytes()).hexdigest()
            used = rounded.float()
        with torch.no_grad():
            value.copy_(used)
    return config, model, state, frozen


def windows(case):
    """Micro-batches of one sequence each, of which the first tokens are no targets."""
    count, seed, lengths = case.samples
    rng = random.Random(seed)
    samples = []
    for _ in range(count):
        ids = [rng.randrange(3, case.vocabulary) for _ in range(rng.randrange(lengths.start, lengths.stop))]
        prompt = rng.randrange(1, len(ids) - 1)
        samples.append({"input_ids": ids, "labels": [-100] * prompt + ids[prompt:]})
    order = [samples[i % len(samples)] for i in range(case.steps * ACCUMULATION)]
    return [order[i:i + ACCUMULATION] for i in range(0, len(order), ACCUMULATION)]


def adapted(case, model, frozen):
    """The model with an adapter on all linears, and what trains."""
    linears = sorted({name.split(".")[-2] for name in frozen})
    model = peft.get_peft_model(model, peft.LoraConfig(
        r=case.rank, lora_alpha=case.alpha, lora_dropout=0.0, target_modules=linears, task_type="CAUSAL_LM"))
    model.train()
    trained = {name.replace(".default", ""): p for name, p in model.named_parameters() if p.requires_grad}
    for name, p in trained.items():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=case.spread_b)  # at zero, A would have no gradient
    return model, trained


def losses_of(model, window):
    """Logits of each micro-batch, and its part of the window's loss."""
    targets = sum(label != -100 for sample in window for label in sample["labels"][1:])
    for sample in window:
        logits = model(input_ids=torch.tensor([sample["input_ids"]])).logits[0]
        yield logits, torch.nn.functional.cross_entropy(
            logits[:-1], torch.tensor(sample["labels"][1:]), ignore_index=-100, reduction="sum") / targets


def make(case):
    out = TESTDATA / case.out
    shutil.rmtree(out, ignore_errors=True)
    (out / "model").mkdir(parents=True)
    config, model, state, frozen = base(case)
    config.save_pretrained(out / "model")
    save_file(state, out / "model" / "model.safetensors", metadata={"format": "pt"})
    model, trained = adapted(case, model, frozen)
    model.save_pretrained(out / "init_adapter")
    (out / "init_adapter" / "README.md").unlink(missing_ok=True)

    optimizer = torch.optim.AdamW(trained.values(), lr=case.rate, betas=BETAS, eps=EPSILON, weight_decay=DECAY)
    steps, losses, norms = windows(case), [], []
    for step, window in enumerate(steps):
        total = 0.0
        for logits, loss in losses_of(model, window):
            if not losses and total == 0.0:
                save_file({"logits": logits[:16].detach().contiguous()}, out / "logits_step1.safetensors")
            loss.backward()
            total += loss.item()
        if step == 0:
            gradients = {name: p.grad.clone() for name, p in trained.items()}
            save_file(gradients, out / "grads_step1.safetensors")
            # AdamW's first step is the sign: an element near zero would go the other way after another rounding
            smallest = min((g.abs().min() / g.square().mean().sqrt()).item() for g in gradients.values())
            print("smallest gradient by its tensor's rms:", smallest)
        norms.append(torch.nn.utils.clip_grad_norm_(trained.values(), case.max_norm).item())
        losses.append(total)
        optimizer.step()
        optimizer.zero_grad()
        print(step + 1, losses[-1], norms[-1], flush=True)
    save_file({name: p.detach().clone() for name, p in trained.items()}, out / "adapter_after.safetensors")
    (out / "case.json").write_text(json.dumps({
        "versions": {m.__name__: m.__version__ for m in (torch, transformers, peft)}, "quantization": "none",
        "rank": case.rank, "lora_alpha": case.alpha, "learning_rate": case.rate, "betas": BETAS, "eps": EPSILON, "weight_decay": DECAY,
        "max_grad_norm": case.max_norm, "steps": steps, "loss": losses, "grad_norm_before_clip": norms, "frozen": frozen,
    }) + "\n")


def check():
    """How far mistakes move ministral3's first loss, relatively."""
    case, right = Ministral3(), modeling_ministral3.get_llama_4_attn_scale

    def loss(scale=right, **rope):
        modeling_ministral3.get_llama_4_attn_scale = scale
        config, model, state, frozen = base(case)
        if rope:
            other = copy.deepcopy(config)
            other.rope_parameters = other.rope_parameters | rope
            model = case.kind(other).float()
            model.load_state_dict({name: value.float() for name, value in state.items()})
        model, _ = adapted(case, model, frozen)
        with torch.no_grad():
            return sum(part.item() for _, part in losses_of(model, windows(case)[0]))

    def of(f):
        return lambda positions, beta, context: f(positions.float(), beta, context)[:, None, :, None]

    want = loss()
    for name, got in {
        "no query scale": loss(llama_4_scaling_beta=0.0),
        "no floor": loss(of(lambda p, b, n: 1 + b * torch.log(1 + p / n))),
        "position + 1": loss(of(lambda p, b, n: 1 + b * torch.log(1 + torch.floor((p + 1) / n)))),
        "without the 1 in the logarithm": loss(of(lambda p, b, n: 1 + b * torch.log(torch.floor(p / n).clamp(min=1)))),
        "the factor of the last position for all": loss(of(lambda p, b, n: (1 + b * torch.log(1 + torch.floor(p / n))).max() + 0 * p)),
        "no YaRN": loss(rope_type="default"),
        "linear in the place of YaRN": loss(rope_type="linear"),
        "beta_fast 32": loss(beta_fast=32.0),
        "beta_slow 1": loss(beta_slow=1.0),
        "YaRN's own attention factor": loss(mscale=None, mscale_all_dim=None),
    }.items():
        print(f"{name:42} {abs(got / want - 1):.1e}")


def main():
    cases = {case.out: case for case in (Tiny(), Ministral3(), Granite4())}
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(2)
    if options.check:
        check()
        return
    for name in options.names or cases:
        make(cases[name])


if __name__ == "__main__":
    main()
