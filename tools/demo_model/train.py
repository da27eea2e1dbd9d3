"""Trains the demo model's tokenizer and its weights on the text of generate.py, and saves a Hugging Face folder.

    python train.py --corpus /tmp/demo_corpus.jsonl --out ../../internal/demo/model
"""

import argparse
import json
import math
import os
import random
import time

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from model import CONFIG, Llama, encode_chats, exact_match, pack, read_rows

SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
CHAT_TEMPLATE = ("{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
                 "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}")
# The questions and stories themselves are mostly chance; the answers carry what there is to learn.
TEXT_WEIGHT = 0.2
ROW = 192  # tokens of a packed row; longer chats, a few in a thousand, are left out


def train_tokenizer(rows):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=CONFIG["vocab_size"], show_progress=False,
                                  special_tokens=[AddedToken(t, normalized=False, special=True) for t in SPECIAL],
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator((m["content"] for row in rows for m in row), trainer)
    return tokenizer


def batches(samples, tokens, rng):
    """Endless batches of about `tokens` tokens."""
    batch, size = [], 0
    while True:
        rng.shuffle(samples)
        for sample in samples:
            batch.append(sample)
            size += len(sample[0])
            if size >= tokens:
                yield batch
                batch, size = [], 0


def save(out, model, tokenizer):
    os.makedirs(out, exist_ok=True)
    tokenizer.save(f"{out}/tokenizer.json", pretty=False)
    write_json(f"{out}/config.json", CONFIG)
    write_json(f"{out}/generation_config.json", {"eos_token_id": 1, "pad_token_id": 0})
    write_json(f"{out}/tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONFIG["max_position_embeddings"],
        "add_bos_token": False,
        "bos_token": None,
        "eos_token": "<|end|>",
        "pad_token": "<|pad|>",
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    })
    weights = {k: v.detach().bfloat16().contiguous() for k, v in model.named_parameters()}
    save_file(weights, f"{out}/model.safetensors", metadata={"format": "pt"})


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=2)
        f.write("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--tokens", type=int, default=1536, help="tokens of a batch")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)

    rows = read_rows(args.corpus)
    tokenizer = train_tokenizer(rows)
    samples = encode_chats(tokenizer, rows)
    print(f"{len(rows)} chats, {sum(len(s[0]) for s in samples)} tokens, longest {max(len(s[0]) for s in samples)}, "
          f"vocabulary {tokenizer.get_vocab_size()}", flush=True)
    samples = [s for s in samples if len(s[0]) <= ROW]
    plain = read_rows(args.corpus + ".plain")

    model = Llama(CONFIG)
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    decay = [p for n, p in model.named_parameters() if p.dim() == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.dim() != 2 or "embed" in n]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
                                  lr=args.lr, betas=(0.9, 0.98), fused=True)
    start, seen = time.time(), 0
    stream = batches(samples, args.tokens, random.Random(args.seed))
    for step in range(1, args.steps + 1):
        ids, positions, segments, labels, target = pack(next(stream), ROW)
        logits = model(ids, positions, segments)[:, :-1]
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="none").view_as(labels)
        valid = labels != -100
        weight = valid * torch.where(target, 1.0, TEXT_WEIGHT)
        ((loss * weight).sum() / weight.sum()).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        rate = args.lr * min(step / 100, 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / args.steps)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seen += int(valid.sum())
        if step % 50 == 0 or step == 1:
            answer = (loss.detach() * target).sum() / target.sum()
            text = (loss.detach() * (valid & ~target)).sum() / (valid & ~target).sum()
            print(f"step {step} answer loss {answer:.4f} text loss {text:.3f} norm {norm:.2f} lr {rate:.5f} "
                  f"{seen / (time.time() - start):.0f} tokens/s", flush=True)
        if step % 250 == 0 or step == args.steps:
            answers, share = exact_match(model.eval(), tokenizer, plain)
            print(f"  exact match on {len(plain)} unseen questions: {share:.1%}; {answers[:3]}", flush=True)
            model.train()
            save(args.out, model, tokenizer)
    print(f"{time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
