//go:build js

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/preview"
	"qlora-wgpu/internal/processor"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/trainer"
)

// engine is what the page has opened. One operation at a time uses it.
type engine struct {
	store  trainer.Output
	dev    *gpu.Device
	model  *pretrained.Model
	data   *dataset.Source
	bytes  []byte // of the data set's file
	asked  *answerer
	heap   heap
	inputs // what is open
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
	Special      string              `json:"special"` // what it has beyond a Llama
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

// openModel opens a GGUF file, the parts of one, or the files of a Hugging Face folder.
func (e *engine) openModel(_ context.Context, r request) (any, error) {
	var args struct {
		Name string // of a folder
		Demo bool   // it is the embedded one
	}
	if err := r.decode(&args); err != nil {
		return nil, err
	}
	files, name := r.files, args.Name
	f, total := folder{}, int64(0)
	gguf, other := -1, -1
	for i, file := range files {
		f[nameIn(file.name)] = metered{file.blob, &e.heap}
		total += file.blob.Size()
		if strings.HasSuffix(strings.ToLower(file.name), ".gguf") {
			if gguf >= 0 && !pretrained.SameModel(path.Base(files[gguf].name), path.Base(file.name)) {
				other = gguf
			}
			gguf = i
		}
	}
	var source *pretrained.Model
	var err error
	_, config := f["config.json"]
	switch {
	case config:
		if name == "" {
			name = "the folder"
		}
		source, err = pretrained.OpenFolder(f, name)
	case other >= 0:
		err = usererr.New("open model", path.Base(files[gguf].name), "%s was chosen too", path.Base(files[other].name)).
			Hinted("choose one GGUF file, or all parts of one model (NAME-00001-of-00003.gguf, …)")
	case gguf >= 0:
		name = path.Base(files[gguf].name)
		source, err = pretrained.OpenGGUF(f, name, name)
	default:
		return nil, usererr.New("open model", path.Base(files[0].name), "neither a GGUF file nor the files of a Hugging Face folder").
			Hinted("choose a .gguf file, or config.json, tokenizer.json (or tokenizer.model) and all *.safetensors files together")
	}
	if err != nil {
		return nil, err
	}
	if _, err := processor.New(source, name, processor.Options{Now: time.Now()}); err != nil {
		source.Close()
		return nil, err
	}
	sum, err := fingerprint(files)
	if err != nil {
		source.Close()
		return nil, err
	}
	e.forgetAnswerer()
	if e.model != nil {
		e.model.Close()
	}
	e.model, e.Demo, e.ModelName, e.Fingerprint = source, args.Demo, name, sum
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
		Name: name, Architecture: s.Family, Special: s.Special(), Parameters: s.Parameters(),
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
