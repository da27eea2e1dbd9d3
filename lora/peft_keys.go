package lora

// use says what is done with a key of adapter_config.json.
type use uint8

const (
	applied  use = iota // read, and it does what it does in PEFT
	noEffect            // nothing that an adapter for these models computes depends on it
	refused             // it changes what the adapter computes, and is not done: an error unless it is off
)

// merge is the way out where PEFT can do what this program cannot.
const merge = "merge the adapter into its model with PEFT's merge_and_unload, and take that model"

// peftKey is a key of adapter_config.json.
type peftKey struct {
	name string
	use  use
	why  string // what it does, or why it does nothing here
	hint string // the way out of a refusal
}

// peftKeys are all keys of PEFT 0.21's LoraConfig, and two that versions before 0.3 wrote. A key that does not stand
// here is one of a later version or of another program: nobody knows whether it changes what the adapter computes, so
// it is refused, unless it is off. testdata/peft_lora_config.json has the keys as PEFT writes them; make test-peft
// compares it with the PEFT that is installed.
var peftKeys = []peftKey{
	{"alora_invocation_tokens", refused, "applies the adapter only behind these tokens", "adapters of Activated LoRA cannot be merged"},
	{"alpha_pattern", applied, "alphas of linears that have their own", ""},
	{"arrow_config", refused, "mixes several adapters, token by token", "load one of its adapters"},
	{"auto_mapping", noEffect, "names the class of the base model", ""},
	{"base_model_name_or_path", noEffect, "the base model is the one that was given", ""},
	{"bias", applied, "none alone: others train the base model's biases", ""},
	{"corda_config", noEffect, "settings of an initialization, which init_lora_weights names", ""},
	{"enable_lora", refused, "adapts a part of a fused matrix", merge},
	{"ensure_weight_tying", noEffect, "ties what is trained of the embedding to the head, of which nothing can be loaded", ""},
	{"eva_config", noEffect, "settings of an initialization, which init_lora_weights names", ""},
	{"exclude_modules", applied, "linears without an adapter; the tensors have to agree", ""},
	{"fan_in_fan_out", noEffect, "for the weights of Conv1D; with torch's Linear, which all are here, PEFT sets it to false", ""},
	{"inference_mode", noEffect, "whether PEFT trains it", ""},
	{"init_lora_weights", applied, "an initialization that moved the base model's weights is refused", ""},
	{"kasa_config", refused, "takes away a part of the base weights, and has a diagonal between the matrices", merge},
	{"layer_replication", refused, "builds a model with repeated layers", merge},
	{"layers_pattern", applied, "what layers_to_transform numbers; the tensors have to agree", ""},
	{"layers_to_transform", applied, "layers with an adapter; the tensors have to agree", ""},
	{"loftq_config", noEffect, "settings of an initialization, which init_lora_weights names", ""},
	{"lora_alpha", applied, "the scale is alpha/r", ""},
	{"lora_bias", refused, "adds a bias to the adapter", merge},
	{"lora_dropout", applied, "in training", ""},
	{"lora_ga_config", noEffect, "settings of an initialization, which init_lora_weights names", ""},
	{"megatron_config", noEffect, "for the linears of Megatron-LM", ""},
	{"megatron_core", noEffect, "for the linears of Megatron-LM", ""},
	{"merge_weights", noEffect, "where the first versions of PEFT kept the sum", ""},
	{"modules_to_save", refused, "replaces whole modules of the base model", merge},
	{"monteclora_config", refused, "adds noise to the adapter", merge},
	{"peft_type", applied, "LORA alone", ""},
	{"peft_version", noEffect, "the version that wrote the file", ""},
	{"qalora_group_size", noEffect, "a setting of use_qalora", ""},
	{"r", applied, "rows of A and columns of B", ""},
	{"rank_pattern", applied, "ranks of linears that have their own", ""},
	{"revision", noEffect, "the base model is the one that was given", ""},
	{"runtime_config", noEffect, "where PEFT computes", ""},
	{"target_modules", applied, "linears with an adapter; the tensors decide, and have to agree", ""},
	{"target_parameters", refused, "adapts parameters that are no linears", merge},
	{"task_type", noEffect, "what else than the linears is trained for a task is in the tensors, which are refused", ""},
	{"trainable_token_indices", refused, "replaces rows of the embedding", merge},
	{"use_bdlora", refused, "has matrices of diagonal blocks", merge},
	{"use_dora", refused, "scales the columns of the sum of weight and adapter (DoRA)", merge},
	{"use_qalora", refused, "pools the adapter's inputs", merge},
	{"use_rslora", applied, "the scale is alpha/√r", ""},
	{"velora_config", refused, "makes the gradient of A from compressed inputs (VeLoRA), with tensors of its own", merge},
}

// movedBase are the values of init_lora_weights, or their beginnings, with which PEFT takes the adapter's first product
// out of the base weights: on these as they were published the adapter is another one. PEFT repeats that when it loads
// such an adapter, but for lora_ga, loftq and corda not to the same weights.
var movedBase = []string{"pissa", "corda", "olora", "loftq", "lora_ga"}

// plainInit are the values of init_lora_weights, beside true and false, that leave the base weights alone.
var plainInit = []string{"gaussian", "eva", "orthogonal", "mica"}
