package trainer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/optim"
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
	Skipped      int             `json:"skipped"` // steps without an update
	Loss         float64         `json:"loss"`
	Eval         *EvalStats      `json:"eval,omitempty"`
	Seconds      float64         `json:"seconds"`
	Settings     Config          `json:"settings"`
	Variants     json.RawMessage `json:"variants"` // which kernels ran: the same table gives the same bytes
	Device       string          `json:"device"`
}

// optimizerFile holds the moments of every adapter tensor, "….m" and "….v", as they lie in flat state: padded, and in 8 bits as records of codes and absmax.
const optimizerFile = "optimizer.safetensors"

// identity says which run a checkpoint belongs to: the model, the data, and the settings that decide the numbers.
func (r *run) identity() checkpoint.Identity {
	settings, err := json.Marshal(numerical(r.config))
	if err != nil {
		panic("trainer: settings are not JSON: " + err.Error())
	}
	sum := sha256.Sum256(append(settings, r.template...))
	return checkpoint.Identity{"model": r.session.source.ContentHash(), "data": r.data.Hash, "settings": hex.EncodeToString(sum[:])}
}

// numerical is c without what changes no number: where files lie, what is paged or recomputed, and how often something is printed, saved or evaluated.
func numerical(c Config) Config {
	c.Model, c.Data, c.OutputDir, c.InitAdapter, c.ChatTemplate, c.Device, c.Autotune, c.ResumeFromCheckpoint, c.CacheDir = "", "", "", "", "", "", "", "", ""
	c.VRAMBudget, c.Optim = "", strings.TrimPrefix(c.Optim, paged) // paging changes no bit
	if c.ActivationDType == ActivationsF32 {
		c.GradientCheckpointing = "" // what is computed again are the same bits, unless it begins from rounded ones
	}
	c.Overwrite, c.LoggingSteps, c.SaveSteps, c.SaveTotalLimit, c.EvalSteps = false, 0, 0, 0, 0
	return c
}

// otherSettings names the settings that a checkpoint's run had otherwise: "learning_rate was 0.0002, is 0.001".
func otherSettings(saved, now Config) (names []string) {
	was, is := reflect.ValueOf(numerical(saved)), reflect.ValueOf(numerical(now))
	for field, value := range was.Fields() {
		if here := is.FieldByIndex(field.Index); !reflect.DeepEqual(value.Interface(), here.Interface()) {
			names = append(names, fmt.Sprintf("%s was %v, is %v", field.Tag.Get("yaml"), value, here))
		}
	}
	return names
}

// saveCheckpoint writes checkpoint-N and removes old ones.
func (r *run) saveCheckpoint(ctx context.Context) error {
	if err := r.log.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", logFile, err)
	}
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
	momentBytes := int64(0)
	for _, e := range r.adapter.State.Entries {
		for kind, suffix := range optim.Moments {
			t := r.adapter.State.MomentShape(e)
			data, err := r.adapter.State.ReadMoment(ctx, kind, e)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrEngineFault, err)
			}
			moments = append(moments, safetensors.Data{Name: e.Name + suffix, DType: momentTypes[t.DType], Shape: []int{t.Rows, t.Cols}, Bytes: data})
			momentBytes += int64(len(data))
		}
	}
	sortData(moments)
	size := 4 * r.adapter.Parameters()
	files := []checkpoint.File{
		{Name: lora.ConfigFile, Size: 1 << 10, Write: func(w io.Writer) error { return r.adapter.Config.WriteConfig(w, r.config.Model) }},
		{Name: lora.WeightsFile, Size: size, Write: func(w io.Writer) error { return lora.WriteWeights(w, adapter) }},
		{Name: optimizerFile, Size: momentBytes, Write: func(w io.Writer) error { return safetensors.Write(w, nil, moments) }},
	}
	if err := checkpoint.Save(r.out, r.config.OutputDir, state.Step, r.identity(), state, files); err != nil {
		return err
	}
	r.savedStep = state.Step
	r.session.emit(events.Checkpoint{Step: state.Step})
	return r.removeOldCheckpoints()
}

func (r *run) removeOldCheckpoints() error {
	return checkpoint.Rotate(r.out, r.config.OutputDir, r.config.SaveTotalLimit)
}

var momentTypes = map[gpu.DType]safetensors.DType{gpu.F32: safetensors.F32, gpu.U32: safetensors.U32}

