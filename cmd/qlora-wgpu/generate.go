package main

import (
	"fmt"
	"io"

	"qlora-wgpu/trainer"
)

type generateCommand struct {
	Model        string  `name:"model" required:"" help:"Base model: a GGUF file or a Hugging Face folder." placeholder:"PATH"`
	Adapter      string  `name:"adapter" help:"PEFT adapter over it." placeholder:"DIR"`
	Prompt       string  `name:"prompt" required:"" help:"What to answer."`
	System       string  `name:"system" help:"System message before it."`
	Raw          bool    `name:"raw" help:"Continue the prompt as it stands, without the chat template."`
	ChatTemplate string  `name:"chat-template" help:"Jinja file used instead of the model's own chat template." placeholder:"FILE"`
	MaxTokens    int     `name:"max-tokens" default:"256" help:"Tokens to write at most."`
	Temperature  float64 `name:"temperature" default:"0" help:"0 takes the likeliest token each time; higher is more random."`
	TopP         float64 `name:"top-p" default:"1" help:"Draw from the likeliest tokens that together have this probability."`
	Seed         uint64  `name:"seed" default:"42" help:"Seed of the drawing."`
	BlockSize    int     `name:"block-size" default:"64" help:"Weights per NF4 block."`
	Device       string  `name:"device" help:"Adapter by index or by part of its name (see the devices command)." placeholder:"NAME"`
	Autotune     string  `name:"autotune" default:"on" enum:"on,off,force" help:"Choose kernel variants by measuring: on (cached), off (by rule) or force (measure again)."`
	VRAMBudget   string  `name:"vram-budget" help:"Device memory to take at most (6GiB): weights that do not fit are streamed from the host and change no result. Empty: all weights lie on the device." placeholder:"SIZE"`
	CacheDir     string  `name:"cache-dir" help:"Folder of quantized models and of what was measured on the device; otherwise one under the user's cache folder." placeholder:"DIR"`
}

// Run streams the answer to stdout and says all else on stderr.
func (g *generateCommand) Run(c *console) error {
	err := trainer.Generate(c.context, trainer.GenerateOptions{
		Model: g.Model, Adapter: g.Adapter, Prompt: g.Prompt, System: g.System, Raw: g.Raw, ChatTemplate: g.ChatTemplate,
		MaxTokens: g.MaxTokens, Temperature: g.Temperature, TopP: g.TopP, Seed: g.Seed,
		BlockSize: g.BlockSize, Device: g.Device, Autotune: g.Autotune, CacheDir: g.CacheDir, VRAMBudget: g.VRAMBudget,
	}, func(piece string) error {
		_, err := io.WriteString(c.stdout, piece)
		return err
	}, c.logEvent)
	fmt.Fprintln(c.stdout)
	return err
}
