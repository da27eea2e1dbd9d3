"""Makes internal/tokenizer/testdata: small tokenizers of every supported component, with ids by Hugging Face, a
SentencePiece model with ids by SentencePiece, and a tekken.json with ids by tiktoken.

    pip install tokenizers==0.23.3 sentencepiece==0.2.3 tiktoken==0.14.0
    python tools/make_tokenizer_fixtures.py internal/tokenizer/testdata

Each NAME.tokenizer.json, NAME.model or NAME.tekken.json is trained on the text below; NAME.jsonl holds {"text", "ids", "decoded"} lines. The same
versions write the same bytes. With a number of characters behind the folder the lines are that many characters of mixed scripts,
emoji, code, numbers, white space and control characters: go test reads them where QLORA_REFERENCE_DIR has them in tokenizer/.
"""

import base64
import io
import json
import pathlib
import random
import re
import sys
import unicodedata

import sentencepiece
import tiktoken
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


CAPITALS, SMALLS = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
LINES = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
GPT4O = (f"{CAPITALS}*{SMALLS}+{ENDINGS}|{CAPITALS}+{SMALLS}*{ENDINGS}" r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + LINES)
TEKKEN = f"{CAPITALS}*{SMALLS}+|{CAPITALS}+{SMALLS}*" r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + LINES
DEEPSEEK3 = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*""" + LINES)

SPACED = [
    "\u2581", " \u2581", "\u2581\u2581a", "a\u2581b", "a  b   c    d", " \n a", "\n a\n  b", "HelloWorld fooBAR iPhone McDONALD'S", "<0x0A>", "\n<0x0a>",
    "<unk>a<unk>", "\u0378", "a\U0001f30ab", "\ufb01 \u2460 \uff21 \u0130I\u0131", "a.b,c;d e...f", "12,345.678", "<end> a<end>b <end>", "  <end>", "<s>a</s> b",
]


def few():
    """Fewer lines, for the many kinds of tokenizers."""
    lines = texts()
    return SPACED + lines[1:len(TEXTS)] + lines[len(TEXTS) + 9:len(TEXTS) + 34:2] + lines[-6:]


def characters(merge):
    """A BPE of characters that falls back to bytes, as converters make it of SentencePiece's models."""
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tok.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    # The trainer's own limit of the alphabet is not the same in every run.
    frequent = sorted(set(CORPUS), key=lambda c: (-CORPUS.count(c), c))[:90]
    text = "".join(c if c in frequent else " " for c in CORPUS)
    tok.train_from_iterator([text], trainers.BpeTrainer(vocab_size=480, show_progress=False, special_tokens=special))
    spec = json.loads(tok.to_str())
    spec["added_tokens"] = spec["added_tokens"][:3]
    spec["pre_tokenizer"] = None
    merge(spec)
    return Tokenizer.from_str(json.dumps(spec))


SPACES = {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
BYTES = [SPACES, {"type": "ByteFallback"}, {"type": "Fuse"}]


def component(kind, *parts):
    names = {"normalizer": "normalizers", "pre_tokenizer": "pretokenizers", "decoder": "decoders"}
    return {"type": "Sequence", names[kind]: list(parts)}


def llama2(spec):
    spec["decoder"] = component("decoder", *BYTES, STRIP)
    spec["added_tokens"] += [
        {"id": 480, "content": "<end>", "single_word": False, "lstrip": False, "rstrip": True, "normalized": False, "special": True},
        {"id": 481, "content": "<tool>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False},
    ]


def mistral(spec):
    spec["normalizer"] = None
    spec["pre_tokenizer"] = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False}
    llama2(spec)


def gemma(spec):
    spec["normalizer"] = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    spec["pre_tokenizer"] = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
    spec["decoder"] = component("decoder", *BYTES)
    spec["model"]["ignore_merges"] = False


def old_metaspace(spec):
    """add_prefix_space, as files were written before prepend_scheme."""
    spec["normalizer"] = None
    spec["pre_tokenizer"] = {"type": "Metaspace", "replacement": "\u2581", "add_prefix_space": True}
    spec["decoder"] = {"type": "Metaspace", "replacement": "\u2581", "add_prefix_space": True}


def no_prefix(spec):
    spec["normalizer"] = None
    spec["pre_tokenizer"] = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "never", "split": True}
    spec["decoder"] = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "never", "split": True}


