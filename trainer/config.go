package trainer

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"

	"qlora-wgpu/internal/usererr"
)

// Config is every setting of a training run: one struct behind the flags, the YAML file and the library. The tag `name`
// is the flag (kebab-case), `yaml` the key of the YAML file (snake_case), `aliases` the names that other fine-tuning
// tools use for the same thing, `help` what the user reads.
type Config struct {
	Model         string `yaml:"model" name:"model" aliases:"model-name-or-path,base-model" help:"Base model: a GGUF file or a Hugging Face folder." placeholder:"PATH"`
	Arch          string `yaml:"arch" name:"arch" help:"Instead of a model and data: the shape of a common model (llama-3.1-8b) with --random-weights, over random tokens, to try memory and speed." placeholder:"NAME"`
	RandomWeights bool   `yaml:"random_weights" name:"random-weights" help:"With arch: fill the shape with random weights. Nothing is written."`
	Layers        int    `yaml:"layers" name:"layers" help:"With arch: only so many layers; 0: all."`
	Data          string `yaml:"data" name:"data" aliases:"dataset" help:"Training data: a JSON, JSON Lines, CSV or text file, or a folder with train.jsonl; the format is detected." placeholder:"PATH"`
	OutputDir     string `yaml:"output_dir" name:"output-dir" aliases:"adapter-path" help:"Folder of the adapter, the log and the checkpoints."`
	Overwrite     bool   `yaml:"overwrite" name:"overwrite" help:"Replace the run that output-dir holds."`

	LoraR             int      `yaml:"lora_r" name:"lora-r" aliases:"r,lora-rank" help:"Rank of the LoRA matrices."`
	LoraAlpha         float64  `yaml:"lora_alpha" name:"lora-alpha" help:"LoRA scale: alpha / r, with rsLoRA alpha / sqrt(r)."`
	LoraDropout       float64  `yaml:"lora_dropout" name:"lora-dropout" help:"Dropout on the input of A, a probability."`
	LoraTargetModules []string `yaml:"lora_target_modules" name:"lora-target-modules" aliases:"target-modules" sep:"," help:"Linears that get an adapter: all-linear or a list (q_proj,v_proj)."`
	UseRSLora         bool     `yaml:"use_rslora" name:"use-rslora" help:"Scale by alpha / sqrt(r)."`
	InitAdapter       string   `yaml:"init_adapter" name:"init-adapter" help:"Continue from this PEFT adapter's weights." placeholder:"DIR"`
	BlockSize         int      `yaml:"block_size" name:"block-size" help:"Weights per NF4 block; double quantization is always on."`

	ChatTemplate  string `yaml:"chat_template" name:"chat-template" help:"Jinja file used instead of the model's own chat template." placeholder:"FILE"`
	MaxSeqLength  int    `yaml:"max_seq_length" name:"max-seq-length" aliases:"max-length,sequence-len,cutoff-len" help:"Longest sequence in tokens, never above the model's own limit."`
	Packing       bool   `yaml:"packing" name:"packing" aliases:"sample-packing" help:"Fill sequences with several samples; attention stays within each."`
	TrainOnInputs bool   `yaml:"train_on_inputs" name:"train-on-inputs" negatable:"mask-prompt" help:"Train on the prompts too, not on the answers alone."`
	TrainOn       string `yaml:"train_on" name:"train-on" help:"Assistant turns that are targets: all or last."`
	Shuffle       bool   `yaml:"shuffle" name:"shuffle" negatable:"" help:"Shuffle the rows, by seed; otherwise the file's order."`

	BatchSize                 int     `yaml:"batch_size" name:"batch-size" aliases:"per-device-train-batch-size,micro-batch-size" help:"Sequences per micro-batch."`
	GradientAccumulationSteps int     `yaml:"gradient_accumulation_steps" name:"gradient-accumulation-steps" help:"Micro-batches per optimizer step."`
	NumTrainEpochs            float64 `yaml:"num_train_epochs" name:"num-train-epochs" aliases:"num-epochs" help:"Passes over the data."`
	MaxSteps                  int     `yaml:"max_steps" name:"max-steps" aliases:"iters" help:"Optimizer steps, instead of num-train-epochs; 0: not limited."`

	LearningRate    float64 `yaml:"learning_rate" name:"learning-rate" help:"Learning rate at the peak of the schedule."`
	LRSchedulerType string  `yaml:"lr_scheduler_type" name:"lr-scheduler-type" help:"constant, constant_with_warmup, linear or cosine."`
	WarmupSteps     int     `yaml:"warmup_steps" name:"warmup-steps" help:"Steps of linear warm-up; 0: taken from warmup-ratio."`
	WarmupRatio     float64 `yaml:"warmup_ratio" name:"warmup-ratio" help:"Warm-up as a part of all steps."`
	Optim           string  `yaml:"optim" name:"optim" help:"Optimizer: adamw_32bit, or adamw_8bit, whose moments take a quarter of the memory; with paged_ before the name they lie on the host."`
	WeightDecay     float64 `yaml:"weight_decay" name:"weight-decay" help:"Decoupled weight decay."`
	AdamBeta1       float64 `yaml:"adam_beta1" name:"adam-beta1" help:"Decay of AdamW's first moment."`
	AdamBeta2       float64 `yaml:"adam_beta2" name:"adam-beta2" help:"Decay of AdamW's second moment."`
	AdamEpsilon     float64 `yaml:"adam_epsilon" name:"adam-epsilon" help:"AdamW's epsilon."`
	MaxGradNorm     float64 `yaml:"max_grad_norm" name:"max-grad-norm" help:"Clip the global gradient norm to this; 0: never."`

	ValSize   float64 `yaml:"val_size" name:"val-size" aliases:"val-set-size" help:"Rows held back for evaluation: a part below 1, or a number of rows."`
	EvalSteps int     `yaml:"eval_steps" name:"eval-steps" help:"Evaluate every so many steps; 0: at the end only."`

	LoggingSteps         int    `yaml:"logging_steps" name:"logging-steps" help:"Print the metrics every so many steps."`
	SaveSteps            int    `yaml:"save_steps" name:"save-steps" help:"Write a checkpoint every so many steps; 0: never."`
	SaveTotalLimit       int    `yaml:"save_total_limit" name:"save-total-limit" help:"Keep this many checkpoints; 0: all."`
	ResumeFromCheckpoint string `yaml:"resume_from_checkpoint" name:"resume" aliases:"resume-from-checkpoint" type:"resume" help:"Go on from a checkpoint: auto (the newest valid one) or its folder." placeholder:"auto|DIR"`

	Seed                  uint64 `yaml:"seed" name:"seed" help:"Seed of shuffling, dropout and the adapter's first values."`
	GradientCheckpointing string `yaml:"gradient_checkpointing" name:"gradient-checkpointing" type:"checkpointing" negatable:"" help:"Recompute activations in the backward pass, which saves memory and, with activations in f32, changes no result: full (whole layers), selective (norms, gate and up), off, or auto, the least that fits the memory budget, full where there is none. Alone it is full, with no- before the name off."`
	ActivationDType       string `yaml:"activation_dtype" name:"activation-dtype" help:"How what is kept for the backward pass is stored: f32, or bf16, which takes half the memory and rounds gradients a little."`
	VRAMBudget            string `yaml:"vram_budget" name:"vram-budget" help:"Device memory that the run may take (6GiB); what does not fit is paged from the host and changes no result. Empty: all there is." placeholder:"SIZE"`
	Device                string `yaml:"device" name:"device" help:"Adapter by index or by part of its name (see the devices command)." placeholder:"NAME"`
	CacheDir              string `yaml:"cache_dir" name:"cache-dir" help:"Folder of quantized models and of what was measured on the device; otherwise one under the user's cache folder." placeholder:"DIR"`
	Autotune              string `yaml:"autotune" name:"autotune" help:"Choose kernel variants by measuring: on (cached), off (by rule) or force (measure again)."`
}

