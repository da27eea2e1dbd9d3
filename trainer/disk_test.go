//go:build !js

package trainer

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

// troubled is a folder in which some operations fail; each of the functions may be nil.
type troubled struct {
	Folder
	create func(name string) error
	rename func(from string) error
	write  func(line []byte) (int, error) // of the log
	sync   func() error                   // of the log
}

func (f troubled) Create(name string) (checkpoint.Writer, error) {
	if f.create != nil {
		if err := f.create(filepath.ToSlash(name)); err != nil {
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
	}
	return f.Folder.Create(name)
}

func (f troubled) Rename(from, to string) error {
	if f.rename != nil {
		if err := f.rename(filepath.ToSlash(from)); err != nil {
			return &os.PathError{Op: "rename", Path: from, Err: err}
		}
	}
	return f.Folder.Rename(from, to)
}

func (f troubled) Append(name string) (checkpoint.Writer, error) {
	w, err := f.Folder.Append(name)
	return troubledLog{w, f}, err
}

type troubledLog struct {
	checkpoint.Writer
	troubled
}

func (l troubledLog) Write(line []byte) (int, error) {
	if l.write != nil {
		if n, err := l.write(line); err != nil {
			_, _ = l.Writer.Write(line[:n])
			return n, err
		}
	}
	return l.Writer.Write(line)
}

func (l troubledLog) Sync() error {
	if l.sync != nil {
		return l.sync()
	}
	return l.Writer.Sync()
}

func (l troubledLog) Close() error { return l.Writer.Close() }

// trainInto runs into another output than the file system's.
func trainInto(t *testing.T, c Config, out Output) (*Summary, string, error) {
	t.Helper()
	in := Inputs{Output: out}
	var err error
	in.Model, err = pretrained.Open(c.Model)
	require.NoError(t, err)
	defer in.Model.Close()
	in.Data, in.Valid, err = dataset.Open(c.Data)
	require.NoError(t, err)
	said := ""
	summary, err := Run(t.Context(), c, in, func(e Event) { said += e.Kind() + ": " + e.String() + "\n" })
	return summary, said, err
}

// A disk that fills up at the end takes the last checkpoint, not the adapter.
func TestADiskThatIsFullAtTheEnd(t *testing.T) {
	model, data := demotest.Model(t, 1, nil), demotest.Rows(t, 8)
	whole := small(t, model, data)
	want := train(t, whole)
	full := func(where string) troubled {
		return troubled{create: func(name string) error {
			if strings.Contains(name, where) {
				return syscall.ENOSPC
			}
			return nil
		}}
	}
	c := small(t, model, data)
	c.SaveSteps = 2
	_, said, err := trainInto(t, c, full("/checkpoint-4"))
	require.ErrorContains(t, err, "save "+filepath.ToSlash(c.OutputDir)+"/checkpoint-4: ")
	require.ErrorContains(t, err, "no space left on device (the adapter in "+c.OutputDir+" is complete; only this last checkpoint is missing)")
	require.Contains(t, said, "checkpoint: Saved checkpoint-2.")
	require.True(t, bytes.Equal(want.adapter, adapterOf(t, c)))
	require.FileExists(t, filepath.Join(c.OutputDir, "README.md"))

	// The other way round: what cannot be written as an adapter is in the checkpoint, and comes out of it.
	c = small(t, model, data)
	c.SaveSteps = 3
	_, _, err = trainInto(t, c, full("/"+lora.WeightsFile))
	require.ErrorContains(t, err, "no space left on device")
	require.NoFileExists(t, filepath.Join(c.OutputDir, lora.WeightsFile))
	c.ResumeFromCheckpoint = "auto"
	got := train(t, c)
	require.True(t, bytes.Equal(want.adapter, got.adapter))
}

// A disk that tells beforehand how little it has.
func TestADiskWithoutRoomAtTheEnd(t *testing.T) {
	c := small(t, demotest.Model(t, 1, nil), demotest.Rows(t, 8))
	c.SaveSteps = 50
	_, _, err := trainInto(t, c, crowded{})
	require.True(t, usererr.Is(err, usererr.Invalid))
	require.ErrorContains(t, err, "the disk is too full: ")
	require.ErrorContains(t, err, "(the adapter in "+c.OutputDir+" is complete; only this last checkpoint is missing)")
	require.FileExists(t, filepath.Join(c.OutputDir, lora.WeightsFile))
}

type crowded struct{ Folder }

func (crowded) Free(string) (int64, error) { return 1000, nil }

// Lines that cannot be written are missed once, and the next ones are whole lines again.
func TestALogThatCannotBeWritten(t *testing.T) {
	model, data := demotest.Model(t, 1, nil), demotest.Rows(t, 8)
	want := train(t, small(t, model, data))
	c := small(t, model, data)
	c.SaveSteps = 2
	lines := 0
	_, said, err := trainInto(t, c, troubled{
		write: func(line []byte) (int, error) {
			if lines++; lines == 2 || lines == 3 {
				return len(line) / 2, syscall.ENOSPC
			}
			return 0, nil
		},
		sync: func() error { return syscall.EIO },
	})
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(said, "warning: "), said)
	require.Contains(t, said, "warning: "+filepath.ToSlash(c.OutputDir)+
		"/trainer_log.jsonl: a line cannot be written: no space left on device. The run goes on, and lines may be missing there.\n")
	require.True(t, bytes.Equal(want.adapter, adapterOf(t, c)))
	text, err := os.ReadFile(filepath.Join(c.OutputDir, logFile))
	require.NoError(t, err)
	var steps []int
	for line := range bytes.Lines(text) {
		var at struct{ Step int }
		if json.Unmarshal(line, &at) == nil {
			steps = append(steps, at.Step)
		}
	}
	require.Equal(t, []int{1, 4}, steps)
}

