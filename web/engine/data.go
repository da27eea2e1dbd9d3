//go:build js

package main

import (
	"bytes"
	"context"
	"path"
	"strings"
	"time"

	"qlora-wgpu/internal/browser"
	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/inspect"
	"qlora-wgpu/internal/preview"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
)

// What of a data set the page gets to edit; of a larger one it asks for the rows that it shows.
const (
	editedRows   = 5000
	editedBytes  = 2 << 20
	maxDataBytes = 256 << 20
)

// dataInfo is what the page shows of a data set.
type dataInfo struct {
	Name      string      `json:"name"`
	Format    string      `json:"format"`
	Container string      `json:"container"`
	Rows      int         `json:"rows"`
	Notes     []string    `json:"notes"`
	Pairs     [][2]string `json:"pairs"` // question and answer of each row, where all rows are that, and not too many
	Text      string      `json:"text"`  // the file, where it is not too long to be edited
}

// openData reads a file, a text, or what a run was started with.
func (e *engine) openData(_ context.Context, r request) (any, error) {
	var args struct {
		Name, Text string
		Run        string
		Columns    string // data_columns
	}
	if err := r.decode(&args); err != nil {
		return nil, err
	}
	data, name := []byte(args.Text), args.Name
	var err error
	switch {
	case len(r.files) > 0:
		name = path.Base(r.files[0].name)
		if size := r.files[0].blob.Size(); size > maxDataBytes {
			return nil, usererr.New("read data set", name, "%d MB; a tab takes at most %d MB", size>>20, maxDataBytes>>20).
				Hinted("train on a larger file with the program: qlora-wgpu train")
		}
		data, err = r.files[0].blob.Bytes()
	case args.Run != "":
		var a about
		if a, err = e.readAbout(args.Run); err == nil {
			name, args.Columns = a.DataName, a.Columns
			data, err = checkpoint.ReadBytes(e.store, runFolder(runsDir+"/"+args.Run).data(), maxSaved)
		}
	}
	if err != nil {
		return nil, err
	}
	columns, err := settings.ParseColumns(args.Columns)
	if err != nil {
		return nil, err
	}
	source, err := dataset.ReadColumns(bytes.NewReader(data), name, columns)
	if err != nil {
		return nil, err
	}
	e.data, e.bytes, e.DataName, e.Columns = source, data, name, args.Columns
	info := dataInfo{Name: name, Format: source.Format, Container: source.Container, Rows: source.Len(), Notes: source.Notes}
	if len(data) <= editedBytes {
		info.Text = string(data)
		if pairs, ok := source.Pairs(); ok && len(pairs) <= editedRows {
			info.Pairs = pairs
		}
	}
	return info, nil
}

// read gives the questions and answers of a text, such as a spreadsheet's cells, and opens nothing.
func (e *engine) read(_ context.Context, r request) (any, error) {
	var args struct{ Name, Text string }
	if err := r.decode(&args); err != nil {
		return nil, err
	}
	source, err := dataset.Read(strings.NewReader(args.Text), args.Name)
	if err != nil {
		return nil, err
	}
	list, ok := source.Pairs()
	if !ok {
		return nil, usererr.New("paste", "", "these are no questions and answers").Hinted("paste two columns, or use the text")
	}
	return map[string]any{"pairs": list, "notes": source.Notes}, nil
}

// shownRow is a row to look at.
type shownRow struct {
	Text  string      `json:"text"` // of a row without messages
	Turns []shownTurn `json:"turns"`
}

type shownTurn struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// rows gives a page of the open data set to look at.
func (e *engine) rows(_ context.Context, r request) (any, error) {
	var args struct{ First, Count int }
	if err := r.decode(&args); err != nil {
		return nil, err
	}
	list := []shownRow{}
	if e.data == nil {
		return list, nil
	}
	var wanted []int
	for at := max(0, args.First); at < min(args.First+args.Count, e.data.Len()); at++ {
		wanted = append(wanted, at)
	}
	found, err := e.data.Some(wanted...)
	if err != nil {
		return nil, err
	}
	for _, at := range wanted {
		row := found[at]
		shown := shownRow{Text: row.Text}
		for _, m := range row.Messages {
			shown.Turns = append(shown.Turns, shownTurn{m.Role, m.Content})
		}
		list = append(list, shown)
	}
	return list, nil
}

// between is how long looking at rows may keep what else the engine does waiting.
const between = 20 * time.Millisecond

// mistakes says what in the rows of the open data set is probably one. It waits for nothing and keeps nothing waiting:
// the rows of a large data set take seconds.
func (e *engine) mistakes(ctx context.Context, r request) (any, error) {
	if e.data == nil {
		return inspect.Brief{Lines: []string{}}, nil
	}
	var args struct{ Inputs bool } // all tokens are learned: train_on_inputs
	if err := r.decode(&args); err != nil {
		return nil, err
	}
	o := inspect.Options{TrainOn: chat.TrainOnAssistant}
	if args.Inputs {
		o.TrainOn = chat.TrainOnAll
	}
	last := time.Now()
	o.Looked = func(int) {
		if time.Since(last) > between {
			browser.Yield()
			last = time.Now()
		}
	}
	return inspect.Briefly(ctx, o, e.data, nil)
}

// preview shows what a run with these settings would learn from.
func (e *engine) preview(ctx context.Context, r request) (any, error) {
	c, err := e.settings(r.args, runsDir+"/none")
	if err != nil {
		return nil, err
	}
	var args trainArgs
	if err := r.decode(&args); err != nil {
		return nil, err
	}
	return preview.Of(ctx, c, preview.Inputs{Model: e.model, Data: e.data, Opened: e.dev, Room: room(args.Memory)})
}
