package trainer

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"math"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

// Output is where a run's files go.
type Output interface {
	checkpoint.Store
	// Append opens a file for writing at its end, and makes it where it is not there.
	Append(name string) (checkpoint.Writer, error)
}

// cardFile is the model card.
const cardFile = "README.md"

// cardMark stands near the top of every model card.
const cardMark = "trained with qlora-wgpu."

const opOutput = "prepare output folder"

// checkOutput refuses a folder that holds another run, unless that is to be replaced, and a README.md that is no run's.
// It changes nothing.
func checkOutput(out Output, c Config) error {
	if resumesHere(c) {
		return nil
	}
	names, err := runFiles(out, c.OutputDir)
	if err != nil {
		return err
	}
	if slices.Contains(names, cardFile) {
		own, err := isCard(out, path.Join(c.OutputDir, cardFile))
		if err != nil {
			return err
		}
		if !own {
			return usererr.New(opOutput, c.OutputDir, "its %s is not a run's and would be lost", cardFile).Hinted("choose another --output-dir")
		}
	}
	if begun, err := anyStep(out, c.OutputDir); err != nil {
		return err
	} else if c.ResumeFromCheckpoint != "" || !begun {
		names = slices.DeleteFunc(names, isTrace)
	}
	if len(names) > 0 && !c.Overwrite {
		return usererr.New(opOutput, c.OutputDir, "it holds %s of another run", names[0]).
			Hinted("use --overwrite to replace that run, --resume to go on with it, or another --output-dir")
	}
	return nil
}

// claimOutput makes the folder, and removes the run that is to be replaced.
func claimOutput(out Output, c Config) error {
	if c.Overwrite {
		names, err := runFiles(out, c.OutputDir)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := out.Remove(path.Join(c.OutputDir, name)); err != nil {
				return usererr.New(opOutput, c.OutputDir, "%w", err)
			}
		}
	}
	if err := out.MakeDir(c.OutputDir); err != nil {
		return usererr.New(opOutput, c.OutputDir, "%w", err)
	}
	return nil
}

// removeLeftovers removes what processes that died left half written or half removed. What stays takes room alone.
func (r *run) removeLeftovers() {
	dir := r.config.OutputDir
	err := checkpoint.Clean(r.in.Output, dir)
	names, listed := runFiles(r.in.Output, dir)
	err = cmp.Or(err, listed)
	for _, name := range names {
		if runFile.MatchString(name) && strings.HasSuffix(name, ".tmp") {
			err = cmp.Or(err, r.in.Output.Remove(path.Join(dir, name)))
		}
	}
	if err != nil {
		r.warn("What an earlier process left in %s could not be removed: %v", dir, err)
	}
}

// runFile is a run's file, or one that a process which died left beside it.
var runFile = regexp.MustCompile(`^(` + regexp.QuoteMeta(logFile) + "|" + regexp.QuoteMeta(cardFile) + "|" +
	regexp.QuoteMeta(lora.ConfigFile) + "|" + regexp.QuoteMeta(lora.WeightsFile) + `)(\.[0-9a-f]{8}\.tmp)?$`)

var checkpointName = regexp.MustCompile(`^checkpoint-[0-9]+(\.tmp|\.removed)?$`)

// runFiles lists what the folder holds of a run.
func runFiles(out Output, dir string) (found []string, err error) {
	names, err := out.List(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, usererr.New(opOutput, dir, "%w", err)
	}
	for _, name := range names {
		switch {
		case runFile.MatchString(name), checkpointName.MatchString(name):
			found = append(found, name)
		}
	}
	return found, nil
}

// isTrace tells the files that a run which died before its first checkpoint leaves: nothing in them is worth keeping.
func isTrace(name string) bool {
	return name == logFile || strings.HasSuffix(name, ".tmp") || strings.HasSuffix(name, ".removed")
}

// anyStep tells whether a run that wrote into the folder has finished a step.
func anyStep(out Output, dir string) (bool, error) {
	name := path.Join(dir, logFile)
	all, err := logUpTo(out, name, math.MaxInt)
	if err != nil {
		return false, err
	}
	before, err := logUpTo(out, name, 0)
	return len(before) < len(all), err
}

// resumesHere tells whether the run goes on with a checkpoint of its own output folder.
func resumesHere(c Config) bool {
	from := c.ResumeFromCheckpoint
	return from == "auto" || from != "" && absolute(filepath.Dir(filepath.Clean(from))) == absolute(c.OutputDir)
}

// absolute is the cleaned path alone where there is no working directory.
func absolute(name string) string {
	if full, err := filepath.Abs(name); err == nil {
		return full
	}
	return filepath.Clean(name)
}

// isCard tells a model card written by a run from another README.
func isCard(out Output, name string) (bool, error) {
	f, err := out.Open(name)
	if err != nil {
		return false, usererr.New(opOutput, name, "%w", err)
	}
	defer f.Close()
	head := make([]byte, min(f.Size(), 64<<10))
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return false, usererr.New(opOutput, name, "%w", err)
	}
	return bytes.Contains(head, []byte(cardMark)), nil
}

// saveAdapter writes the PEFT adapter and the model card. Where the weights are, the rest is.
func (r *run) saveAdapter(s snapshot) error {
	for _, file := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{cardFile, r.writeCard},
		{lora.ConfigFile, func(w io.Writer) error {
			return r.engine.Adapter.Config.WriteConfig(w, cmp.Or(r.in.Model.Name, r.config.Model))
		}},
		{lora.WeightsFile, func(w io.Writer) error { return r.engine.Adapter.Config.WriteWeights(getsOn{w, s.meter}, s.adapter) }},
	} {
		if err := checkpoint.WriteFile(r.in.Output, path.Join(r.config.OutputDir, file.name), file.write); err != nil {
			return err
		}
	}
	return nil
}
