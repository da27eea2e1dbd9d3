package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/trainer"
)

type planCommand struct {
	Model string `name:"model" help:"Model to plan for: a GGUF file or a Hugging Face folder." placeholder:"PATH"`
	Arch  string `name:"arch" help:"Instead of a model, the shape of a common one (llama-3.1-8b)." placeholder:"NAME"`

	VRAMBudget            string   `name:"vram-budget" help:"Device memory that the run may take (6GiB); without it everything is resident." placeholder:"SIZE"`
	MaxSeqLength          int      `name:"max-seq-length" default:"1024" help:"Longest sequence in tokens."`
	BatchSize             int      `name:"batch-size" default:"2" help:"Sequences per micro-batch."`
	MicroBatches          int      `name:"gradient-accumulation-steps" default:"4" help:"Micro-batches per optimizer step."`
	LoraR                 int      `name:"lora-r" default:"16" help:"Rank of the LoRA matrices."`
	LoraTargetModules     []string `name:"lora-target-modules" default:"all-linear" sep:"," help:"Linears that get an adapter: all-linear or a list."`
	BlockSize             int      `name:"block-size" default:"64" help:"Weights per NF4 block."`
	Optim                 string   `name:"optim" default:"adamw_32bit" help:"Optimizer, as in train."`
	GradientCheckpointing string   `name:"gradient-checkpointing" type:"checkpointing" negatable:"" default:"auto" help:"Recompute activations in the backward pass: full, selective, off, or auto, the least that fits the budget."`
	ActivationDType       string   `name:"activation-dtype" default:"f32" help:"How what is kept for the backward pass is stored: f32 or bf16."`
	Bandwidth             float64  `name:"bandwidth" default:"12" help:"Between host and device, in GB/s, for the time that paging takes."`
	JSON                  bool     `name:"json" help:"Print a JSON object."`
}

// Run prints where everything would lie. It needs no GPU.
func (p *planCommand) Run(c *console) error {
	shape, name, err := p.shape()
	if err != nil {
		return err
	}
	report, err := trainer.PlanMemory(trainer.PlanOptions{
		Shape: shape, Name: name, VRAMBudget: p.VRAMBudget, MaxSeqLength: p.MaxSeqLength, BatchSize: p.BatchSize, MicroBatches: p.MicroBatches, LoraR: p.LoraR,
		LoraTargetModules: p.LoraTargetModules, BlockSize: p.BlockSize, Optim: p.Optim,
		GradientCheckpointing: p.GradientCheckpointing, ActivationDType: p.ActivationDType, Bandwidth: p.Bandwidth,
	})
	if err != nil {
		return err
	}
	if p.JSON {
		encoder := json.NewEncoder(c.stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(report)
	}
	_, err = fmt.Fprint(c.stdout, report)
	return err
}

func (p *planCommand) shape() (shape spec.Spec, name string, err error) {
	switch {
	case (p.Model == "") == (p.Arch == ""):
		return shape, "", usererr.New("plan", "", "one of --model and --arch is wanted").Hinted("--arch knows %s", strings.Join(pretrained.ShapeNames(), ", "))
	case p.Model != "":
		model, err := pretrained.Open(p.Model)
		if err != nil {
			return shape, "", err
		}
		defer model.Close()
		return model.Spec, p.Model, nil
	}
	return archShape(p.Arch)
}

// archShape is a common model's shape; an unknown name gets the nearest as an answer.
func archShape(arch string) (shape spec.Spec, name string, err error) {
	shape, known := pretrained.Shape(arch)
	if !known {
		err = usererr.New("plan", "", "there is no architecture %q", arch).Of(usererr.Unsupported).Hinted("did you mean %s?", nearest(strings.ToLower(arch), pretrained.ShapeNames()))
	}
	return shape, arch, err
}
