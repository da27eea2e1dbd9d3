"""Asks an unmodified llama.cpp: llama.py LIBRARIES MODEL [ADAPTER] < REQUEST > ANSWER.

The request is JSON: "texts" to tokenize as prompts, special tokens in them among them, without what stands around a
text; "ids" to compute. The answer has their "tokens", and "logits", float32 of all positions in base64; an ADAPTER
counts once. LIBRARIES is the folder of npm's @node-llama-cpp/linux-x64; the structs are those of its llama.h, of which
what is not named here stays as llama.cpp has it by default.
"""

import base64
import ctypes
import json
import pathlib
import sys

import numpy

C = ctypes
libraries, model_file, adapter_file = pathlib.Path(sys.argv[1]), sys.argv[2], (sys.argv[3:] or [None])[0]


def library(name):
    return C.CDLL(str(next(libraries.glob(f"lib{name}.v*.so"))), mode=C.RTLD_GLOBAL)


class Params(C.Structure):
    """Larger than llama_model_params and llama_context_params: it is the last argument, of which no more is read."""

    _fields_ = [("words", C.c_uint32 * 256)]


class Batch(C.Structure):
    """struct llama_batch"""

    _fields_ = [("n_tokens", C.c_int32), *[(n, C.c_void_p) for n in ("token", "embd", "pos", "n_seq_id", "seq_id", "logits")]]


ggml, llama = library("ggml"), library("llama")
log = []
LOG = C.CFUNCTYPE(None, C.c_int, C.c_char_p, C.c_void_p)
keep = LOG(lambda level, text, _: log.append(text.decode("utf-8", "replace")))
llama.llama_log_set(keep, None)


def function(name, result, *arguments):
    f = getattr(llama, name)
    f.restype, f.argtypes = result, arguments
    return f


def some(value, what):
    if not value:
        sys.exit(f"llama.cpp: {what}:\n{''.join(log[-20:])}")
    return value


P, I = C.c_void_p, C.c_int32
ggml.ggml_backend_load_all_from_path.argtypes = [C.c_char_p]
ggml.ggml_backend_load_all_from_path(str(libraries).encode())
llama.llama_backend_init()
model = some(function("llama_model_load_from_file", P, C.c_char_p, Params)(
    model_file.encode(), function("llama_model_default_params", Params)()), f"does not load {model_file}")
vocabulary = function("llama_model_get_vocab", P, P)(model)
request = json.load(sys.stdin)
answer = {"tokens": []}

tokenize = function("llama_tokenize", I, P, C.c_char_p, I, P, I, C.c_bool, C.c_bool)
for text in request.get("texts") or []:
    raw = text.encode()
    ids = (I * (len(raw) + 8))()
    n = tokenize(vocabulary, raw, len(raw), ids, len(ids), False, True)
    assert n >= 0, (text, n)
    answer["tokens"].append(ids[:n])

ids = request.get("ids") or []
if ids:
    params = function("llama_context_default_params", Params)()
    assert params.words[0] == 512 and params.words[1] == 2048 and params.words[2] == 512, params.words[:16]
    params.words[0] = max(256, len(ids))
    context = some(function("llama_init_from_model", P, P, Params)(model, params), "makes no context")
    if adapter_file:
        adapter = some(function("llama_adapter_lora_init", P, P, C.c_char_p)(model, adapter_file.encode()), f"does not load {adapter_file}")
        failed = function("llama_set_adapters_lora", I, P, P, C.c_size_t, P)(context, (P * 1)(adapter), 1, (C.c_float * 1)(1))
        some(failed == 0, "does not take the adapter")
    tokens, wanted = (I * len(ids))(*ids), (C.c_int8 * len(ids))(*[1] * len(ids))
    batch = Batch(len(ids), C.cast(tokens, P), None, None, None, None, C.cast(wanted, P))
    some(function("llama_decode", I, P, Batch)(context, batch) == 0, "does not compute")
    n = function("llama_vocab_n_tokens", I, P)(vocabulary)
    row = function("llama_get_logits_ith", C.POINTER(C.c_float), P, I)
    logits = numpy.stack([numpy.ctypeslib.as_array(some(row(context, i), f"no logits {i}"), (n,)) for i in range(len(ids))])
    answer["logits"] = base64.b64encode(logits.astype("<f4").tobytes()).decode()
json.dump(answer, sys.stdout)
