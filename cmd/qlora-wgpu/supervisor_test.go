//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo/demotest"
)

// parentVariable makes the test binary a supervisor in a process of its own.
const parentVariable = "QLORA_TEST_PARENT"

// programVariable makes the test binary the program itself.
const programVariable = "QLORA_TEST_PROGRAM"

// TestMain lets the supervisor start this binary as its child: the program where programVariable is set, else a fake of
// the training that dies as told.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv(programVariable) != "":
		main()
	case os.Getenv(childVariable) != "":
		os.Exit(fakeTraining(os.Args[1], os.Args[2]))
	case os.Getenv(parentVariable) != "":
		c := &console{context: context.Background(), stdout: os.Stdout, stderr: os.Stderr}
		s := supervisor{console: c, executable: os.Args[0], args: os.Args[1:]}
		fmt.Println(s.run())
		os.Exit(0)
	}
	demotest.OwnCache()
	os.Exit(m.Run())
}

// fakeTraining notes its arguments in dir/calls and then behaves as mode says.
func fakeTraining(mode, dir string) int {
	calls := filepath.Join(dir, "calls")
	before, _ := os.ReadFile(calls)
	call := fmt.Sprintf("%s scale=%s\n", strings.Join(os.Args[3:], " "), os.Getenv(submitScaleVariable))
	_ = os.WriteFile(calls, append(before, call...), 0o666)
	try := 1 + bytes.Count(before, []byte("\n"))
	fmt.Printf("{'loss': %d.5}\n", try)
	fmt.Fprintf(os.Stderr, "step 1\rstep 2\rstep %d\n", 10*try)
	switch mode {
	case "saves and aborts twice":
		if try <= 2 {
			_ = os.MkdirAll(filepath.Join(dir, "checkpoint-10"), 0o777)
			_ = os.WriteFile(filepath.Join(dir, "checkpoint-10", "manifest.json"), nil, 0o666)
		}
		fallthrough
	case "aborts twice":
		if try <= 2 {
			abort()
		}
		return 0
	case "aborts":
		abort()
	case "is killed":
		if try == 1 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		return 0
	case "loses the device":
		if try == 1 {
			return statusEngineFault
		}
		return 0
	case "user error":
		fmt.Fprintln(os.Stderr, "error: settings: lora_r is 0")
		return statusChildUserError
	case "fails":
		return statusFailure
	case "waits":
		ctx := followParent(os.Stdin)
		fmt.Println("waiting")
		<-ctx.Done()
		fmt.Println("saved")
		return statusInterrupted
	}
	return 0
}

// abort does what a Rust panic in a driver does to a Go process.
func abort() {
	fmt.Fprintln(os.Stderr, "thread '<unnamed>' panicked: wgpu error: Validation Error")
	_ = syscall.Kill(os.Getpid(), syscall.SIGABRT)
	select {}
}

// watch supervises a fake training and returns the error, stderr, and a line per try of what the child was started
// with.
func watch(t *testing.T, ctx context.Context, mode string, change func(*supervisor)) (error, string, []string) {
	dir := t.TempDir()
	executable, err := os.Executable()
	require.NoError(t, err)
	var stdout, stderr bytes.Buffer
	s := supervisor{
		console:    &console{context: ctx, stdout: &stdout, stderr: &stderr},
		executable: executable, args: []string{mode, dir, "--seed=1"}, outputDir: dir,
	}
	if change != nil {
		change(&s)
	}
	err = s.run()
	calls, readErr := os.ReadFile(filepath.Join(dir, "calls"))
	require.NoError(t, readErr)
	lines := strings.Split(strings.TrimSpace(string(calls)), "\n")
	require.Equal(t, len(lines), strings.Count(stdout.String(), "{'loss': "), "the child's stdout is passed through")
	return err, strings.ReplaceAll(stderr.String(), dir, "DIR"), lines
}

func TestSupervisorRestartsAfterAborts(t *testing.T) {
	err, stderr, calls := watch(t, t.Context(), "saves and aborts twice", nil)
	require.NoError(t, err)
	require.Equal(t, []string{
		"--seed=1 scale=",
		"--seed=1 --resume=auto --overwrite=false scale=0.5",
		"--seed=1 --resume=auto --overwrite=false scale=0.25",
	}, calls)
	require.Contains(t, stderr, "step 1\rstep 2\rstep 10\nthread '<unnamed>' panicked", "the child's stderr is passed through")
	require.Contains(t, stderr, `
The training process died: exit status 2. The last it said:
  | step 10
  | thread '<unnamed>' panicked: wgpu error: Validation Error
  | SIGABRT: abort
`)
	require.Contains(t, stderr,
		"\nStarting it again from the last checkpoint, with submissions to the device 0.5 times as long as at first (try 2 of 3).\n")
	require.Contains(t, stderr,
		"\nStarting it again from the last checkpoint, with submissions to the device 0.25 times as long as at first (try 3 of 3).\n")
	require.NotContains(t, stderr, "giving up")
}

