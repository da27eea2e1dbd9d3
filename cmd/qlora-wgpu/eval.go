package main

import (
	"encoding/json"
	"fmt"

	"qlora-wgpu/trainer"
)

type evalCommand struct {
	Model         string `name:"model" required:"" help:"Base model: a GGUF file or a Hugging Face folder." placeholder:"PATH"`
	Adapter       string `name:"adapter" help:"PEFT adapter over it." placeholder:"DIR"`
	Data          string `name:"data" required:"" help:"Data set: a JSON, JSON Lines, CSV or text file." placeholder:"PATH"`
	Rows          string `name:"rows" help:"Only these rows of it, the end excluded: 900:960, :100, -60:." placeholder:"FROM:TO"`
	MaxSeqLength  int    `name:"max-seq-length" help:"Truncate to so many tokens; 0: at the model's own limit only." default:"0"`
	TrainOnInputs bool   `name:"train-on-inputs" help:"Count the prompts too, not the answers alone."`
	ChatTemplate  string `name:"chat-template" help:"Jinja file used instead of the model's own chat template." placeholder:"FILE"`
	BlockSize     int    `name:"block-size" default:"64" help:"Weights per NF4 block."`
	Device        string `name:"device" help:"Adapter by index or by part of its name (see the devices command)." placeholder:"NAME"`
	Autotune      string `name:"autotune" default:"on" enum:"on,off,force" help:"Choose kernel variants by measuring: on (cached), off (by rule) or force (measure again)."`
	VRAMBudget    string `name:"vram-budget" help:"Device memory to take at most (6GiB): weights that do not fit are streamed from the host and change no result. Empty: all weights lie on the device." placeholder:"SIZE"`
	CacheDir      string `name:"cache-dir" help:"Folder of quantized models and of what was measured on the device; otherwise one under the user's cache folder." placeholder:"DIR"`
	JSON          bool   `name:"json" help:"Print one line of JSON."`
}

// Run prints the result on stdout and all else on stderr.
func (e *evalCommand) Run(c *console) error {
	stats, err := trainer.Evaluate(c.context, trainer.EvalOptions{
		Model: e.Model, Adapter: e.Adapter, Data: e.Data, Rows: e.Rows,
		MaxSeqLength: e.MaxSeqLength, TrainOnInputs: e.TrainOnInputs,
		ChatTemplate: e.ChatTemplate, BlockSize: e.BlockSize, Device: e.Device, Autotune: e.Autotune, CacheDir: e.CacheDir, VRAMBudget: e.VRAMBudget,
	}, c.logEvent)
	if err != nil {
		return err
	}
	if e.JSON {
		return json.NewEncoder(c.stdout).Encode(struct {
			Loss         float64 `json:"loss"`
			Perplexity   float64 `json:"perplexity"`
			TargetTokens int64   `json:"target_tokens"`
		}{stats.Loss, stats.Perplexity, stats.TargetTokens})
	}
	_, err = fmt.Fprintf(c.stdout, "loss %.6f, perplexity %.4f over %d target tokens of %d rows\n", stats.Loss, stats.Perplexity, stats.TargetTokens, stats.Rows)
	return err
}

// logEvent keeps stdout free for the result of a command.
func (c *console) logEvent(e trainer.Event) {
	prefix := ""
	if _, ok := e.(trainer.Warning); ok {
		prefix = "warning: "
	}
	if said := e.String(); said != "" {
		fmt.Fprintln(c.stderr, prefix+said)
	}
}
