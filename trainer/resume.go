package trainer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

// runState is what a run is besides its tensors: all counters from which data order and dropout masks follow. It is state.json of a checkpoint.
type runState struct {
	Step         int             `json:"step"`          // finished optimizer steps
	MicroBatches uint64          `json:"micro_batches"` // finished ones: the dropout generator's counter. Checkpoints fall between windows, so gradients are zero
	Cursor       dataset.Cursor  `json:"cursor"`
	Tokens       int64           `json:"tokens"`
	Loss         float64         `json:"loss"`
	Eval         *EvalStats      `json:"eval,omitempty"`
	Seconds      float64         `json:"seconds"`
	Settings     Config          `json:"settings"`
	Variants     json.RawMessage `json:"variants"` // which kernels ran: the same table gives the same bytes
	Device       string          `json:"device"`
}

// optimizerFile holds the moments of every adapter tensor, "….m" and "….v", padded as they lie in flat state.
const optimizerFile = "optimizer.safetensors"

// identity says which run a checkpoint belongs to: the model, the data, and the settings that decide the numbers.
func (r *run) identity() checkpoint.Identity {
	c := r.config
	// Neither where files lie nor how often something is printed or saved changes a number.
	c.Model, c.Data, c.OutputDir, c.InitAdapter, c.ChatTemplate, c.Device, c.Autotune, c.ResumeFromCheckpoint = "", "", "", "", "", "", "", ""
	c.Overwrite, c.LoggingSteps, c.SaveSteps, c.SaveTotalLimit, c.EvalSteps = false, 0, 0, 0, 0
	settings, err := json.Marshal(c)
	if err != nil {
		panic("trainer: settings are not JSON: " + err.Error())
	}
	sum := sha256.Sum256(append(settings, r.template...))
	return checkpoint.Identity{"model": r.session.source.ContentHash(), "data": r.data.Hash, "settings": hex.EncodeToString(sum[:])}
}

// saveCheckpoint writes checkpoint-N and removes old ones.
func (r *run) saveCheckpoint(ctx context.Context) error {
	state := r.state
	state.Cursor, state.Settings, state.Device = r.stream.Cursor(), r.config, r.session.dev.Info.Key()
	var err error
	if state.Variants, err = json.Marshal(r.session.dev.Variants); err != nil {
		return err
	}
	adapter, err := r.adapter.Tensors(ctx, r.adapter.State.Param)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrEngineFault, err)
	}
	var moments []safetensors.Data
	for _, e := range r.adapter.State.Entries {
		for suffix, list := range r.moments() {
			values, err := r.adapter.State.Read(ctx, list, e.Name)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrEngineFault, err)
			}
			moments = append(moments, safetensors.Data{Name: e.Name + suffix, DType: safetensors.F32, Shape: []int{e.Rows, e.Cols}, Bytes: safetensors.Float32Bytes(values)})
		}
	}
	sortData(moments)
	size := 4 * r.adapter.Parameters()
	files := []checkpoint.File{
		{Name: lora.ConfigFile, Size: 1 << 10, Write: func(w io.Writer) error { return r.adapter.Config.WriteConfig(w, r.config.Model) }},
		{Name: lora.WeightsFile, Size: size, Write: func(w io.Writer) error { return lora.WriteWeights(w, adapter) }},
		{Name: optimizerFile, Size: 2 * size, Write: func(w io.Writer) error { return safetensors.Write(w, nil, moments) }},
	}
	if err := checkpoint.Save(r.out, r.config.OutputDir, state.Step, r.identity(), state, files); err != nil {
		return err
	}
	r.session.emit(Event{Kind: "checkpoint", Message: fmt.Sprintf("Saved checkpoint-%d.", state.Step)})
	return checkpoint.Rotate(r.out, r.config.OutputDir, r.config.SaveTotalLimit)
}

func (r *run) moments() map[string][]*gpu.Tensor {
	return map[string][]*gpu.Tensor{".m": r.adapter.State.M, ".v": r.adapter.State.V}
}

// findCheckpoint is the one to go on from, or nil to begin anew.
func (r *run) findCheckpoint() (*checkpoint.Checkpoint, error) {
	from := r.config.ResumeFromCheckpoint
	if from == "" {
		return nil, nil
	}
	if from != "auto" {
		return checkpoint.Open(r.out, from)
	}
	c, notes, err := checkpoint.Latest(r.out, r.config.OutputDir)
	for _, note := range notes {
		r.session.emit(Event{Kind: "warning", Message: note})
	}
	if err == nil && c == nil {
		r.session.info("There is no checkpoint in %s: the run begins at step 1.", r.config.OutputDir)
	}
	return c, err
}

// restore puts a checkpoint's state into the run.
func (r *run) restore(c *checkpoint.Checkpoint) error {
	if err := c.Check(r.identity()); err != nil {
		return err
	}
	if err := c.State(&r.state); err != nil {
		return err
	}
	if r.state.Device == r.session.dev.Info.Key() {
		if err := json.Unmarshal(r.state.Variants, r.session.dev.Variants); err != nil {
			return usererr.New("resume", c.Path, "%w", err).As(usererr.Format)
		}
	} else {
		r.session.emit(Event{Kind: "warning", Message: fmt.Sprintf("The checkpoint was made on %s: the losses will agree within rounding, not to the byte.", r.state.Device)})
	}
	if err := r.stream.Seek(r.state.Cursor); err != nil {
		return err
	}
	weights, err := c.Open(lora.WeightsFile)
	if err != nil {
		return err
	}
	defer weights.Close()
	tensors, err := lora.ReadWeights(weights, weights.Size(), c.Path+"/"+lora.WeightsFile)
	if err != nil {
		return err
	}
	if err := r.adapter.SetTensors(tensors, c.Path); err != nil {
		return err
	}
	return r.restoreMoments(c)
}

func (r *run) restoreMoments(c *checkpoint.Checkpoint) error {
	f, err := c.Open(optimizerFile)
	if err != nil {
		return err
	}
	defer f.Close()
	file, err := safetensors.Read(f, f.Size(), c.Path+"/"+optimizerFile)
	if err != nil {
		return err
	}
	for _, e := range r.adapter.State.Entries {
		for suffix, list := range r.moments() {
			t, ok := file.Lookup(e.Name + suffix)
			if !ok || t.Elements() != e.Rows*e.Cols {
				return usererr.New("resume", c.Path, "%s has no %s of %d×%d", optimizerFile, e.Name+suffix, e.Rows, e.Cols).As(usererr.Format)
			}
			values := make([]float32, t.Elements())
			if err := file.ReadFloat32(t, values, 0); err != nil {
				return err
			}
			if err := r.adapter.State.View(list, e.Name).WriteFloat32(values); err != nil {
				return err
			}
		}
	}
	return nil
}
