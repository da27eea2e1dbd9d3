//go:build unix

package main

import (
	"bufio"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo/demotest"
)

// TestAClosedTerminal closes what a run writes to and sends SIGHUP to all its processes, as a terminal does that is
// closed: the run saves what it has. Under nohup it goes on to its end.
func TestAClosedTerminal(t *testing.T) {
	// What these tests are run under may ignore SIGHUP, and so would the program then: a signal that is caught is not
	// ignored by a child.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	defer signal.Stop(caught)
	model, data := demotest.Model(t, 1, nil), demotest.Rows(t, 12)
	executable, err := os.Executable()
	require.NoError(t, err)
	hangUp := func(t *testing.T, dir, steps string, before ...string) int {
		reader, writer, err := os.Pipe()
		require.NoError(t, err)
		args := append(before, executable, "train", "--model", model, "--data", data, "--output-dir", dir, "--max-steps", steps,
			"--save-steps=50", "--batch-size=2", "--gradient-accumulation-steps=2", "--lora-r=4", "--autotune=off", "--lr-scheduler-type=constant")
		c := exec.Command(args[0], args[1:]...)
		c.Env = append(os.Environ(), programVariable+"=1")
		c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		c.Stdout, c.Stderr = writer, writer
		require.NoError(t, c.Start())
		require.NoError(t, writer.Close())
		defer func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }()
		steady := 0
		for lines := bufio.NewScanner(reader); steady < 3; {
			require.True(t, lines.Scan())
			if strings.HasPrefix(lines.Text(), "{'loss'") {
				steady++
			}
		}
		require.NoError(t, reader.Close())
		require.NoError(t, syscall.Kill(-c.Process.Pid, syscall.SIGHUP))
		require.NoError(t, syscall.Kill(-c.Process.Pid, syscall.SIGHUP))
		_ = c.Wait()
		return c.ProcessState.ExitCode()
	}
	saved := func(dir string) []string {
		found, err := filepath.Glob(filepath.Join(dir, "checkpoint-*", "manifest.json"))
		require.NoError(t, err)
		return found
	}
	t.Run("saves", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "out")
		require.Equal(t, statusInterrupted, hangUp(t, dir, "100000"))
		require.Len(t, saved(dir), 1)
		require.NotContains(t, saved(dir)[0], "checkpoint-50")
	})
	t.Run("nohup", func(t *testing.T) {
		nohup, err := exec.LookPath("nohup")
		if err != nil {
			t.Skip("no nohup here")
		}
		dir := filepath.Join(t.TempDir(), "out")
		require.Zero(t, hangUp(t, dir, "12", nohup))
		require.FileExists(t, filepath.Join(dir, "adapter_model.safetensors"))
		require.Contains(t, saved(dir)[0], "checkpoint-12")
	})
}
