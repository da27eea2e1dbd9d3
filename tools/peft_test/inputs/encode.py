"""What transformers makes of a row: its ids, and which of them are to be learned.

The ids are apply_chat_template's. The mask is found here from rendered prefixes and the tokenizer's character offsets
(where a template has generation blocks, it has to be the one that transformers finds from them):
of every assistant turn that is trained, from where the generation prompt ends, up to the special token that ends the
turn. A token that reaches from the prompt into the answer is learned, for no prompt ends in it. A turn of which nothing
shows is not learned. Where no special token ends the last answer, the model's end token follows and is learned.
"""

import copy
import json
import pathlib

from jinja2.exceptions import UndefinedError
from transformers import AutoTokenizer

# What qlora-wgpu documents for models without a template, of which transformers has none: ChatML between what begins
# texts and what ends them, unless <|im_end|> is a token.
CHATML = ("{{ begin }}{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + end + '\\n' }}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
MARK = "\uf8ff\uf8feanswer\uf8fe\uf8ff"


class Reference:
    """A model folder as transformers reads it."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder)
        before, after = self.around("a")
        self.end = end_token(self.folder, self.tokenizer, after)
        self.template, self.variables = None, {}
        if not self.tokenizer.chat_template:
            self.template, turn = CHATML, "<|im_end|>"
            if turn not in self.tokenizer.get_vocab() and self.end is not None:
                turn = self.tokenizer.convert_ids_to_tokens(self.end)
            self.variables = {"begin": self.tokenizer.decode(before), "end": turn}
        self.special = {i for i, token in self.tokenizer.added_tokens_decoder.items() if token.special} | {self.tokenizer.eos_token_id}

    def chat(self, row):
        """Ids and targets (0 or 1) of a row with "messages"."""
        conversation = Conversation(self, row)
        target = conversation.targets()
        if "{% generation" in (self.template or self.tokenizer.chat_template) and target != conversation.marked():
            raise AssertionError("the mask is not the one that transformers finds from the template's generation blocks")
        return conversation.ids, target

    def text(self, text):
        """Ids of a text between what the post-processor puts around it and the end token, neither of them doubled."""
        bare = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        before, after = self.around(text)
        if before and before[-1] == bare[0]:
            before.pop()
        if after and after[0] == bare[-1]:
            after.pop(0)
        ids = before + bare + after
        return ids if self.end is None or ids[-1] == self.end else ids + [self.end]

    def around(self, text):
        """What the post-processor puts before a text and after it."""
        bare = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        full = self.tokenizer(text)["input_ids"]
        at = next(n for n in range(len(full)) if full[n:n + len(bare)] == bare)
        return full[:at], full[at + len(bare):]


def end_token(folder, tokenizer, after):
    """The id that ends an answer: the tokenizer's, else the one at which generate stops, else config.json's, else the one after a text."""
    if tokenizer.eos_token_id is not None:
        return tokenizer.eos_token_id
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        value = json.loads(path.read_text()).get("eos_token_id") if path.exists() else None
        if value is not None and value != []:
            return value[0] if isinstance(value, list) else value
    return after[-1] if after else None


def readable(row):
    """Messages and tools of a row: what is written as JSON text, read."""
    messages = copy.deepcopy(row["messages"])
    for message in messages:
        if message["role"] == "function":  # the older name, which qlora-wgpu reads as tool
            message["role"] = "tool"
        for call in message.get("tool_calls") or []:
            function = call.get("function", call)
            if isinstance(function.get("arguments"), str):
                try:
                    value = json.loads(function["arguments"])
                except ValueError:
                    continue
                if isinstance(value, dict):
                    function["arguments"] = value
    tools = row.get("tools")
    return messages, (json.loads(tools) if isinstance(tools, str) else tools) or None  # an empty list is none here


def trained(message):
    """Whether an assistant turn is to be learned: weight, train or loss may say no."""
    if message["role"] != "assistant":
        return False
    return all(message.get(key) is None or bool(message[key]) for key in ("weight", "train", "loss"))


class Conversation:
    def __init__(self, reference, row):
        self.reference = reference
        self.messages, self.tools = readable(row)
        try:
            self.whole = self.render(self.messages)
        except UndefinedError:  # of a null content, which transformers takes away: an empty one, as qlora-wgpu has it
            self.messages = [{**m, "content": m.get("content") or ""} for m in self.messages]
            self.whole = self.render(self.messages)
        tokenizer = reference.tokenizer
        self.ids = list(tokenizer.apply_chat_template(
            self.messages, tools=self.tools, chat_template=reference.template, tokenize=True, return_dict=True,
            **self.reference.variables)["input_ids"])
        encoded = tokenizer(self.whole, add_special_tokens=False, return_offsets_mapping=True)
        if encoded["input_ids"] != self.ids:
            raise AssertionError("apply_chat_template tokenizes another text than it renders")
        self.offsets = encoded["offset_mapping"]

    def render(self, messages, prompt=False):
        return self.reference.tokenizer.apply_chat_template(
            messages, tools=self.tools, chat_template=self.reference.template, tokenize=False,
            add_generation_prompt=prompt, **self.reference.variables)

    def targets(self):
        target, closed = [0] * len(self.ids), True
        for i, message in enumerate(self.messages):
            if not trained(message):
                continue
            found = self.turn(i)
            if found is None:
                continue
            start, end, ended = found
            known = self.common(self.whole[:start])  # tokens that the prompt has as well
            for k, (first, last) in enumerate(self.offsets):
                if k >= known and last > start and last <= end:
                    target[k] = 1
            closed = ended or i < len(self.messages) - 1
        if not closed and self.reference.end is not None:
            self.ids.append(self.reference.end)
            target.append(1)
        return target

    def marked(self):
        """The mask that transformers itself finds, of a template with generation blocks."""
        return self.reference.tokenizer.apply_chat_template(
            self.messages, tools=self.tools, chat_template=self.reference.template, return_dict=True, return_assistant_tokens_mask=True,
        )["assistant_masks"]

    def common(self, prompt):
        """How many ids a prompt's own ids begin with."""
        n = 0
        for ours, theirs in zip(self.ids, self.reference.tokenizer(prompt, add_special_tokens=False)["input_ids"]):
            if ours != theirs:
                break
            n += 1
        return n

    def turn(self, i):
        """Start and end of what is learned of turn i in the whole text, and whether a special token ends it; None for nothing."""
        upto = self.render(self.messages[:i + 1])
        empty = [{"role": "assistant", "content": ""}]
        if "content" not in self.messages[i] or self.messages[i]["content"] is None:
            empty.append({"role": "assistant"})
        if any(upto == self.render([*self.messages[:i], turn]) for turn in empty):
            return None
        start = self.start(i, upto)
        after = self.render(self.messages[:i + 1], prompt=True)
        answer = upto[start:start + shared(upto[start:], after[start:])] if after[:start] == upto[:start] else upto[start:]
        encoded = self.reference.tokenizer(answer, add_special_tokens=False, return_offsets_mapping=True)
        ends = [last for i, (_, last) in zip(encoded["input_ids"], encoded["offset_mapping"]) if i in self.reference.special]
        content = self.messages[i].get("content")
        at = answer.find(content.strip()) + len(content.strip()) if isinstance(content, str) and content.strip() in answer else 0
        ended = bool(ends) and ends[-1] >= at
        end = ends[-1] if ended else len(answer)
        plain = "".join(self.reference.tokenizer.convert_ids_to_tokens(k) for k in encoded["input_ids"] if k not in self.reference.special)
        if not plain.replace("Ġ", "").replace("Ċ", "").strip():
            return None
        if self.whole[:start + end] != upto[:start + end]:
            raise AssertionError(f"the template writes turn {i} differently once others follow")
        return start, start + end, ended

    def start(self, i, upto):
        """Where the answer of turn i begins: after the generation prompt, or where the template writes the content."""
        if i > 0:
            prompt = self.render(self.messages[:i], prompt=True)
            if upto.startswith(prompt) and prompt != self.render(self.messages[:i]):
                return len(prompt)
        marked = self.render([*self.messages[:i], {**self.messages[i], "content": MARK}])
        at = marked.index(MARK)
        if marked[:at] != upto[:at]:
            raise AssertionError(f"turn {i} does not begin where its content is written")
        return at


def shared(a, b):
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    return n
