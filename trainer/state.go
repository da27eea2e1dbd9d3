package trainer

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
)

// maxSeconds is longer than any run.
const maxSeconds = 1e10

// stateVersion is the format of state.json. Version 1 had no number, and its settings the names of Go fields.
const stateVersion = 2

// runState is state.json of a checkpoint: what a run is besides its tensors. From its counters follow data order and
// dropout masks.
type runState struct {
	Version int `json:"version"`
	Step    int `json:"step"` // finished optimizer steps
	// that chat templates see: of the run's beginning, also when it goes on on another day
	Date time.Time `json:"date"`
	// finished ones: the dropout generator's counter. Checkpoints fall between windows, so gradients are zero
	MicroBatches uint64          `json:"micro_batches"`
	Cursor       dataset.Cursor  `json:"cursor"`
	Tokens       int64           `json:"tokens"`
	Skipped      int             `json:"skipped"` // steps without an update
	Loss         float64         `json:"loss"`
	Eval         *EvalStats      `json:"eval,omitempty"`
	Seconds      float64         `json:"seconds"`
	Settings     Config          `json:"settings"`
	Variants     json.RawMessage `json:"variants"` // which kernels ran: the same table gives the same bytes
	Device       string          `json:"device"`

	first settings.Version1 // the settings as version 1 has them; nil in a later version
}

// identity says which run a checkpoint belongs to: the model, the data, and the settings that decide the numbers.
func (r *run) identity(c Config, state runState) checkpoint.Identity {
	return checkpoint.Identity{
		"model": r.in.Model.ContentHash(), "data": r.in.Data.Hash, "settings": settingsIdentity(c, r.in.ChatTemplate, state),
	}
}

// settingsIdentity is that of a run's settings and of its own chat template, in the words of the state's version.
func settingsIdentity(c Config, template string, state runState) string {
	if state.first != nil {
		return state.first.Identity(template) // of the saved settings, to which c has been compared
	}
	return settings.Identity(c, template)
}

// readState reads state.json over the defaults, so that a setting which came later is there. Errors are
// *usererr.Errors that name the key, a setting that no run could have among them; an unknown key, and a version that is
// unknown, were written by a newer version of the program.
func readState(c *checkpoint.Checkpoint) (runState, error) {
	var text json.RawMessage
	if err := c.State(&text); err != nil {
		return runState{}, err
	}
	s, err := parseState(text)
	path := c.Path + "/state.json"
	var unknown *settings.UnknownKey
	switch {
	case errors.As(err, &unknown), errors.Is(err, errNewer):
		return s, usererr.New("resume", path, "%w: a newer version of qlora-wgpu wrote it", err).
			Of(usererr.Unsupported).Hinted("update qlora-wgpu")
	case err != nil:
		return s, badState(c, "%w", err)
	case s.Seconds < 0 || s.Seconds > maxSeconds || s.Tokens < 0 || s.Skipped < 0:
		return s, badState(c, "seconds %g, tokens %d, skipped %d", s.Seconds, s.Tokens, s.Skipped)
	case s.Step != c.Step:
		return s, badState(c, "step is %d, the checkpoint is of step %d", s.Step, c.Step)
	}
	if err := s.Settings.Check(); err != nil {
		return s, badState(c, "%w", err)
	}
	return s, nil
}

// badState is an error about a state.json that no version of the program writes.
func badState(c *checkpoint.Checkpoint, format string, args ...any) error {
	return usererr.New("resume", c.Path+"/state.json", format, args...).Of(usererr.Format).
		Hinted("resume from another checkpoint, or begin anew in another output_dir")
}

var errNewer = errors.New("unknown format")

func parseState(text []byte) (s runState, err error) {
	var head struct{ Version int }
	if json.Unmarshal(text, &head) == nil && head.Version > stateVersion { // its keys may be others
		return s, fmt.Errorf("%w %d, this version reads up to %d", errNewer, head.Version, stateVersion)
	}
	var file struct {
		runState
		Settings json.RawMessage `json:"settings"`
	}
	missing, err := settings.Read(text, &file)
	if err != nil {
		return s, err
	}
	s = file.runState
	s.Settings = Defaults()
	for _, key := range missing {
		switch {
		case key == "eval": // there was none
		case key == "date": // earlier versions took the day on which they went on
		case key == "version":
			s.Version = 1
		default:
			return s, fmt.Errorf("there is no key %q", key)
		}
	}
	switch s.Version {
	case 1:
		if s.first, err = settings.ReadVersion1(file.Settings); err != nil {
			return s, fmt.Errorf("settings: %w", err)
		}
		if err := s.first.Lay(&s.Settings); err != nil {
			return s, fmt.Errorf("settings of version 1: %v", err)
		}
		return s, nil
	case stateVersion:
		if _, err := settings.Read(file.Settings, &s.Settings); err != nil {
			return s, fmt.Errorf("settings: %w", err)
		}
		return s, nil
	}
	return s, fmt.Errorf("version is %d, wanted: 1 to %d", s.Version, stateVersion)
}
