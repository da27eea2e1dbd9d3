//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/runlock"
	"qlora-wgpu/lora"
)

// While a run lives, its child or the next one, nobody else trains into its folder, whatever it is called and whatever
// was asked for; when it is killed, the folder is free.
func TestASecondRunIsRefused(t *testing.T) {
	model, data, parent := demotest.Model(t, 1, nil), demotest.Rows(t, 12), t.TempDir()
	dir, link := filepath.Join(parent, "out"), filepath.Join(parent, "link")
	require.NoError(t, os.Symlink(parent, link))
	train := func(dir string, more ...string) *process {
		return start(t, append([]string{"train", "--model", model, "--data", data, "--output-dir", dir, "--save-steps=2", "--batch-size=2",
			"--gradient-accumulation-steps=2", "--lora-r=4", "--autotune=off", "--lr-scheduler-type=constant"}, more...)...)
	}
	first := train(dir, "--max-steps=100000", "--logging-steps=1")
	first.waitFor(savedLine, 1)
	refused := func(p *process) {
		t.Helper()
		require.Equal(t, statusUserError, p.end(), p.text())
		require.Contains(t, p.text(), fmt.Sprintf(": process %d on ", first.command.Process.Pid))
		require.NotContains(t, p.text(), "Training in process")
	}
	refused(train(dir, "--max-steps=3", "--seed=7", "--overwrite"))
	refused(train(filepath.Join(link, "out"), "--max-steps=100000", "--resume"))
	first.abortChild(1)
	refused(train(dir, "--max-steps=100000", "--resume"))
	first.waitFor(childLine, 2)
	refused(train(dir, "--max-steps=100000", "--resume"))

	first.kill()
	require.FileExists(t, filepath.Join(dir, runlock.FileName))
	last := train(dir, "--max-steps=100000", "--resume")
	last.waitFor(stepLine, 1)
	require.Contains(t, last.text(), "Going on from "+dir+"/checkpoint-")
	require.NoError(t, syscall.Kill(last.command.Process.Pid, syscall.SIGTERM))
	require.Equal(t, statusInterrupted, last.end(), last.text())
	require.NotContains(t, last.text(), "x1e", "what the child tells its parent is nobody else's")
	require.NoFileExists(t, filepath.Join(dir, runlock.FileName))
}

// A cached model that becomes shorter while a run streams it costs the run a child, no try, and no byte of the result.
func TestACachedModelThatBecomesShorter(t *testing.T) {
	model, data, parent := demotest.Model(t, 5, nil), demotest.Rows(t, 12), t.TempDir()
	train := func(name string) *process {
		return start(t, "train", "--model", model, "--data", data, "--output-dir", filepath.Join(parent, name), "--max-steps=12",
			"--save-steps=0", "--autotune=off", "--lr-scheduler-type=constant", "--lora-r=4",
			"--cache-dir", filepath.Join(parent, "cache"), "--vram-budget=2.9MiB")
	}
	whole := train("whole")
	require.Zero(t, whole.end(), whole.text())
	require.Regexp(t, ` of 5 streamed`, whole.text(), "the budget is what makes a run read the cache in every step")
	cached, err := filepath.Glob(filepath.Join(parent, "cache", "nf4", "*.nf4"))
	require.NoError(t, err)
	require.Len(t, cached, 1)

	p := train("cut")
	p.waitFor(stepLine, 2)
	require.Contains(t, p.text(), "The quantized model comes from the cache: "+cached[0])
	require.NoError(t, os.Truncate(cached[0], 8192))
	require.Zero(t, p.end(), p.text())
	require.Contains(t, p.text(), "Starting it again from the beginning (there is no checkpoint yet); this counts as no try.\n")
	require.Contains(t, p.text(), "is not used: damaged: it has 8192 bytes, wanted are ")
	want, err := os.ReadFile(filepath.Join(parent, "whole", lora.WeightsFile))
	require.NoError(t, err)
	got, err := os.ReadFile(filepath.Join(parent, "cut", lora.WeightsFile))
	require.NoError(t, err)
	require.Equal(t, want, got)
}
