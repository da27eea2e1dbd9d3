"""Makes internal/tokenizer/testdata: small byte-level BPE tokenizers of every supported component, with ids by Hugging Face.

    pip install tokenizers==0.23.3
    python tools/make_tokenizer_fixtures.py internal/tokenizer/testdata

Each NAME.tokenizer.json is trained on the text below; NAME.jsonl holds {"text", "ids", "decoded"} lines. The same versions of
Python and tokenizers write the same bytes.
"""

import json
import pathlib
import random
import sys
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")

CORPUS = """
The river turned brown after three days of rain, and the old bridge's railing wasn't there any more. They'll rebuild it.
In 1987 the village had 1,204 people; by 2021 it had 988. "We've lost the school," said the teacher, "and I'm the last one."
def area(width, height):
\treturn width * height  # in m²

for (int i = 0; i < 10; ++i) { total += values[i]; }
La rivière, déjà haute, dépassait le café. Der Fluß stieg über die Brücke. Река вышла из берегов. 川の水が増えました。河水上涨。
नदी का पानी बढ़ गया। ارتفع منسوب النهر. 강물이 불었다. 🌊🌊 👩‍🚒 help came quickly!!! ...and then, nothing.
""" * 4

TEXTS = [
    "", " ", "  ", "\n", "\n\n \n", "\t\tx", "a", " a", "hello world", "  Hello,   WORLD!  ", "it's IT'S they'Re we'LL I'ſ 'd 'x ''s",
    "1 12 123 1234 12345", "3.14e-10", "٣٤٥ ½ ² Ⅷ 12²", "café cafe\u0301 ﬁ Å", "河水上涨 和 bridge", "👩‍🚒🌊", "a\u200bb\ufeff", "x\r\n\r\ny \r\n z",
    "\u00a0nbsp\u2003em\u3000wide\u0085nel\u2028", "tail   ", "\n  indented\n    more\n", "for(;;){}//!!", "(a)[b]{c}\n\n", "---\n---", "!\n\r\n?",
    "<|end|>", "a<|end|>b", " <|end|> ", "x <tool> y", "x<tool>y", "<tool>", " \n <left> \n ", " \n <right> \n x", "<right><left> <right> <left>",
    "<|end", "<|en<|end|>d|>", "é<word>é", "a <word>, b", "_<word>", "<word>", "<w\u0301x>", "<ẃx>", "norm<ṣ>al", "norm<s\u0323>al",
    "a" + "\u0301" * 40 + "b", "\x00\x01\x7f", "\U0010fffd", "ab" * 300, "the" * 100, "=" * 257, " " * 300 + "x", "\n" * 300,
]


def texts():
    rng = random.Random(20240607)
    pools = ["abcdefghij THE the  \n", "'sStTrReEvVmMlLdD ", "0123456789 ٣½", " \t\r\n\u00a0\u2003x", "éßñ日本語हिΩя 🌊", ".,!?()[]{}<>|#$ \n"]
    out = list(TEXTS) + [line for line in CORPUS.split("\n")[:9]]
    for _ in range(60):
        pool = "".join(rng.sample(pools, rng.randrange(1, 4)))
        out.append("".join(rng.choice(pool) for _ in range(rng.randrange(1, 60))))
    # Code points assigned since Unicode 12 at the latest: newer ones differ between Unicode versions.
    for _ in range(30):
        chars = []
        while len(chars) < 20:
            c = chr(rng.choice([rng.randrange(0x20, 0x3000), rng.randrange(0x3000, 0xD800), rng.randrange(0x10000, 0x20000)]))
            if unicodedata.category(c)[0] != "C" and unicodedata.unidata_version >= "14" and unicodedata.ucd_3_2_0.category(c) != "Cn":
                chars.append(c)
        out.append("".join(chars))
    return out


