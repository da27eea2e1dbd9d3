package settings

import (
	"encoding/json/jsontext"
	"math"
	"strconv"
	"strings"
)

// Source is the base model.
type Source struct {
	Model string `json:"model" name:"model" aliases:"model-name-or-path,base-model" help:"Base model: a GGUF file, any part of a split one, a Hugging Face folder, or a name of the hub: owner/name, owner/name:Q4_K_M." placeholder:"PATH|NAME"`
}

// Check wants a path.
func (s Source) Check() error {
	return filled("model", s.Model, "the path of a GGUF file or of a Hugging Face folder")
}

// Block is how many weights share an absmax.
type Block struct {
	BlockSize int `json:"block_size" name:"block-size" default:"64" numeric:"" help:"Weights per block of nf4, with double quantization. A model whose files are in 4 bits already keeps its own."`
}

// Check wants a size that the kernels have.
func (b Block) Check() error { return blockSize("block_size", b.BlockSize) }

// Quantization is how the base model's linears are kept.
type Quantization struct {
	Quantize string `json:"quantization" name:"quantization" default:"nf4" numeric:"" help:"How the base model's linears are kept: nf4, 4-bit NormalFloat with double quantization (QLoRA), or none, in bfloat16 (LoRA), which takes four times the memory."`
	Block    `yaml:",inline"`
}

// The values of quantization.
const (
	QuantizedNF4 = "nf4"
	Unquantized  = "none"
)

// Check wants a size that the kernels have, and none that would be ignored.
func (q Quantization) Check() error {
	if q.Quantize == Unquantized && q.BlockSize != Default[Quantization]().BlockSize {
		return Wrong("block_size", strconv.Itoa(q.BlockSize), "only with quantization nf4")
	}
	return first(oneOf("quantization", q.Quantize, QuantizedNF4, Unquantized), q.Block.Check())
}

// Template is how conversations become text.
type Template struct {
	ChatTemplate string `json:"chat_template" name:"chat-template" help:"Instead of the model's default chat template: a Jinja file, the name of another one that the model has (tool_use), or training, the one of its family for training, which keeps what the model's own leaves out, refuses or moves (thoughts of earlier turns, words beside a call)." placeholder:"FILE|NAME"`
	TemplateArgs string `json:"template_args" name:"template-args" numeric:"" object:"" help:"Variables for the chat template, a JSON object: {\"enable_thinking\": false}. A row's chat_template_kwargs go before them." placeholder:"JSON"`
}

// TrainingTemplate is the chat_template that stands for a family's template for training.
const TrainingTemplate = "training"

// Check wants variables that are a JSON object.
func (t Template) Check() error {
	args := t.Args()
	if args == nil || args.Kind() == jsontext.KindBeginObject && args.IsValid() {
		return nil
	}
	return Wrong("template_args", shortened(args), `a JSON object, such as {"enable_thinking": false}`)
}

// Args is TemplateArgs as JSON, nil where there are none.
func (t Template) Args() jsontext.Value {
	if text := strings.TrimSpace(t.TemplateArgs); text != "" {
		return jsontext.Value(text)
	}
	return nil
}

// Dataset is what is learned from, or measured on.
type Dataset struct {
	Data          string `json:"data" name:"data" aliases:"dataset" type:"lines" lines:"" help:"Data set: a JSON, JSON Lines, CSV, TSV, text or Markdown file, also compressed (gzip, zstd, bzip2), a Parquet file, a folder with splits (train.jsonl, data/train-*.parquet, …) or a data set of the hub (owner/name, owner/name@revision); the format is detected. Several, each by a --data of its own or a list in a file of settings, are learned together: PATH:WEIGHT says how often the rows of one come in an epoch (2, 0.5), PATH:WEIGHT:ROWS or PATH::ROWS which of them (1000, 900:960)." placeholder:"PATH|NAME[:WEIGHT[:ROWS]]"`
	Reading       `yaml:",inline"`
	TrainOnInputs bool `json:"train_on_inputs" name:"train-on-inputs" default:"false" negatable:"mask-prompt" numeric:"" help:"The prompts' tokens count too, not the answers' alone."`
}

// Check wants a path, and columns that can be meant.
func (d Dataset) Check() error {
	return first(filled("data", d.Data,
		"the path of a JSON, JSON Lines, CSV, TSV, text or Parquet file, or of a folder with train.jsonl, or a name of the hub"),
		d.Learned.Check())
}

// Reading is which part of a data set is read, and as what.
type Reading struct {
	DataConfig   string `json:"data_config" name:"data-config" help:"Of a data set with several configs: the one to take." placeholder:"NAME"`
	DataSplit    string `json:"data_split" name:"data-split" help:"The one split to take; without it train, and validation to evaluate on." placeholder:"NAME"`
	DataTemplate string `json:"data_template" name:"data-template" help:"A Jinja template that makes of each row what is learned: a list of messages as JSON, or a text. It sees the row's columns, and all of them as row." placeholder:"FILE"`
	Learned      `yaml:",inline"`
}

