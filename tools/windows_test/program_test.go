//go:build windows

// Package windows_test runs the Windows build as a user does and tests what is different there: the names of files,
// files that somebody has open, the console, processes that are killed. On Windows `go test ./tools/windows_test` after
// `make windows`; elsewhere tools/windows_test/run.sh, by Wine.
package windows_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/windows"

	"qlora-wgpu/internal/demo"
)

const (
	executable        = `..\..\build\windows\qlora-wgpu.exe`
	statusUserError   = 2
	statusInterrupted = 130
)

// output is what a program printed so far, stdout and stderr together.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// program is a run of the executable in a console of its own.
type program struct {
	t       *testing.T
	command *exec.Cmd
	out     output
	ended   chan struct{}
}

// start runs the executable in dir.
func start(t *testing.T, dir string, args ...string) *program {
	t.Helper()
	path, err := filepath.Abs(executable)
	require.NoError(t, err)
	p := &program{t: t, command: exec.Command(path, args...), ended: make(chan struct{})}
	p.command.Dir = dir
	p.command.Stdout, p.command.Stderr = &p.out, &p.out
	p.command.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_CONSOLE, HideWindow: true}
	require.NoError(t, p.command.Start(), "make windows builds it")
	go func() {
		_ = p.command.Wait() // its status is asked for below
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.command.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%q printed:\n%s", args, p.out.String())
		}
	})
	return p
}

// wait waits for the end and returns the exit status.
func (p *program) wait() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(3 * time.Minute):
		require.FailNow(p.t, "it does not end")
	}
	return p.command.ProcessState.ExitCode()
}

// says waits until the program has printed something that matches, and returns the match with its groups.
func (p *program) says(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	for start := time.Now(); time.Since(start) < 2*time.Minute; time.Sleep(20 * time.Millisecond) {
		if found := re.FindStringSubmatch(p.out.String()); found != nil {
			return found
		}
		select {
		case <-p.ended:
			found := re.FindStringSubmatch(p.out.String())
			require.NotNil(p.t, found, "it ended before it said %s", pattern)
			return found
		default:
		}
	}
	require.FailNow(p.t, "it does not say "+pattern)
	return nil
}

// child is the process that trains, as the program tells it.
func (p *program) child() uint32 {
	p.t.Helper()
	pid, err := strconv.ParseUint(p.says(`Training in process (\d+)\.`)[1], 10, 32)
	require.NoError(p.t, err)
	return uint32(pid)
}

// runs runs the executable to its end, which is to be a good one, and returns what it printed.
func runs(t *testing.T, dir string, args ...string) string {
	t.Helper()
	p := start(t, dir, args...)
	require.Zero(t, p.wait())
	return p.out.String()
}

// open gives a handle to a process, which is closed with the test.
func open(t *testing.T, pid, access uint32) windows.Handle {
	t.Helper()
	h, err := windows.OpenProcess(access, false, pid)
	require.NoError(t, err)
	t.Cleanup(func() { _ = windows.CloseHandle(h) })
	return h
}

// gone tells whether a process ends in time.
func gone(h windows.Handle, within time.Duration) bool {
	event, err := windows.WaitForSingleObject(h, uint32(within.Milliseconds()))
	return err == nil && event == windows.WAIT_OBJECT_0
}

// files writes the embedded model and data set into a folder.
func files(t *testing.T, dir string) (model, data string) {
	t.Helper()
	model, data = filepath.Join(dir, "model"), filepath.Join(dir, "train.jsonl")
	require.NoError(t, os.MkdirAll(dir, 0o777))
	require.NoError(t, os.CopyFS(model, demo.ModelFiles()))
	require.NoError(t, os.WriteFile(data, demo.Train(), 0o666))
	return model, data
}

// tempDir is t.TempDir, whose own cleaning Wine 8 does not know; run.sh removes what stays.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "qlora-wgpu-test")
	require.NoError(t, err)
	return dir
}

// training are the arguments of a short run on the device that QLORA_DEVICE names, if it does.
func training(model, data, output string, steps int, more ...string) []string {
	if device := os.Getenv("QLORA_DEVICE"); device != "" {
		more = append(more, "--device", device)
	}
	return append([]string{
		"train", "--model", model, "--data", data, "--output-dir", output, "--max-steps", fmt.Sprint(steps),
		"--batch-size", "2", "--gradient-accumulation-steps", "1", "--max-seq-length", "64", "--logging-steps", "1",
		"--lr-scheduler-type", "constant", "--warmup-ratio", "0", "--autotune", "off",
	}, more...)
}

// cutBack removes the last checkpoint of a run that ended, which can then go on to its end once more.
func cutBack(t *testing.T, out string, step int) {
	t.Helper()
	dir := filepath.Join(out, fmt.Sprintf("checkpoint-%d", step))
	require.NoError(t, os.Rename(dir, out+" cut back"))
}

func read(t *testing.T, elements ...string) []byte {
	t.Helper()
	bytes, err := os.ReadFile(filepath.Join(elements...))
	require.NoError(t, err)
	return bytes
}

const weights = "adapter_model.safetensors"
