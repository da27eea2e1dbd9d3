//go:build js

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/browser"
	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/preview"
	"qlora-wgpu/internal/processor"
	"qlora-wgpu/internal/usererr"
)

// engine is what the page has opened.
type engine struct {
	store *browser.Store
	dev   *gpu.Device
	model *pretrained.Model
	data  *dataset.Source
	bytes []byte // of the data set's file
	asked *answerers
	heap  heap
	inputs
	stop context.CancelFunc // ends the running operation; nil when none runs
	gpu  sync.Mutex         // held by what computes on the device
}

// inputs names what a run was started with, so that a page that is opened later can go on with it.
type inputs struct {
	Demo      bool   `json:"demo"` // the embedded model
	ModelName string `json:"model"`
	DataName  string `json:"data"`
	// Fingerprint tells the model's files from others, whatever their names.
	Fingerprint string `json:"fingerprint,omitempty"`
}

// folder is a model's files by name.
type folder map[string]metered

func (f folder) Open(name string) (pretrained.File, error) {
	if file, found := f[name]; found {
		return file, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func (f folder) List(dir string) (names []string, err error) {
	for name := range f {
		if in, base := path.Split(name); in == dir+"/" {
			names = append(names, base)
		}
	}
	return names, nil
}

// nameIn is a picked file's name in the model's folder; of what lies deeper only chat templates have a meaning.
func nameIn(picked string) string {
	dir, base := path.Split(picked)
	if path.Base(dir) == pretrained.TemplatesFolder {
		return pretrained.TemplatesFolder + "/" + base
	}
	return base
}

// modelInfo is what the page shows of a model.
type modelInfo struct {
	Name         string              `json:"name"`
	Architecture string              `json:"architecture"`
	Parameters   int64               `json:"parameters"`
	Layers       int                 `json:"layers"`
	Hidden       int                 `json:"hidden"`
	Vocab        int                 `json:"vocab"`
	MaxPositions int                 `json:"max_positions"`
	Template     bool                `json:"template"` // it carries a chat template
	Linears      []pretrained.Tensor `json:"linears"`  // of every layer: frozen, in the run's format
	Bytes        int64               `json:"bytes"`    // of the files
	Fingerprint  string              `json:"fingerprint"`
}

// openModel opens a GGUF file, the files of a Hugging Face folder, or without any file the embedded model.
func (e *engine) openModel(ctx context.Context, r request) (any, error) {
	var args struct{ Name string } // of a folder
	if err := r.decode(&args); err != nil {
		return nil, err
	}
	files, name := r.files, "the embedded model"
	embedded := len(files) == 0
	if embedded {
		for _, name := range demo.ModelNames {
			blob, err := browser.Fetch(ctx, "demo/model/"+name)
			if err != nil {
				return nil, err
			}
			files = append(files, file{name, blob})
		}
	}
	f, total := folder{}, int64(0)
	gguf := -1
	for i, file := range files {
		f[nameIn(file.name)] = metered{file.blob, &e.heap}
		total += file.blob.Size()
		if strings.HasSuffix(strings.ToLower(file.name), ".gguf") {
			gguf = i
		}
	}
	var source *pretrained.Model
	var err error
	_, config := f["config.json"]
	switch {
	case embedded:
		source, err = pretrained.OpenFolder(f, name)
	case config:
		if name = args.Name; name == "" {
			name = "the folder"
		}
		source, err = pretrained.OpenFolder(f, name)
	case gguf >= 0:
		name = path.Base(files[gguf].name)
		source, err = pretrained.OpenGGUF(metered{files[gguf].blob, &e.heap}, files[gguf].blob.Size(), name)
	default:
		return nil, usererr.New("open model", path.Base(files[0].name), "neither a GGUF file nor the files of a Hugging Face folder").
			Hinted("choose a .gguf file, or config.json, tokenizer.json and all *.safetensors files together")
	}
	if err != nil {
		return nil, err
	}
	if _, err := processor.New(source, name, "", time.Now()); err != nil {
		source.Close()
		return nil, err
	}
	sum, err := fingerprint(files)
	if err != nil {
		source.Close()
		return nil, err
	}
	e.forgetAnswerers()
	if e.model != nil {
		e.model.Close()
	}
	e.model, e.Demo, e.ModelName, e.Fingerprint = source, embedded, name, sum
	info := describeModel(source, name, total)
	info.Fingerprint = sum
	return info, nil
}

// fingerprint is a hash of the sizes of files and of samples of their bytes, which are all bytes of small ones: a model
// of gigabytes is known again at once.
func fingerprint(files []file) (string, error) {
	const samples, sample = 64, 64 << 10
	var sums []string
	for _, f := range files {
		h := sha256.New()
		size := f.blob.Size()
		fmt.Fprintln(h, size)
		part := make([]byte, sample)
		step := max(sample, size/samples)
		for at := int64(0); at < size; at += step {
			n := min(sample, size-at)
			if _, err := f.blob.ReadAt(part[:n], at); err != nil {
				return "", usererr.New("open model", path.Base(f.name), "%w", err)
			}
			h.Write(part[:n])
		}
		sums = append(sums, hex.EncodeToString(h.Sum(nil)))
	}
	slices.Sort(sums) // files of a folder come in any order
	sum := sha256.Sum256([]byte(strings.Join(sums, " ")))
	return hex.EncodeToString(sum[:16]), nil
}

func describeModel(source *pretrained.Model, name string, total int64) modelInfo {
	s := source.Spec
	info := modelInfo{
		Name: name, Architecture: s.Family, Parameters: s.Parameters(),
		Layers: len(s.Layers), Hidden: s.Hidden, Vocab: s.Vocab, MaxPositions: s.MaxPositions,
		Template: len(source.Tokenizer().Templates) > 0, Bytes: total,
	}
	for _, t := range s.Tensors() {
		if t.Role == spec.Matrix {
			info.Linears = append(info.Linears, pretrained.Tensor{Name: t.Name, Rows: t.Rows, Cols: t.Cols})
		}
	}
	return info
}

// shownRows is how many rows the page gets to show and edit.
const shownRows = 2000

// dataInfo is what the page shows of a data set.
type dataInfo struct {
	Name      string     `json:"name"`
	Format    string     `json:"format"`
	Container string     `json:"container"`
	Rows      int        `json:"rows"`
	Pairs     [][]string `json:"pairs"` // question and answer of each row, where all rows are that, and not too many
	Text      string     `json:"text"`  // the file, where it is not too long to be edited
}

// openData reads a file, a text that the user wrote, what the saved run was started with, or without any of these the
// embedded data set.
func (e *engine) openData(ctx context.Context, r request) (any, error) {
	var args struct {
		Name, Text string
		Saved      bool
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
	case args.Saved:
		name = e.DataName
		data, err = checkpoint.ReadBytes(e.store, dataFile, maxSaved)
	case name == "":
		name = "train.jsonl"
		var blob *browser.Blob
		if blob, err = browser.Fetch(ctx, "demo/"+name); err == nil {
			data, err = blob.Bytes()
		}
	}
	if err != nil {
		return nil, err
	}
	source, err := dataset.Read(bytes.NewReader(data), name)
	if err != nil {
		return nil, err
	}
	e.data, e.bytes, e.DataName = source, data, name
	info := dataInfo{Name: name, Format: source.Format, Container: source.Container, Rows: len(source.Rows), Pairs: pairs(source)}
	if len(data) <= 1<<20 {
		info.Text = string(data)
	}
	return info, nil
}

const maxDataBytes = 256 << 20

// pairs are the rows as questions and answers, nil where a row is something else.
func pairs(source *dataset.Source) (list [][]string) {
	if len(source.Rows) > shownRows {
		return nil
	}
	for _, row := range source.Rows {
		m := row.Messages
		if len(m) != 2 || m[0].Role != "user" || m[1].Role != "assistant" || len(m[1].Fields) > 0 || m[1].Train != nil || row.Tools != nil {
			return nil
		}
		list = append(list, []string{m[0].Content, m[1].Content})
	}
	return list
}

// preview shows what a run with these settings would learn from.
func (e *engine) preview(_ context.Context, r request) (any, error) {
	c, err := e.settings(r.args)
	if err != nil {
		return nil, err
	}
	var args trainArgs
	if err := r.decode(&args); err != nil {
		return nil, err
	}
	return preview.Of(c, preview.Inputs{Model: e.model, Data: e.data, Opened: e.dev, Room: room(args.Memory)})
}

// inspect shows a block of a weight.
func (e *engine) inspect(_ context.Context, r request) (any, error) {
	var args struct {
		Tensor           string
		Block, BlockSize int
	}
	if err := r.decode(&args); err != nil {
		return nil, err
	}
	if e.model == nil {
		return nil, fmt.Errorf("no model is open")
	}
	return preview.Inspect(e.model, args.Tensor, args.BlockSize, args.Block)
}
