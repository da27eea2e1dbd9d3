"""A folder of further inputs, a folder each: models, adapters, templates and rows, of whatever names, all with all.

Their own links.sh and make.py, where there are any, complete a copy of them first, with PROJECT naming this project.
"""

import json
import os
import shutil
import subprocess
import sys

from inputs.adapters import peft
from inputs.folder import edited, file
from inputs.models import CHATS, load

MOST = 3  # rows of a file
LONGEST = 2000  # bytes of a row; the model holds 256 tokens


def run(c, source):
    copy = c.scratch / "faults"
    shutil.copytree(source, copy, symlinks=True)
    environment = {**os.environ, "PROJECT": os.getcwd()}
    if (copy / "links.sh").exists():
        subprocess.run(["sh", copy / "links.sh"], env=environment, check=True)
    for folder in sorted(p for p in copy.iterdir() if p.is_dir()):
        if (folder / "make.py").exists():
            subprocess.run([sys.executable, "make.py"], cwd=folder, env=environment, check=True)
        one(c, folder)


def read(path):
    """The first rows of a file, but for those that the model does not hold; none of one that is damaged on purpose."""
    try:
        return [json.loads(line) for line in path.read_text().splitlines()[:MOST] if len(line) < LONGEST]
    except ValueError:
        return []


def one(c, folder):
    inside = sorted(p for p in folder.iterdir() if p.is_dir())
    adapters = [p for p in inside if (p / "adapter_config.json").exists()]
    models = [p for p in inside if (p / "config.json").exists() and (p / "tokenizer.json").exists()]
    if not models and not adapters:
        models = [edited(c.model, c.path(), [file("chat_template.jinja", t.read_text())]) for t in sorted(folder.glob("*.jinja"))]
    rows = {p: read(p) for p in sorted(folder.glob("*.jsonl"))}
    for path, some in rows.items():
        name = f"{folder.name}, {path.name}"
        texts = [row for row in some if row.get("text")]
        chats = [row for row in some if row.get("messages")]
        for model in models or [c.model]:
            for i, row in enumerate(chats):
                c.chat(f"{name}, row {i}, {model.name}", row, folder=model)
            if texts and not chats:
                c.loss(f"{name}, {model.name}", texts, folder=model, load=load)
            elif chats:
                c.loss(f"{name}, {model.name}, loss", chats, folder=model, load=load)
    for adapter in adapters:
        c.loss(f"{folder.name}, {adapter.name}", CHATS, folder=c.model, adapter=adapter, load=peft(adapter), refusal="adapter_config.json")
