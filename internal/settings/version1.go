package settings

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// version1 are the settings in a state.json of version 1, which had the names of Go fields: in their order, the key of
// today (empty: no setting of a run that writes checkpoints), and whether they were part of a run's identity. It stays
// as it is for good, whatever happens to today's names.
var version1 = []struct {
	name, key string
	numeric   bool
}{
	{"Model", "model", false}, {"Arch", "", true}, {"RandomWeights", "", true}, {"Layers", "", true}, {"Data", "data", false},
	{"OutputDir", "output_dir", false}, {"Overwrite", "overwrite", false},
	{"LoraR", "lora_r", true}, {"LoraAlpha", "lora_alpha", true}, {"LoraDropout", "lora_dropout", true},
	{"LoraTargetModules", "lora_target_modules", true}, {"UseRSLora", "use_rslora", true}, {"InitAdapter", "init_adapter", false},
	{"BlockSize", "block_size", true}, {"ChatTemplate", "chat_template", false}, {"MaxSeqLength", "max_seq_length", true},
	{"Packing", "packing", true}, {"TrainOnInputs", "train_on_inputs", true}, {"TrainOn", "train_on", true}, {"Shuffle", "shuffle", true},
	{"BatchSize", "batch_size", true}, {"GradientAccumulationSteps", "gradient_accumulation_steps", true},
	{"NumTrainEpochs", "num_train_epochs", true}, {"MaxSteps", "max_steps", true}, {"LearningRate", "learning_rate", true},
	{"LRSchedulerType", "lr_scheduler_type", true}, {"WarmupSteps", "warmup_steps", true}, {"WarmupRatio", "warmup_ratio", true},
	{"Optim", "optim", true}, {"WeightDecay", "weight_decay", true}, {"AdamBeta1", "adam_beta1", true}, {"AdamBeta2", "adam_beta2", true},
	{"AdamEpsilon", "adam_epsilon", true}, {"MaxGradNorm", "max_grad_norm", true}, {"ValSize", "val_size", true},
	{"EvalSteps", "eval_steps", false}, {"LoggingSteps", "logging_steps", false}, {"SaveSteps", "save_steps", false},
	{"SaveTotalLimit", "save_total_limit", false}, {"ResumeFromCheckpoint", "resume_from_checkpoint", false}, {"Seed", "seed", true},
	{"GradientCheckpointing", "gradient_checkpointing", true}, {"ActivationDType", "activation_dtype", true},
	{"VRAMBudget", "vram_budget", false}, {"Device", "device", false}, {"CacheDir", "cache_dir", false}, {"Autotune", "autotune", false},
}

// Version1 are the settings of a state.json of version 1, as they stand there.
type Version1 map[string]json.RawMessage

// ReadVersion1 takes them from their JSON object, with Read's errors about JSON.
func ReadVersion1(object []byte) (Version1, error) { return byKey(object) }

// Lay lays them over those of today. Errors are as Read's.
func (v Version1) Lay(into any) error {
	values := map[string]json.RawMessage{}
	known := map[string]bool{}
	for _, s := range version1 {
		known[s.name] = true
		if text, given := v[s.name]; given && s.key != "" {
			values[s.key] = text
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		if !known[name] {
			return &UnknownKey{name}
		}
	}
	_, err := overlay(values, into)
	return err
}

// Identity is what version 1 wrote down as the settings' identity, with a run's own chat template.
func (v Version1) Identity(template string) string {
	var text bytes.Buffer
	for i, s := range version1 {
		value := string(v[s.name])
		switch {
		case s.name == "Optim":
			value = strings.Replace(value, Paged, "", 1)
		case !s.numeric, s.name == "GradientCheckpointing" && string(v["ActivationDType"]) == `"`+ActivationsF32+`"`:
			value = zero(value)
		}
		separator := byte(',')
		if i == 0 {
			separator = '{'
		}
		fmt.Fprintf(&text, "%c%q:%s", separator, s.name, value)
	}
	sum := sha256.Sum256([]byte(text.String() + "}" + template))
	return hex.EncodeToString(sum[:])
}

// zero is the zero value of the type that a JSON value is of.
func zero(value string) string {
	switch {
	case strings.HasPrefix(value, `"`):
		return `""`
	case value == "true":
		return "false"
	case value == "false":
		return value
	}
	return "0"
}
