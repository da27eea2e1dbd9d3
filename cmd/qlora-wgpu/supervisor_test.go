//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/lora"
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
		s := supervisor{console: c, executable: os.Args[0], args: os.Args[1:], outputDir: os.Args[2], patience: usualPatience}
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
		if try == 1 {
			fakeCheckpoint(dir, 10)
		}
		fallthrough
	case "aborts twice":
		if try <= 2 {
			abort()
		}
		return 0
	case "aborts":
		abort()
	case "saves and aborts six times":
		if try <= 6 {
			fakeCheckpoint(dir, try)
			abort()
		}
		return 0
	case "finds a file shorter":
		if try == 1 || try == 3 {
			fmt.Fprint(os.Stderr, "unexpected fault address 0x7f\nfatal error: fault\n[signal SIGBUS: bus error code=0x2 addr=0x7f]\n")
			return 2
		}
		if try == 2 {
			fakeCheckpoint(dir, 10)
			abort()
		}
		return 0
	case "finds files shorter all the time":
		_ = syscall.Kill(os.Getpid(), syscall.SIGBUS)
		select {}
	case "writes the adapter and aborts":
		_ = os.WriteFile(filepath.Join(dir, lora.WeightsFile), nil, 0o666)
		abort()
	case "removes the adapter and aborts":
		_ = os.Remove(filepath.Join(dir, lora.WeightsFile))
		abort()
	case "takes its time, then hangs":
		if try > 1 {
			return 0
		}
		t := &teller{out: os.Stderr, every: 20 * time.Millisecond}
		t.event(events.Reserved{})
		for step := 41; step <= 43; step++ {
			for range 80 { // an evaluation of 800 ms: longer than the limit, but it gets on
				time.Sleep(10 * time.Millisecond)
				t.event(events.Evaluating{})
			}
			t.event(events.Step{Step: step, Seconds: 0.002})
		}
		fmt.Fprint(os.Stderr, "stuck")
		select {}
	case "is stubborn":
		followParent(os.Stdin)
		t := &teller{out: os.Stderr}
		for step := 1; step <= 12; step++ {
			t.event(events.Step{Step: step, Seconds: 1})
			if step == 5 {
				t.event(events.Checkpoint{Step: step})
			}
		}
		fmt.Println("waiting")
		select {}
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

func fakeCheckpoint(dir string, step int) {
	folder := filepath.Join(dir, fmt.Sprintf("checkpoint-%d", step))
	_ = os.MkdirAll(folder, 0o777)
	_ = os.WriteFile(filepath.Join(folder, "manifest.json"), nil, 0o666)
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
		executable: executable, args: []string{mode, dir, "--seed=1"}, outputDir: dir, patience: usualPatience,
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

	err, stderr, calls = watch(t, t.Context(), "saves and aborts six times", nil)
	require.NoError(t, err, "each try gets further")
	require.Len(t, calls, 7)
	require.Equal(t, 6, strings.Count(stderr, "(try 2 of 3)"))
	require.Equal(t, "--seed=1 --resume=auto --overwrite=false scale=0.25", calls[6])
}

