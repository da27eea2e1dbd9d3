//go:build !js

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/trainer"
)

// parts of a run, after each of which it is measured and its questions are answered.
const parts = 5

// The lines of a record are those of trainer_log.jsonl with the fields that the page draws.
type (
	stepLine struct {
		Step              int     `json:"step"`
		MaxSteps          int     `json:"max_steps"`
		Loss              rounded `json:"loss"`
		GradNorm          rounded `json:"grad_norm"`
		LearningRate      rounded `json:"learning_rate"`
		MeanTokenAccuracy rounded `json:"mean_token_accuracy"`
		Seconds           rounded `json:"seconds"`
	}
	evalLine struct {
		Step int     `json:"step"`
		Loss rounded `json:"eval_loss"`
	}
)

// rounded is written with three digits.
type rounded float64

func (r rounded) MarshalJSON() ([]byte, error) {
	short, err := strconv.ParseFloat(strconv.FormatFloat(float64(r), 'g', 3, 64), 64)
	if err != nil {
		return nil, err
	}
	return json.Marshal(short)
}

// config is a subject's run: the recipe of the embedded model, and what the subject changes of it.
func (s subject) config() (trainer.Config, error) {
	c := trainer.Defaults()
	demo.Recipe.Set(&c)
	c.Model, c.Data, c.SaveSteps = "model", s.dataFile(), 0
	changed, err := json.Marshal(s.settings)
	if err == nil {
		_, err = settings.Read(changed, &c)
	}
	if err == nil {
		err = c.Check()
	}
	return c, err
}

// record trains a subject and gives the lines of its record. It prints how many of all held-out questions are answered
// word for word as wanted.
func record(ctx context.Context, s subject) ([]byte, error) {
	c, err := s.config()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gallery")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(filepath.Join(dir, "model"), demo.ModelFiles()); err != nil {
		return nil, err
	}
	in := trainer.Inputs{Output: trainer.Folder{}}
	if in.Model, err = pretrained.Open(filepath.Join(dir, "model")); err != nil {
		return nil, err
	}
	defer in.Model.Close()
	lines, err := rows(s.examples)
	if err != nil {
		return nil, err
	}
	if in.Data, err = dataset.Read(bytes.NewReader(lines), s.dataFile()); err != nil {
		return nil, err
	}
	c.OutputDir = filepath.Join(dir, "adapter")
	in.Prompts = trainer.Prompts{Every: c.MaxSteps / parts, MaxTokens: demo.Recipe.MaxNewTokens}
	for _, e := range s.heldout {
		in.Prompts.Texts = append(in.Prompts.Texts, e.Prompt)
	}
	r := recorder{subject: s}
	if _, err := trainer.Run(ctx, c, in, r.event); err != nil {
		return nil, err
	}
	r.report()
	return r.lines.Bytes(), r.err
}

// recorder follows a run.
type recorder struct {
	subject
	lines bytes.Buffer
	err   error
	steps []events.Step
	evals []events.Eval
	exact []int    // right answers, before the run and after each part
	last  []string // answers
}

func (r *recorder) event(ev trainer.Event) {
	switch ev := ev.(type) {
	case events.Step:
		r.steps = append(r.steps, ev)
		r.add(stepLine{ev.Step, ev.MaxSteps, rounded(ev.Loss), rounded(ev.GradNorm), rounded(ev.LearningRate),
			rounded(ev.MeanTokenAccuracy), rounded(ev.Seconds)})
	case events.Eval:
		r.evals = append(r.evals, ev)
		r.add(evalLine{ev.Step, rounded(ev.Loss)})
	case events.Answer:
		r.answer(ev)
	case events.Warning:
		fmt.Fprintf(os.Stderr, "%s: %s\n", r.id, ev.Message)
	}
}

// answer counts the answers, which come in the order of the questions, and keeps those that are shown.
func (r *recorder) answer(a events.Answer) {
	if len(r.last) == len(r.heldout) || len(r.exact) == 0 {
		r.exact, r.last = append(r.exact, 0), nil
	}
	i := len(r.last)
	r.last = append(r.last, a.Answer)
	if a.Answer == strings.TrimSpace(r.heldout[i].Answer) {
		r.exact[len(r.exact)-1]++
	}
	if slices.Contains(r.show[:], i) {
		r.add(a)
	}
}

func (r *recorder) add(line any) {
	encoder := json.NewEncoder(&r.lines)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(line); err != nil && r.err == nil {
		r.err = err
	}
}

// report prints a line of the README's table, and what went wrong.
func (r *recorder) report() {
	changed, _ := json.Marshal(r.settings)
	fmt.Printf("| %s | `%s` | %.2f to %.3f |", r.id, changed, r.steps[0].Loss, r.steps[len(r.steps)-1].Loss)
	for _, e := range r.evals {
		fmt.Printf(" %.3f", e.Loss)
	}
	fmt.Print(" |")
	for _, n := range r.exact {
		fmt.Printf(" %d", n)
	}
	fmt.Printf(" of %d |\n", len(r.heldout))
	for i, e := range r.heldout {
		if r.last[i] != strings.TrimSpace(e.Answer) {
			fmt.Fprintf(os.Stderr, "%s: wrong: %s -> %q, wanted %q\n", r.id, e.Prompt, r.last[i], e.Answer)
		}
	}
}
