//go:build !js

package main

import (
	"context"
	"fmt"
	"os"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/trainer"
)

// course is what adapters are trained with over several bases.
type course struct {
	subject // of the held-back rows
	train   *dataset.Source
	set     func(*trainer.Config)
	seeds   int
	bases   []format // beside 16 bits; that of QLoRA is trained packed
}

// qlora is how QLoRA keeps its base.
var qlora = format{typeNF4, 64, true}

// runs trains every base with every seed, and measures the held-back rows before and after.
func (s course) runs(ctx context.Context, dev *gpu.Device) (list []trainRow, err error) {
	for i := range len(s.bases) + 1 {
		name, m, block := sixteenBit, s.model, 0
		if i > 0 {
			f := s.bases[i-1]
			name = f.String()
			if f == qlora {
				block = f.block
			} else if m, err = through(s.model, f); err != nil {
				return nil, err
			}
		}
		rows, err := s.evaluate(ctx, dev, m, block)
		if err != nil {
			return nil, err
		}
		before, _ := mean(rows)
		for seed := range s.seeds {
			c := trainer.Defaults()
			s.set(&c)
			c.Model, c.Data, c.Seed, c.MaxSeqLength, c.SaveSteps, c.Autotune = s.name, s.dataName, uint64(seed), s.longest, 0, "off"
			if block == 0 {
				c.Quantize = settings.Unquantized
			}
			if c.OutputDir, err = os.MkdirTemp("", "experiment"); err != nil {
				return nil, err
			}
			defer os.RemoveAll(c.OutputDir)
			summary, err := trainer.Run(ctx, c, trainer.Inputs{
				Model: m, Data: s.train, Valid: s.data, Output: trainer.Folder{}, Cache: host.MeasurementsIn(""), HostMemory: host.Memory,
				Opened: dev,
			}, quiet)
			if err != nil {
				return nil, err
			}
			fmt.Printf("%s, %s, seed %d: %.4f before, %.4f after %d steps, %.0f s\n", s.name, name, seed, before, summary.Eval.Loss,
				summary.Steps, summary.Seconds)
			list = append(list, trainRow{
				Model: s.name, Base: name, Seed: uint64(seed), Steps: summary.Steps, Before: nats(before),
				After: nats(summary.Eval.Loss),
			})
		}
	}
	return list, nil
}
