//go:build !js

package answer

import (
	"context"

	"qlora-wgpu/internal/adapters"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/files"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/processor"
	"qlora-wgpu/internal/settings"
)

// Open opens the files that the settings name, and the device. Errors are *usererr.Error, or the device's.
func Open(ctx context.Context, c settings.Inference, sampling settings.Sampling, emit func(events.Event)) (*Answerer, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	in := Inputs{Cache: host.MeasurementsIn(c.CacheDir), HostMemory: host.Memory}
	var err error
	var adapter *adapters.Adapter
	if c.Adapter != "" {
		if adapter, err = adapters.Find(ctx, c.Adapter, emit); err != nil {
			return nil, err
		}
	}
	if in.Model, err = host.OpenModel(ctx, c.Model, emit); err != nil {
		return nil, err
	}
	if adapter != nil {
		if in.Adapter, err = adapter.For(in.Model.Spec); err != nil {
			in.Model.Close()
			return nil, err
		}
	}
	if in.ChatTemplate, err = ReadTemplate(in.Model, c.ChatTemplate); err != nil {
		in.Model.Close()
		return nil, err
	}
	owned := []func(){func() { in.Model.Close() }}
	if dir := host.CacheFolder(c.CacheDir); dir != "" {
		quantized := host.Quantized(ctx, dir, in.Model, emit)
		in.Quantized = quantized
		owned = append(owned, quantized.Close)
	}
	a, err := New(ctx, c, sampling, in, emit)
	if err != nil {
		closeAll(owned)
		return nil, err
	}
	a.owned = owned
	return a, nil
}

// maxTemplate is more than a template may have, so that package jinja says how much that is.
const maxTemplate = 2 << 20

// ReadTemplate is the Jinja source that a chat_template means for a model: one of its names, or a file.
func ReadTemplate(model *pretrained.Model, name string) (string, error) {
	return processor.ChatTemplate(model, name, func(path string) (string, error) {
		data, err := files.Read(path, maxTemplate)
		return string(data), err
	})
}

// Generate answers a prompt; write gets the text piece by piece as it is made.
func Generate(ctx context.Context, c settings.Generate, write func(piece string) error, emit func(events.Event)) error {
	a, err := Open(ctx, c.Inference, c.Sampling, emit)
	if err != nil {
		return err
	}
	defer a.Close()
	return a.Answer(ctx, c.Question, write)
}

// Evaluate gives the mean loss over the target tokens of a data set.
func Evaluate(ctx context.Context, c settings.Eval, emit func(events.Event)) (stats events.Eval, err error) {
	if err := c.Check(); err != nil {
		return stats, err
	}
	opened, err := host.OpenData(ctx, c.Dataset, c.CacheDir, emit)
	if err != nil {
		return stats, err
	}
	defer opened.Close()
	data := opened.Train
	if opened.Valid != nil {
		data = opened.Valid
	}
	if c.Rows != "" {
		if data, err = data.Slice(c.Rows); err != nil {
			return stats, err
		}
	}
	if data.IsWeighted() {
		emit(events.Info{Message: "Weights are for training: here every row counts once."})
	}
	a, err := Open(ctx, c.Inference, settings.Default[settings.Sampling](), emit)
	if err != nil {
		return stats, err
	}
	defer a.Close()
	a.samples = opened.Samples
	return a.Evaluate(ctx, data, c.MaxSeqLength, c.TrainOnInputs)
}
