package trainer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

// optimizerFile holds the moments of every adapter tensor, "….m" and "….v", as they lie in flat state: padded, and in 8
// bits as records of codes and absmax.
const optimizerFile = "optimizer.safetensors"

var momentTypes = map[gpu.DType]safetensors.DType{gpu.F32: safetensors.F32, gpu.U32: safetensors.U32}

// snapshot is what a run has trained, read from the device.
type snapshot struct {
	adapter []lora.Tensor
	moments []safetensors.Data // nil where no checkpoint is to be written
	meter   *events.Meter      // of the bytes that are read and written
}

// snapshot reads it to write so many times the adapter, and the moments where they are wanted.
func (r *run) snapshot(ctx context.Context, adapters int64, moments bool) (s snapshot, err error) {
	state := r.engine.Adapter.State
	adapter, total := 4*r.engine.Adapter.Parameters(), int64(0)
	if moments {
		_, total = state.Bytes()
	}
	s.meter = events.NewMeter(2*total+(1+adapters)*adapter, func(p events.Part) {
		r.emit(events.Saving{Part: p, Step: r.state.Step})
	}).Begin()
	if s.adapter, err = r.engine.Adapter.Tensors(ctx, state.Param); err != nil {
		return s, fmt.Errorf("%w: %w", ErrEngineFault, err)
	}
	s.meter.Add(adapter)
	if !moments {
		return s, nil
	}
	for _, e := range state.Entries {
		for kind, suffix := range optim.Moments {
			t := state.MomentShape(e)
			data, err := state.ReadMoment(ctx, kind, e)
			if err != nil {
				return s, fmt.Errorf("%w: %w", ErrEngineFault, err)
			}
			s.moments = append(s.moments, safetensors.Data{
				Name: e.Name + suffix, DType: momentTypes[t.DType], Shape: []int{t.Rows, t.Cols}, Bytes: data,
			})
			s.meter.Add(int64(len(data)))
		}
	}
	sortData(s.moments)
	return s, nil
}

// saveNow writes checkpoint-N of the state as it is.
func (r *run) saveNow(ctx context.Context) error {
	s, err := r.snapshot(ctx, 1, true)
	if err != nil {
		return err
	}
	return r.saveCheckpoint(s)
}

// saveCheckpoint writes checkpoint-N and removes old ones.
func (r *run) saveCheckpoint(s snapshot) error {
	r.log.sync()
	state := r.state
	state.Version, state.Settings, state.first = stateVersion, r.config, nil
	state.Cursor, state.Device = r.loader.Stream.Cursor(), r.session.Device.Info.Key()
	var err error
	if state.Variants, err = json.Marshal(r.session.Device.Variants); err != nil {
		return err
	}
	momentBytes := int64(0)
	for _, m := range s.moments {
		momentBytes += int64(len(m.Bytes))
	}
	config, size := r.engine.Adapter.Config, 4*r.engine.Adapter.Parameters()
	files := []checkpoint.File{
		{Name: lora.ConfigFile, Size: 1 << 10, Write: func(w io.Writer) error {
			return config.WriteConfig(w, cmp.Or(r.in.Model.Name, r.config.Model))
		}},
		{Name: lora.WeightsFile, Size: size, Write: func(w io.Writer) error { return config.WriteWeights(getsOn{w, s.meter}, s.adapter) }},
		{Name: optimizerFile, Size: momentBytes, Write: func(w io.Writer) error { return safetensors.Write(getsOn{w, s.meter}, nil, s.moments) }},
	}
	if err := checkpoint.Save(r.in.Output, r.config.OutputDir, state.Step, r.identity(r.config, state), state, files); err != nil {
		return err
	}
	s.meter.End()
	r.savedStep = state.Step
	r.emit(events.Checkpoint{Step: state.Step})
	r.removeOldCheckpoints()
	return nil
}

// getsOn tells of every write: a slow disk takes minutes for a large adapter.
type getsOn struct {
	io.Writer
	meter *events.Meter
}

func (g getsOn) Write(p []byte) (int, error) {
	n, err := g.Writer.Write(p)
	g.meter.Add(int64(n))
	return n, err
}

// removeOldCheckpoints tries it again the next time where it fails.
func (r *run) removeOldCheckpoints() {
	if err := checkpoint.Rotate(r.in.Output, r.config.OutputDir, r.config.SaveTotalLimit); err != nil {
		r.warn("%v; the run goes on, and it is tried again when others are removed.", err)
	}
}

// saveResult writes what a finished run leaves: the adapter, which is what it was for, and then the last checkpoint.
// Where one of them cannot be written, the other one is.
func (r *run) saveResult(ctx context.Context) error {
	last := r.config.SaveSteps > 0 && r.state.Step != r.savedStep
	adapters := int64(1)
	if last {
		adapters = 2
	}
	s, err := r.snapshot(ctx, adapters, last)
	if err != nil {
		return err
	}
	r.warnIfUnchanged(s.adapter)
	failed := r.saveAdapter(s)
	switch {
	case last:
		err = r.saveCheckpoint(s)
	case r.config.SaveSteps > 0: // saved by a process that may have been killed before it removed old ones
		r.removeOldCheckpoints()
	}
	switch {
	case failed != nil && err == nil && r.state.Step == r.savedStep:
		return fmt.Errorf("%w (checkpoint-%d is there: --resume writes the adapter)", failed, r.savedStep)
	case failed != nil:
		return failed
	case err != nil:
		return adapterIsThere(err, r.config.OutputDir)
	}
	s.meter.End()
	return nil
}

// adapterIsThere adds to the error about the last checkpoint what matters more.
func adapterIsThere(err error, dir string) error {
	said := "the adapter in " + dir + " is complete; only this last checkpoint is missing"
	if mistake := (*usererr.Error)(nil); errors.As(err, &mistake) {
		return mistake.Hinted("%s", said)
	}
	return fmt.Errorf("%w (%s)", err, said)
}
