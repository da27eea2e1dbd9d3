"""Base models and texts: the loss of `qlora-wgpu eval --quantization=none` beside transformers' in float32."""

import torch
from transformers import AutoModelForCausalLM

from inputs import gguffile
from inputs.chats import NAMED, NAMES, PLAIN, ROW, TOOLS, TWO
from inputs.folder import (DROP, Folder, config, file, generation, not_added, post_processor, surrounding, template, tokenizer_config,
                           weights, without)

BOS, EOS, USER = ("<|system|>", 2), ("<|end|>", 1), ("<|user|>", 3)
CHATS = [ROW, TWO]
ASKED = {**TOOLS, "messages": [{"role": "system", "content": "Arr."}, *ROW["messages"]]}
IN_SYSTEM = "{% if tools and messages[0].role == 'system' %}{{ '<|system|>' + tools|tojson + '<|end|>' }}{% endif %}" + PLAIN
TEXTS = [{"text": "a b Two cups."}, {"text": "Arr"}]


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def texts():
    """What stands before and after a text."""
    llama = {"type": "Sequence", "processors": [
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}, surrounding(before=[BOS])]}
    nobody = [tokenizer_config(eos_token=DROP, bos_token=DROP), generation(eos_token_id=DROP), config(eos_token_id=DROP)]
    yield "text, as the demo's", TEXTS, []
    yield "text, beginning and end nowhere", TEXTS, nobody
    for place, edits in {
        "tokenizer_config": [tokenizer_config(eos_token="<|end|>")], "generation_config": [generation(eos_token_id=[1, 3])],
        "config": [without("generation_config.json"), config(eos_token_id=1)],
        "config, beside a generation_config without": [config(eos_token_id=1)],
        "special_tokens_map": [file("special_tokens_map.json", {"eos_token": "<|end|>"})],
        "tokenizer_config, not an added token": [not_added("<|end|>"), tokenizer_config(eos_token="<|end|>")],
        "post-processor": [post_processor(surrounding(after=[EOS]))],
        "tokenizer_config 1, generation_config 3, config 4":
            [tokenizer_config(eos_token="<|end|>"), generation(eos_token_id=3), config(eos_token_id=4)],
        "generation_config 1, config 3": [generation(eos_token_id=1), config(eos_token_id=3)],
    }.items():
        yield f"text, end in {place}", TEXTS, [*nobody, *edits]
    for place, edits in {
        "TemplateProcessing": [post_processor(surrounding(before=[BOS]))],
        "TemplateProcessing, with the end": [post_processor(surrounding(before=[BOS], after=[EOS]))],
        "TemplateProcessing, two tokens": [post_processor(surrounding(before=[BOS, USER]))],
        "TemplateProcessing, add_bos_token false": [post_processor(surrounding(before=[BOS])), tokenizer_config(add_bos_token=False)],
        "TemplateProcessing, bos_token another": [post_processor(surrounding(before=[BOS])), tokenizer_config(bos_token="<|user|>")],
        "TemplateProcessing, config another": [post_processor(surrounding(before=[BOS])), config(bos_token_id=3)],
        "a Sequence": [post_processor(llama)],
        "add_bos_token without a post-processor": [tokenizer_config(bos_token="<|system|>", add_bos_token=True), config(bos_token_id=2)],
        "add_eos_token without a post-processor": [tokenizer_config(add_eos_token=True)],
    }.items():
        yield f"text, beginning by {place}", TEXTS, edits
    again = [{"text": "<|system|>a b"}, {"text": "a b<|end|>"}, {"text": "<|system|>a b<|end|>"}]
    yield "text with its own beginning and end", again, [post_processor(surrounding(before=[BOS], after=[EOS]))]
    yield "text with its own beginning and end, no post-processor", again, []
    yield "text, an empty and a null one among others", [*TEXTS, {"text": ""}, {"text": None}], []
    yield "chat, tools that show in the second row", [TOOLS, ASKED], [template(IN_SYSTEM)]
    yield "chat, tools that show in the first row", [ASKED, TOOLS], [template(IN_SYSTEM)]
    yield "chat, tools of some rows, named templates", [ROW, TOOLS, TWO], [tokenizer_config(chat_template=NAMED)]
    yield "chat, beginning by TemplateProcessing", CHATS, [post_processor(surrounding(before=[BOS], after=[EOS]))]


