"""A model folder written as GGUF: what llama.cpp's converter makes of it, for models of the embedded one's shape."""

import gguf
import numpy as np
from safetensors.torch import load_file

NAMES = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down"}


def interleaved(weight, heads):
    """Rows of q and k in the order of GGUF's rotary embedding."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def write(folder, path, bos=None, eos=None, add_bos=None, add_eos=None):
    """Writes a Folder. bos and eos are ids; what is None is left out. Returns the path."""
    config, tokenizer = folder.files["config.json"], folder.files["tokenizer.json"]
    w = gguf.GGUFWriter(path, "llama")
    w.add_context_length(config["max_position_embeddings"])
    w.add_embedding_length(config["hidden_size"])
    w.add_block_count(config["num_hidden_layers"])
    w.add_feed_forward_length(config["intermediate_size"])
    w.add_head_count(config["num_attention_heads"])
    w.add_head_count_kv(config["num_key_value_heads"])
    w.add_key_length(config["head_dim"])
    w.add_value_length(config["head_dim"])
    w.add_rope_dimension_count(config["head_dim"])
    w.add_layer_norm_rms_eps(config["rms_norm_eps"])
    w.add_rope_freq_base(config["rope_theta"])
    w.add_vocab_size(config["vocab_size"])
    special = {t["id"] for t in tokenizer["added_tokens"]}
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get))
    w.add_token_types([gguf.TokenType.CONTROL if i in special else gguf.TokenType.NORMAL for i in range(config["vocab_size"])])
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]])
    for value, add in ((bos, w.add_bos_token_id), (eos, w.add_eos_token_id),
                       (add_bos, w.add_add_bos_token), (add_eos, w.add_add_eos_token)):
        if value is not None:
            add(value)
    if template := folder.files["tokenizer_config.json"].get("chat_template"):
        w.add_chat_template(template)
    for name, tensor in load_file(folder.source / "model.safetensors").items():
        values = tensor.float().numpy()
        if "q_proj" in name or "k_proj" in name:
            values = interleaved(values, config["num_attention_heads" if "q_proj" in name else "num_key_value_heads"])
        w.add_tensor(renamed(name), np.ascontiguousarray(values))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return path


def renamed(name):
    if not name.startswith("model.layers."):
        return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}[name]
    layer, _, rest = name.removeprefix("model.layers.").partition(".")
    return f"blk.{layer}.{NAMES[rest.removesuffix('.weight')]}.weight"
