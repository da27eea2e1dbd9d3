"""Prints the metadata and the tensors of a GGUF file as the gguf package (0.19) reads them: read.py FILE."""

import sys

from gguf import GGUFReader

reader = GGUFReader(sys.argv[1])
for key, field in reader.fields.items():
    if not key.startswith("GGUF."):
        print(key, repr(field.contents()))
for t in reader.tensors:
    assert t.data_offset % 32 == 0
    print(t.name, t.tensor_type.name, t.shape.tolist(), sum(t.data.tobytes()))