// findCheckpoint is the one to go on from, or nil to begin anew; it belongs to this run.
func (r *run) findCheckpoint() (*checkpoint.Checkpoint, error) {
	from := r.config.ResumeFromCheckpoint
	if from == "" {
		return nil, nil
	}
	var c *checkpoint.Checkpoint
	var err error
	if from == "auto" {
		var notes []string
		c, notes, err = checkpoint.Latest(r.out, r.config.OutputDir)
		for _, note := range notes {
			r.session.emit(events.Warning{Message: note})
		}
	} else {
		c, err = checkpoint.Open(r.out, from)
	}
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, r.beginAnew()
	}
	var saved runState
	if err := c.State(&saved); err != nil {
		return nil, err
	}
	if r.config.GradientCheckpointing == CheckpointAuto {
		r.config.GradientCheckpointing = saved.Settings.GradientCheckpointing
	}
	if names := otherSettings(saved.Settings, r.config); len(names) > 0 {
		return nil, usererr.New("resume", c.Path, "the checkpoint belongs to a run with other settings: %s", strings.Join(names, "; ")).
			Hinted("resume with the same settings, or start a new run in another output_dir")
	}
	if err := c.Check(r.identity()); err != nil {
		return nil, err
	}
	return c, r.useVariants(c, saved)
}

// useVariants takes the kernels that the checkpoint's run used: the same table gives the same bytes, and memory is planned for it.
func (r *run) useVariants(c *checkpoint.Checkpoint, saved runState) error {
	if saved.Device != r.session.dev.Info.Key() {
		return nil
	}
	if err := json.Unmarshal(saved.Variants, r.session.dev.Variants); err != nil {
		return usererr.New("resume", c.Path, "%w", err).Of(usererr.Format)
	}
	return nil
}

// beginAnew is for --resume without a checkpoint. What a finished run or a damaged checkpoint holds is not written over.
func (r *run) beginAnew() error {
	dir := r.config.OutputDir
	names, err := runFiles(r.out, dir)
	if err != nil {
		return err
	}
	if names = slices.DeleteFunc(names, isTrace); len(names) > 0 {
		return usererr.New("resume", dir, "it has no valid checkpoint, but holds %s", strings.Join(names, ", ")).
			Hinted("use --overwrite to begin anew, or another --output-dir")
	}
	r.session.info("There is no checkpoint in %s: the run begins at step 1.", dir)
	return nil
}

// Saved describes a checkpoint.
type Saved struct {
	Path     string
	Step     int
	Settings Config // of the run that saved it
}

// LastSaved is the newest valid checkpoint in a run's folder, nil where there is none.
func LastSaved(out Output, dir string) (*Saved, error) {
	c, _, err := checkpoint.Latest(out, dir)
	if c == nil || err != nil {
		return nil, err
	}
	return describeCheckpoint(c)
}

// OpenSaved verifies the checkpoint in the folder name.
func OpenSaved(out Output, name string) (*Saved, error) {
	c, err := checkpoint.Open(out, name)
	if err != nil {
		return nil, err
	}
	return describeCheckpoint(c)
}

func describeCheckpoint(c *checkpoint.Checkpoint) (*Saved, error) {
	var state runState
	if err := c.State(&state); err != nil {
		return nil, err
	}
	if err := state.Settings.Validate(); err != nil {
		return nil, usererr.New("resume", c.Path, "%w", err).Of(usererr.Format)
	}
	return &Saved{Path: c.Path, Step: state.Step, Settings: state.Settings}, nil
}

// restore puts a checkpoint's state into the run.
func (r *run) restore(c *checkpoint.Checkpoint) error {
	if err := c.State(&r.state); err != nil {
		return err
	}
	r.savedStep, r.before = r.state.Step, r.state.Seconds
	if r.state.Device != r.session.dev.Info.Key() {
		r.session.emit(events.Warning{Message: fmt.Sprintf("The checkpoint was made on %s: the losses will agree within rounding, not to the byte.", r.state.Device)})
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
	if err := r.restoreMoments(c); err != nil {
		return err
	}
	r.session.info("Going on from %s after step %d.", c.Path, r.state.Step)
	return nil
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
		for kind, suffix := range optim.Moments {
			to := r.adapter.State.MomentShape(e)
			t, ok := file.Lookup(e.Name + suffix)
			if !ok || t.DType != momentTypes[to.DType] || !slices.Equal(t.Shape, []int{to.Rows, to.Cols}) {
				return usererr.New("resume", c.Path, "%s has no %s of %d×%d", optimizerFile, e.Name+suffix, to.Rows, to.Cols).Of(usererr.Format)
			}
			data := make([]byte, t.Size)
			if err := file.ReadBytes(t, data, 0); err != nil {
				return err
			}
			if err := r.adapter.State.WriteMoment(kind, e, data); err != nil {
				return err
			}
		}
	}
	return nil
}