func TestSupervisorGivesUp(t *testing.T) {
	err, stderr, calls := watch(t, t.Context(), "aborts", nil)
	require.ErrorContains(t, err, "the training process died 3 times without a new checkpoint in between; giving up. ")
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

// A child that tells no progress is ended and started again; one that takes its time is not, however long it takes.
func TestSupervisorEndsAChildThatHangs(t *testing.T) {
	begin := time.Now()
	err, stderr, calls := watch(t, t.Context(), "takes its time, then hangs", func(s *supervisor) {
		s.patience = patience{start: time.Minute, first: time.Minute, least: 600 * time.Millisecond, steps: 20, tick: 10 * time.Millisecond}
	})
	require.NoError(t, err)
	require.Len(t, calls, 2)
	require.Greater(t, time.Since(begin), 3*time.Second)
	require.Contains(t, stderr, "stuckThe training process has told no progress for 0.6 s (the longest step took 0.0 s): it is ended.\n"+
		"The training process died: it hung. The last it said:\n  | step 10\n  | stuck\nStarting it again from ")
	require.NotContains(t, stderr, string(rune(recordMark)))

	// What a step took counts, that of an earlier child too.
	p := patience{start: 3 * time.Hour, first: 4 * time.Hour, least: time.Minute, steps: 20}
	require.Equal(t, 3*time.Hour, p.limit(progress{}))
	require.Equal(t, 3*time.Hour, p.limit(progress{Longest: 3}), "it has to load again")
	require.Equal(t, 4*time.Hour, p.limit(progress{Ready: true}))
	require.Equal(t, time.Minute, p.limit(progress{Ready: true, Step: 1, Longest: 2}))
	require.Equal(t, 50*time.Minute, p.limit(progress{Ready: true, Step: 1, Longest: 150}))
}

// A file that became shorter while it was mapped is no fault of the driver: it costs no try, unless it goes on so.
func TestAFileThatBecameShorterCostsNoTry(t *testing.T) {
	err, stderr, calls := watch(t, t.Context(), "finds a file shorter", nil)
	require.NoError(t, err)
	require.Equal(t, []string{
		"--seed=1 scale=", "--seed=1 --resume=auto scale=",
		"--seed=1 --resume=auto --overwrite=false scale=0.5", "--seed=1 --resume=auto --overwrite=false scale=0.5",
	}, calls)
	require.Contains(t, stderr, "The training process died: a file that it had mapped became shorter, or its disk failed (SIGBUS). The last ")
	require.Contains(t, stderr, "Starting it again from the beginning (there is no checkpoint yet); this counts as no try.\n")
	require.Contains(t, stderr, "(try 2 of 3)")

	err, _, calls = watch(t, t.Context(), "finds files shorter all the time", nil)
	require.ErrorContains(t, err, "died 3 times")
	require.Len(t, calls, 4)
}

// Where the adapter is there, a run without a checkpoint is not begun anew.
func TestAFinishedAdapterIsNotTrainedAgain(t *testing.T) {
	err, _, calls := watch(t, t.Context(), "writes the adapter and aborts", nil)
	require.ErrorContains(t, err, "the training process died after its last step: the adapter in ")
	require.ErrorContains(t, err, " is complete, only its checkpoint is missing")
	require.Len(t, calls, 1)
}

// One that a run replaces, and has removed, is not taken for its own.
func TestARemovedAdapterIsNotAFinishedOne(t *testing.T) {
	_, _, calls := watch(t, t.Context(), "removes the adapter and aborts", func(s *supervisor) {
		s.overwrite = true
		require.NoError(t, os.WriteFile(filepath.Join(s.outputDir, lora.WeightsFile), nil, 0o666))
	})
	require.Len(t, calls, 3)
}

// The first Ctrl-C says what a second one loses; the second ends a child that does not end by itself.
func TestASecondInterruptEndsAtOnce(t *testing.T) {
	first, ask := context.WithCancel(t.Context())
	second, insist := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, ask)
	time.AfterFunc(500*time.Millisecond, insist)
	i := &interrupts{first: first, second: second}
	err, stderr, calls := watch(t, first, "is stubborn", func(s *supervisor) { s.console.interrupts = i })
	require.Equal(t, exitStatus(statusInterrupted), err)
	require.Len(t, calls, 1)
	require.True(t, i.taken.Load())
	require.Contains(t, stderr, "Interrupted: a checkpoint is saved after the step under way. Another Ctrl-C ends the run at once and loses "+
		"the 7 steps since step 5, of which there is no checkpoint.\n"+
		"Ended at once. Lost: the 7 steps since step 5, of which there is no checkpoint.\n")

	require.Equal(t, "all 12 steps, of which there is no checkpoint", progress{Step: 12}.unsaved())
	require.Equal(t, "the step under way", progress{Step: 12, Saved: 12}.unsaved())
	require.Equal(t, "the step under way", progress{}.unsaved())
}

// Signals: a closed terminal asks once, however often; only who insists ends at once.
func TestWhatSignalsAskFor(t *testing.T) {
	first, ask := context.WithCancel(t.Context())
	second, insist := context.WithCancel(t.Context())
	i := &interrupts{first: first, second: second}
	i.taken.Store(true)
	signals := make(chan os.Signal)
	go i.follow(signals, ask, insist)
	for range 3 {
		signals <- syscall.SIGHUP
	}
	require.Error(t, first.Err())
	require.NoError(t, second.Err())
	signals <- os.Interrupt
	<-second.Done()
	close(signals)
}

// Records may come in pieces and in the middle of a line, and what only looks like one is passed on.
func TestRecordsAreTakenOut(t *testing.T) {
	var told, passed bytes.Buffer
	fmt.Fprint(&told, "10%\r20")
	(&teller{out: &told}).event(events.Step{Step: 7, Seconds: 2})
	fmt.Fprintf(&told, "%%\nlos%cs\n%c%s\nend", recordMark, recordMark, strings.Repeat("x", 2*recordMax))
	for size := 1; size < 100; size += 7 {
		passed.Reset()
		f := &follower{out: &passed}
		for piece := range slices.Chunk(told.Bytes(), size) {
			n, err := f.Write(piece)
			require.NoError(t, err)
			require.Equal(t, len(piece), n)
		}
		at, records := f.progress()
		require.Equal(t, 1, records)
		require.Equal(t, progress{Step: 7, Saved: 6, Longest: 2}, at)
		require.Equal(t, fmt.Sprintf("10%%\r20%%\nlos%cs\n%c%s\nend", recordMark, recordMark, strings.Repeat("x", 2*recordMax)), passed.String())
	}
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
