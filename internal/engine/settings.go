package engine

import (
	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/frozen"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// AdapterOf is the fresh adapter that the settings describe.
func AdapterOf(c settings.Adapter) lora.Config {
	return lora.Config{Rank: c.LoraR, Alpha: c.LoraAlpha, RSLoRA: c.UseRSLora, Dropout: c.LoraDropout, Targets: c.LoraTargetModules}
}

// FormatOf is how the settings keep the linears' weights.
func FormatOf(c settings.Quantization) frozen.Format {
	if c.Quantize == settings.Unquantized {
		return frozen.BFloat16{}
	}
	return frozen.NF4(c.BlockSize)
}

// TrainingDemand is what training asks by its settings. Tokens is that of one full micro-batch: who knows the data sets
// what its longest takes.
func TrainingDemand(shape spec.Spec, c settings.Train) Demand {
	d := Demand{
		Shape: shape, Format: FormatOf(c.Quantization), Adapter: AdapterOf(c.Adapter), Tokens: c.MaxSeqLength * c.BatchSize,
		MicroBatches: c.GradientAccumulationSteps, EightBit: c.EightBit(), Auto: c.GradientCheckpointing == settings.CheckpointAuto,
		Start: paging.Decisions{PagedState: c.PagedState(), Activations: activationsOf(c.GradientCheckpointing)},
	}
	if c.ActivationDType == settings.ActivationsBF16 {
		d.Start.Kept = gpu.BF16
	}
	return d
}