// Defaults is a run as most people want it; Model and Data are for the caller to set.
func Defaults() Config {
	return Config{
		OutputDir: "out",
		LoraR:     16, LoraAlpha: 16, LoraTargetModules: []string{"all-linear"},
		BlockSize:    64,
		MaxSeqLength: 1024, TrainOn: "all", Shuffle: true,
		BatchSize: 2, GradientAccumulationSteps: 4, NumTrainEpochs: 1,
		LearningRate: 2e-4, LRSchedulerType: Linear, WarmupRatio: 0.03,
		Optim: adamW32bit, WeightDecay: 0.01, AdamBeta1: 0.9, AdamBeta2: 0.999, AdamEpsilon: 1e-8, MaxGradNorm: 1,
		LoggingSteps: 1, SaveSteps: 50, SaveTotalLimit: 3,
		Seed: 42, GradientCheckpointing: CheckpointAuto, ActivationDType: ActivationsF32, Autotune: "on",
	}
}

// The optimizers, and what stands before the name of one whose moments lie on the host.
const (
	adamW32bit = "adamw_32bit"
	adamW8bit  = "adamw_8bit"
	paged      = "paged_"
)

// eightBit tells whether the optimizer keeps its moments in 8 bits.
func (c Config) eightBit() bool { return strings.TrimPrefix(c.Optim, paged) == adamW8bit }

