//go:build !js

// Package ollama writes a Modelfile for a GGUF file: what Ollama needs to ask the model as it was trained. Its template
// is Go's text/template, a model's is Jinja; the one that is written is derived from what the model's template writes
// between two messages, and taken only where both give the same texts for a set of conversations.
//
// What is said of Ollama here was read in its source: version 0.33, and 0.29 where that differs.
package ollama

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/processor"
)

const op = "write Modelfile"

// Options say what a Modelfile is for.
type Options struct {
	From    string    // the model's GGUF file or folder, relative to the Modelfile
	Adapter string    // a GGUF LoRA over it, likewise; empty: none
	Now     time.Time // the date that a template writes which writes one
}

// patience bounds what a chat template may take to be understood: it is rendered some hundred times.
const patience = 20 * time.Second

// Context that Ollama gives a model where nobody says how much.
const defaultContext = 4096

// Modelfile writes the file, and warns of what Ollama will do otherwise than training did. Errors are *usererr.Error:
// a path that a Modelfile cannot hold, a generation_config.json that cannot be read.
func Modelfile(source *pretrained.Model, text *processor.Processor, o Options) (file []byte, warnings []string, err error) {
	w := &writer{}
	if !strings.HasSuffix(o.From, ".gguf") {
		w.comment(fromFolder)
	}
	if err := w.path("FROM", o.From); err != nil {
		return nil, nil, err
	}
	if o.Adapter != "" {
		w.comment("The adapter belongs to the weights that it was trained on, and to no others.")
		if err := w.path("ADAPTER", o.Adapter); err != nil {
			return nil, nil, err
		}
	}
	bos := text.Tokenizer.DecodeContinuation(text.Tokenizer.Before())
	end := time.Now().Add(patience)
	m := model{bos: bos, now: o.Now, template: text.Template.Until(func() error {
		if time.Now().After(end) {
			return errors.New("the chat template takes too long")
		}
		return nil
	})}
	known, unknown := m.derive()
	if unknown != nil {
		w.comment(fmt.Sprintf(withoutTemplate, unknown))
		warnings = append(warnings, fmt.Sprintf("The Modelfile has no TEMPLATE, since %v: %s", unknown, instead))
	} else {
		for _, note := range known.notes {
			w.comment(note)
		}
		w.value("TEMPLATE", known.template)
		if known.system != "" {
			w.comment("What the model's own template says where nobody gives a system message.")
			w.value("SYSTEM", known.system)
		}
		warnings = append(warnings, known.warnings...)
	}
	if bos != "" && !m.writesBOS() {
		warnings = append(warnings, fmt.Sprintf("Ollama puts %s in front of every prompt, as tokenizer.ggml.add_bos_token says; "+
			"the chat template, by which the model was trained, does not.", bos))
	}
	warnings = append(warnings, w.stops(text)...)
	if n := source.Spec.MaxPositions; n < defaultContext {
		w.parameter("num_ctx", n)
	}
	if err := w.sampling(source); err != nil {
		return nil, nil, err
	}
	return []byte(w.String()), warnings, nil
}

const (
	fromFolder = "Ollama converts a folder of safetensors itself, of some architectures only. A GGUF file of the model, as " +
		"`qlora-wgpu export` writes it without an adapter, will do here too."
	instead = "`ollama create` takes the one of its own templates whose Jinja source differs in fewer than 100 characters, if any; " +
		"else Ollama from 0.30 on renders with the model's template in the GGUF file, and older versions send the last message alone."
	withoutTemplate = "No TEMPLATE: %v. " + instead
)

// comment lines are at most so long.
const commentWidth = 100

// writer collects a Modelfile.
type writer struct{ strings.Builder }

// comment writes a text as lines of comment.
func (w *writer) comment(text string) {
	line := "#"
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > commentWidth && line != "#" {
			fmt.Fprintln(w, line)
			line = "#"
		}
		line += " " + word
	}
	fmt.Fprintln(w, line)
}
