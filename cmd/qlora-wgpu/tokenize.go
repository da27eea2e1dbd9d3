package main

import (
	"bufio"
	"bytes"
	"cmp"
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
	Reading  settings.Reading  `embed:""`
	Chat     bool              `name:"chat" help:"Read conversations, as train does, and print which tokens are targets."`
	Input    string            `arg:"" optional:"" help:"File of JSON lines, {\"text\": …} each, or with --chat a data set of conversations as --data takes it; standard input without it." placeholder:"FILE"`
}

const (
	opTokenize      = "tokenize"
	standardInput   = "standard input"
	maxTokenizeLine = 16 << 20
)

// Run prints a line for each text or sample that it reads.
func (t *tokenizeCommand) Run(c *console) error {
	if err := errors.Join(t.Source.Check(), t.Template.Check(), t.Reading.Check(), t.check()); err != nil {
		return err
	}
	text, _, err := openProcessor(c, t.Source.Model, t.Template)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(c.stdout)
	switch {
	case t.Chat && t.Input != "":
		err = t.dataSet(c, out, text)
	case t.Chat:
		var columns settings.Columns
		var source *dataset.Source
		if columns, err = host.DataColumns(t.Reading); err == nil {
			source, err = dataset.ReadColumns(c.stdin, standardInput, columns)
		}
		if err == nil {
			err = tokenizeConversations(c, source, out, text)
		}
	case t.Input != "":
		file, openErr := files.Open(t.Input)
		if openErr != nil {
			return usererr.New(opTokenize, t.Input, "%w", openErr).Hinted("without a file, standard input is read")
		}
		defer file.Close()
		err = tokenizeTexts(file, t.Input, out, text.Tokenizer)
	default:
		err = tokenizeTexts(c.stdin, standardInput, out, text.Tokenizer)
	}
	return errors.Join(err, out.Flush())
}

// check wants no setting that has nothing to act on.
func (t *tokenizeCommand) check() error {
	switch r := t.Reading; {
	case !t.Chat && r != settings.Reading{}:
		return usererr.New(opTokenize, cmp.Or(t.Input, standardInput), "the settings of data are for conversations").Hinted("--chat reads those")
	case t.Input == "" && r.DataConfig+r.DataSplit != "":
		return usererr.New(opTokenize, standardInput, "it has neither configs nor splits").Hinted("name the folder, or the data set of the hub")
	}
	return nil
}

// dataSet tokenizes the rows for training of a file, a folder or a data set of the hub.
func (t *tokenizeCommand) dataSet(c *console, out *bufio.Writer, text *processor.Processor) error {
	splits, data, err := openSplits(c, settings.Dataset{Data: t.Input, Reading: t.Reading}, settings.Part{})
	if err != nil {
		return err
	}
	defer data.Close()
	if len(splits) > 1 {
		fmt.Fprintf(c.stderr, "%d rows for validation are not printed: --data-split prints those of a split.\n", splits[1].Len())
	}
	return tokenizeConversations(c, splits[0].Source, out, text)
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
