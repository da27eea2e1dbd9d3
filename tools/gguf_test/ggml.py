"""Quantizes float32 by ggml itself: ggml.py LIBGGML-BASE TYPE COLUMNS < FLOAT32 > BLOCKS; with a COUNT behind it, the
seconds of the fastest of so many runs in one thread, as text.

LIBGGML-BASE is the shared library of a llama.cpp build, for instance that of npm's @node-llama-cpp/linux-x64.
"""

import ctypes
import sys
import time

TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q2_K": 10, "Q3_K": 11, "Q4_K": 12,
         "Q5_K": 13, "Q6_K": 14, "BF16": 30}

library, name, columns = sys.argv[1], sys.argv[2], int(sys.argv[3])
ggml = ctypes.CDLL(library)
ggml.ggml_row_size.restype = ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
ggml.ggml_row_size.argtypes = [ctypes.c_int, ctypes.c_int64]
ggml.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, *[ctypes.c_int64] * 3, ctypes.c_void_p]
src = sys.stdin.buffer.read()
rows = len(src) // 4 // columns
dst = ctypes.create_string_buffer(rows * ggml.ggml_row_size(TYPES[name], columns))
best = float("inf")
for _ in range(int(sys.argv[4]) if len(sys.argv) > 4 else 1):
    start = time.perf_counter()
    size = ggml.ggml_quantize_chunk(TYPES[name], src, dst, 0, rows, columns, None)
    best = min(best, time.perf_counter() - start)
    assert size == len(dst)
if len(sys.argv) > 4:
    print(best)
else:
    sys.stdout.buffer.write(dst.raw)
