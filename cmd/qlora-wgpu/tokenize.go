package main

import (
	"bufio"
	"bytes"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"qlora-wgpu/internal/answer"
	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/files"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/processor"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/tokenizer"
	"qlora-wgpu/internal/usererr"
)

type tokenizeCommand struct {
	Source   settings.Source   `embed:""`
	Template settings.Template `embed:""`
	Learned  settings.Learned  `embed:""`
	Chat     bool              `name:"chat" help:"Read conversations, as train does, and print which tokens are targets."`
	Input    string            `arg:"" optional:"" help:"File of JSON lines, {\"text\": …} each, or with --chat a data set of conversations; standard input without it." placeholder:"FILE"`
}

const (
	opTokenize      = "tokenize"
	maxTokenizeLine = 16 << 20
)

// Run prints a line for each text or sample that it reads.
func (t *tokenizeCommand) Run(c *console) error {
	columns, err := t.Learned.Columns()
	if err := errors.Join(t.Source.Check(), t.Template.Check(), err); err != nil {
		return err
	}
	text, _, err := openProcessor(c, t.Source.Model, t.Template)
	if err != nil {
		return err
	}
	in, name := c.stdin, "standard input"
	if t.Input != "" {
		file, err := files.Open(t.Input)
		if err != nil {
			return usererr.New(opTokenize, t.Input, "%w", err).Hinted("without a file, standard input is read")
		}
		defer file.Close()
		in, name = file, t.Input
	}
	out := bufio.NewWriter(c.stdout)
	if t.Chat {
		var source *dataset.Source
		if t.Input != "" { // which may be larger than memory
			source, _, err = dataset.Reading{Columns: columns}.Open(name)
		} else {
			source, err = dataset.ReadColumns(in, name, columns)
		}
		if err == nil {
			err = tokenizeConversations(c, source, out, text)
		}
	} else {
		err = tokenizeTexts(in, name, out, text.Tokenizer)
	}
	return errors.Join(err, out.Flush())
}

// tokenizeTexts turns {"text": …} into {"ids": […]}: the text alone, without BOS or EOS.
func tokenizeTexts(in io.Reader, name string, out *bufio.Writer, tok *tokenizer.Tokenizer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxTokenizeLine)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var row struct {
			Text *string `json:"text"`
		}
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			return usererr.New(opTokenize, name, "%w", err).Of(usererr.Format).At("line %d", n)
		}
		if row.Text == nil {
			return usererr.New(opTokenize, name, `there is no "text"`).Of(usererr.Format).At("line %d", n).Hinted("--chat reads conversations")
		}
		if err := writeLine(out, struct {
			IDs []int32 `json:"ids"`
		}{tok.Encode(*row.Text)}); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return usererr.New(opTokenize, name, "%w", err)
	}
	return nil
}

// tokenizeConversations turns {"messages": …} into {"ids": […], "target": […]}, 1 for a token that training learns by
// default: a line for each sample, of which a conversation that the template rewrites has several. What training warns
// of is said on stderr.
func tokenizeConversations(c *console, source *dataset.Source, out *bufio.Writer, text *processor.Processor) error {
	encoder := text.Encoder(chat.TrainOnAssistant, math.MaxInt32)
	report := dataset.Report{Rows: source.Len()}
	err := source.Each(func(_ int, row dataset.Row) error {
		if row.Messages == nil {
			return usererr.New(opTokenize, source.Path, "a text, not a conversation").At("%s", row.Where).Hinted("leave --chat away")
		}
		encoded, err := encoder.Conversation(row)
		if mistake := (*usererr.Error)(nil); errors.As(err, &mistake) {
			return usererr.New(opTokenize, source.Path, "%w", mistake).At("%s", row.Where)
		}
		if err != nil {
			return err
		}
		report.Note(row, encoded)
		for _, sample := range encoded.Samples {
			if err := writeSample(out, sample); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, note := range source.Notes {
		fmt.Fprintln(c.stderr, "Data:", note)
	}
	for _, warning := range slices.Concat(text.Warnings, report.Warnings(math.MaxInt32)) {
		fmt.Fprintln(c.stderr, "warning:", warning)
	}
	return nil
}

func writeSample(out *bufio.Writer, sample chat.Sample) error {
	target := make([]int8, len(sample.Target))
	for i, learned := range sample.Target {
		if learned {
			target[i] = 1
		}
	}
	return writeLine(out, struct {
		IDs    []int32 `json:"ids"`
		Target []int8  `json:"target"`
	}{sample.IDs, target})
}

func writeLine(out *bufio.Writer, v any) error {
	if err := json.MarshalWrite(out, v); err != nil {
		return err
	}
	return out.WriteByte('\n')
}

// openProcessor reads the tokenizer and the chat template (ChatML where there is none) that a model carries, or the
// template that the settings name, and the longest sequence that the model allows.
func openProcessor(c *console, path string, t settings.Template) (text *processor.Processor, longest int, err error) {
	model, err := host.OpenModel(c.context, path, c.logEvent)
	if err != nil {
		return nil, 0, err
	}
	defer model.Close()
	source, err := answer.ReadTemplate(model, t.ChatTemplate)
	if err != nil {
		return nil, 0, err
	}
	text, err = processor.New(model, path, processor.Options{ChatTemplate: source, TemplateArgs: t.Args(), Now: time.Now()})
	return text, model.Spec.MaxPositions, err
}