def other_head(tensors):
    tensors["lm_head.weight"] = torch.flip(tensors["model.embed_tokens.weight"], [0]).contiguous()


def same_head(tensors):
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()


def biases(tensors):
    for name in [n for n in tensors if n.endswith("proj.weight") and "self_attn" in n]:
        tensors[name.removesuffix("weight") + "bias"] = torch.full((tensors[name].shape[0],), 0.25, dtype=torch.bfloat16)


def extra(tensors):
    tensors["model.layers.0.self_attn.extra.weight"] = torch.ones(4, 4, dtype=torch.bfloat16)


def bases():
    """Name, edits, and what standard error has to name."""
    yield "base model", [], ()
    yield "head of its own beside tie_word_embeddings", [weights(other_head)], ("lm_head",)
    yield "head like the embedding beside tie_word_embeddings", [weights(same_head)], ()
    yield "head of its own, not tied", [weights(other_head), config(tie_word_embeddings=False)], ()
    yield "architectures missing", [config(architectures=DROP)], ()
    yield "architectures null", [config(architectures=None)], ()
    yield "architectures empty", [config(architectures=[])], ()
    yield "hidden_act swish", [config(hidden_act="swish")], ()
    yield "rope_parameters", [config(rope_theta=DROP, rope_scaling=DROP, rope_parameters={"rope_theta": 500.0, "rope_type": "default"})], ()
    yield "rope_theta beside rope_parameters", [config(rope_theta=700.0, rope_scaling=DROP, rope_parameters={"rope_type": "default"})], ()
    yield "head_dim and rms_norm_eps missing", [config(head_dim=DROP, rms_norm_eps=DROP)], ()
    yield "biases that the configuration has no use for", [weights(biases)], ("bias",)
    yield "biases that the configuration uses", [weights(biases), config(attention_bias=True)], ()
    yield "a tensor that nothing uses", [weights(extra)], ("model.layers.0.self_attn.extra.weight",)
    yield "dtype for torch_dtype", [config(torch_dtype=DROP, dtype="bfloat16")], ()


def other_processors():
    for kind, keys in (("BertProcessing", {}), ("RobertaProcessing", {"trim_offsets": True, "add_prefix_space": False})):
        yield kind, post_processor({"type": kind, "sep": list(EOS), "cls": list(BOS), **keys})


def ggufs():
    """A model as a folder and as GGUF: name, edits of the folder, and what stands in the GGUF file."""
    nobody = [tokenizer_config(eos_token=DROP, bos_token=DROP, chat_template=DROP), config(eos_token_id=DROP),
              generation(eos_token_id=DROP)]
    begin = [post_processor(surrounding(before=[BOS])), tokenizer_config(bos_token="<|system|>")]
    yield "GGUF", [], {"eos": 1}
    yield "GGUF, end without a template", [*nobody, tokenizer_config(eos_token="<|end|>")], {"eos": 1}
    yield "GGUF, no end and no template", nobody, {}
    yield "GGUF, add_bos_token", begin, {"bos": 2, "eos": 1, "add_bos": True}
    yield "GGUF, a bos_token that is not added", [tokenizer_config(bos_token="<|system|>")], {"bos": 2, "eos": 1, "add_bos": False}
    yield "GGUF, bos_token and eos_token in the template", [*begin, template(NAMES)], {"bos": 2, "eos": 1, "add_bos": True}
    yield "GGUF, add_eos_token", [post_processor(surrounding(after=[EOS]))], {"eos": 1, "add_eos": True}
    yield "GGUF, named templates", [tokenizer_config(chat_template=NAMED)], {"eos": 1}


def run(c):
    for name, rows, edits in texts():
        c.loss(name, rows, edits=edits, load=load)
    for kind, edit in other_processors():
        c.loss(f"text, beginning by {kind}", TEXTS, edits=[edit], load=load, refusal=kind)
    for name, edits, keys in ggufs():
        folder = Folder(c.model)
        for edit in edits:
            edit(folder)
        path, file = folder.write(c.path()), gguffile.write(folder, c.path().with_suffix(".gguf"), **keys)
        for what, row in (("two turns", TWO), ("tools", TOOLS)):
            c.chat(f"{name}, {what}", row, folder=path, model=file)
        c.loss(name + ", texts", TEXTS, folder=path, model=file, load=load)
    for name, edits, named in bases():
        c.loss(name, CHATS, edits=edits, load=load, named=named)
