"""Writes the tensors of a GGUF file as the gguf package (0.19) dequantizes them: dequantize.py FILE > VALUES, float32 of
one tensor after another; their names and types go to standard error, a line each."""

import sys

from gguf import GGUFReader
from gguf.quants import dequantize

for t in GGUFReader(sys.argv[1]).tensors:
    print(t.name, t.tensor_type.name, file=sys.stderr)
    sys.stdout.buffer.write(dequantize(t.data, t.tensor_type).astype("<f4").tobytes())
