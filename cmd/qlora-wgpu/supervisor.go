package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"qlora-wgpu/internal/runlock"
)

// Training runs in a child process, because a driver that meets an error may abort the whole process. The parent
// watches: when the child dies of anything but a decision of its own, it is started again from the last checkpoint with
// shorter submissions to the device.
//
// A pipe on the child's standard input ties the two together: a byte says that the user wants to end, and the end of
// the pipe that the parent is gone, whatever killed it.

const (
	// set in the child: childOnTerminal or childOnPipe, what the parent's stderr is
	childVariable       = "QLORA_TRAIN_CHILD"
	submitScaleVariable = "QLORA_SUBMIT_SCALE" // read by the engine: factor on the length of a submission
	childOnTerminal     = "terminal"
	childOnPipe         = "pipe"

	// What a child ends with when it knows why it ends. Not 2 for a user's error: that is how Go's runtime ends after an
	// abort in a driver.
	statusEngineFault    = 86 // the device was lost or computed wrongly: worth another try
	statusChildUserError = 87
)

// submitScales is one try each.
var submitScales = []string{"1", "0.5", "0.25"}

// supervisor runs executable with args as a child until it ends well, or fails in a way that trying again cannot help.
type supervisor struct {
	console    *console
	executable string
	args       []string
	outputDir  string
	overwrite  bool   // the run replaces what outputDir held
	resume     string // the run's own resume_from_checkpoint

	saved bool // this run has written a checkpoint
}

func (s *supervisor) run() error {
	args := s.args
	for try, scale := range submitScales {
		before := manifests(s.outputDir)
		end, last, err := s.child(args, try, scale)
		if err != nil {
			return err
		}
		switch code := end.ExitCode(); {
		case code == 0:
			return nil
		case code == statusChildUserError:
			return exitStatus(statusUserError)
		case code == statusFailure || code == statusInterrupted:
			return exitStatus(code)
		case s.console.context.Err() != nil:
			return exitStatus(statusInterrupted)
		}
		s.report("The training process died: %s. The last it said:", cause(end))
		for _, line := range last {
			s.report("  | %s", line)
		}
		if try+1 == len(submitScales) {
			break
		}
		for name, written := range manifests(s.outputDir) {
			s.saved = s.saved || before[name] != written
		}
		var from string
		args, from = s.again()
		s.report("Starting it again from %s, with submissions to the device %s times as long as at first (try %d of %d).",
			from, submitScales[try+1], try+2, len(submitScales))
	}
	return fmt.Errorf("the training process died %d times; giving up. Checkpoints, if any, are in %s: --resume goes on from the last. "+
		"`qlora-wgpu check` tests the device and its driver, --device chooses another one", len(submitScales), s.outputDir)
}

func (s *supervisor) report(format string, args ...any) {
	fmt.Fprintf(s.console.stderr, format+"\n", args...)
}

// child runs one child to its end and returns how it ended and the last lines of its standard error.
func (s *supervisor) child(args []string, try int, scale string) (*os.ProcessState, []string, error) {
	kept := new(lastLines)
	command := exec.Command(s.executable, args...)
	command.Stdout = s.console.stdout
	command.Stderr = io.MultiWriter(s.console.stderr, kept)
	if s.console.screen { // one pipe for both keeps lines and progress bar in order
		command.Stdout = command.Stderr
	}
	attached := childOnPipe
	if s.console.terminal {
		attached = childOnTerminal
	}
	command.Env = append(os.Environ(), childVariable+"="+attached, runlock.Environment())
	if try > 0 {
		command.Env = append(command.Env, submitScaleVariable+"="+scale)
	}
	pipe, err := command.StdinPipe()
	if err != nil {
		return nil, nil, fmt.Errorf("start the training process: %w", err)
	}
	if err := command.Start(); err != nil {
		return nil, nil, fmt.Errorf("start the training process: %w", err)
	}
	unfollow := context.AfterFunc(s.console.context, func() { _, _ = pipe.Write([]byte{'\n'}) })
	defer unfollow()
	err = command.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return nil, nil, fmt.Errorf("training process: %w", err)
	}
	return command.ProcessState, kept.lines(), nil
}

func cause(end *os.ProcessState) string {
	switch {
	case end.ExitCode() == statusEngineFault:
		return "the device failed"
	case strings.Contains(end.String(), "signal: killed"):
		return "it was killed, perhaps because the system ran out of memory"
	}
	return end.String()
}

// again gives the arguments of the next try and says where it starts. A checkpoint counts if this run saved it; until
// then what the user asked for holds.
func (s *supervisor) again() (args []string, from string) {
	more := func(flags ...string) []string { return append(s.args[:len(s.args):len(s.args)], flags...) }
	switch {
	case s.saved:
		return more("--resume=auto", "--overwrite=false"), "the last checkpoint"
	case s.resume == "auto":
		return s.args, "the last checkpoint"
	case s.resume != "":
		return s.args, s.resume
	case s.overwrite:
		return s.args, "the beginning (there is no checkpoint yet)"
	}
	// The dead try has left files in the folder, which a run that is not resumed would refuse.
	return more("--resume=auto"), "the beginning (there is no checkpoint yet)"
}

// manifests tells the checkpoints in a run's folder, and when each was written.
func manifests(dir string) map[string]time.Time {
	found := map[string]time.Time{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return found // not there yet
	}
	for _, e := range entries {
		if info, err := os.Stat(filepath.Join(dir, e.Name(), "manifest.json")); err == nil {
			found[e.Name()] = info.ModTime()
		}
	}
	return found
}

// followParent makes this process a good child: the parent alone decides what Ctrl-C means.
func followParent(stdin io.Reader) context.Context {
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGTERM) // nobody receives: ignored, on Windows too
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		one := make([]byte, 1)
		for {
			n, err := stdin.Read(one)
			if err != nil {
				os.Exit(statusInterrupted)
			}
			if n > 0 {
				cancel()
			}
		}
	}()
	return ctx
}
