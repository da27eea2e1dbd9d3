//go:build unix

package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// script decides about the operations of one run: the n-th of those that count is the attack.
type script struct {
	counts func(operation) bool
	n      int
	attack func(operation) syscall.Errno
	stays  bool // all after the n-th are attacked too

	mu   sync.Mutex
	seen int
	hit  *operation
}

func (s *script) decide(o operation) syscall.Errno {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.counts(o) {
		return 0
	}
	if s.seen++; s.n == 0 || s.seen < s.n || s.seen > s.n && !s.stays {
		return 0
	}
	if s.hit == nil {
		s.hit = &o
	}
	return s.attack(o)
}

func (s *script) attacked() *operation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hit
}

func every(operation) bool { return true }

// countOperations lets the run end and tells how many operations count.
func (s *subject) countOperations(counts func(trial) func(operation) bool) (int, error) {
	t := s.trial()
	defer t.remove()
	all := &script{counts: counts(t)}
	p, err := t.start(all.decide)
	if err != nil {
		return 0, err
	}
	if status, err := p.end(); status != 0 {
		return 0, errors.Join(err, fmt.Errorf("watched, it ends with status %d:\n%s", status, p.text()))
	}
	found, err := readRun(t.out())
	if err != nil {
		return 0, err
	}
	return all.seen, found.differs(s.want)
}

func fills(o operation) bool { return o.fills }

// failOperation lets the n-th operation on a file of the run fail, as on a broken or forbidden disk.
func (s *subject) failOperation(n int) (outcome string, err error) {
	return s.fail(&script{counts: every, n: n, attack: func(o operation) syscall.Errno { return o.fails }})
}

// fillDisk lets the disk be full from the n-th operation on that takes room.
func (s *subject) fillDisk(n int) (outcome string, err error) {
	return s.fail(&script{counts: fills, n: n, attack: func(operation) syscall.Errno { return syscall.ENOSPC }, stays: true})
}

// fail attacks a run. Either it copes, and leaves what it always leaves, or it ends with a message that names a file,
// and goes on when the disk is as it was.
func (s *subject) fail(attack *script) (outcome string, err error) {
	t := s.trial()
	defer t.remove()
	p, err := t.start(attack.decide)
	if err != nil {
		return "", err
	}
	status, err := p.end()
	o := attack.attacked()
	if o == nil {
		return "", errors.Join(err, errMissed)
	}
	what := func(err error) error {
		return fmt.Errorf("%s of %s fails: %w", o.Name, t.short(o.File), err)
	}
	if err != nil {
		return "", what(err)
	}
	if strings.Contains(p.text(), "The training process died") {
		return "", what(fmt.Errorf("the training process died:\n%s", p.text()))
	}
	if status == 0 {
		if err := shaped(p.text()); err != nil {
			return "", what(err)
		}
		found, err := readRun(t.out())
		if err == nil {
			err = found.differs(s.want)
		}
		if err == nil {
			return "coped", nil
		}
		if !warned(p.text()) || found.files[adapter] != s.want.files[adapter] {
			return "", what(fmt.Errorf("it ends with status 0, and %w:\n%s", err, p.text()))
		}
		if err := t.completeBut(p.text()); err != nil {
			return "", what(fmt.Errorf("%w\nbefore that it said:\n%s", err, p.text()))
		}
		return "coped with a warning", nil
	}
	if status != 1 && status != 2 {
		return "", what(fmt.Errorf("it ends with status %d:\n%s", status, p.text()))
	}
	if err := explained(p.text()); err != nil {
		return "", what(err)
	}
	if !strings.Contains(p.text(), t.subject.dir) {
		return "", what(fmt.Errorf("no file is named:\n%s", p.text()))
	}
	if err := t.completeBut(p.text()); err != nil {
		return "", what(fmt.Errorf("%w\nbefore that it said:\n%s", err, p.text()))
	}
	return "said why, went on", nil
}

// killAtOperation ends the run and its parent before the n-th operation on its folders, and lets it go on.
func (s *subject) killAtOperation(n int) (outcome string, err error) {
	t := s.trial()
	defer t.remove()
	var p *process
	started := make(chan struct{})
	attack := &script{counts: t.written, n: n, attack: func(operation) syscall.Errno {
		<-started
		_ = p.signal("group", syscall.SIGKILL)
		return syscall.EIO
	}}
	if p, err = t.start(attack.decide); err != nil {
		return "", err
	}
	close(started)
	if _, err := p.end(); err != nil {
		return "", err
	}
	o := attack.attacked()
	if o == nil {
		return "", errMissed
	}
	if err := errors.Join(p.gone(), t.complete()); err != nil {
		return "", fmt.Errorf("killed before %s of %s: %w", o.Name, t.short(o.File), err)
	}
	return "went on", nil
}

var errMissed = errors.New("the run had fewer operations this time")

// written tells operations on what the run writes.
func (t trial) written(o operation) bool { return strings.HasPrefix(o.File, t.dir) }

func (t trial) short(file string) string {
	if short, err := filepath.Rel(t.dir, file); err == nil && !strings.HasPrefix(short, "..") {
		return short
	}
	return filepath.Base(file)
}

// some are at most so many of 1 to n, evenly spread; 0: all.
func some(n, most int) (list []int) {
	if most == 0 || most > n {
		most = n
	}
	for i := range most {
		list = append(list, 1+i*n/most)
	}
	return slices.Compact(list)
}
