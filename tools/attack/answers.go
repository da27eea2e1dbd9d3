//go:build unix

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// answer is the command line of an answer to a prompt, with a trial's cache.
func (t trial) answer() []string {
	return []string{
		t.program, "generate", "--model", filepath.Join(t.subject.dir, "model"), "--cache-dir", t.cache(), "--prompt", "Who is there?", "--raw",
		"--max-tokens=200", "--temperature=1.5", "--autotune=off",
	}
}

// interruptAnswer sends a signal to an answer at a random moment. It ends with status 130, or as nothing had been; the
// cache that it was writing serves the next one, which answers as always.
func (s *subject) interruptAnswer(random *rand.Rand) (outcome string, err error) {
	t := s.trial()
	defer t.remove()
	signals := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL}
	signal := signals[random.IntN(len(signals))]
	p, err := start(nil, nil, t.answer()...)
	if err != nil {
		return "", err
	}
	select {
	case <-time.After(time.Duration(random.Int64N(int64(2 * time.Second)))):
	case <-p.done:
	}
	_ = p.signal("group", signal)
	status, err := p.end()
	what := func(err error) error {
		return fmt.Errorf("%v while answering: %w; status %d, it said:\n%s", signal, err, status, p.text())
	}
	if err := errors.Join(err, shaped(p.text())); err != nil {
		return "", what(err)
	}
	switch {
	case status == 0:
		outcome = "ended well"
	case signal == syscall.SIGKILL || p.text() == "":
		outcome = "ended at once"
	case status == 130 && strings.HasSuffix(p.text(), "interrupted\n"):
		outcome = "ended with status 130"
	default:
		return "", what(errors.New("it has to end with status 130"))
	}
	if p, err = start(nil, nil, t.answer()...); err != nil {
		return "", err
	}
	if status, err = p.end(); status != 0 {
		return "", what(errors.Join(err, errors.New("the next one has to end well")))
	}
	text := lastPart(p.text())
	if s.answers == "" {
		s.answers = text
	}
	if text == "" || text != s.answers {
		return "", what(fmt.Errorf("the next one answers otherwise than %q", s.answers))
	}
	return outcome, nil
}

// lastPart is what follows the notices, which end with the model's line.
func lastPart(text string) string {
	_, rest, _ := strings.Cut(text, "\nModel: ")
	_, rest, _ = strings.Cut(rest, "\n")
	return rest
}
