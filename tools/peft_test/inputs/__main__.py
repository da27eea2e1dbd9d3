"""Compares ids, masks and losses of awkward model folders, rows and adapters with what transformers and PEFT make of them.

Every input is made from the embedded model in a temporary folder; FAULTS names a folder with further ones. Prints a line
a case. Exit status 0: all agree.
"""

import argparse
import os
import pathlib
import shutil
import sys
import tempfile

import torch
from transformers.utils import logging

from inputs import adapters, chats, compare, faults, models, turns


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=pathlib.Path, default="bin/qlora-wgpu")
    parser.add_argument("--model", type=pathlib.Path, default="internal/demo/model")
    parser.add_argument("--only", default="", help="cases whose name has this text")
    parser.add_argument("--keep", action="store_true", help="leave the temporary folder")
    options = parser.parse_args()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="qlora-inputs-"))
    c = compare.Comparison(options.program.resolve(), options.model.resolve(), scratch, options.only)
    try:
        for case in (*chats.cases(), *turns.cases()):
            c.chat(*case)
        models.run(c)
        adapters.run(c)
        if "FAULTS" in os.environ:
            faults.run(c, pathlib.Path(os.environ["FAULTS"]).resolve())
    finally:
        if options.keep:
            print(f"inputs are in {scratch}")
        else:
            shutil.rmtree(scratch)
    print(f"{c.agreed} passed, {c.differing} failed")
    return 1 if c.differing or not c.agreed else 0


if __name__ == "__main__":
    sys.exit(main())
