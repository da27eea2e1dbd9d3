"""The Llama architecture in PyTorch, with the tensor names of its Hugging Face checkpoints."""

import json

import torch
import torch.nn.functional as F
from torch import nn

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "hidden_act": "silu",
    "vocab_size": 1024,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "rope_scaling": None,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "mlp_bias": False,
    "tie_word_embeddings": True,
    "initializer_range": 0.02,
    "use_cache": True,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "torch_dtype": "bfloat16",
}
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class RMSNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x):
        return F.rms_norm(x, x.shape[-1:], self.weight, self.eps)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        self.q_proj = nn.Linear(c["hidden_size"], self.heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(c["hidden_size"], self.kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(c["hidden_size"], self.kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(self.heads * self.head_dim, c["hidden_size"], bias=False)

    def forward(self, x, cos, sin, mask):
        b, t, _ = x.shape
        q = rotate(self.q_proj(x).view(b, t, self.heads, self.head_dim).transpose(1, 2), cos, sin)
        k = rotate(self.k_proj(x).view(b, t, self.kv_heads, self.head_dim).transpose(1, 2), cos, sin)
        v = self.v_proj(x).view(b, t, self.kv_heads, self.head_dim).transpose(1, 2)
        group = self.heads // self.kv_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.o_proj(y.transpose(1, 2).reshape(b, t, -1))


def rotate(x, cos, sin):
    """Rotary embedding of x [B, H, T, D]; element i is paired with element i + D/2."""
    x1, x2 = x.chunk(2, -1)
    return x * cos + torch.cat([-x2, x1], -1) * sin


class MLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_proj = nn.Linear(c["hidden_size"], c["intermediate_size"], bias=False)
        self.up_proj = nn.Linear(c["hidden_size"], c["intermediate_size"], bias=False)
        self.down_proj = nn.Linear(c["intermediate_size"], c["hidden_size"], bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.input_layernorm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        self.self_attn = Attention(c)
        self.post_attention_layernorm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        self.mlp = MLP(c)

    def forward(self, x, cos, sin, mask):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(Layer(c) for _ in range(c["num_hidden_layers"]))
        self.norm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])


class Llama(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.model = Decoder(c)
        d = c["head_dim"]
        angle = torch.outer(torch.arange(c["max_position_embeddings"]).float(),
                            c["rope_theta"] ** (-torch.arange(0, d, 2).float() / d))
        angle = torch.cat([angle, angle], -1)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)
        # What the layers add starts small beside the embeddings, so that words can be told apart at every depth.
        for name, p in self.named_parameters():
            if p.dim() == 2:
                last = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(p, std=0.1 if "embed" in name else p.shape[1] ** -0.5 * (0.1 if last else 1.0))
        self.init_copying_heads(c)

    @torch.no_grad()
    def init_copying_heads(self, c):
        """Lets the first three layers start out with heads that can copy.

        Looking up a fact needs heads that look one, two and three tokens back, and heads above them that find the place
        where the same words stood before. Training alone finds these only after tens of millions of tokens; from here
        it only has to put them to use. With e a token's embedding and e[-n] the one n tokens earlier, layer 0 writes
        P e[-n] through U_n, and the layers above match what stands in those subspaces.
        """
        h, d, heads = c["hidden_size"], c["head_dim"], c["num_attention_heads"]
        # An orthonormal basis: 32 directions to read tokens by, and 32 for each of three distances. Dimension 0 is the
        # same for every token and drives the queries that depend on position only.
        read = torch.linalg.qr(torch.randn(h, h))[0][:, :d].T
        write = torch.linalg.qr(torch.randn(h, h))[0][:, : 3 * d].T.view(3, d, h)
        read[:, 0] = write[:, :, 0] = 0
        self.model.embed_tokens.weight[:, 0] = 0.5

        first = self.model.layers[0].self_attn
        u = torch.zeros(d)
        u[:4] = 1.4  # the fastest frequencies of the rotary embedding
        first.k_proj.weight.view(-1, d, h)[:, :, 0] = u
        first.v_proj.weight.view(-1, d, h)[:] = read
        for n in range(3):
            first.q_proj.weight.view(heads, d, h)[n, :, 0] = rotate(u, self.cos[n + 1], -self.sin[n + 1])
            first.o_proj.weight.view(h, heads, d)[:, n] = 0.15 * write[n].T

        # Matching must not depend on distance: it uses the slow half of the frequencies.
        slow = torch.zeros(d, 1)
        slow[d // 4 : d // 2] = slow[3 * d // 4 :] = 2.2
        back1, back2, back3 = write
        for layer, keys, queries in [(1, (back1, back2), (read, None, back1, read)),
                                     (2, (back3, read), (back2, None, read, back3))]:
            attention = self.model.layers[layer].self_attn
            for i, key in enumerate(keys):
                attention.k_proj.weight.view(-1, d, h)[i] += slow * key
            for i, query in enumerate(queries):
                if query is not None:
                    attention.q_proj.weight.view(heads, d, h)[i] += slow * query
                    attention.o_proj.weight.view(h, heads, d)[:, i] = 0.15 * read.T
            attention.v_proj.weight.view(-1, d, h)[:] = read

    def forward(self, ids, positions=None, segments=None):
        """ids [B, T] to logits [B, T, V]; a row may hold several chats, each a segment whose positions start at 0."""
        t = ids.shape[1]
        mask = torch.ones(t, t, dtype=torch.bool).tril()
        cos, sin = self.cos[:t], self.sin[:t]
        if segments is not None:
            mask = (mask & (segments[:, :, None] == segments[:, None, :]))[:, None]
            cos, sin = self.cos[positions][:, None], self.sin[positions][:, None]
        x = self.model.embed_tokens(ids)
        for layer in self.model.layers:
            x = layer(x, cos, sin, mask)
        return F.linear(self.model.norm(x), self.model.embed_tokens.weight)


def read_rows(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line)["messages"] for line in f]


def encode_chats(tokenizer, rows):
    """Token ids of each chat and a mask of the same length: True on what the assistant says, <|end|> included."""
    pieces = [(f"<|{m['role']}|>", m["content"] + "<|end|>", m["role"] == "assistant") for row in rows for m in row]
    encoded = iter(tokenizer.encode_batch_fast([text for head, body, _ in pieces for text in (head, body)]))
    turns = iter(pieces)
    out = []
    for row in rows:
        ids, mask = [], []
        for _ in row:
            head, body, target = next(encoded).ids, next(encoded).ids, next(turns)[2]
            ids += head + body
            mask += [False] * len(head) + [target] * len(body)
        out.append((ids, mask))
    return out


def pack(samples, length):
    """Samples one after another in rows of `length`: ids, positions and segments [B, T], labels and mask [B, T-1].

    Labels are -100 where a row's padding or another chat follows; mask is True on the assistant's tokens.
    """
    rows = [[]]
    for sample in samples:
        if sum(len(ids) for ids, _ in rows[-1]) + len(sample[0]) > length:
            rows.append([])
        rows[-1].append(sample)
    shape = len(rows), length
    ids, positions, segments = (torch.zeros(shape, dtype=torch.long) for _ in range(3))
    labels, mask = torch.full(shape, -100), torch.zeros(shape, dtype=torch.bool)
    for i, row in enumerate(rows):
        at = 0
        for number, (tokens, target) in enumerate(row, 1):
            here = slice(at, at + len(tokens))
            ids[i, here] = labels[i, here] = torch.tensor(tokens)
            positions[i, here] = torch.arange(len(tokens))
            segments[i, here] = number
            mask[i, here] = torch.tensor(target)
            labels[i, at] = -100
            at += len(tokens)
    return ids, positions, segments, labels[:, 1:], mask[:, 1:]


@torch.no_grad()
def exact_match(model, tokenizer, rows, limit=48):
    """Greedy answers to the first user turns of rows, and the share that equals the recorded answer."""
    answers = []
    for row in rows:
        ids = tokenizer.encode(f"<|user|>{row[0]['content']}<|end|><|assistant|>").ids
        start = len(ids)
        while len(ids) < start + limit and ids[-1] != CONFIG["eos_token_id"]:
            ids.append(model(torch.tensor([ids]))[0, -1].argmax().item())
            if ids[-1] == CONFIG["eos_token_id"]:
                break
        answers.append(tokenizer.decode([i for i in ids[start:] if i != CONFIG["eos_token_id"]]))
    return answers, sum(a == row[1]["content"] for a, row in zip(answers, rows)) / len(rows)