// Learned is which columns of a data set are learned.
type Learned struct {
	DataColumns string `json:"data_columns" name:"data-columns" numeric:"" help:"Columns to learn, where their names do not tell: prompt=NAME,completion=NAME, at will also system=NAME and header=yes or no; or messages=NAME; or text=NAME. In a table a NAME can be a number from 1, in columns of objects it is column.name." placeholder:"ROLE=NAME,…"`
	DataFormat  string `json:"data_format" name:"data-format" numeric:"" help:"What the file is, where that is not to be found out: a format (messages, ShareGPT, Alpaca, prompt/completion, text, QUESTION/ANSWER), a container (JSON Lines, JSON array, CSV, CSV with semicolons, TSV, text file, Parquet) or both (Alpaca in CSV)." placeholder:"FORMAT"`
}

// Check wants columns and a format that can be meant.
func (l Learned) Check() error {
	_, err := l.Columns()
	return err
}

// Columns is DataColumns as it is meant, with the format.
func (l Learned) Columns() (Columns, error) {
	c, err := ParseColumns(l.DataColumns)
	if err != nil {
		return c, err
	}
	if c.Format, c.Container, err = ParseDataFormat(l.DataFormat); err == nil && c.Format != "" && c.Given() {
		err = Wrong("data_format", strconv.Quote(l.DataFormat), "only a container beside data_columns, which say what is learned")
	}
	return c, err
}

// LoRA is which adapter there is.
type LoRA struct {
	LoraR             int      `json:"lora_r" name:"lora-r" aliases:"r,lora-rank" default:"16" numeric:"" help:"Rank of the LoRA matrices."`
	LoraTargetModules []string `json:"lora_target_modules" name:"lora-target-modules" aliases:"target-modules" default:"all-linear" sep:"," numeric:"" help:"Linears that get an adapter: all-linear or a list (q_proj,v_proj)."`
}

// Check checks the two as far as that is possible without the model.
func (l LoRA) Check() error {
	return first(Within("lora_r", l.LoraR, 1, 65536), targets("lora_target_modules", l.LoraTargetModules))
}

// Adapter is a LoRA adapter that is trained.
type Adapter struct {
	LoRA        `yaml:",inline"`
	LoraAlpha   float64 `json:"lora_alpha" name:"lora-alpha" default:"16" numeric:"" help:"LoRA scale: alpha / r, with rsLoRA alpha / sqrt(r)."`
	LoraDropout float64 `json:"lora_dropout" name:"lora-dropout" default:"0" numeric:"" help:"Dropout on the input of A, a probability."`
	UseRSLora   bool    `json:"use_rslora" name:"use-rslora" default:"false" numeric:"" help:"Scale by alpha / sqrt(r)."`
	InitAdapter string  `json:"init_adapter" name:"init-adapter" help:"Continue from the weights of this adapter: a folder of PEFT's or MLX's, a GGUF LoRA, or a name of the hub." placeholder:"PATH|NAME"`
}

// Check checks shape and scale.
func (a Adapter) Check() error {
	return first(a.LoRA.Check(), positive("lora_alpha", a.LoraAlpha), Within("lora_dropout", a.LoraDropout, 0, 0.99))
}

// Targets is which turns are learned.
type Targets struct {
	TrainOn string `json:"train_on" name:"train-on" default:"all" numeric:"" help:"Assistant turns that are targets: all or last."`
}

// Check wants a value that there is.
func (t Targets) Check() error { return oneOf("train_on", t.TrainOn, "all", "last") }

// Samples is what becomes of the rows of a data set.
type Samples struct {
	Packing   bool `json:"packing" name:"packing" aliases:"sample-packing" default:"false" numeric:"" help:"Fill sequences with several samples; attention stays within each."`
	Targets   `yaml:",inline"`
	Shuffle   bool    `json:"shuffle" name:"shuffle" default:"true" negatable:"" numeric:"" help:"Shuffle the rows, by seed; otherwise the file's order."`
	ValSize   float64 `json:"val_size" name:"val-size" aliases:"val-set-size" default:"0" numeric:"" help:"Rows held back for evaluation: a part below 1, or a number of rows."`
	EvalSteps int     `json:"eval_steps" name:"eval-steps" default:"0" help:"Evaluate every so many steps; 0: at the end only."`
}

// Check checks all of them.
func (s Samples) Check() error {
	return first(s.Targets.Check(), validationSize("val_size", s.ValSize),
		Within("eval_steps", s.EvalSteps, 0, math.MaxInt32))
}

