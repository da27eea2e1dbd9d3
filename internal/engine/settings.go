package engine

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/frozen"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// adapterOf is the fresh adapter of a model that the settings describe: for the class of its files.
func adapterOf(shape spec.Spec, c settings.Adapter) lora.Config {
	within := ""
	if shape.Wrapper != "" {
		within = lora.Wrapped
	}
	return lora.Config{
		Rank: c.LoraR, Alpha: c.LoraAlpha, RSLoRA: c.UseRSLora, Dropout: c.LoraDropout, Targets: c.LoraTargetModules, Within: within,
	}
}

// FormatsOf is how the linears' weights are kept: as the model's files hold them where these are quantized, else by the
// settings.
func FormatsOf(shape spec.Spec, c settings.Quantization) frozen.Formats {
	switch {
	case shape.Quantized != nil:
		return stored(shape)
	case c.Quantize == settings.Unquantized:
		return frozen.BFloat16
	}
	return frozen.NF4(c.BlockSize)
}

// stored are the formats of a model whose files are quantized.
func stored(shape spec.Spec) frozen.Formats {
	own := map[string]frozen.Format{}
	for _, t := range shape.Tensors() {
		if t.Role != spec.Matrix {
			continue
		}
		q, quantized := shape.Quantized[t.Name]
		format := frozen.Format(frozen.BFloat16)
		switch {
		case quantized && q.Double:
			format = frozen.NF4(q.BlockSize)
		case quantized:
			format = frozen.NF4Single(q.BlockSize)
		}
		own[linearOf(t)] = format
	}
	return frozen.Mixed(own)
}

const takenAsTheyAre = "the model's files hold weights in 4 bits, which are taken as they are"

// CheckQuantization refuses settings that want weights otherwise than the files of a quantized model hold them: these
// are taken as they are. A block size that is the default is no wish.
func CheckQuantization(shape spec.Spec, c settings.Quantization) error {
	if shape.Quantized == nil {
		return nil
	}
	if c.Quantize == settings.Unquantized {
		return settings.Wrong("quantization", c.Quantize, settings.QuantizedNF4+": "+takenAsTheyAre).
			Hinted("for 16 bits take the original model")
	}
	if c.BlockSize == settings.Default[settings.Quantization]().BlockSize {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(shape.Quantized)) {
		if held := shape.Quantized[name].BlockSize; held != c.BlockSize {
			return settings.Wrong("block_size", strconv.Itoa(c.BlockSize),
				fmt.Sprintf("%d: %s", held, takenAsTheyAre))
		}
	}
	return nil
}

// TrainingDemand is what training asks by its settings. Tokens is that of one full micro-batch: who knows the data sets
// what its longest takes.
func TrainingDemand(shape spec.Spec, c settings.Train) Demand {
	d := Demand{
		Shape: shape, Format: FormatsOf(shape, c.Quantization), Adapter: adapterOf(shape, c.Adapter), Tokens: c.MaxSeqLength * c.BatchSize,
		MicroBatches: c.GradientAccumulationSteps, EightBit: c.EightBit(), Auto: c.GradientCheckpointing == settings.CheckpointAuto,
		Start: paging.Decisions{PagedState: c.PagedState(), Activations: activationsOf(c.GradientCheckpointing)},
	}
	if c.ActivationDType == settings.ActivationsBF16 {
		d.Start.Kept = gpu.BF16
	}
	return d
}
