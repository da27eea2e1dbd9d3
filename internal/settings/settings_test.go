package settings

import (
	"encoding/json"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/usererr"
)

func valid() Train {
	c := Default[Train]()
	c.Model, c.Data = "m.gguf", "d.json"
	return c
}

func TestDefaultsAreValid(t *testing.T) {
	require.NoError(t, valid().Check())
}

// everything are the settings of all commands.
var everything = []any{Default[Train](), Default[Random](), Default[Generate](), Default[Eval](), Default[Plan](), Default[Inspect](),
	Default[Convert](), Default[Drift](), Default[BenchKernels](), Default[BenchLoad](), Default[BenchTrain](), Default[BenchPaging]()}

func TestASettingHasOneNameOneDefaultAndOneHelpText(t *testing.T) {
	said := map[string]reflect.StructTag{}
	for _, c := range everything {
		seen := map[string]string{}
		for f := range fields(reflect.ValueOf(c)) {
			key, flag := f.Tag.Get("json"), f.Tag.Get("name")
			require.NotEmpty(t, f.Tag.Get("help"), f.Name)
			require.Equal(t, strings.ToLower(key), key)
			if key != "resume_from_checkpoint" {
				require.Equal(t, strings.ReplaceAll(key, "_", "-"), flag, "one name in two spellings")
			}
			for _, name := range append(strings.Split(f.Tag.Get("aliases"), ","), flag) {
				if name != "" {
					require.Empty(t, seen[name], "%s names two settings of %T", name, c)
					seen[name] = f.Name
				}
			}
			if key == "steps" || key == "max_seq_length" && reflect.TypeOf(c) == reflect.TypeFor[Eval]() ||
				key == "max_tokens" && reflect.TypeOf(c) == reflect.TypeFor[Convert]() {
				continue // each benchmark counts its own steps; an evaluation cuts nothing off; rows are no answers
			}
			if tag, twice := said[key]; twice {
				require.Equal(t, tag, f.Tag, key)
			}
			said[key] = f.Tag
		}
	}
}

func TestJSONAndYAMLHaveTheSameNames(t *testing.T) {
	for _, c := range everything {
		var keys []string
		for f := range fields(reflect.ValueOf(c)) {
			keys = append(keys, f.Tag.Get("json"))
		}
		text, err := json.Marshal(c)
		require.NoError(t, err)
		var fromJSON map[string]any
		require.NoError(t, json.Unmarshal(text, &fromJSON))
		require.ElementsMatch(t, keys, slices.Collect(maps.Keys(fromJSON)))
		text, err = yaml.Marshal(c)
		require.NoError(t, err)
		var fromYAML yaml.MapSlice
		require.NoError(t, yaml.Unmarshal(text, &fromYAML))
		var names []string
		for _, item := range fromYAML {
			names = append(names, item.Key.(string))
		}
		require.ElementsMatch(t, keys, names)
	}
}