def converted(spec):
    """A SentencePiece model as transformers 5 converts it, with whole words that no merge makes."""
    replace = lambda pattern, content: {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}
    spec["normalizer"] = component("normalizer", replace(r"\A +| +\z", ""), replace(" {2,}", " "),
                                   {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}, replace("\\A\u2581", "\u2581\u2581"))
    spec["pre_tokenizer"] = component("pre_tokenizer", {
        "type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": False,
    }, {"type": "Split", "pattern": {"Regex": "the|er"}, "behavior": "Isolated", "invert": False})
    spec["decoder"] = component("decoder", *BYTES, STRIP)
    spec["model"]["ignore_merges"] = True
    swapped(spec)


def rarer(spec):
    """The components that few files have, and characters that give <unk>, neighbours one or each."""
    for b in (0xE2, 0xF0, 0xCD):
        del spec["model"]["vocab"][f"<0x{b:02X}>"]
    spec["normalizer"] = component("normalizer", *({"type": t} for t in ("NFKC", "Lowercase")),
                                   {"type": "Strip", "strip_left": False, "strip_right": True})
    spec["pre_tokenizer"] = component("pre_tokenizer", {"type": "Digits", "individual_digits": False}, {
        "type": "Punctuation", "behavior": "MergedWithPrevious",
    }, {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": True})
    spec["decoder"] = component("decoder", STRIP, *BYTES)
    spec["model"]["fuse_unk"] = False


def words(spec):
    spec["normalizer"] = component("normalizer", {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "NFD"})
    spec["pre_tokenizer"] = component("pre_tokenizer", {"type": "WhitespaceSplit"}, {"type": "Whitespace"}, {"type": "Punctuation"})
    spec["decoder"] = component("decoder", *BYTES)
    spec["model"]["byte_fallback"] = False


def character_fixtures():
    for merge in (llama2, mistral, gemma, old_metaspace, no_prefix, converted, rarer, words):
        yield merge.__name__, characters(merge)
    isolated = lambda *patterns: [pre_tokenizers.Split(Regex(p), "isolated") for p in patterns] + [
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    yield "gpt4o", train(None, isolated(GPT4O), 330)
    yield "tekken", edited(train(None, isolated(TEKKEN), 330, ignore_merges=True), swapped)
    yield "deepseek3", train(None, isolated(r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", DEEPSEEK3), 330)
    split = lambda pattern, behavior, invert=False: pre_tokenizers.Split(Regex(pattern), behavior, invert)
    yield "behaviors", train(None, [
        split("[\n]", "contiguous"), split("[aeiou]", "merged_with_previous"), split("[rst]", "merged_with_next"),
        split(r"\d(?=\d\b)", "isolated"), split("[x-z]|\\?", "removed"), split("[ bc]", "merged_with_next", True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)], 300)


def sentencepiece_model():
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS.split("\n")), model_writer=out, vocab_size=460, model_type="bpe", byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, character_coverage=0.98, user_defined_symbols=["\u2581\u2581", "<tool>"],
        control_symbols=["<end>"], split_digits=True, allow_whitespace_only_pieces=True, minloglevel=2)
    return out.getvalue()


def tekken_file():
    """As mistral-common ships them, without special_tokens: twenty have names, two are filled in."""
    vocab = train(None, [pre_tokenizers.Split(Regex(TEKKEN), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)], 420).get_vocab()
    pool = pre_tokenizers.ByteLevel(False, use_regex=False)
    byte_of = {pool.pre_tokenize_str(chr(b))[0][0]: b for b in range(128)}
    byte_of |= {pool.pre_tokenize_str(chr(b << 6))[0][0][0]: 0xC0 | b for b in range(2, 32)}
    byte_of |= {pool.pre_tokenize_str(chr(0x80 | b))[0][0][1]: 0x80 | b for b in range(64)}
    byte_of |= {pool.pre_tokenize_str(chr(max(b << 12, 0x800)))[0][0][0]: 0xE0 | b for b in range(16) if b != 13}
    byte_of |= {pool.pre_tokenize_str(chr(max(b << 18, 0x10000)))[0][0][0]: 0xF0 | b for b in range(5)}
    whole = [t for t in sorted(vocab, key=vocab.get) if t != "<|end|>" and len(t) > 1 and set(t) <= set(byte_of)]
    tokens = [bytes([b]) for b in range(256)] + [bytes(byte_of[c] for c in t) for t in whole]
    return {"config": {"pattern": TEKKEN, "num_vocab_tokens": len(tokens), "default_vocab_size": len(tokens) + 17, "default_num_special_tokens": 22,
                       "version": "v3"},
            "vocab": [{"rank": i, "token_bytes": base64.b64encode(t).decode(), "token_str": None} for i, t in enumerate(tokens)]}


def write_tekken(out, lines):
    file = tekken_file()
    (out / "tiktoken.tekken.json").write_text(json.dumps(file) + "\n")
    used = file["vocab"][:file["config"]["default_vocab_size"] - 22]
    ranks = {base64.b64decode(t["token_bytes"]): t["rank"] for t in used}
    tok = tiktoken.Encoding("tekken", pat_str=TEKKEN, mergeable_ranks=ranks, special_tokens={})
    special = re.compile("<unk>|<s>|</s>|<pad>")
    write(out / "tiktoken.jsonl", [special.sub("", line) for line in lines], lambda text: [22 + i for i in tok.encode_ordinary(text)],
          lambda ids: tok.decode([i - 22 for i in ids]))


def mixed(count):
    """Lines of count characters in all, every one of a different mixture."""
    rng = random.Random(20261130)
    blocks = [(0x20, 0x7F), (0xA0, 0x250), (0x250, 0x530), (0x530, 0x700), (0x900, 0xE80), (0x1000, 0x1200), (0x1E00, 0x2000), (0x2000, 0x2C00),
              (0x3000, 0x3200), (0x4E00, 0x9FA0), (0xAC00, 0xD7A0), (0xFB00, 0xFE00), (0xFF00, 0xFFF0), (0x1D400, 0x1D800), (0x1F300, 0x1F650)]
    old = [[c for c in map(chr, range(*b)) if unicodedata.ucd_3_2_0.category(c)[0] != "C" or unicodedata.category(c)[0] == "S"] for b in blocks]
    code = pathlib.Path(__file__).read_text()
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    some = lambda pool, most: "".join(rng.choice(pool) for _ in range(rng.randrange(1, most)))
    parts = [
        lambda: some(rng.choice(old), 15), lambda: rng.choice(["👩‍🚒", "🌊🌊", "🇩🇪", "👍🏽", "❤️", "1️⃣"]), lambda: rng.choice(TEXTS + SPACED)[:60],
        lambda: rng.choice([" ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u2028", "\u200b", "\u2581"]) * rng.randrange(1, 4),
        lambda: str(rng.randrange(10 ** rng.randrange(1, 15))), lambda: chr(rng.choice([*range(32), *range(0x7F, 0xA0)])), lambda: some(letters, 12),
        lambda: " " + some(letters, 12), lambda: " " * rng.randrange(1, 40), lambda: some("!?.,;:-_=+*/\\|()[]{}<>@#$%^&~`\"'", 6),
    ]
    while count > 0:
        source, at = (CORPUS, code)[rng.randrange(2)], rng.random()
        line = source[int(at * len(source)):][:rng.randrange(50, 900)] if rng.random() < 0.3 else "".join(
            rng.choice(parts)() for _ in range(rng.randrange(5, 80)))
        count -= len(line)
        yield line


def write(path, lines, encode, decode):
    with open(path, "w") as f:
        for text in lines:
            ids = encode(text)
            f.write(json.dumps({"text": text, "ids": ids, "decoded": decode(ids)}, ensure_ascii=False) + "\n")


def main():
    out = pathlib.Path(sys.argv[1])
    many = list(mixed(int(sys.argv[2]))) if len(sys.argv) > 2 else None
    out.mkdir(parents=True, exist_ok=True)
    for source, lines in ((fixtures, many or texts()), (character_fixtures, many or few())):
        for name, tok in source():
            (out / f"{name}.tokenizer.json").write_text(tok.to_str(pretty=False) + "\n")
            write(out / f"{name}.jsonl", lines, lambda text: tok.encode(text, add_special_tokens=False).ids,
                  lambda ids: tok.decode(ids, skip_special_tokens=False))
    model = sentencepiece_model()
    (out / "scores.model").write_bytes(model)
    tok = sentencepiece.SentencePieceProcessor(model_proto=model)
    # Control symbols in a text are tokens for us, and text for SentencePiece.
    control = re.compile("<unk>|<s>|</s>|<end>")
    write_tekken(out, many or few())
    write(out / "scores.jsonl", [control.sub("", line) for line in many or few()], tok.encode, tok.decode)


if __name__ == "__main__":
    main()
