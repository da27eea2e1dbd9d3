package settings

import "time"

// Inference is what a loaded model that answers or is measured needs.
type Inference struct {
	Source       `yaml:",inline"`
	Adapter      string `json:"adapter" name:"adapter" help:"Adapter over it: a folder of PEFT's or MLX's, a GGUF LoRA, or a name of the hub." placeholder:"PATH|NAME"`
	Quantization `yaml:",inline"`
	Template     `yaml:",inline"`
	Budget       `yaml:",inline"`
	Hardware     `yaml:",inline"`
}

// Check checks all of them.
func (i Inference) Check() error {
	return first(i.Source.Check(), i.Quantization.Check(), i.Template.Check(), i.Budget.Check(), i.Hardware.Check())
}

// Sampling is how an answer is drawn.
type Sampling struct {
	MaxTokens   int     `json:"max_tokens" name:"max-tokens" default:"256" help:"Tokens to write at most."`
	Temperature float64 `json:"temperature" name:"temperature" default:"0" help:"0 takes the likeliest token each time; higher is more random."`
	TopP        float64 `json:"top_p" name:"top-p" default:"1" help:"Draw from the likeliest tokens that together have this probability."`
	Seeded      `yaml:",inline"`
}

// Check checks all of them.
func (s Sampling) Check() error {
	return first(Within("max_tokens", s.MaxTokens, 1, 1<<20), Within("temperature", s.Temperature, 0, 100), Within("top_p", s.TopP, 0, 1))
}

// Question is what is asked.
type Question struct {
	Prompt string `json:"prompt" name:"prompt" required:"" help:"What to answer."`
	System string `json:"system" name:"system" help:"System message before it."`
	Raw    bool   `json:"raw" name:"raw" default:"false" help:"Continue the prompt as it stands, without the chat template."`
}

// Generate is every setting of answers.
type Generate struct {
	Inference `yaml:",inline"`
	Question  `yaml:",inline"`
	Sampling  `yaml:",inline"`
}

// Check checks all of them.
func (g Generate) Check() error { return first(g.Inference.Check(), g.Sampling.Check()) }

// Part is which rows of a data set are taken.
type Part struct {
	Rows string `json:"rows" name:"rows" help:"Only these rows of it, the end excluded: 900:960, :100, -60:." placeholder:"FROM:TO"`
}

// Eval is every setting of an evaluation.
type Eval struct {
	Inference `yaml:",inline"`
	Dataset   `yaml:",inline"`
	Part      `yaml:",inline"`
	// Not the group's, which has no 0: a loss is of whole samples unless somebody asks for less.
	MaxSeqLength int `json:"max_seq_length" name:"max-seq-length" default:"0" help:"Truncate to so many tokens; 0: at the model's own limit only."`
}

// Check checks all of them.
func (e Eval) Check() error {
	return first(e.Inference.Check(), e.Dataset.Check(), Within("max_seq_length", e.MaxSeqLength, 0, 1<<20))
}

// Plan is what memory depends on.
type Plan struct {
	Source       `yaml:",inline"`
	Shape        `yaml:",inline"`
	Batch        `yaml:",inline"`
	LoRA         `yaml:",inline"`
	Quantization `yaml:",inline"`
	Optimizer    `yaml:",inline"`
	Memory       `yaml:",inline"`
	Bandwidth    float64 `json:"bandwidth" name:"bandwidth" default:"12" help:"Between host and device, in GB/s, for the time that paging takes."`
}

// Check checks all but where the shape comes from.
func (p Plan) Check() error {
	return first(p.Shape.Check(), p.Batch.Check(), p.LoRA.Check(), p.Quantization.Check(), p.Optimizer.Check(),
		p.Memory.Check(), Within("bandwidth", p.Bandwidth, 1e-3, 1e6))
}

// Training is the run whose memory is planned.
func (p Plan) Training() Train {
	c := Default[Train]()
	c.Batch, c.LoRA, c.Quantization, c.Optimizer, c.Memory = p.Batch, p.LoRA, p.Quantization, p.Optimizer, p.Memory
	c.LoraAlpha = float64(p.LoraR)
	return c
}

