package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/inspect"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
)

type dataConvertCommand struct {
	Settings settings.Convert `embed:""`
}

const opConvert = "convert data set"

// Run reads a data set, chooses rows and writes them.
func (d *dataConvertCommand) Run(c *console) error {
	s := d.Settings
	if err := s.Check(); err != nil {
		return err
	}
	splits, data, err := openSplits(c, s.Dataset, s.Part)
	if err != nil {
		return err
	}
	defer data.Close()
	names, err := d.names(splits)
	if err != nil {
		return err
	}
	if err := mayWrite(opConvert, s.Force, s.Output, names...); err != nil {
		return err
	}
	parts, err := d.choose(c, splits)
	if err != nil {
		return err
	}
	for i, p := range parts {
		if !slices.Contains(p.kept, true) {
			return usererr.New(opConvert, names[i], "no row is left for it: %d rows, without %s", p.Len(), strings.Join(p.left, ", "))
		}
	}
	if len(names) > 1 {
		if err := os.MkdirAll(s.Output, 0o777); err != nil {
			return usererr.New(opConvert, s.Output, "%w", err)
		}
	}
	return c.writeParts(names, parts)
}

// names are the files that are written.
func (d *dataConvertCommand) names(splits []namedSplit) ([]string, error) {
	s := d.Settings
	extension := strings.ToLower(filepath.Ext(s.Output))
	isFile := slices.Contains([]string{".jsonl", ".json", ".ndjson"}, extension)
	switch two := s.Split > 0 || len(splits) > 1; {
	case s.Split > 0 && len(splits) > 1:
		return nil, settings.Wrong("split", strconv.FormatFloat(s.Split, 'g', -1, 64), "0 where the data has rows to evaluate of its own")
	case two && isFile:
		name := strings.TrimSuffix(s.Output, filepath.Ext(s.Output))
		return nil, usererr.New(opConvert, s.Output, "a folder is wanted, for train.jsonl and valid.jsonl").Hinted("--output %s", quote(name))
	case two:
		return []string{filepath.Join(s.Output, "train.jsonl"), filepath.Join(s.Output, "valid.jsonl")}, nil
	case !isFile:
		return nil, usererr.New(opConvert, s.Output, "a name that ends in .jsonl is wanted").Hinted("--split writes a folder")
	}
	return []string{s.Output}, nil
}

// part is rows that go into one file.
type part struct {
	*dataset.Source
	kept []bool // of all rows
	left []string
}

// choose tells which rows go where.
func (d *dataConvertCommand) choose(c *console, splits []namedSplit) ([]part, error) {
	s := d.Settings
	parts := make([]part, len(splits))
	inspector, err := d.look(c, splits)
	if err != nil {
		return nil, err
	}
	for i, split := range splits {
		kept := slices.Repeat([]bool{true}, split.Len())
		var left inspect.Left
		if inspector != nil {
			kept, left = inspector.Keep(split.name, s.Dedup, s.MaxTokens)
		}
		parts[i] = part{split.Source, kept, nil}
		for _, reason := range []struct {
			rows int
			is   string
		}{
			{left.Duplicates, "that are there already"}, {left.Near, "that nearly are there already"},
			{left.Long, fmt.Sprintf("with more than %d tokens", s.MaxTokens)}, {left.Refused, "that the chat template refuses"},
		} {
			parts[i].leave(reason.rows, reason.is)
		}
	}
	train := &parts[0]
	if s.Sample > 0 {
		rows := train.rows()
		clear(train.kept)
		for _, k := range dataset.SomeOf(len(rows), s.Sample, s.Seed) {
			train.kept[rows[k]] = true
		}
		train.leave(max(0, len(rows)-s.Sample), "beyond the sample")
	}
	if s.Split > 0 {
		rows := train.rows()
		held, err := dataset.HoldBack(len(rows), s.Split, s.Seed)
		if err != nil {
			return nil, settings.Wrong("split", strconv.FormatFloat(s.Split, 'g', -1, 64),
				fmt.Sprintf("fewer than the %d rows that are left", len(rows)))
		}
		valid := part{Source: train.Source, kept: make([]bool, len(train.kept))}
		for _, k := range held {
			train.kept[rows[k]], valid.kept[rows[k]] = false, true
		}
		train.leave(len(held), "held back for evaluation")
		parts = append(parts, valid)
	}
	return parts, nil
}

// look looks at all rows where something of the choice depends on what they hold.
func (d *dataConvertCommand) look(c *console, splits []namedSplit) (*inspect.Inspector, error) {
	s := d.Settings
	if !s.Dedup && s.MaxTokens == 0 {
		return nil, nil
	}
	o := inspect.Options{MaxSeqLength: math.MaxInt32, TrainOn: chat.TrainOnAssistant}
	if s.MaxTokens > 0 {
		var err error
		if o.Text, _, err = openProcessor(c, s.Model, s.Template); err != nil {
			return nil, err
		}
	}
	return lookAt(c, o, splits)
}

// leave says that rows are left out.
func (p *part) leave(rows int, why string) {
	if rows > 0 {
		p.left = append(p.left, fmt.Sprintf("%d %s", rows, why))
	}
}

// rows are the indices of those that are kept.
func (p *part) rows() (all []uint32) {
	for i, kept := range p.kept {
		if kept {
			all = append(all, uint32(i))
		}
	}
	return all
}

// writeParts writes the files, and says what is in them. None takes its place before all are written: the rows may come
// from one of them.
func (c *console) writeParts(names []string, parts []part) error {
	counts := make([]rowCounts, len(parts))
	var write func(i int) error
	write = func(i int) (err error) {
		if i == len(parts) {
			return nil
		}
		var behind error
		err = writeOutput(opConvert, names[i], func(out io.Writer) (err error) {
			if counts[i], err = parts[i].write(c.context, out); err != nil {
				return err
			}
			behind = write(i + 1)
			return behind
		})
		return cmp.Or(behind, err)
	}
	if err := write(0); err != nil {
		return err
	}
	for i, p := range parts {
		if err := c.sayWritten(names[i], p, counts[i]); err != nil {
			return err
		}
	}
	return nil
}

// rowCounts are rows that were written, and how many of them had parts that are not.
type rowCounts struct{ written, pictures int }

func (p *part) write(ctx context.Context, out io.Writer) (n rowCounts, err error) {
	w := bufio.NewWriterSize(out, 1<<20)
	var line []byte
	err = p.Each(func(i int, row dataset.Row) error {
		if !p.kept[i] {
			return ctx.Err()
		}
		var err error
		if line, err = dataset.AppendLine(line[:0], row); err != nil {
			return err
		}
		if n.written++; len(row.LeftOut) > 0 {
			n.pictures++
		}
		_, err = w.Write(line)
		return err
	})
	return n, errors.Join(err, w.Flush())
}

func (c *console) sayWritten(name string, p part, n rowCounts) error {
	said := fmt.Sprintf("%s: %d of %d rows", name, n.written, p.Len())
	if len(p.left) > 0 {
		said += ", without " + strings.Join(p.left, ", ")
	}
	if _, err := fmt.Fprintln(c.stdout, said); err != nil {
		return err
	}
	for _, note := range p.Notes {
		fmt.Fprintln(c.stderr, "Data:", note)
	}
	if n.pictures > 0 {
		c.warn(fmt.Sprintf("%d rows have parts that no text model reads; they are not written", n.pictures))
	}
	return nil
}
