package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"qlora-wgpu/internal/runlock"
	"qlora-wgpu/internal/usererr"
)

// child runs one child to its end.
func (s *supervisor) child(args []string, scale string) (end ending, err error) {
	kept := new(lastLines)
	told := &follower{out: io.MultiWriter(&s.stderr, kept)}
	command := exec.Command(s.executable, args...)
	command.Stdout = bare(s.console.stdout)
	command.Stderr = told
	if s.console.screen { // one pipe for both keeps lines and progress bar in order
		command.Stdout = command.Stderr
	}
	attached := childOnPipe
	if s.console.terminal {
		attached = childOnTerminal
	}
	command.Env = append(os.Environ(), childVariable+"="+attached, runlock.Environment())
	if scale != submitScales[0] {
		command.Env = append(command.Env, submitScaleVariable+"="+scale)
	}
	pipe, err := command.StdinPipe()
	if err != nil {
		return end, fmt.Errorf("start the training process: %w", err)
	}
	if err := command.Start(); err != nil {
		return end, fmt.Errorf("start the training process: %w", err)
	}
	stop := s.attend(command.Process, pipe, told, &end.hung)
	err = command.Wait()
	stop()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return end, fmt.Errorf("training process: %w", err)
	}
	at, _ := told.progress()
	s.longest = max(s.longest, at.Longest)
	end.ProcessState, end.last = command.ProcessState, kept.lines()
	return end, nil
}

// attend does what a child needs besides waiting for it: it passes the wish to end on, ends it at once if that is
// wanted, or if it hangs. What it returns ends all that.
func (s *supervisor) attend(child *os.Process, pipe io.Writer, told *follower, hung *bool) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	unfollow := context.AfterFunc(s.console.context, func() {
		at, _ := told.progress()
		if at.Ready || at.Step > 0 {
			s.report("Interrupted: a checkpoint is saved after the step under way. Another Ctrl-C ends the run at once and loses %s.", at.unsaved())
		} else {
			s.report("Interrupted before the first step: there is nothing to save.")
		}
		_, _ = pipe.Write([]byte{'\n'})
	})
	abandon := func() bool { return true }
	if i := s.console.interrupts; i != nil {
		i.taken.Store(true)
		abandon = context.AfterFunc(i.second, func() {
			at, _ := told.progress()
			s.report("Ended at once. Lost: %s.", at.unsaved())
			_ = child.Kill()
		})
	}
	work.Go(func() {
		s.patience.watch(ctx, told, s.longest, func(limit time.Duration) {
			at, _ := told.progress()
			s.report("The training process has told no progress for %.3g s (the longest step took %.1f s): it is ended.",
				limit.Seconds(), max(s.longest, at.Longest))
			*hung = true
			_ = child.Kill()
		})
	})
	return func() {
		unfollow()
		abandon()
		cancel()
		work.Wait()
	}
}

// shared is the parent's standard error, to which it writes itself and what its child says. It never fails: a terminal
// that was closed is no reason to end.
type shared struct {
	mu  sync.Mutex
	out io.Writer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.out.Write(p)
	return len(p), nil
}

func (s *supervisor) report(format string, args ...any) {
	fmt.Fprintf(&s.stderr, "%s\n", usererr.OneLine(fmt.Sprintf(format, args...)))
}
