package trainer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"qlora-wgpu/internal/checkpoint"
)

// logFile has a JSON object a line: a step, an evaluation or an answer.
const logFile = "trainer_log.jsonl"

// runLog is the log of a run in progress. What fails to be written to it ends no run: the first failure is told.
type runLog struct {
	file checkpoint.Writer
	warn func(format string, args ...any)
	name string
	told bool
	torn bool // the last write may have left a part of a line
}

// openLog opens the log and keeps the lines up to the step that the run goes on after: what a killed try wrote later
// comes again.
func (r *run) openLog() (err error) {
	name := path.Join(r.config.OutputDir, logFile)
	var kept []byte // of a run that begins, nothing
	if r.state.Step > 0 {
		if kept, err = logUpTo(r.in.Output, name, r.state.Step); err != nil {
			return err
		}
		kept = r.takeUp(kept)
	}
	if err := checkpoint.WriteBytes(r.in.Output, name, kept); err != nil {
		return err
	}
	r.log = &runLog{name: name, warn: r.warn}
	if r.log.file, err = r.in.Output.Append(name); err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	return nil
}

// maxLog is more bytes than a log has: a step writes some hundred.
const maxLog = 4 << 30

func logUpTo(out Output, name string, step int) ([]byte, error) {
	data, err := checkpoint.ReadBytes(out, name, maxLog)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	var kept bytes.Buffer
	for line := range bytes.Lines(data) {
		var at struct {
			Step int `json:"step"`
		}
		if bytes.HasSuffix(line, []byte("\n")) && json.Unmarshal(line, &at) == nil && at.Step <= step {
			kept.Write(line)
		}
	}
	return kept.Bytes(), nil
}

// takeUp takes from the log what was done after the step that the run goes on after: a checkpoint is not written again
// for an evaluation or for answers. Answers of which some are missing come again, and their lines are not kept.
func (r *run) takeUp(log []byte) (kept []byte) {
	type entry struct {
		Step   int      `json:"step"`
		Loss   *float64 `json:"eval_loss"` // of an evaluation alone
		Prompt *string  `json:"prompt"`    // of an answer alone
	}
	var now []entry
	for line := range bytes.Lines(log) {
		var e entry
		if json.Unmarshal(line, &e) != nil || e.Step != r.state.Step {
			continue
		}
		now = append(now, e)
		var eval EvalStats
		if e.Loss != nil && json.Unmarshal(line, &eval) == nil {
			r.state.Eval = &eval
		}
	}
	texts := r.in.Prompts.Texts
	owed := slices.ContainsFunc(texts, func(text string) bool {
		return !slices.ContainsFunc(now, func(e entry) bool { return e.Prompt != nil && *e.Prompt == text })
	})
	if !owed {
		r.prompts.answered = r.state.Step
		return log
	}
	for line := range bytes.Lines(log) {
		var e entry
		again := json.Unmarshal(line, &e) == nil && e.Step == r.state.Step && e.Prompt != nil && slices.Contains(texts, *e.Prompt)
		if !again {
			kept = append(kept, line...)
		}
	}
	return kept
}

// add appends one JSON object.
func (l *runLog) add(v any) {
	line, err := json.Marshal(v)
	if err == nil {
		line = append(line, '\n')
		if l.torn { // so that no more than one line is unreadable
			line = append([]byte{'\n'}, line...)
		}
		_, err = l.file.Write(line)
		l.torn = err != nil
	}
	l.failed(err)
}

// sync makes what was added survive a crash.
func (l *runLog) sync() { l.failed(l.file.Sync()) }

func (l *runLog) failed(err error) {
	if err != nil && !l.told {
		l.told = true
		l.warn("%s: a line cannot be written: %v. The run goes on, and lines may be missing there.", l.name, err)
	}
}

func (l *runLog) close() { l.failed(l.file.Close()) }
