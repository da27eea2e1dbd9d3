package trainer

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/usererr"
)

func valid() Config {
	c := Defaults()
	c.Model, c.Data = "m.gguf", "d.json"
	return c
}

func TestDefaultsAreValid(t *testing.T) {
	require.NoError(t, valid().Validate())
}

func TestNamesOfConfig(t *testing.T) {
	seen := map[string]string{}
	for f := range reflect.TypeFor[Config]().Fields() {
		key, flag := f.Tag.Get("yaml"), f.Tag.Get("name")
		require.NotEmpty(t, f.Tag.Get("help"), f.Name)
		require.Equal(t, strings.ToLower(key), key)
		if key != "resume_from_checkpoint" {
			require.Equal(t, strings.ReplaceAll(key, "_", "-"), flag, "one name in two spellings")
		}
		for _, name := range append(strings.Split(f.Tag.Get("aliases"), ","), flag) {
			if name != "" {
				require.Empty(t, seen[name], "%s names two settings", name)
				seen[name] = f.Name
			}
		}
	}
}

func TestValidateNamesKeyValueAndRange(t *testing.T) {
	for _, test := range []struct {
		change  func(*Config)
		message string
	}{
		{func(c *Config) { c.Model = "" }, "settings: model is missing, allowed: the path of a GGUF file or of a Hugging Face folder"},
		{func(c *Config) { c.Data = " " }, "settings: data is missing, allowed: the path of a JSON, JSON Lines, CSV or text file, or of a folder with train.jsonl"},
		{func(c *Config) { c.OutputDir = "" }, "settings: output_dir is missing, allowed: the path of a folder"},
		{func(c *Config) { c.LoraR = 0 }, "settings: lora_r is 0, allowed: 1 to 65536"},
		{func(c *Config) { c.LoraAlpha = math.Inf(1) }, "settings: lora_alpha is +Inf, allowed: a finite number above 0"},
		{func(c *Config) { c.LoraDropout = 1 }, "settings: lora_dropout is 1, allowed: 0 to 0.99"},
		{func(c *Config) { c.LoraDropout = math.NaN() }, "settings: lora_dropout is NaN, allowed: 0 to 0.99"},
		{func(c *Config) { c.LoraTargetModules = nil }, "settings: lora_target_modules is empty, allowed: all-linear alone, or a list of module names, each once"},
		{func(c *Config) { c.LoraTargetModules = []string{"q_proj", "all-linear"} }, `settings: lora_target_modules is "q_proj,all-linear", allowed: all-linear alone, or a list of module names, each once`},
		{func(c *Config) { c.LoraTargetModules = []string{"q_proj", "q_proj"} }, `settings: lora_target_modules is "q_proj,q_proj", allowed: all-linear alone, or a list of module names, each once`},
		{func(c *Config) { c.BlockSize = 96 }, "settings: block_size is 96, allowed: 32, 64, 128, 256, 512, 1024, 2048, 4096"},
		{func(c *Config) { c.BlockSize = -64 }, "settings: block_size is -64, allowed: 32, 64, 128, 256, 512, 1024, 2048, 4096"},
		{func(c *Config) { c.MaxSeqLength = 1 }, "settings: max_seq_length is 1, allowed: 2 to 1048576"},
		{func(c *Config) { c.TrainOn = "first" }, `settings: train_on is "first", allowed: all, last`},
		{func(c *Config) { c.BatchSize = -2 }, "settings: batch_size is -2, allowed: 1 to 65536"},
		{func(c *Config) { c.GradientAccumulationSteps = 0 }, "settings: gradient_accumulation_steps is 0, allowed: 1 to 65536"},
		{func(c *Config) { c.NumTrainEpochs = 0 }, "settings: num_train_epochs is 0, allowed: a finite number above 0"},
		{func(c *Config) { c.MaxSteps = -1 }, "settings: max_steps is -1, allowed: 0 to 2147483647"},
		{func(c *Config) { c.LearningRate = -1e-4 }, "settings: learning_rate is -0.0001, allowed: 0 to 10"},
		{func(c *Config) { c.LRSchedulerType = "polynomial" }, `settings: lr_scheduler_type is "polynomial", allowed: constant, constant_with_warmup, linear, cosine`},
		{func(c *Config) { c.WarmupSteps = -1 }, "settings: warmup_steps is -1, allowed: 0 to 2147483647"},
		{func(c *Config) { c.WarmupRatio = 1.5 }, "settings: warmup_ratio is 1.5, allowed: 0 to 1"},
		{func(c *Config) { c.Optim = "sgd" }, `settings: optim is "sgd", allowed: adamw_32bit, adamw_8bit, paged_adamw_32bit, paged_adamw_8bit`},
		{func(c *Config) { c.WeightDecay = math.NaN() }, "settings: weight_decay is NaN, allowed: 0 to 10"},
		{func(c *Config) { c.AdamBeta1 = 1 }, "settings: adam_beta1 is 1, allowed: 0 to 0.9999999"},
		{func(c *Config) { c.AdamBeta2 = 1 }, "settings: adam_beta2 is 1, allowed: 0 to 0.9999999"},
		{func(c *Config) { c.AdamEpsilon = 0 }, "settings: adam_epsilon is 0, allowed: 1e-30 to 1"},
		{func(c *Config) { c.MaxGradNorm = -1 }, "settings: max_grad_norm is -1, allowed: 0 to 1e+09"},
		{func(c *Config) { c.ValSize = 1.5 }, "settings: val_size is 1.5, allowed: a part from 0 to below 1, or a whole number of rows"},
		{func(c *Config) { c.ValSize, c.EvalSteps = 0.1, -1 }, "settings: eval_steps is -1, allowed: 0 to 2147483647"},
		{func(c *Config) { c.LoggingSteps = 0 }, "settings: logging_steps is 0, allowed: 1 to 2147483647"},
		{func(c *Config) { c.SaveSteps = -1 }, "settings: save_steps is -1, allowed: 0 to 2147483647"},
		{func(c *Config) { c.SaveTotalLimit = -1 }, "settings: save_total_limit is -1, allowed: 0 to 2147483647"},
		{func(c *Config) { c.TrainOnInputs, c.TrainOn = true, "last" }, "settings: train_on_inputs is true, allowed: false together with train_on last"},
		{func(c *Config) { c.Overwrite, c.ResumeFromCheckpoint = true, "auto" }, "settings: overwrite is true, allowed: false together with resume_from_checkpoint (a run is either resumed or replaced)"},
		{func(c *Config) { c.Autotune = "yes" }, `settings: autotune is "yes", allowed: on, off, force`},
	} {
		c := valid()
		test.change(&c)
		err := c.Validate()
		require.EqualError(t, err, test.message)
		require.True(t, usererr.Is(err, usererr.Invalid))
	}
}

func TestValidateAcceptsTheEdges(t *testing.T) {
	for _, change := range []func(*Config){
		func(c *Config) { c.ValSize, c.EvalSteps = 0.25, 5 },
		func(c *Config) { c.ValSize = 32 },
		func(c *Config) { c.LoraR = 7 },
		func(c *Config) { c.LoraTargetModules = []string{"q_proj", "v_proj"} },
		func(c *Config) { c.BlockSize = 4096 },
		func(c *Config) { c.WarmupRatio, c.MaxGradNorm, c.LearningRate = 0, 0, 0 },
	} {
		c := valid()
		change(&c)
		require.NoError(t, c.Validate())
	}
}