// Validate reports the first setting that no run could use; the error names the key, its value and what is allowed.
// What depends on the model or the data (a rank above a layer's width, a sequence above the model's limit) is found
// when those are loaded.
func (c Config) Validate() error {
	maxInt := math.MaxInt32
	for _, err := range []error{
		c.validateSource(),
		filled("output_dir", c.OutputDir, "the path of a folder"),
		within("lora_r", c.LoraR, 1, 65536),
		positive("lora_alpha", c.LoraAlpha),
		within("lora_dropout", c.LoraDropout, 0, 0.99),
		targets("lora_target_modules", c.LoraTargetModules),
		blockSize("block_size", c.BlockSize),
		within("max_seq_length", c.MaxSeqLength, 2, 1<<20),
		oneOf("train_on", c.TrainOn, "all", "last"),
		within("batch_size", c.BatchSize, 1, 65536),
		within("gradient_accumulation_steps", c.GradientAccumulationSteps, 1, 65536),
		positive("num_train_epochs", c.NumTrainEpochs),
		within("max_steps", c.MaxSteps, 0, maxInt),
		within("learning_rate", c.LearningRate, 0, 10),
		oneOf("lr_scheduler_type", c.LRSchedulerType, Constant, ConstantWithWarmup, Linear, Cosine),
		within("warmup_steps", c.WarmupSteps, 0, maxInt),
		within("warmup_ratio", c.WarmupRatio, 0, 1),
		validOptim(c.Optim),
		within("weight_decay", c.WeightDecay, 0, 10),
		within("adam_beta1", c.AdamBeta1, 0, 0.9999999),
		within("adam_beta2", c.AdamBeta2, 0, 0.9999999),
		within("adam_epsilon", c.AdamEpsilon, 1e-30, 1),
		within("max_grad_norm", c.MaxGradNorm, 0, 1e9),
		validationSize("val_size", c.ValSize),
		within("eval_steps", c.EvalSteps, 0, maxInt),
		within("logging_steps", c.LoggingSteps, 1, maxInt),
		within("save_steps", c.SaveSteps, 0, maxInt),
		within("save_total_limit", c.SaveTotalLimit, 0, maxInt),
		validCheckpointing(c.GradientCheckpointing),
		validActivationDType(c.ActivationDType),
		oneOf("autotune", c.Autotune, "on", "off", "force"),
	} {
		if err != nil {
			return err
		}
	}
	if _, err := ParseBudget(c.VRAMBudget); err != nil {
		return err
	}
	if c.TrainOnInputs && c.TrainOn == "last" {
		return wrong("train_on_inputs", "true", "false together with train_on last")
	}
	if c.Overwrite && c.ResumeFromCheckpoint != "" {
		return wrong("overwrite", "true", "false together with resume_from_checkpoint").Hinted("a run is either resumed or replaced")
	}
	return nil
}

// validateSource wants a model and data, or a shape with random weights and neither.
func (c Config) validateSource() error {
	if c.Arch == "" {
		switch {
		case c.RandomWeights:
			return wrong("random_weights", "true", "only with arch")
		case c.Layers != 0:
			return wrong("layers", strconv.Itoa(c.Layers), "only with arch")
		}
		if err := filled("model", c.Model, "the path of a GGUF file or of a Hugging Face folder"); err != nil {
			return err
		}
		return filled("data", c.Data, "the path of a JSON, JSON Lines, CSV or text file, or of a folder with train.jsonl")
	}
	switch {
	case !c.RandomWeights:
		return wrong("arch", strconv.Quote(c.Arch), "only with random_weights").Hinted("to train a real model, give model and data")
	case c.Model != "" || c.Data != "":
		return wrong("arch", strconv.Quote(c.Arch), "either arch, or model and data")
	case c.MaxSteps == 0:
		return wrong("max_steps", "0", "at least 1 with arch")
	}
	return within("layers", c.Layers, 0, 1000)
}

func wrong(key, value, allowed string) *usererr.Error {
	return usererr.New("settings", "", "%s is %s, allowed: %s", key, value, allowed)
}

func filled(key, value, allowed string) error {
	if strings.TrimSpace(value) == "" {
		return wrong(key, "missing", allowed)
	}
	return nil
}

// within is false for NaN, which compares false with everything.
func within[N int | float64](key string, value, low, high N) error {
	if value >= low && value <= high {
		return nil
	}
	return wrong(key, fmt.Sprint(value), fmt.Sprintf("%v to %v", low, high))
}

func positive(key string, value float64) error {
	if value > 0 && value <= math.MaxFloat32 {
		return nil
	}
	return wrong(key, fmt.Sprint(value), "a finite number above 0")
}

func oneOf(key, value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return wrong(key, strconv.Quote(value), strings.Join(allowed, ", "))
}

func validOptim(value string) error {
	return oneOf("optim", value, adamW32bit, adamW8bit, paged+adamW32bit, paged+adamW8bit)
}

func targets(key string, modules []string) error {
	const allowed = "all-linear alone, or a list of module names, each once"
	if len(modules) == 0 {
		return wrong(key, "empty", allowed)
	}
	seen := map[string]bool{}
	for _, m := range modules {
		if m == "" || seen[m] || (m == "all-linear" && len(modules) > 1) {
			return wrong(key, strconv.Quote(strings.Join(modules, ",")), allowed)
		}
		seen[m] = true
	}
	return nil
}

func blockSize(key string, value int) error {
	if value >= 32 && value <= 4096 && bits.OnesCount(uint(value)) == 1 {
		return nil
	}
	return wrong(key, strconv.Itoa(value), "32, 64, 128, 256, 512, 1024, 2048, 4096")
}

func validationSize(key string, value float64) error {
	part := value >= 0 && value < 1
	rows := value >= 1 && value <= math.MaxInt32 && value == math.Trunc(value)
	if part || rows {
		return nil
	}
	return wrong(key, fmt.Sprint(value), "a part from 0 to below 1, or a whole number of rows")
}