func TestCheckNamesKeyValueAndRange(t *testing.T) {
	for _, test := range []struct {
		change  func(*Train)
		message string
	}{
		{func(c *Train) { c.Model = "" }, "settings: model is missing, allowed: the path of a GGUF file or of a Hugging Face folder"},
		{func(c *Train) {
			c.Data = " "
		},
			"settings: data is missing, allowed: the path of a JSON, JSON Lines, CSV, TSV, text or Parquet file, " +
				"or of a folder with train.jsonl, or a name of the hub"},
		{func(c *Train) { c.OutputDir = "" }, "settings: output_dir is missing, allowed: the path of a folder"},
		{func(c *Train) { c.LoraR = 0 }, "settings: lora_r is 0, allowed: 1 to 65536"},
		{func(c *Train) { c.LoraAlpha = math.Inf(1) }, "settings: lora_alpha is +Inf, allowed: a finite number above 0"},
		{func(c *Train) { c.LoraDropout = 1 }, "settings: lora_dropout is 1, allowed: 0 to 0.99"},
		{func(c *Train) { c.LoraDropout = math.NaN() }, "settings: lora_dropout is NaN, allowed: 0 to 0.99"},
		{func(c *Train) {
			c.LoraTargetModules = nil
		}, "settings: lora_target_modules is empty, allowed: all-linear alone, or a list of module names, each once"},
		{func(c *Train) {
			c.LoraTargetModules = []string{"q_proj", "all-linear"}
		}, `settings: lora_target_modules is "q_proj,all-linear", allowed: all-linear alone, or a list of module names, each once`},
		{func(c *Train) {
			c.LoraTargetModules = []string{"q_proj", "q_proj"}
		}, `settings: lora_target_modules is "q_proj,q_proj", allowed: all-linear alone, or a list of module names, each once`},
		{func(c *Train) { c.BlockSize = 96 }, "settings: block_size is 96, allowed: 32, 64, 128, 256, 512, 1024, 2048, 4096"},
		{func(c *Train) { c.Quantize = "int8" }, `settings: quantization is "int8", allowed: nf4, none`},
		{func(c *Train) { c.Quantize, c.BlockSize = "none", 128 }, "settings: block_size is 128, allowed: only with quantization nf4"},
		{func(c *Train) { c.BlockSize = -64 }, "settings: block_size is -64, allowed: 32, 64, 128, 256, 512, 1024, 2048, 4096"},
		{func(c *Train) { c.MaxSeqLength = 1 }, "settings: max_seq_length is 1, allowed: 2 to 1048576"},
		{func(c *Train) { c.TrainOn = "first" }, `settings: train_on is "first", allowed: all, last`},
		{func(c *Train) { c.BatchSize = -2 }, "settings: batch_size is -2, allowed: 1 to 65536"},
		{func(c *Train) { c.GradientAccumulationSteps = 0 }, "settings: gradient_accumulation_steps is 0, allowed: 1 to 65536"},
		{func(c *Train) { c.NumTrainEpochs = 0 }, "settings: num_train_epochs is 0, allowed: a finite number above 0"},
		{func(c *Train) { c.MaxSteps = -1 }, "settings: max_steps is -1, allowed: 0 to 2147483647"},
		{func(c *Train) { c.LearningRate = -1e-4 }, "settings: learning_rate is -0.0001, allowed: 0 to 10"},
		{func(c *Train) {
			c.LRSchedulerType = "polynomial"
		}, `settings: lr_scheduler_type is "polynomial", allowed: constant, constant_with_warmup, linear, cosine`},
		{func(c *Train) { c.WarmupSteps = -1 }, "settings: warmup_steps is -1, allowed: 0 to 2147483647"},
		{func(c *Train) { c.WarmupRatio = 1.5 }, "settings: warmup_ratio is 1.5, allowed: 0 to 1"},
		{func(c *Train) { c.Optim = "sgd" }, `settings: optim is "sgd", allowed: adamw_32bit, adamw_8bit, paged_adamw_32bit, paged_adamw_8bit`},
		{func(c *Train) { c.WeightDecay = math.NaN() }, "settings: weight_decay is NaN, allowed: 0 to 10"},
		{func(c *Train) { c.AdamBeta1 = 1 }, "settings: adam_beta1 is 1, allowed: 0 to 0.9999999"},
		{func(c *Train) { c.AdamBeta2 = 1 }, "settings: adam_beta2 is 1, allowed: 0 to 0.9999999"},
		{func(c *Train) { c.AdamEpsilon = 0 }, "settings: adam_epsilon is 0, allowed: 1e-30 to 1"},
		{func(c *Train) { c.MaxGradNorm = -1 }, "settings: max_grad_norm is -1, allowed: 0 to 1e+09"},
		{func(c *Train) { c.ValSize = 1.5 }, "settings: val_size is 1.5, allowed: a part from 0 to below 1, or a whole number of rows"},
		{func(c *Train) { c.ValSize, c.EvalSteps = 0.1, -1 }, "settings: eval_steps is -1, allowed: 0 to 2147483647"},
		{func(c *Train) { c.LoggingSteps = 0 }, "settings: logging_steps is 0, allowed: 1 to 2147483647"},
		{func(c *Train) { c.SaveSteps = -1 }, "settings: save_steps is -1, allowed: 0 to 2147483647"},
		{func(c *Train) { c.SaveTotalLimit = -1 }, "settings: save_total_limit is -1, allowed: 0 to 2147483647"},
		{func(c *Train) {
			c.TrainOnInputs, c.TrainOn = true, "last"
		}, "settings: train_on_inputs is true, allowed: false together with train_on last"},
		{func(c *Train) {
			c.Overwrite, c.ResumeFromCheckpoint = true, "auto"
		}, "settings: overwrite is true, allowed: false together with resume_from_checkpoint (a run is either resumed or replaced)"},
		{func(c *Train) {
			c.VRAMBudget = "0.5B"
		}, `settings: vram_budget is "0.5B", allowed: a size above 0 with its unit, such as 6GiB or 800MiB`},
		{func(c *Train) { c.Autotune = "yes" }, `settings: autotune is "yes", allowed: on, off, force`},
	} {
		c := valid()
		test.change(&c)
		err := c.Check()
		require.EqualError(t, err, test.message)
		require.True(t, usererr.Is(err, usererr.Invalid))
	}
}

func TestCheckAcceptsTheEdges(t *testing.T) {
	for _, change := range []func(*Train){
		func(c *Train) { c.ValSize, c.EvalSteps = 0.25, 5 },
		func(c *Train) { c.ValSize = 32 },
		func(c *Train) { c.LoraR = 7 },
		func(c *Train) { c.LoraTargetModules = []string{"q_proj", "v_proj"} },
		func(c *Train) { c.BlockSize = 4096 },
		func(c *Train) { c.Quantize = "none" },
		func(c *Train) { c.WarmupRatio, c.MaxGradNorm, c.LearningRate = 0, 0, 0 },
	} {
		c := valid()
		change(&c)
		require.NoError(t, c.Check())
	}
}
