"""Conversations: ids and targets of `qlora-wgpu tokenize --chat`, by what the model folder says.

A case is a name, a row, the folder's edits and, where qlora-wgpu may refuse, what it has to name."""

from inputs.folder import (DROP, added_token, config, file, generation, not_added, post_processor, surrounding, template,
                           tokenizer_config, without)

ROW = {"messages": [{"role": "user", "content": "One cup?"}, {"role": "assistant", "content": "Two cups."}]}
TWO = {"messages": [*ROW["messages"], {"role": "user", "content": "A cap?"}, {"role": "assistant", "content": "Arr, yes!"}]}
TOOL = {"type": "function", "function": {"name": "w", "description": "weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}}}}
TOOLS = {**ROW, "tools": [TOOL]}

BODY = "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{% endfor %}"
PROMPT = "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
PLAIN = BODY + PROMPT
# Begins with bos_token and ends answers with eos_token.
NAMES = ("{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}"
         "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n' }}{% endfor %}" + PROMPT)
WITH_TOOLS = "{% if tools %}{{ '<|system|>' + tools|tojson + '<|end|>' }}{% endif %}" + PLAIN
NAMED = [{"name": "default", "template": PLAIN}, {"name": "tool_use", "template": "{{ '<|system|>' + tools|tojson }}" + PLAIN}]

nobody = tokenizer_config(eos_token=DROP, bos_token=DROP)  # the tokenizer knows neither
no_end = [nobody, generation(eos_token_id=DROP), config(eos_token_id=DROP)]
no_template = tokenizer_config(chat_template=DROP)


def token_map(**values):
    return file("special_tokens_map.json", values)


def decoder(*tokens):
    return tokenizer_config(added_tokens_decoder={str(i): token for i, token in tokens})


def ends():
    """Where the end of an answer may stand, without a template and with one that writes eos_token, and which of two wins."""
    places = {
        "nowhere": no_end,
        "tokenizer_config, text": [*no_end, tokenizer_config(eos_token="<|end|>")],
        "tokenizer_config, object": [*no_end, tokenizer_config(eos_token={"__type": "AddedToken", **added_token("<|end|>")})],
        "special_tokens_map, text": [*no_end, token_map(eos_token="<|end|>")],
        "special_tokens_map, object": [*no_end, token_map(eos_token=added_token("<|end|>"))],
        "special_tokens_map, no tokenizer_config": [*no_end, without("tokenizer_config.json"), token_map(eos_token="<|end|>"),
                                                    file("chat_template.jinja", NAMES)],
        "generation_config, number": [*no_end, generation(eos_token_id=1)],
        "generation_config, list": [*no_end, generation(eos_token_id=[1, 3])],
        "config, number": [*no_end, without("generation_config.json"), config(eos_token_id=1)],
        "config, list": [*no_end, without("generation_config.json"), config(eos_token_id=[1, 3])],
        "config, beside a generation_config without": [*no_end, config(eos_token_id=1)],
        "config, beside a null in generation_config": [*no_end, generation(eos_token_id=None), config(eos_token_id=1)],
        "tokenizer_config, not an added token": [*no_end, not_added("<|end|>"), tokenizer_config(eos_token="<|end|>")],
        "special_tokens_map, not an added token": [*no_end, not_added("<|end|>"), token_map(eos_token="<|end|>")],
        "added_tokens_decoder": [
            *no_end, not_added("<|end|>"), tokenizer_config(eos_token="<|end|>"), decoder((1, added_token("<|end|>")))],
        "tokenizer_config 1, generation_config 3, config 4": [generation(eos_token_id=3), config(eos_token_id=4)],
        "generation_config 1, config 3": [nobody, generation(eos_token_id=1), config(eos_token_id=3)],
        "special_tokens_map 1, tokenizer_config 3": [tokenizer_config(eos_token="<|user|>"), token_map(eos_token="<|end|>")],
        "special_tokens_map null, tokenizer_config 3": [tokenizer_config(eos_token="<|user|>"), token_map(eos_token=None)],
        "special_tokens_map 3, tokenizer_config 1 with added_tokens_decoder":
            [token_map(eos_token="<|user|>"), decoder((1, added_token("<|end|>")))],
        "special_tokens_map 3, tokenizer_config 1 with an empty added_tokens_decoder": [token_map(eos_token="<|user|>"), decoder()],
        "special_tokens_map 3 alone, beside an added_tokens_decoder":
            [*no_end, token_map(eos_token="<|user|>"), decoder((1, added_token("<|end|>"))), generation(eos_token_id=1)],
        "tokenizer_config, an ordinary word": [tokenizer_config(eos_token="ba")],
    }
    for place, edits in places.items():
        if place != "special_tokens_map, no tokenizer_config":
            yield f"end in {place}; no template", ROW, [*edits, no_template]
            yield f"end in {place}; eos_token in the template", TWO, [template(NAMES), *edits]
        else:
            yield f"end in {place}", ROW, edits


def begins():
    """Where the beginning may stand."""
    places = {
        "nowhere": [], "tokenizer_config, text": [tokenizer_config(bos_token="<|system|>")],
        "tokenizer_config, object": [tokenizer_config(bos_token={"__type": "AddedToken", **added_token("<|system|>")})],
        "special_tokens_map": [token_map(bos_token="<|system|>")],
        "special_tokens_map 2, tokenizer_config 3": [tokenizer_config(bos_token="<|user|>"), token_map(bos_token="<|system|>")],
        "config and generation_config only": [config(bos_token_id=2), generation(bos_token_id=2)],
        "post-processor only": [post_processor(surrounding(before=[("<|system|>", 2)]))],
        "post-processor and tokenizer_config": [
            post_processor(surrounding(before=[("<|system|>", 2)])), tokenizer_config(bos_token="<|system|>")],
        "tokenizer_config with add_bos_token": [tokenizer_config(bos_token="<|system|>", add_bos_token=True)],
    }
    for place, edits in places.items():
        yield f"beginning in {place}", ROW, [nobody, template(NAMES), *edits]
        if "config" in place:
            yield f"beginning in {place}; asked for", ROW, [
                nobody, *edits, template(
                    "{% if bos_token is defined %}{{ 'bos' }}{% endif %}{% if bos_token %}{{ bos_token }}{% endif %}" + PLAIN)]
    yield "unk_token, pad_token, sep_token, image_token in the template", ROW, [
        template("{{ pad_token }}{{ unk_token }}{{ sep_token }}{{ image_token }}" + PLAIN),
        tokenizer_config(unk_token="<|system|>", sep_token="<|user|>", image_token="<|assistant|>")]
    yield "special tokens that are not set are undefined", ROW, [template(
        "{{ bos_token is defined }}{{ unk_token is defined }}{{ pad_token is defined }}{{ eos_token is defined }}" + PLAIN)]


def added():
    """Special tokens from every place that transformers reads."""
    turn = not_added("<|user|>", "<|assistant|>")
    tokens = [(3, added_token("<|user|>")), (4, added_token("<|assistant|>"))]
    places = {
        "added_tokens_decoder": [turn, decoder(*tokens)],
        "added_tokens_decoder, not special": [turn, decoder(*((i, {**t, "special": False}) for i, t in tokens))],
        "added_tokens_decoder under another id": [turn, decoder((900, tokens[0][1]), (4, tokens[1][1]))],
        "added_tokens_decoder with lstrip over tokenizer.json": [decoder((3, added_token("<|user|>", rstrip=True)))],
        "added_tokens.json": [turn, file("added_tokens.json", {"<|user|>": 3, "<|assistant|>": 4})],
        "added_tokens.json beside added_tokens_decoder": [
            not_added("<|user|>"), decoder((1, added_token("<|end|>"))), file("added_tokens.json", {"<|user|>": 3})],
        "additional_special_tokens": [turn, tokenizer_config(additional_special_tokens=["<|user|>", "<|assistant|>"])],
        "extra_special_tokens": [turn, tokenizer_config(extra_special_tokens=["<|user|>", "<|assistant|>"])],
        "extra_special_tokens, names": [turn, tokenizer_config(extra_special_tokens={"u_token": "<|user|>", "a_token": "<|assistant|>"})],
        "additional_special_tokens in special_tokens_map": [turn, token_map(additional_special_tokens=["<|user|>", "<|assistant|>"])],
        "a *_token key": [turn, tokenizer_config(u_token="<|user|>", a_token="<|assistant|>")],
        "nowhere": [turn],
    }
    row = {"messages": [{"role": "user", "content": "  a cup "}, {"role": "assistant", "content": " b"}]}
    for place, edits in places.items():
        yield f"tokens of turns in {place}", row, edits
    yield "split_special_tokens", row, [tokenizer_config(split_special_tokens=True)], "split_special_tokens"


def variables():
    """What templates are given."""
    for test in ("tools is defined", "tools is none", "tools is not none", "not tools is defined", "documents is defined",
                 "documents is none", "documents", "tools == none", "tools is iterable", "date_string is defined",
                 "enable_thinking is defined", "enable_thinking is defined and not enable_thinking", "strftime_now is defined",
                 "add_generation_prompt is false", "custom_tools is defined", "xml_tools is defined", "builtin_tools is defined",
                 "chat_template is defined"):
        yield "template asks: " + test, ROW, [template("{% if " + test + " %}{{ 'cup' }}{% else %}{{ 'cap' }}{% endif %}" + PLAIN)]
    for text in ("{{ tools }}", "{{ tools | default('cup') }}", "{{ tools | default('cup', true) }}", "{{ documents | tojson }}",
                 "{% set tools = tools or [] %}{{ tools | length }}", "{{ strftime_now('%Y-%m-%d') }}",
                 "{% if not date_string is defined %}{% set date_string = '26 Jul 2024' %}{% endif %}{{ date_string }}"):
        yield "template writes: " + text, ROW, [template(text + PLAIN)]


def tools():
    numbers = [1.0, 1e20, 1e-7, True, None, 1234567890123456789]
    several = {**TOOLS, "tools": [TOOL, {"type": "function", "function": {"name": "é<&>'", "n": numbers}}]}
    yield "a row's tools", TOOLS, [template(WITH_TOOLS)]
    yield "a row's tools, several", several, [template(WITH_TOOLS)]
    yield "a row's tools, indented", several, [template("{{ tools | tojson(indent=2) }}" + PLAIN)]
    yield "a row's tools as text", {**ROW, "tools": '[{"type": "function", "function": {"name": "w"}}]'}, [template(WITH_TOOLS)]
    yield "null tools", {**ROW, "tools": None}, [template("{{ tools is none }}" + PLAIN)]
    yield "an empty list of tools", {**ROW, "tools": []}, [template("{{ tools is none }}" + PLAIN)]
    named = tokenizer_config(chat_template=NAMED)
    for what, row in (("tools", TOOLS), ("no tools", ROW), ("an empty list of tools", {**ROW, "tools": []})):
        yield f"named templates, {what}", row, [named]
    yield "named templates as an object, tools", TOOLS, [tokenizer_config(chat_template={t["name"]: t["template"] for t in NAMED})]
    yield "named templates with no tool_use, tools", TOOLS, [tokenizer_config(chat_template=[
        {"name": "default", "template": WITH_TOOLS}, {"name": "rag", "template": "cup"}])]
    yield "one named template, default", ROW, [tokenizer_config(chat_template=NAMED[:1])]
    yield "one named template, tool_use, tools", TOOLS, [tokenizer_config(chat_template=NAMED[1:])]
    use, main, other = file("additional_chat_templates/tool_use.jinja", NAMED[1]["template"]), file("chat_template.jinja", "cup" + PLAIN), \
        file("additional_chat_templates/default.jinja", "cap" + PLAIN)
    yield "chat_template.jinja beside tokenizer_config's template", ROW, [main]
    yield "chat_template.jinja beside tokenizer_config's list, tools", TOOLS, [named, main]
    yield "additional_chat_templates and chat_template.jinja, tools", TOOLS, [main, use]
    yield "additional_chat_templates and chat_template.jinja, no tools", ROW, [main, use]
    yield "additional_chat_templates and tokenizer_config's template, tools", TOOLS, [use]
    yield "additional_chat_templates' default alone", ROW, [other]
    yield "additional_chat_templates' default and chat_template.jinja", ROW, [main, other]
    yield "additional_chat_templates with another name alone beside it", ROW, [main, file("additional_chat_templates/rag.jinja", "rag")]


def cases():
    for group in (ends, begins, added, variables, tools):
        yield from group()