// Patience is how long a benchmark may measure one thing.
type Patience struct {
	Seconds time.Duration `json:"seconds" name:"seconds" default:"1s" help:"Time for each product that is measured; one that takes longer is not repeated."`
}

// Sequence is the one of a benchmark's step.
type Sequence struct {
	Tokens int `json:"tokens" name:"tokens" aliases:"max-seq-length" default:"128" help:"Tokens of a step's only sequence."`
}

// BenchKernels is every setting of a benchmark of single kernels.
type BenchKernels struct {
	GPU      `yaml:",inline"`
	Patience `yaml:",inline"`
	Filter   string `json:"filter" name:"filter" help:"Only cells that match this regular expression over 'model operation Ttokens Nrows Kcolumns' or 'model operation Ttokens Hheads KVHheads Dsize'." placeholder:"REGEXP"`
	Variant  string `json:"variant" name:"variant" help:"Run this variant, not the one that the autotune chose or would choose." placeholder:"NAME"`
}

// BenchLoad is every setting of a benchmark of loading.
type BenchLoad struct {
	Source       `yaml:",inline"`
	Quantization `yaml:",inline"`
	GPU          `yaml:",inline"`
	Runs         int `json:"runs" name:"runs" default:"5" help:"How often it is read and loaded; the least times count."`
}

// Check checks all of them.
func (b BenchLoad) Check() error {
	return first(b.Source.Check(), b.Quantization.Check(), Within("runs", b.Runs, 1, 1000))
}

// BenchTrain is every setting of a benchmark of optimizer steps.
type BenchTrain struct {
	Source       `yaml:",inline"`
	Random       `yaml:",inline"`
	Quantization `yaml:",inline"`
	LoRA         `yaml:",inline"`
	Memory       `yaml:",inline"`
	Hardware     `yaml:",inline"`
	Sequence     `yaml:",inline"`
	Patience     `yaml:",inline"`
	Steps        int `json:"steps" name:"steps" default:"5" help:"Steps to time after the first, which compiles."`
}

// Check checks all but the sequence, which depends on the model, and where the shape comes from.
func (b BenchTrain) Check() error {
	return first(b.Random.Check(), b.Quantization.Check(), b.LoRA.Check(), b.Memory.Check(), b.Hardware.Check(),
		Within("steps", b.Steps, 1, 100000))
}

// Training is the run whose steps are measured. Figures compare only where the same is computed: recompute that is left
// to the memory at hand is full.
func (b BenchTrain) Training() Train {
	c := Default[Train]()
	c.Quantization, c.LoRA, c.Memory, c.Hardware, c.LoraAlpha = b.Quantization, b.LoRA, b.Memory, b.Hardware, float64(b.LoraR)
	c.MaxSeqLength, c.BatchSize, c.GradientAccumulationSteps, c.MaxSteps = b.Tokens, 1, 1, b.Steps+1
	if c.GradientCheckpointing == CheckpointAuto {
		c.GradientCheckpointing = CheckpointFull
	}
	return c
}

// BenchPaging is every setting of a benchmark of paging.
type BenchPaging struct {
	Source       `yaml:",inline"`
	Shape        `yaml:",inline"`
	Quantization `yaml:",inline"`
	LoRA         `yaml:",inline"`
	GPU          `yaml:",inline"`
	Sequence     `yaml:",inline"`
	Steps        int `json:"steps" name:"steps" default:"4" help:"Steps of each run; the first, which compiles, does not count."`
}

// Check checks all but where the shape comes from.
func (b BenchPaging) Check() error {
	return first(b.Shape.Check(), b.Quantization.Check(), b.LoRA.Check(), Within("tokens", b.Tokens, 2, 1<<20),
		Within("steps", b.Steps, 2, 1000))
}

// Training is the run whose steps are measured.
func (b BenchPaging) Training() Train {
	c := Default[Train]()
	c.Quantization, c.LoRA, c.GPU, c.Autotune = b.Quantization, b.LoRA, b.GPU, "off"
	c.MaxSeqLength, c.BatchSize, c.GradientAccumulationSteps, c.MaxSteps = b.Tokens, 1, 1, b.Steps
	return c
}
