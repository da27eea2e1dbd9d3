//go:build unix

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// letHangupsThrough is for an attack that runs under nohup: what it starts would ignore SIGHUP too. A signal that is
// caught is not ignored by a child.
func letHangupsThrough() {
	if signal.Ignored(syscall.SIGHUP) {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
}

// phase is a moment of a run: an operation on a file, or a line that it has said.
type phase struct {
	name string
	at   func(trial, operation) bool
	line *regexp.Regexp
	more []string // settings
}

func on(part, name string) func(trial, operation) bool {
	return func(t trial, o operation) bool { return o.Name == name && strings.Contains(o.File, part) }
}

func said(line string) *regexp.Regexp { return regexp.MustCompile("(?m)" + line) }

var phases = []phase{
	{name: "starting", line: said(`^`)},
	{name: "loading", at: on("model/model.safetensors", "mmap")},
	{name: "checking kernels", line: said(`^Checking the kernels`)},
	{name: "quantizing", at: func(_ trial, o operation) bool { // not the index of models beside it
		return o.Name == "write" && strings.Contains(o.File, "/nf4/") && !strings.Contains(o.File, "models.json")
	}},
	{name: "measuring", line: said(`^Device:`), more: []string{"--autotune=force"}},
	{name: "compiling", line: said(`^Plan:`)},
	{name: "training", line: said(`^{'loss'.*\n{'loss'`)},
	{name: "saving", at: on("checkpoint-4.tmp/optimizer.safetensors", "write")},
	{name: "publishing", at: on("checkpoint-4.tmp", "renameat")},
	{name: "evaluating", line: said(`^Saved checkpoint-2\.\n{'loss'.*\n`)},
	{name: "removing", at: on("checkpoint-2", "unlinkat")},
	{name: "ending", at: func(t trial, o operation) bool {
		return o.Name == "renameat" && filepath.Dir(o.File) == t.out() && strings.Contains(o.File, "adapter_model.safetensors")
	}},
}

// shot is a signal and what has to come of it.
type shot struct {
	name     string
	to       string
	signals  []syscall.Signal
	restarts bool // the parent makes the run end well
	saves    bool // the run ends by itself, with what it has
}

var shots = []shot{
	{name: "INT to both", to: "group", signals: []syscall.Signal{syscall.SIGINT}, saves: true},
	{name: "INT twice", to: "group", signals: []syscall.Signal{syscall.SIGINT, syscall.SIGINT}},
	{name: "TERM", to: "parent", signals: []syscall.Signal{syscall.SIGTERM}, saves: true},
	{name: "HUP", to: "parent", signals: []syscall.Signal{syscall.SIGHUP}, saves: true},
	{name: "KILL of the child", to: "child", signals: []syscall.Signal{syscall.SIGKILL}, restarts: true},
	{name: "ABRT of the child", to: "child", signals: []syscall.Signal{syscall.SIGABRT}, restarts: true},
	{name: "KILL of the parent", to: "parent", signals: []syscall.Signal{syscall.SIGKILL}},
	{name: "STOP and CONT of the child", to: "child", signals: []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT}, restarts: true},
	{name: "STOP and CONT of both", to: "group", signals: []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT}, restarts: true},
}

// shoot sends the signals in the phase and lets the run go on.
func (s *subject) shoot(at phase, with shot) (outcome string, err error) {
	t := s.trial()
	defer t.remove()
	var p *process
	var once sync.Once
	started, sent := make(chan struct{}), make(chan error, 1)
	fire := func() {
		once.Do(func() {
			go func() {
				<-started
				for i, signal := range with.signals {
					if i > 0 {
						time.Sleep(300 * time.Millisecond)
					}
					if err := p.signal(with.to, signal); err != nil && i == 0 {
						sent <- err
						return
					}
				}
				sent <- nil
			}()
		})
	}
	var decide func(operation) syscall.Errno
	if at.at != nil {
		decide = func(o operation) syscall.Errno {
			if at.at(t, o) {
				fire()
				time.Sleep(5 * time.Millisecond) // it arrives before the operation, or beside it
			}
			return 0
		}
	}
	if p, err = t.start(decide, at.more...); err != nil {
		return "", err
	}
	close(started)
	if at.line != nil {
		if at.name != "starting" {
			p.waitFor(at.line, 1)
		}
		time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
		fire()
	}
	status, err := p.end()
	what := func(err error) error {
		return fmt.Errorf("%s while %s: %w; status %d, it said:\n%s", with.name, at.name, err, status, p.text())
	}
	if err != nil {
		return "", what(err)
	}
	select {
	case err := <-sent:
		if err == errNoChild || errors.Is(err, syscall.ESRCH) {
			return "too early", nil
		} else if err != nil {
			return "", what(err)
		}
	case <-time.After(5 * time.Second):
		return "", what(errors.New("the phase never came"))
	}
	if err := p.gone(); err != nil {
		return "", what(err)
	}
	if with.name != "ABRT of the child" { // its goroutines are what the driver's maintainers need
		if err := shaped(p.text()); err != nil {
			return "", what(err)
		}
	}
	byItself := status == 0 || status == 130 || p.text() == "" // before the program begins, the signal's own end
	if with.saves && !byItself {
		return "", what(errors.New("it has to end by itself with status 130"))
	}
	if with.restarts && status != 0 {
		return "", what(errors.New("it has to end well"))
	}
	if at.more != nil {
		return "ended rightly", nil // variants that were measured: its bytes are its own
	}
	outcome = "went on"
	if status == 0 {
		outcome = "ended well"
		found, err := readRun(t.out())
		if err == nil {
			err = found.differs(s.want)
		}
		if err != nil {
			return "", what(err)
		}
	} else if err := t.complete(); err != nil {
		return "", what(err)
	}
	return outcome, nil
}

// killRandomly ends process after process of one run, each at a moment of its own, until one ends well.
func (s *subject) killRandomly(random *rand.Rand) (kills int, err error) {
	t := s.trial()
	defer t.remove()
	for kills < 20 {
		p, err := t.start(nil, "--resume")
		if err != nil {
			return kills, err
		}
		late := time.After(time.Duration(random.Int64N(int64(s.took * 2 / 3))))
		select {
		case <-late:
		case <-p.done:
		}
		if !p.runs() {
			if status, _ := p.end(); status != 0 {
				return kills, fmt.Errorf("after %d kills it ends with status %d:\n%s", kills, status, p.text())
			}
			break
		}
		p.kill()
		if err := errors.Join(p.gone(), shaped(p.text())); err != nil {
			return kills, err
		}
		kills++
	}
	if err := t.complete(); err != nil {
		return kills, fmt.Errorf("after %d kills: %w", kills, err)
	}
	return kills, nil
}