// An old checkpoint that cannot be removed is told, and goes with the next one.
func TestAnOldCheckpointThatStays(t *testing.T) {
	c := small(t, demotest.Model(t, 1, nil), demotest.Rows(t, 8))
	c.SaveSteps, c.SaveTotalLimit = 1, 1
	refused := 0
	_, said, err := trainInto(t, c, troubled{rename: func(from string) error {
		if strings.HasSuffix(from, "/checkpoint-1") {
			if refused++; refused <= 2 {
				return syscall.EBUSY
			}
		}
		return nil
	}})
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(said, "warning: remove old checkpoints: "), said)
	require.Contains(t, said, "device or resource busy; the run goes on, and it is tried again when others are removed.\n")
	left, err := filepath.Glob(filepath.Join(c.OutputDir, "checkpoint-*"))
	require.NoError(t, err)
	require.Equal(t, []string{filepath.Join(c.OutputDir, "checkpoint-4")}, left)
}

// What dead processes left goes at the next start.
func TestLeftoversGoAtTheNextStart(t *testing.T) {
	c := small(t, demotest.Model(t, 1, nil), demotest.Rows(t, 8))
	c.SaveSteps, c.MaxSteps, c.ResumeFromCheckpoint = 2, 2, "auto"
	for _, name := range []string{"checkpoint-1.removed", "checkpoint-7.tmp", "mine"} {
		require.NoError(t, os.MkdirAll(filepath.Join(c.OutputDir, name), 0o777))
	}
	for _, name := range []string{"adapter_model.safetensors.0badcafe.tmp", "checkpoint-1.removed/state.json", "notes.tmp"} {
		require.NoError(t, os.WriteFile(filepath.Join(c.OutputDir, name), []byte("half"), 0o666))
	}
	train(t, c)
	var names []string
	entries, err := os.ReadDir(c.OutputDir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	require.Equal(t, []string{
		"README.md", "adapter_config.json", "adapter_model.safetensors", "checkpoint-2", "mine", "notes.tmp", "trainer_log.jsonl",
	}, names)
}
