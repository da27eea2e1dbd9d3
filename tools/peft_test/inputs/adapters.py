"""Adapters: the loss of `qlora-wgpu eval --adapter` beside PEFT's. What changes the arithmetic is applied, or refused by the key's name."""

import json
import warnings

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from inputs.models import CHATS, load

THREE = ["q_proj", "v_proj", "down_proj"]
WEIGHTS = "adapter_model.safetensors"


def applied():
    """Settings that have to be applied, as PEFT does."""
    paths = [f"model.layers.{i}.{m}" for i in range(5) for m in ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj")]
    return {
        "plain": {}, "rsLoRA": {"use_rslora": True}, "a dropout": {"lora_dropout": 0.1},
        "rank_pattern by module": {"rank_pattern": {"q_proj": 4, "down_proj": 12}},
        "rank_pattern by path": {"rank_pattern": {"layers.1.self_attn.q_proj": 2}},
        "rank_pattern by regex": {"rank_pattern": {r"layers\.[0-2]\..*q_proj": 4, "^model.layers.3.mlp.down_proj": 6}},
        "alpha_pattern": {"alpha_pattern": {"q_proj": 64, r"layers\.1\..*v_proj": 1}},
        "rank_pattern and alpha_pattern with rsLoRA": {
            "use_rslora": True, "rank_pattern": {"q_proj": 2, "v_proj": 10}, "alpha_pattern": {"q_proj": 64, "down_proj": 3}},
        "targets as full paths": {"target_modules": paths}, "targets as some paths": {"target_modules": paths[4:9]},
        "targets as ends of paths": {"target_modules": ["self_attn.q_proj", "mlp.down_proj"]},
        "targets as paths from layers": {"target_modules": ["layers.0.self_attn.q_proj", "3.mlp.up_proj"]},
        "targets as a regex": {"target_modules": r".*\.(q_proj|v_proj)"},
        "targets as a regex of some layers": {"target_modules": r"model\.layers\.[13]\.(self_attn\.[qk]|mlp\.up)_proj"},
        "targets as a regex with a lookahead": {"target_modules": r"model\.layers\.(?!0)\d+\..*q_proj"},
        "targets all-linear": {"target_modules": "all-linear"},
        "targets all, one by one": {"target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]},
        "layers_to_transform": {"layers_to_transform": [0, 3]}, "layers_to_transform, a number": {"layers_to_transform": 2},
        "layers_to_transform with layers_pattern": {"layers_to_transform": [1, 2], "layers_pattern": "layers"},
        "exclude_modules": {"exclude_modules": ["v_proj"]}, "exclude_modules as a regex": {"exclude_modules": r".*layers\.[02]\..*"},
    }


def applied_or_refused():
    """Settings of adapters that PEFT makes, under what a refusal has to name."""
    return {
        "use_dora": {"use_dora": True}, "lora_bias": {"lora_bias": True}, "modules_to_save": {"modules_to_save": ["lm_head"]},
        "trainable_token_indices": {"trainable_token_indices": [3, 4]},
        "layer_replication": {"layer_replication": [[0, 3], [2, 5]]}, "embed_tokens": {"target_modules": ["q_proj", "embed_tokens"]},
        "use_qalora": {"use_qalora": True, "qalora_group_size": 16},
    }


def rewritten():
    """Keys that are written into the configuration of a plain adapter."""
    inits = ("pissa", "pissa_niter_4", "olora", "loftq", "corda", "eva", "gaussian", "orthogonal", "mica", "lora_ga", False)
    yield from ((f"init_lora_weights {value}", {"init_lora_weights": value}, "init_lora_weights") for value in inits)
    yield "alora_invocation_tokens", {"alora_invocation_tokens": [4]}, "alora_invocation_tokens"
    yield "bias lora_only", {"bias": "lora_only"}, "bias"
    yield "bias all", {"bias": "all"}, "bias"
    yield "fan_in_fan_out", {"fan_in_fan_out": True}, "fan_in_fan_out"
    yield "layer_replication", {"layer_replication": [[0, 3], [2, 5]]}, "layer_replication"
    yield "exclude_modules of what there are tensors for", {"exclude_modules": ["v_proj"]}, "exclude_modules"
    yield "a target that the model has not", {"target_modules": [*THREE, "w1"]}, None
    yield "peft_type IA3", {"peft_type": "IA3"}, "peft_type"
    yield "task_type missing", {"task_type": None}, None


def make(c, **settings):
    """A folder with an adapter of random matrices, written by PEFT."""
    torch.manual_seed(7)
    model = get_peft_model(load(c.model), LoraConfig(**{
        "r": 8, "lora_alpha": 16, "target_modules": THREE, "task_type": "CAUSAL_LM", **settings}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    folder = c.path()
    model.save_pretrained(folder, save_embedding_layers=False)
    return folder


def rewrite(folder, **keys):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **keys}))


def peft(adapter):
    """Loads a base model with an adapter over it."""
    def loaded(folder):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return PeftModel.from_pretrained(load(folder), adapter).eval()
    return loaded


def run(c):
    for name, settings in applied().items():
        if c.wanted("adapter, " + name):
            adapter = make(c, **settings)
            c.loss("adapter, " + name, CHATS, folder=c.model, adapter=adapter, load=peft(adapter))
    for key, settings in applied_or_refused().items():
        if c.wanted("adapter, " + key):
            adapter = make(c, **settings)
            c.loss("adapter, " + key, CHATS, folder=c.model, adapter=adapter, load=peft(adapter), refusal=key)
    for name, keys, refusal in rewritten():
        if c.wanted("adapter, " + name):
            adapter = make(c)
            rewrite(adapter, **keys)
            c.loss("adapter, " + name, CHATS, folder=c.model, adapter=adapter, load=peft(adapter), refusal=refusal)
    for name, change in changed().items():
        if c.wanted("adapter, " + name):
            adapter = make(c, target_modules="all-linear")
            tensors = load_file(adapter / WEIGHTS)
            save_file(change(tensors), adapter / WEIGHTS, metadata={"format": "pt"})
            c.loss("adapter, " + name, CHATS, folder=c.model, adapter=adapter, load=peft(adapter))


def changed():
    """What is done to the tensors of an adapter that names all linears."""
    return {
        "tensors in bfloat16": lambda tensors: {k: t.bfloat16() for k, t in tensors.items()},
        "tensors in float16": lambda tensors: {k: t.half() for k, t in tensors.items()},
        "tensors of some layers only": lambda tensors: {k: t for k, t in tensors.items() if ".4." not in k},
        "tensors of some linears only": lambda tensors: {k: t for k, t in tensors.items() if "k_proj" not in k},
    }
