"""Quantizes a GGUF file by llama.cpp itself: llama.py FOLDER-OF-LIBRARIES IN OUT FILE-TYPE, the last as a number.

The libraries are those of npm's @node-llama-cpp/linux-x64; the struct below is that of its llama.h.
"""

import ctypes
import pathlib
import sys


class Params(ctypes.Structure):
    """struct llama_model_quantize_params"""

    _fields_ = [
        *[(name, ctypes.c_int32) for name in ("threads", "file_type", "output_type", "embedding_type")],
        *[(name, ctypes.c_bool) for name in ("requantize", "output", "only_copy", "pure", "keep_split", "dry_run")],
        *[(name, ctypes.c_void_p) for name in ("imatrix", "kv_overrides", "tensor_types", "prune_layers")],
    ]


folder, source, target, file_type = pathlib.Path(sys.argv[1]), *sys.argv[2:]
llama = ctypes.CDLL(str(next(folder.glob("libllama.v*.so"))))
llama.llama_model_quantize_default_params.restype = Params
llama.llama_model_quantize.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(Params)]
llama.llama_backend_init()
params = llama.llama_model_quantize_default_params()
assert params.output and not params.pure and params.imatrix is None
params.file_type, params.threads = int(file_type), 2
sys.exit(llama.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(params)))