func TestSupervisorGivesUp(t *testing.T) {
	err, stderr, calls := watch(t, t.Context(), "aborts", nil)
	require.ErrorContains(t, err, "the training process died 3 times; giving up. Checkpoints, if any, are in ")
	require.ErrorContains(t, err, "`qlora-wgpu check` tests the device and its driver")
	require.Equal(t, []string{"--seed=1 scale=", "--seed=1 --resume=auto scale=0.5", "--seed=1 --resume=auto scale=0.25"}, calls)
	require.Equal(t, 3, strings.Count(stderr, "The training process died: exit status 2."))
	require.Equal(t, 2, strings.Count(stderr, "Starting it again from the beginning (there is no checkpoint yet)"))
}

// As long as the run has saved nothing, what the user asked for still holds.
func TestSupervisorKeepsTheRunsOwnStart(t *testing.T) {
	_, _, calls := watch(t, t.Context(), "aborts twice", func(s *supervisor) { s.overwrite = true })
	require.Equal(t, []string{"--seed=1 scale=", "--seed=1 scale=0.5", "--seed=1 scale=0.25"}, calls)
	_, stderr, calls := watch(t, t.Context(), "aborts twice", func(s *supervisor) { s.resume = "other/checkpoint-5" })
	require.Equal(t, []string{"--seed=1 scale=", "--seed=1 scale=0.5", "--seed=1 scale=0.25"}, calls)
	require.Contains(t, stderr, "Starting it again from other/checkpoint-5, with")
	_, _, calls = watch(t, t.Context(), "saves and aborts twice", func(s *supervisor) { s.overwrite = true })
	require.Equal(t, "--seed=1 --resume=auto --overwrite=false scale=0.5", calls[1])
}

func TestSupervisorNamesTheCause(t *testing.T) {
	err, stderr, calls := watch(t, t.Context(), "is killed", nil)
	require.NoError(t, err)
	require.Len(t, calls, 2)
	require.Contains(t, stderr,
		"The training process died: it was killed, perhaps because the system ran out of memory. The last it said:\n  | step 10\n")
	err, stderr, calls = watch(t, t.Context(), "loses the device", nil)
	require.NoError(t, err)
	require.Len(t, calls, 2)
	require.Contains(t, stderr, "The training process died: the device failed. The last it said:\n")
}

func TestSupervisorPassesDecisionsOn(t *testing.T) {
	for mode, status := range map[string]exitStatus{"user error": statusUserError, "fails": statusFailure} {
		err, stderr, calls := watch(t, t.Context(), mode, nil)
		require.Equal(t, status, err)
		require.Len(t, calls, 1)
		require.NotContains(t, stderr, "died")
	}
	err, _, calls := watch(t, t.Context(), "succeeds", nil)
	require.NoError(t, err)
	require.Len(t, calls, 1)
}

func TestInterruptReachesTheChild(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	err, stderr, calls := watch(t, ctx, "waits", nil)
	require.Equal(t, exitStatus(statusInterrupted), err)
	require.Len(t, calls, 1)
	require.NotContains(t, stderr, "died")
}

// A parent that is killed cannot tell its child; the end of the pipe does. Both hold this test's pipe open as long as
// they live.
func TestChildEndsWithItsParent(t *testing.T) {
	executable, err := os.Executable()
	require.NoError(t, err)
	parent := exec.Command(executable, "waits", t.TempDir())
	parent.Env = append(os.Environ(), parentVariable+"=1")
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	parent.Stdout = writer
	require.NoError(t, parent.Start())
	require.NoError(t, writer.Close())
	require.NoError(t, reader.SetReadDeadline(time.Now().Add(20*time.Second)))

	var seen []byte
	for !bytes.Contains(seen, []byte("waiting\n")) {
		buffer := make([]byte, 100)
		n, err := reader.Read(buffer)
		require.NoError(t, err)
		seen = append(seen, buffer[:n]...)
	}
	require.NoError(t, parent.Process.Kill())
	_ = parent.Wait()
	rest := new(bytes.Buffer)
	_, err = rest.ReadFrom(reader)
	require.NoError(t, err, "the child still runs")
	require.NotContains(t, rest.String(), "saved", "it has nobody to save for")
}

func TestLastLines(t *testing.T) {
	l := new(lastLines)
	for i := range 100 {
		fmt.Fprintf(l, "line %d\r\n", i)
	}
	fmt.Fprintf(l, "10%%\r20%%\r30%%\n\n%s\nSIGSEGV: segmentation violation\nPC=1\n\ngoroutine 1\na\nb\nc\nd\n", strings.Repeat("x", 10_000))
	got := l.lines()
	require.Len(t, got, keptLines)
	require.Equal(t, "line 99", got[keptLines-8])
	require.Equal(t, "30%", got[keptLines-7])
	require.Len(t, got[keptLines-6], lineBytes)
	require.Equal(t, []string{"SIGSEGV: segmentation violation", "PC=1", "goroutine 1", "a", "b"}, got[keptLines-5:])
}
