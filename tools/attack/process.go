//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// process is the program in a process group of its own, with its training child.
type process struct {
	command *exec.Cmd
	done    chan struct{} // closed when it has ended

	mu     sync.Mutex
	output bytes.Buffer  // stdout and stderr
	more   chan struct{} // gets a value after a write
}

// start runs a command line. Where decide is set, it is asked about the operations on files below the folders.
func start(folders []string, decide func(operation) syscall.Errno, line ...string) (*process, error) {
	p := &process{command: exec.Command(line[0], line[1:]...), done: make(chan struct{}), more: make(chan struct{}, 1)}
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.command.Stdout, p.command.Stderr = p, p
	begin := p.command.Start
	if decide != nil {
		begin = func() error { return watched(p.command, folders, decide) }
	}
	if err := begin(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.command.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.output.Write(b)
	select {
	case p.more <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// patience is how long nothing may take.
const patience = 3 * time.Minute

// waitFor waits until the output holds so many matches, or the process has ended.
func (p *process) waitFor(line *regexp.Regexp, count int) {
	late := time.After(patience)
	for len(line.FindAllString(p.text(), count)) < count {
		select {
		case <-p.more:
		case <-p.done:
			return
		case <-late:
			return
		}
	}
}

func (p *process) runs() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// end waits for the process and gives its exit status, -1 for one that a signal ended. One that does not end is killed.
func (p *process) end() (int, error) {
	select {
	case <-p.done:
		return p.command.ProcessState.ExitCode(), nil
	case <-time.After(patience):
		p.kill()
		return -1, fmt.Errorf("it did not end within %s", patience)
	}
}

// signal goes to the process alone, or to its child, or to both, as a terminal sends it.
func (p *process) signal(to string, s syscall.Signal) error {
	switch to {
	case "child":
		id := p.child()
		if id == 0 {
			return errNoChild
		}
		return syscall.Kill(id, s)
	case "group":
		return syscall.Kill(-p.command.Process.Pid, s)
	}
	return syscall.Kill(p.command.Process.Pid, s)
}

var errNoChild = fmt.Errorf("there is no training process yet")

// kill ends the process and its child at once, with nothing that they could do about it.
func (p *process) kill() {
	_ = syscall.Kill(-p.command.Process.Pid, syscall.SIGKILL)
	<-p.done
}

var childLine = regexp.MustCompile(`(?m)^Training in process (\d+)\.\n`)

// child is the process id of the newest training process, 0 where there was none.
func (p *process) child() int {
	lines := childLine.FindAllStringSubmatch(p.text(), -1)
	if len(lines) == 0 {
		return 0
	}
	id, _ := strconv.Atoi(lines[len(lines)-1][1])
	return id
}

// gone waits until no process of the group is left: a child ends after its parent.
func (p *process) gone() error {
	for begin := time.Now(); time.Since(begin) < 20*time.Second; time.Sleep(10 * time.Millisecond) {
		if syscall.Kill(-p.command.Process.Pid, 0) != nil {
			return nil
		}
	}
	_ = syscall.Kill(-p.command.Process.Pid, syscall.SIGKILL)
	return fmt.Errorf("the training process lives 20 s after its parent")
}
