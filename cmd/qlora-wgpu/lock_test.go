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
	require.NoFileExists(t, filepath.Join(dir, runlock.FileName))
}
