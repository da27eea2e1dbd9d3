//go:build unix

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"qlora-wgpu/internal/demo"
)

// subject is the run that is attacked again and again: the embedded model, a few rows, eight steps with four
// checkpoints and two evaluations.
type subject struct {
	dir     string // of everything
	program string
	want    finished // what the run leaves that nobody disturbs
	took    time.Duration
	answers string // what an undisturbed answer is; empty before there was one
	runs    int
}

// newSubject builds the program and lets the run end undisturbed, twice: it has to repeat itself.
func newSubject(dir string) (*subject, error) {
	s := &subject{dir: dir, program: filepath.Join(dir, "qlora-wgpu")}
	build := exec.Command("go", "build", "-o", s.program, "qlora-wgpu/cmd/qlora-wgpu")
	if text, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build: %w\n%s", err, text)
	}
	if err := os.CopyFS(filepath.Join(dir, "model"), demo.ModelFiles()); err != nil {
		return nil, err
	}
	lines := bytes.SplitAfterN(demo.Train(), []byte("\n"), 31)
	if err := os.WriteFile(filepath.Join(dir, "data.jsonl"), bytes.Join(lines[:30], nil), 0o666); err != nil {
		return nil, err
	}
	for range 2 {
		t, begin := s.trial(), time.Now()
		p, err := t.start(nil)
		if err != nil {
			return nil, err
		}
		if status, err := p.end(); status != 0 {
			return nil, errors.Join(err, fmt.Errorf("undisturbed, it ends with status %d:\n%s", status, p.text()))
		}
		found, err := readRun(t.out())
		if err == nil && s.want.log != nil {
			err = found.differs(s.want)
		}
		if err != nil {
			return nil, fmt.Errorf("undisturbed: %w", err)
		}
		s.want, s.took = found, time.Since(begin)
		t.remove()
	}
	return s, nil
}

// trial is one run with a folder and a cache of its own.
type trial struct {
	*subject
	dir string
}

func (s *subject) trial() trial {
	s.runs++
	return trial{s, filepath.Join(s.dir, fmt.Sprintf("trial-%d", s.runs))}
}

func (t trial) out() string   { return filepath.Join(t.dir, "out") }
func (t trial) cache() string { return filepath.Join(t.dir, "cache") }
func (t trial) remove()       { _ = os.RemoveAll(t.dir) }

// folders are those in which a failing operation is the program's business.
func (t trial) folders() []string {
	return []string{t.out(), t.cache(), filepath.Join(t.subject.dir, "model"), filepath.Join(t.subject.dir, "data.jsonl")}
}

func (t trial) line(more ...string) []string {
	return append([]string{
		t.program, "train", "--model", filepath.Join(t.subject.dir, "model"), "--data", filepath.Join(t.subject.dir, "data.jsonl"),
		"--output-dir", t.out(), "--cache-dir", t.cache(), "--max-steps=8", "--save-steps=2", "--save-total-limit=2", "--val-size=6",
		"--eval-steps=3", "--batch-size=2", "--gradient-accumulation-steps=2", "--lora-r=4", "--lora-dropout=0.1", "--learning-rate=3e-3",
		"--autotune=off",
	}, more...)
}

func (t trial) start(decide func(operation) syscall.Errno, more ...string) (*process, error) {
	return start(t.folders(), decide, t.line(more...)...)
}

// complete lets the run go on and compares what it leaves with the undisturbed run.
func (t trial) complete() error { return t.completeBut("") }

var lostLines = regexp.MustCompile(`warning: .*trainer_log\.jsonl`)

// adapter is what a run is for: no warning makes good for it.
const adapter = "adapter_model.safetensors"

// warned tells whether a run said that something is not as it should be.
func warned(said string) bool { return strings.Contains(said, "warning: ") }

// completeBut is complete for a run that has said, as a warning, that its log may lack lines.
func (t trial) completeBut(said string) error {
	p, err := t.start(nil, "--resume")
	if err != nil {
		return err
	}
	status, err := p.end()
	if err != nil {
		return err
	}
	if err := shaped(p.text()); err != nil {
		return err
	}
	if status != 0 {
		return fmt.Errorf("going on ends with status %d:\n%s", status, p.text())
	}
	found, err := readRun(t.out())
	if err != nil {
		return err
	}
	if lostLines.MatchString(said) {
		for _, line := range found.log {
			if !slices.Contains(t.want.log, line) && line != noLine {
				return fmt.Errorf("the log has the line %s", line)
			}
		}
		found.log = t.want.log
	}
	return found.differs(t.want)
}

// finished is what a run leaves, without what depends on the clock.
type finished struct {
	log   []string
	files map[string]string // sums, or "" of what depends on the clock
}

// noLine stands for a line of the log that was not written whole.
const noLine = "no JSON"

var clockKeys = []string{"seconds", "tokens_per_second", "eval_seconds", "device_bytes"}

func readRun(dir string) (f finished, err error) {
	f.files = map[string]string{}
	err = filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(name)
		short, _ := filepath.Rel(dir, name)
		switch filepath.Ext(name) {
		case ".safetensors", ".md":
			f.files[short] = fmt.Sprintf("%x", sha256.Sum256(content))
		case ".jsonl":
			for line := range bytes.Lines(content) {
				var values map[string]any
				if json.Unmarshal(line, &values) != nil {
					f.log = append(f.log, noLine)
					continue
				}
				for _, key := range clockKeys {
					delete(values, key)
				}
				text, _ := json.Marshal(values)
				f.log = append(f.log, string(text))
			}
		default:
			f.files[short] = ""
		}
		return err
	})
	return f, err
}

func (f finished) differs(want finished) error {
	if !slices.Equal(f.log, want.log) {
		return fmt.Errorf("the log has %d lines that are not those of the undisturbed run (%d)", len(f.log), len(want.log))
	}
	if maps.Equal(f.files, want.files) {
		return nil
	}
	var names []string
	for name, sum := range f.files {
		if other, ok := want.files[name]; !ok {
			names = append(names, name+" is left over")
		} else if sum != other {
			names = append(names, name+" has other bytes")
		}
	}
	for name := range want.files {
		if _, ok := f.files[name]; !ok {
			names = append(names, name+" is missing")
		}
	}
	slices.Sort(names)
	return errors.New(strings.Join(names, ", "))
}

var insides = regexp.MustCompile(
	`Go (?:value|struct)|nil pointer|goroutine \d|panic:|internal error|runtime error|SIGSEGV|\[signal |0x[0-9a-f]{6,}|%!\w\(`)

// shaped wants a message instead of the program's insides.
func shaped(text string) error {
	if at := insides.FindStringIndex(text); at != nil {
		return fmt.Errorf("the message shows the program's insides:\n%s", text)
	}
	return nil
}

var errorLine = regexp.MustCompile(`(?m)^error: \S+ .*: .*\n`)

// explained wants one line that says what failed.
func explained(text string) error {
	if n := len(errorLine.FindAllString(text, -1)); n != 1 {
		return fmt.Errorf("%d lines say what failed:\n%s", n, text)
	}
	return shaped(text)
}
