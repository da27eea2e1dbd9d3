//go:build !js

package trainer

import (
	"context"
	"path/filepath"

	"qlora-wgpu/internal/adapters"
	"qlora-wgpu/internal/answer"
	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/files"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/inspect"
	"qlora-wgpu/internal/runlock"
)

// Train opens the files that the configuration names and runs it. Errors are Run's, and *usererr.Error for a file that
// cannot be read, and for an output folder that another run is writing to.
func Train(ctx context.Context, c Config, emit func(Event)) (*Summary, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	lock, err := runlock.Take(c.OutputDir, func(message string) { emit(Warning{Message: message}) })
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	in := Inputs{Output: Folder{}, Cache: host.MeasurementsIn(c.CacheDir), SubmitScale: host.SubmitScale(), HostMemory: host.Memory}
	if in.Model, err = host.OpenModel(ctx, c.Model, emit); err != nil {
		return nil, err
	}
	defer in.Model.Close()
	if dir := host.CacheFolder(c.CacheDir); dir != "" {
		quantized := host.Quantized(ctx, dir, in.Model, emit)
		defer quantized.Close()
		in.Quantized = quantized
	}
	data, err := host.OpenData(ctx, c.Dataset, c.CacheDir, emit)
	if err != nil {
		return nil, err
	}
	defer data.Close()
	in.Data, in.Valid, in.Samples = data.Train, data.Valid, data.Samples
	if in.ChatTemplate, err = answer.ReadTemplate(in.Model, c.ChatTemplate); err != nil {
		return nil, err
	}
	if c.InitAdapter != "" {
		adapter, err := adapters.Find(ctx, c.InitAdapter, emit)
		if err != nil {
			return nil, err
		}
		if in.Adapter, err = adapter.For(in.Model.Spec); err != nil {
			return nil, err
		}
	}
	if err := lookAt(ctx, c, in, emit); err != nil {
		return nil, err
	}
	return Run(ctx, c, in, emit)
}

// lookAt warns of what in the rows is probably a mistake.
func lookAt(ctx context.Context, c Config, in Inputs, emit func(Event)) error {
	on := chat.TrainOnAssistant
	if c.TrainOnInputs {
		on = chat.TrainOnAll
	}
	found, err := inspect.Briefly(ctx, inspect.Options{TrainOn: on}, in.Data, in.Valid)
	for _, line := range found.Text() {
		emit(Warning{Message: "Data: " + line})
	}
	return err
}

// Folder writes a run's files to the file system.
type Folder struct{ checkpoint.Files }

// Append implements Output.
func (Folder) Append(name string) (checkpoint.Writer, error) {
	return files.Append(filepath.FromSlash(name))
}
