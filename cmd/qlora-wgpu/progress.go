package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"qlora-wgpu/internal/events"
	"qlora-wgpu/trainer"
)

// progress is how far a training child is. It tells its parent on its standard error, between the lines for people: a
// recordMark, JSON, the end of the line. Any such record says that the child gets on.
type progress struct {
	Ready   bool    `json:"ready"`   // all is loaded: what comes are steps
	Step    int     `json:"step"`    // finished ones; 0 before the first one of this child
	Saved   int     `json:"saved"`   // the step of the checkpoint that a next child goes on from; 0: the beginning
	Longest float64 `json:"longest"` // seconds of the longest step so far
}

const (
	recordMark = '\x1e' // ASCII's record separator
	recordMax  = 1000   // bytes
)

// teller tells a run's progress, of each step and checkpoint, and else no more than once in every.
type teller struct {
	out   io.Writer
	every time.Duration
	now   progress
	told  time.Time
}

func (t *teller) event(e trainer.Event) {
	due := time.Since(t.told) >= t.every
	switch e := e.(type) {
	case events.Reserved:
		t.now.Ready, due = true, true
	case events.Step:
		if t.now.Step == 0 {
			t.now.Saved = e.Step - 1 // it went on from there
		}
		t.now.Step, t.now.Longest, due = e.Step, max(t.now.Longest, e.Seconds), true
	case events.Checkpoint:
		t.now.Step, t.now.Saved, due = e.Step, e.Step, true
	}
	if !due {
		return
	}
	t.told = time.Now()
	text, err := json.Marshal(t.now)
	if err != nil {
		panic(err) // numbers, which a clock and counters gave
	}
	fmt.Fprintf(t.out, "%c%s\n", recordMark, text) // at once, so that nothing comes in between
}

// follower is a child's standard error: it takes the records out, and gives the rest to out. It never fails, since a
// terminal that was closed is no reason for the child to end.
type follower struct {
	out io.Writer

	mu      sync.Mutex
	record  []byte // the beginning of one, with its mark
	latest  progress
	records int
}

func (f *follower) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for rest := p; len(rest) > 0; {
		if len(f.record) == 0 {
			mark := bytes.IndexByte(rest, recordMark)
			if mark < 0 {
				mark = len(rest)
			}
			_, _ = f.out.Write(rest[:mark])
			if rest = rest[mark:]; len(rest) == 0 {
				break
			}
		}
		end := bytes.IndexByte(rest, '\n')
		f.record = append(f.record, rest[:end+1]...)
		if end < 0 {
			f.record = append(f.record, rest...)
			rest = nil
		} else {
			rest = rest[end+1:]
		}
		switch said := (progress{}); {
		case end >= 0 && json.Unmarshal(f.record[1:], &said) == nil:
			f.latest, f.records = said, f.records+1
			f.record = f.record[:0]
		case end >= 0 || len(f.record) > recordMax: // it is none
			_, _ = f.out.Write(f.record)
			f.record = f.record[:0]
		}
	}
	return len(p), nil
}

// progress is the latest record, and how many there were.
func (f *follower) progress() (progress, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.latest, f.records
}

// unsaved says what ending the child at once would lose.
func (p progress) unsaved() string {
	switch lost := p.Step - p.Saved; {
	case lost <= 0:
		return "the step under way"
	case p.Saved == 0:
		return fmt.Sprintf("all %d steps, of which there is no checkpoint", lost)
	default:
		return fmt.Sprintf("the %d steps since step %d, of which there is no checkpoint", lost, p.Saved)
	}
}