def train(normalizer, steps, vocab_size, added=(), ignore_merges=False, post=None):
    tok = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer:
        tok.normalizer = normalizer
    tok.pre_tokenizer = pre_tokenizers.Sequence(steps) if len(steps) > 1 else steps[0]
    tok.decoder = decoders.ByteLevel()
    if post:
        tok.post_processor = post
    tok.train_from_iterator([CORPUS], trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False, special_tokens=["<|end|>"]))
    tok.add_tokens(list(added))
    return tok


def edited(tok, change):
    spec = json.loads(tok.to_str())
    change(spec)
    return Tokenizer.from_str(json.dumps(spec))


def without_bytes(spec):
    """A vocabulary that lacks some bytes, as SmolLM2's does, and gives <|end|> for them."""
    model = spec["model"]
    lost = {"Ā", "ā", "!", "ð"}
    model["merges"] = [m for m in model["merges"] if not lost & set("".join(m))]
    model["vocab"] = {t: i for t, i in model["vocab"].items() if not lost & set(t)}
    model["unk_token"] = "<|end|>"


def fused(spec):
    without_bytes(spec)
    spec["model"]["fuse_unk"] = True


def old_merges(spec):
    """Merges as strings, as files were written before 2024, and bytes that give no token at all."""
    without_bytes(spec)
    spec["model"]["unk_token"] = None
    spec["model"]["merges"] = [" ".join(m) for m in spec["model"]["merges"]]


def swapped(spec):
    """Ranks in another order, so that whole words and merges disagree where ignore_merges is set."""
    merges = spec["model"]["merges"]
    spec["model"]["merges"] = merges[20:] + merges[:20]


def fixtures():
    byte_level = pre_tokenizers.ByteLevel
    split = lambda pattern, behavior="isolated", invert=False: pre_tokenizers.Split(Regex(pattern), behavior, invert)
    plain = byte_level(add_prefix_space=False, use_regex=False)
    flags = [
        AddedToken("<tool>", special=False, normalized=False),
        AddedToken("<left>", lstrip=True, special=True, normalized=False),
        AddedToken("<right>", rstrip=True, special=False, normalized=True),
        AddedToken("<word>", single_word=True, special=True, normalized=False),
        AddedToken("<s\u0323>", special=False, normalized=True),
        AddedToken("<ẃx>", special=False, normalized=False),
    ]
    template = processors.TemplateProcessing(single="<|end|> $A", special_tokens=[("<|end|>", 0)])
    yield "gpt2", train(None, [byte_level(add_prefix_space=False, use_regex=True)], 420, post=template)
    yield "prefix_space", train(None, [pre_tokenizers.Digits(individual_digits=True), byte_level(add_prefix_space=True)], 330, flags)
    yield "llama3", edited(train(None, [split(LLAMA3), plain], 420, ignore_merges=True, post=processors.Sequence(
        [processors.ByteLevel(trim_offsets=False), template])), swapped)
    yield "qwen2", train(normalizers.NFC(), [split(QWEN2), plain], 420, flags)
    yield "digit_runs", edited(train(normalizers.Sequence([normalizers.NFC()]), [
        pre_tokenizers.Digits(individual_digits=False), split(GPT2, "removed", True), plain], 330), without_bytes)
    yield "fused", edited(train(None, [byte_level(add_prefix_space=False)], 330), fused)
    yield "old_merges", edited(train(None, [byte_level(add_prefix_space=False)], 330), old_merges)
    yield "linear_pattern", train(None, [
        split(r"[\r\n]"), split(r"\s?[A-Za-zµÀ-ÖØ-öø-ƺ]+"), split(r"\s?[!-/:-~！-／]+"), split(r"\d{1,2}|\S\D?", "isolated"),
        pre_tokenizers.Split(" ", "removed"), split(r"(?:[^\s\d])+|\s+", "removed", True), plain], 330)


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name, tok in fixtures():
        (out / f"{name}.tokenizer.json").write_text(tok.to_str(pretty=False) + "\n")
        with open(out / f"{name}.jsonl", "w") as f:
            for text in texts():
                ids = tok.encode(text, add_special_tokens=False).ids
                row = {"text": text, "ids": ids, "decoded": tok.decode(ids, skip_special_tokens=False)}
                f.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
