"""What PEFT says of adapter_config.json: its keys with their defaults, and which linears a configuration names.

  lora_config.py            compares the PEFT that is installed with lora/testdata/peft_lora_config.json
  lora_config.py --write    writes that file

A key that is new in PEFT ends the comparison with status 1: it belongs into peftKeys of lora/peft_keys.go, with what is
done about it, before the file is written anew.
"""

import json
import pathlib
import sys

import peft
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils.other import get_pattern_key

FILE = pathlib.Path(__file__).parents[2] / "lora" / "testdata" / "peft_lora_config.json"

MODULES = [f"model.layers.{layer}.{module}" for layer in (0, 1, 11) for module in (
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")]

SELECTIONS = [
    {"target_modules": ["q_proj", "down_proj"]},
    {"target_modules": ["proj"]},
    {"target_modules": ["_proj", "self_attn.k_proj"]},
    {"target_modules": ["model.layers.1.mlp.up_proj", "layers.11.mlp.up_proj"]},
    {"target_modules": []},
    {"target_modules": "q_proj"},
    {"target_modules": r".*\.(q_proj|down_proj)"},
    {"target_modules": r"model\.layers\.[0-9]\.mlp\..*|.*k_proj"},
    {"target_modules": r".*layers.1"},
    {"target_modules": r"(?i).*\.1+\..*Q_PROJ"},
    {"target_modules": ["q_proj", "v_proj"], "exclude_modules": ["v_proj", "layers.0.self_attn.q_proj"]},
    {"target_modules": ["q_proj", "v_proj"], "exclude_modules": r".*\.1\..*"},
    {"target_modules": r".*_proj", "exclude_modules": ["self_attn"]},
    {"target_modules": ["q_proj", "v_proj"], "layers_to_transform": 1},
    {"target_modules": ["q_proj", "v_proj"], "layers_to_transform": [0, 11]},
    {"target_modules": ["q_proj", "v_proj"], "layers_to_transform": []},
    {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": "layers"},
    {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": ["h", "layers"]},
    {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": "h"},
    {"target_modules": ["q_proj", "model.layers.0.self_attn.q_proj"], "layers_to_transform": [1]},
]

PATTERNS = [
    {"q_proj": 2},
    {"model.layers.1.mlp.up_proj": 2},
    {"layers.1.mlp.*": 2, "up_proj": 3},
    {"up_proj": 3, "layers.1.mlp.*": 2},
    {"^model.layers.0.*": 2},
    {"proj": 2},
    {r"layers\.(0|11)\.self_attn\.[qk]_proj": 2},
    {"q_proj|k_proj": 2},
]


def described():
    config = json.loads(json.dumps(peft.LoraConfig().to_dict(), default=list))
    config.update(peft_version=None, peft_type="LORA")
    named = []
    for keys in SELECTIONS:
        config_of = peft.LoraConfig(**keys)
        named.append({"config": keys, "named": [m for m in MODULES if bool(check_target_module_exists(config_of, m))]})
    patterns = []
    for keys in PATTERNS:
        values = [keys.get(get_pattern_key(keys.keys(), module), 1) for module in MODULES]
        patterns.append({"pattern": json.dumps(keys), "values": values})
    return {"peft": peft.__version__, "keys": dict(sorted(config.items())), "modules": MODULES, "selections": named, "patterns": patterns}


def main():
    now = described()
    if sys.argv[1:] == ["--write"]:
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text(json.dumps(now, indent=1) + "\n")
        return
    kept = json.loads(FILE.read_text())
    wrong = [f"{key} is new in PEFT" for key in now["keys"] if key not in kept["keys"]]
    wrong += [f"{key} is no more in PEFT" for key in kept["keys"] if key not in now["keys"]]
    wrong += [f"{key} is {now['keys'][key]!r} by default, was {kept['keys'][key]!r}" for key in kept["keys"]
              if key in now["keys"] and now["keys"][key] != kept["keys"][key]]
    wrong += [f"{part} differ" for part in ("modules", "selections", "patterns") if now[part] != kept[part]]
    for line in wrong:
        print(f"lora_config: PEFT {now['peft']} beside {kept['peft']}: {line}")
    if wrong:
        sys.exit(1)
    print(f"lora_config: {len(kept['keys'])} keys, {len(SELECTIONS)} selections and {len(PATTERNS)} patterns are PEFT's")


main()
