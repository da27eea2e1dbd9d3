"""Fine-tunes the demo model with QLoRA in PyTorch: what `qlora-wgpu demo` should show, from independent code.

The linears are frozen in NF4 (blocks of 64, absmax in float32), embedding and head stay in BF16, and LoRA adapters on
all linears are trained on the answers of train.jsonl. Prints exact match on heldout.jsonl before and after.

    python simulate_qlora.py --demo ../../internal/demo
"""

import argparse
import json
import math
import random
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn

from model import CONFIG, LINEARS, Llama, encode_chats, exact_match, pack, read_rows

CODEBOOK = torch.tensor([
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0])


def nf4(weight):
    """The weight as its NF4 codes decode, rounded to BF16."""
    blocks = weight.float().reshape(-1, 64)
    absmax = blocks.abs().amax(1, keepdim=True)
    thresholds = (CODEBOOK[1:] + CODEBOOK[:-1]) / 2
    codes = torch.bucketize(blocks * (1 / absmax), thresholds)
    return (CODEBOOK[codes] * absmax).bfloat16().float().view_as(weight)


class LoRALinear(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.weight = nn.Parameter(nf4(base.weight.data), requires_grad=False)
        self.lora_A = nn.Parameter(torch.empty(rank, self.weight.shape[1]))
        self.lora_B = nn.Parameter(torch.zeros(self.weight.shape[0], rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.scaling = alpha / rank

    def forward(self, x):
        return F.linear(x, self.weight) + self.scaling * F.linear(F.linear(x, self.lora_A), self.lora_B)


def load_model(folder):
    model = Llama(CONFIG)
    model.load_state_dict({k: v.float() for k, v in load_file(f"{folder}/model.safetensors").items()})
    return model.requires_grad_(False)


def add_lora(model, rank, alpha):
    for layer in model.model.layers:
        for parent in (layer.self_attn, layer.mlp):
            for name in LINEARS:
                if hasattr(parent, name):
                    setattr(parent, name, LoRALinear(getattr(parent, name), rank, alpha))
    return [p for p in model.parameters() if p.requires_grad]


def fine_tune(model, samples, args, seed):
    parameters = add_lora(model, args.rank, args.alpha)
    optimizer = torch.optim.AdamW(parameters, lr=args.lr, betas=(0.9, 0.999), weight_decay=0.01)
    rng, queue, seen, warmup = random.Random(seed), [], 0, math.ceil(args.warmup_ratio * args.steps)
    losses = []
    for step in range(args.steps):
        if len(queue) < args.batch:
            queue += rng.sample(samples, len(samples))
        batch, queue = queue[: args.batch], queue[args.batch :]
        ids, positions, segments, labels, target = pack(batch, 64)
        logits = model(ids, positions, segments)[:, :-1]
        loss = F.cross_entropy(logits.flatten(0, 1), labels.masked_fill(~target, -100).flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for group in optimizer.param_groups:
            left = (args.steps - step) / max(1, args.steps - warmup)
            group["lr"] = args.lr * min((step + 1) / max(1, warmup), left)
        optimizer.step()
        optimizer.zero_grad()
        seen += sum(len(s[0]) for s in batch)
        losses.append(loss.item())
    return losses, seen


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", required=True, help="folder with model/, train.jsonl and heldout.jsonl")
    parser.add_argument("--model", help="another model folder")
    parser.add_argument("--plain", help="held-out prompts with plain answers: measures the base model's reading")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--alpha", type=float, default=16)
    parser.add_argument("--lr", type=float, default=8e-3)
    parser.add_argument("--steps", type=int, default=75)
    parser.add_argument("--batch", type=int, default=8, help="rows of an optimizer step")
    parser.add_argument("--warmup-ratio", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    folder = args.model or f"{args.demo}/model"
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    samples = encode_chats(tokenizer, read_rows(f"{args.demo}/train.jsonl"))
    heldout = read_rows(f"{args.demo}/heldout.jsonl")
    for seed in range(args.seeds):
        torch.manual_seed(seed)
        model = load_model(folder)
        if args.plain and seed == 0:
            plain = read_rows(args.plain)
            print(f"plain answers, BF16: {exact_match(model, tokenizer, plain)[1]:.1%}")
        start = time.time()
        losses, tokens = fine_tune(model, samples, args, seed)
        took = time.time() - start
        answers, after = exact_match(model, tokenizer, heldout)
        for layer in model.modules():
            if isinstance(layer, LoRALinear):
                layer.scaling = 0
        base, before = exact_match(model, tokenizer, heldout)
        if args.plain and seed == 0:
            print(f"plain answers, NF4:  {exact_match(model, tokenizer, plain)[1]:.1%}")
        print(f"seed {seed}: {tokens} tokens in {args.steps} steps, {took:.0f} s, loss {losses[0]:.3f} -> "
              f"{sum(losses[-5:]) / 5:.4f}, exact match {before:.1%} -> {after:.1%}", flush=True)
        for row, b, a in zip(heldout, base, answers):
            if seed == 0 or a != row[1]["content"]:
                print(" ", json.dumps([row[0]["content"], b, a]), "" if a == row[1]["content"] else "WRONG")


if __name__ == "__main__":
    main()
