"""Model folders made of the embedded model: its files with a few keys changed, in a temporary place."""

import json
import pathlib

DROP = object()  # as a value: the key is taken away
JSON_FILES = ("config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json")


class Folder:
    """The embedded model's files as values, to be edited and written. Weights are linked, unless set_weights gives others."""

    def __init__(self, source):
        self.source = pathlib.Path(source).resolve()
        self.files = {name: json.loads((self.source / name).read_text()) for name in JSON_FILES}
        self.weights = None

    def write(self, path):
        path.mkdir(parents=True)
        for name, content in self.files.items():
            file = path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content if isinstance(content, str) else json.dumps(content))
        if self.weights is None:
            (path / "model.safetensors").symlink_to(self.source / "model.safetensors")
        else:
            from safetensors.torch import save_file
            save_file(self.weights, path / "model.safetensors", metadata={"format": "pt"})
        return path


def edited(source, path, edits):
    """Writes the folder that results from the edits, each a function of a Folder."""
    folder = Folder(source)
    for edit in edits:
        edit(folder)
    return folder.write(path)


def keys(name, **values):
    """Sets keys of a JSON file, or takes them away."""
    def edit(folder):
        content = folder.files.setdefault(name, {})
        for key, value in values.items():
            if value is DROP:
                content.pop(key, None)
            else:
                content[key] = value
    return edit


def config(**values):
    return keys("config.json", **values)


def generation(**values):
    return keys("generation_config.json", **values)


def tokenizer_config(**values):
    return keys("tokenizer_config.json", **values)


def template(text):
    return tokenizer_config(chat_template=text)


def file(name, content):
    """Another file: text as it stands, all else as JSON."""
    return lambda folder: folder.files.__setitem__(name, content)


def without(name):
    return lambda folder: folder.files.pop(name)


def added_token(content, **flags):
    """An added token as the files of a tokenizer hold it."""
    return {"content": content, "lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True, **flags}


def not_added(*contents):
    """Takes tokens out of tokenizer.json's added_tokens; its vocabulary keeps them."""
    def edit(folder):
        content = folder.files["tokenizer.json"]
        content["added_tokens"] = [t for t in content["added_tokens"] if t["content"] not in contents]
    return edit


def flagged(content, **flags):
    """Changes an added token of tokenizer.json."""
    def edit(folder):
        for token in folder.files["tokenizer.json"]["added_tokens"]:
            if token["content"] == content:
                token.update(flags)
    return edit


def post_processor(value):
    return lambda folder: folder.files["tokenizer.json"].__setitem__("post_processor", value)


def surrounding(before=(), after=()):
    """A TemplateProcessing that puts tokens, (content, id) each, before and after a text."""
    piece = lambda content: {"SpecialToken": {"id": content, "type_id": 0}}
    single = [*(piece(c) for c, _ in before), {"Sequence": {"id": "A", "type_id": 0}}, *(piece(c) for c, _ in after)]
    return {
        "type": "TemplateProcessing", "single": single, "pair": single + [{"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {c: {"id": c, "ids": [i], "tokens": [c]} for c, i in (*before, *after)},
    }


def weights(change):
    """Replaces the weights by what change, a function of name → tensor, makes of them."""
    def edit(folder):
        from safetensors.torch import load_file
        folder.weights = load_file(folder.source / "model.safetensors")
        change(folder.weights)
    return edit
