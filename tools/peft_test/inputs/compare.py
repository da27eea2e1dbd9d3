"""Runs qlora-wgpu and says whether it gives what Python gives."""

import json
import os
import subprocess

import torch

from check import TOLERANCE, mean_loss
from inputs.encode import Reference
from inputs.folder import edited


class Comparison:
    """Counts cases, printing a line for each."""

    def __init__(self, program, model, scratch, only):
        self.program, self.model, self.scratch, self.only = program, model, scratch, only
        self.agreed = self.differing = self.folders = 0

    def wanted(self, name):
        return self.only in name

    def path(self):
        """A new path in the temporary folder."""
        self.folders += 1
        return self.scratch / str(self.folders)

    def run(self, *arguments):
        """Exit status, standard output and standard error of a command."""
        done = subprocess.run([self.program, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
                              env={**os.environ, "XDG_CACHE_HOME": str(self.scratch / "cache")})
        return done.returncode, done.stdout, done.stderr

    def verdict(self, name, same, theirs, ours):
        if same:
            self.agreed += 1
            print(f"ok       {name}: {'both ' + theirs if theirs == ours else f'Python {theirs}; qlora-wgpu {ours}'}", flush=True)
        else:
            self.differing += 1
            print(f"DIFFERS  {name}: Python {theirs}; qlora-wgpu {ours}", flush=True)

    def chat(self, name, row, edits=(), refusal=None, folder=None, model=None):
        """One conversation's ids and targets. refusal is what an error has to name, where qlora-wgpu may refuse. model is what
        qlora-wgpu reads instead of the folder."""
        if not self.wanted(name):
            return
        folder = folder or edited(self.model, self.path(), edits)
        theirs = shown(*Reference(folder).chat(row))
        file = self.path().with_suffix(".jsonl")
        file.write_text(json.dumps(row) + "\n")
        status, out, err = self.run("tokenize", "--model", model or folder, "--chat", file)
        ours = reason(status, err)
        if status == 0:
            got = json.loads(out)
            ours = shown(got["ids"], got["target"])
        self.verdict(name, theirs == ours or refusal is not None and status == 2 and refusal in err, theirs, ours)

    def loss(self, name, rows, load, edits=(), folder=None, adapter=None, model=None, named=(), refusal=None):
        """The mean loss of rows. load makes the model of a folder; where it fails, or refusal gives a key, qlora-wgpu may refuse
        by the key's name. Standard error has to have what is in named."""
        if not self.wanted(name):
            return
        folder = folder or edited(self.model, self.path(), edits)
        reference = Reference(folder)
        read = (encode(reference, row) for row in rows if "messages" in row or row["text"])  # empty and null texts are left out
        encoded = [(ids, targets) for ids, targets in read if (targets != -100).any()]
        try:
            if not encoded:
                raise ValueError("no row has a target")
            value, count = mean_loss(load(folder), encoded)
            theirs = f"{value:.6f} over {count}"
        except (ValueError, RuntimeError, TypeError, KeyError, IndexError, AttributeError, ImportError) as e:
            value, count, theirs = None, 0, f"{type(e).__name__}: {str(e).splitlines()[0][:100]}"
        file = self.path().with_suffix(".jsonl")
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        status, out, err = self.run("eval", "--json", "--autotune=off", "--quantization=none", "--model", model or folder,
                                    "--data", file,
                                    *(["--adapter", adapter] if adapter else []))
        if status == 0:
            got = json.loads(out)
            ours = f"{got['loss']:.6f} over {got['target_tokens']}"
            same = value is not None and abs(got["loss"] - value) <= TOLERANCE and got["target_tokens"] == count
            for word in named:
                if word not in err:
                    same, ours = False, f"{ours}, without a word of {word}"
        else:
            ours = reason(status, err)
            same = status == 2 and (value is None or refusal is not None) and (refusal or "") in err
        self.verdict(name, same, theirs, ours)


def encode(reference, row):
    """Ids and the targets of all but the first of them, −100 where there is none."""
    ids, target = (reference.text(row["text"]), None) if "text" in row else reference.chat(row)
    ids = torch.tensor(ids)
    return ids, ids[1:] if target is None else torch.where(torch.tensor(target[1:]) == 1, ids[1:], -100)


def shown(ids, target):
    """Ids in one line, those that are learned with a star."""
    return " ".join(("*" if learned else "") + str(i) for i, learned in zip(ids, target, strict=True))


def reason(status, err):
    """The last line of what a command complained of."""
    lines = err.strip().splitlines() or ["no message"]
    return f"status {status}: {lines[-1][:300]}"
