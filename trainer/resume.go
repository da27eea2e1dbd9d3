package trainer

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

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
		c, notes, err = checkpoint.Latest(r.in.Output, r.config.OutputDir)
		for _, note := range notes {
			r.warn("%s", note)
		}
	} else {
		c, err = checkpoint.Open(r.in.Output, from)
	}
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, r.beginAnew()
	}
	saved, err := readState(c)
	if err != nil {
		return nil, err
	}
	if r.config.GradientCheckpointing == CheckpointAuto {
		r.config.GradientCheckpointing = saved.Settings.GradientCheckpointing
	}
	r.saved = saved
	same := r.config // but for its length, which checkLength looks at
	same.MaxSteps, same.NumTrainEpochs = saved.Settings.MaxSteps, saved.Settings.NumTrainEpochs
	if names := settings.Differences(saved.Settings, same); len(names) > 0 {
		return nil, usererr.New("resume", c.Path, "the checkpoint belongs to a run with other settings: %s", strings.Join(names, "; ")).
			Hinted("resume with the same settings, or start a new run in another output_dir")
	}
	if err := c.Check(r.identity(same, saved)); err != nil {
		return nil, err
	}
	if !saved.Date.IsZero() {
		r.state.Date = saved.Date
	}
	return c, r.useVariants(c, saved)
}

// checkLength wants of a run that takes more or fewer steps than the checkpoint's that the steps which are done would
// have been the same: then it gives the bytes of one that was to take so many from the beginning.
func (r *run) checkLength(c *checkpoint.Checkpoint) error {
	before := r.saved.Settings
	steps, err := r.loader.StepsOf(before)
	if err != nil {
		return badState(c, "%w", err)
	}
	was, is := NewSchedule(before, steps), r.schedule
	if is.Total < c.Step {
		return usererr.New("resume", c.Path, "%d steps are done, the run is to take %d", c.Step, is.Total).
			Hinted("raise max_steps or num_train_epochs, or resume from an earlier checkpoint")
	}
	for done := range c.Step {
		if before, now := was.LearningRate(done), is.LearningRate(done); before != now {
			return usererr.New("resume", c.Path,
				"the run was to take %d steps and is to take %d; with lr_scheduler_type %s step %d would have had a learning rate of %.3g, it had %.3g",
				was.Total, is.Total, is.Type, done+1, now, before).
				Hinted("begin a new run from what this one learned: --init-adapter %s and another --output-dir; "+
					"a run of constant learning rate goes on", c.Path)
		}
	}
	if was.Total != is.Total {
		r.info("The run takes %d steps instead of %d.", is.Total, was.Total)
	}
	return nil
}

// useVariants takes the kernels that the checkpoint's run used: the same table gives the same bytes, and memory is
// planned for it.
func (r *run) useVariants(c *checkpoint.Checkpoint, saved runState) error {
	if saved.Device != r.session.Device.Info.Key() {
		return nil
	}
	if err := json.Unmarshal(saved.Variants, r.session.Device.Variants); err != nil {
		return badState(c, "variants: %w", err)
	}
	return nil
}

// beginAnew is for --resume without a checkpoint. What a finished run or a damaged checkpoint holds is not written
// over.
func (r *run) beginAnew() error {
	dir := r.config.OutputDir
	names, err := runFiles(r.in.Output, dir)
	if err != nil {
		return err
	}
	if names = slices.DeleteFunc(names, isTrace); len(names) > 0 {
		return usererr.New("resume", dir, "it has no valid checkpoint, but holds %s", strings.Join(names, ", ")).
			Hinted("use --overwrite to begin anew, or another --output-dir")
	}
	r.info("There is no checkpoint in %s: the run begins at step 1.", dir)
	return nil
}

// Saved describes a checkpoint.
type Saved struct {
	Path     string
	Step     int
	Settings Config // of the run that saved it
}

// LastSaved is the newest valid checkpoint in a run's folder, nil where there is none. Errors are *usererr.Error for
// one whose state cannot be taken (of a newer version, or with a setting out of range), and out's.
func LastSaved(out Output, dir string) (*Saved, error) {
	c, _, err := checkpoint.Latest(out, dir)
	if c == nil || err != nil {
		return nil, err
	}
	return describeCheckpoint(c)
}

// OpenSaved verifies the checkpoint in the folder name, every byte of it. Errors are *usererr.Error for one that is
// missing, incomplete or damaged, or whose state cannot be taken.
func OpenSaved(out Output, name string) (*Saved, error) {
	c, err := checkpoint.Open(out, name)
	if err != nil {
		return nil, err
	}
	return describeCheckpoint(c)
}

func describeCheckpoint(c *checkpoint.Checkpoint) (*Saved, error) {
	state, err := readState(c)
	if err != nil {
		return nil, err
	}
	return &Saved{Path: c.Path, Step: state.Step, Settings: state.Settings}, nil
}

// restore puts a checkpoint's state into the run.
func (r *run) restore(ctx context.Context, c *checkpoint.Checkpoint) error {
	date := r.state.Date
	r.state = r.saved
	r.state.Date = date
	r.savedStep, r.before = r.state.Step, r.state.Seconds
	if r.state.Device != r.session.Device.Info.Key() {
		r.warn("The checkpoint was made on %s: the losses will agree within rounding, not to the byte.", r.state.Device)
	}
	at, epoch := r.state.Cursor, uint64(r.loader.Stream.BatchesPerEpoch())
	if err := r.loader.Stream.Seek(at); err != nil {
		return badState(c, "cursor: %w", err)
	}
	if behind := uint64(at.Epoch)*epoch + uint64(at.Batch); r.state.MicroBatches != behind {
		return badState(c, "micro_batches is %d, the cursor is behind %d", r.state.MicroBatches, behind)
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
	if err := r.engine.Adapter.SetTensors(tensors, c.Path); err != nil {
		return err
	}
	if err := r.restoreMoments(ctx, c); err != nil {
		return err
	}
	r.info("Going on from %s after step %d.", c.Path, r.state.Step)
	return nil
}

func (r *run) restoreMoments(ctx context.Context, c *checkpoint.Checkpoint) error {
	f, err := c.Open(optimizerFile)
	if err != nil {
		return err
	}
	defer f.Close()
	file, err := safetensors.Read(f, f.Size(), c.Path+"/"+optimizerFile)
	if err != nil {
		return err
	}
	for _, e := range r.engine.Adapter.State.Entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		for kind, suffix := range optim.Moments {
			to := r.engine.Adapter.State.MomentShape(e)
			t, ok := file.Lookup(e.Name + suffix)
			if !ok || t.DType != momentTypes[to.DType] || !slices.Equal(t.Shape, []int{to.Rows, to.Cols}) {
				return usererr.New("resume", c.Path, "%s has no %s of %d×%d", optimizerFile, e.Name+suffix, to.Rows, to.Cols).Of(usererr.Format)
			}
			data := make([]byte, t.Size)
			if err := file.ReadBytes(t, data, 0); err != nil {
				return err
			}
			if err := r.engine.Adapter.State.WriteMoment(kind, e, data); err != nil {
				return err
			}
		}
	}
	return nil
}