// Length is how long a sample may be.
type Length struct {
	MaxSeqLength int `json:"max_seq_length" name:"max-seq-length" aliases:"max-length,sequence-len,cutoff-len" default:"1024" numeric:"" help:"Longest sequence in tokens, never above the model's own limit."`
}

// Check wants a length that can be learned.
func (l Length) Check() error { return Within("max_seq_length", l.MaxSeqLength, 2, 1<<20) }

// Batch is how much an optimizer step takes.
type Batch struct {
	Length                    `yaml:",inline"`
	BatchSize                 int `json:"batch_size" name:"batch-size" aliases:"per-device-train-batch-size,micro-batch-size" default:"2" numeric:"" help:"Sequences per micro-batch."`
	GradientAccumulationSteps int `json:"gradient_accumulation_steps" name:"gradient-accumulation-steps" default:"4" numeric:"" help:"Micro-batches per optimizer step."`
}

// Check checks all of them.
func (b Batch) Check() error {
	return first(b.Length.Check(), Within("batch_size", b.BatchSize, 1, 65536),
		Within("gradient_accumulation_steps", b.GradientAccumulationSteps, 1, 65536))
}

// Schedule is how long a run takes and how its learning rate goes.
type Schedule struct {
	NumTrainEpochs  float64 `json:"num_train_epochs" name:"num-train-epochs" aliases:"num-epochs" default:"1" numeric:"" help:"Passes over the data."`
	MaxSteps        int     `json:"max_steps" name:"max-steps" aliases:"iters" default:"0" numeric:"" help:"Optimizer steps, instead of num-train-epochs; 0: not limited."`
	LearningRate    float64 `json:"learning_rate" name:"learning-rate" default:"0.0002" numeric:"" help:"Learning rate at the peak of the schedule."`
	LRSchedulerType string  `json:"lr_scheduler_type" name:"lr-scheduler-type" default:"linear" numeric:"" help:"constant, constant_with_warmup, linear or cosine."`
	WarmupSteps     int     `json:"warmup_steps" name:"warmup-steps" default:"0" numeric:"" help:"Steps of linear warm-up; 0: taken from warmup-ratio."`
	WarmupRatio     float64 `json:"warmup_ratio" name:"warmup-ratio" default:"0.03" numeric:"" help:"Warm-up as a part of all steps."`
}

// The values of lr_scheduler_type, as in transformers.
const (
	Constant           = "constant"
	ConstantWithWarmup = "constant_with_warmup"
	Linear             = "linear"
	Cosine             = "cosine"
)

// Check checks all of them.
func (s Schedule) Check() error {
	return first(positive("num_train_epochs", s.NumTrainEpochs), Within("max_steps", s.MaxSteps, 0, math.MaxInt32),
		Within("learning_rate", s.LearningRate, 0, 10),
		oneOf("lr_scheduler_type", s.LRSchedulerType, Constant, ConstantWithWarmup, Linear, Cosine),
		Within("warmup_steps", s.WarmupSteps, 0, math.MaxInt32), Within("warmup_ratio", s.WarmupRatio, 0, 1))
}

// Seeded is what all randomness follows from.
type Seeded struct {
	Seed uint64 `json:"seed" name:"seed" default:"42" numeric:"" help:"Seed of all that is random: shuffling, dropout, the adapter's first values, the drawing of an answer."`
}

// Output is what a run writes, and whether it goes on with what is there.
type Output struct {
	OutputDir            string `json:"output_dir" name:"output-dir" aliases:"adapter-path" default:"out" help:"Folder of the adapter, the log and the checkpoints."`
	Overwrite            bool   `json:"overwrite" name:"overwrite" default:"false" help:"Replace the run that output-dir holds."`
	LoggingSteps         int    `json:"logging_steps" name:"logging-steps" default:"1" help:"Print the metrics every so many steps."`
	SaveSteps            int    `json:"save_steps" name:"save-steps" default:"50" help:"Write a checkpoint every so many steps; 0: never."`
	SaveTotalLimit       int    `json:"save_total_limit" name:"save-total-limit" default:"3" help:"Keep this many checkpoints; 0: all."`
	ResumeFromCheckpoint string `json:"resume_from_checkpoint" name:"resume" aliases:"resume-from-checkpoint" type:"resume" help:"Go on from a checkpoint: auto (the newest valid one) or its folder." placeholder:"auto|DIR"`
}

// Check checks all of them.
func (o Output) Check() error {
	if o.Overwrite && o.ResumeFromCheckpoint != "" {
		return Wrong("overwrite", "true", "false together with resume_from_checkpoint").Hinted("a run is either resumed or replaced")
	}
	return first(filled("output_dir", o.OutputDir, "the path of a folder"), Within("logging_steps", o.LoggingSteps, 1, math.MaxInt32),
		Within("save_steps", o.SaveSteps, 0, math.MaxInt32), Within("save_total_limit", o.SaveTotalLimit, 0, math.MaxInt32))
}
