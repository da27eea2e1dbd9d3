//go:build !js

package ollama

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/processor"
	"qlora-wgpu/internal/usererr"
)

const quotes = `"""`

// expressible: a Modelfile can hold the text as a value. Its reader leaves out characters that cannot be printed, and
// ends a value at three quotation marks before the end of a line.
func expressible(text string) bool {
	return !strings.Contains(text, quotes) && !strings.ContainsFunc(text, unprintable)
}

func unprintable(r rune) bool { return !strconv.IsPrint(r) && r != '\n' && r != '\t' }

// value writes an instruction whose value may have several lines and is kept to the byte.
func (w *writer) value(name, text string) { fmt.Fprintf(w, "%s %s%s%s\n", name, quotes, text, quotes) }

// parameter writes a parameter that is a number.
func (w *writer) parameter(name string, value any) { fmt.Fprintf(w, "PARAMETER %s %v\n", name, value) }

// path writes an instruction that names a file. One that is not absolute gets a "./": Ollama takes the name of what is
// not there for one of its library.
func (w *writer) path(name, path string) error {
	path = filepath.ToSlash(path)
	if strings.ContainsFunc(path, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return usererr.New(op, path, "a Modelfile cannot name a file whose path has characters that are not printable").
			Hinted("rename the file or its folder")
	}
	if !filepath.IsAbs(path) && !strings.HasPrefix(path, "./") && !strings.HasPrefix(path, "../") {
		path = "./" + path
	}
	if strings.TrimSpace(path) != path {
		path = `"` + path + `"`
	}
	fmt.Fprintln(w, name, path)
	return nil
}

// stops writes what ends an answer: the texts of the tokens that do.
func (w *writer) stops(text *processor.Processor) (warnings []string) {
	var done []string
	for _, id := range text.StopTokens() {
		token, known := text.Tokenizer.Token(int32(id))
		if !known || slices.Contains(done, token) {
			continue
		}
		done = append(done, token)
		if !expressible(token) {
			warnings = append(warnings, fmt.Sprintf("The token %q, which ends an answer, cannot stand in a Modelfile.", token))
			continue
		}
		fmt.Fprintf(w, "PARAMETER stop %s%s%s\n", `"`, token, `"`)
	}
	return warnings
}

// sampling writes how answers are drawn, where generation_config.json says so.
func (w *writer) sampling(source *pretrained.Model) error {
	g, err := source.Generation()
	if err != nil {
		return err
	}
	if g.DoSample != nil && !*g.DoSample {
		w.parameter("temperature", 0)
		return nil
	}
	for _, p := range []struct {
		name  string
		value *float64
	}{
		{"temperature", g.Temperature}, {"top_k", g.TopK}, {"top_p", g.TopP}, {"min_p", g.MinP},
		{"repeat_penalty", g.RepetitionPenalty},
	} {
		if p.value != nil {
			w.parameter(p.name, strconv.FormatFloat(*p.value, 'f', -1, 64))
		}
	}
	if g.RepetitionPenalty != nil {
		w.parameter("repeat_last_n", -1) // of the whole context, as in transformers
	}
	return nil
}
