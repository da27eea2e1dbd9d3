//go:build js

package main

import (
	"archive/zip"
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"qlora-wgpu/internal/adapters"
	"qlora-wgpu/internal/browser"
	"qlora-wgpu/internal/convert"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

// The formats of what is written for other programs; others are the file types of a merged model.
const (
	formatLoRA = "lora" // llama.cpp's
	formatMLX  = "mlx"
)

// exportArgs say of which run what is written.
type exportArgs struct {
	Run    string
	Format string
}

// exported is a file that can be written.
type exported struct {
	Name     string   `json:"name"`
	Size     int64    `json:"size"` // bytes, of a zip file about
	Warnings []string `json:"warnings"`

	write func(context.Context, io.Writer) error
}

// exportable tells of a file before it is written: its name, its size, and what is to be said of it.
func (e *engine) exportable(_ context.Context, r request) (any, error) { return e.exported(r) }

// export writes the file. What was cancelled or failed leaves nothing.
func (e *engine) export(ctx context.Context, r request) (any, error) {
	file, err := e.exported(r)
	if err != nil {
		return nil, err
	}
	to, err := browser.Save(ctx, r.to)
	if err != nil {
		return nil, usererr.New("export", file.Name, "%w", err).Hinted("choose another place for it")
	}
	e.heap.begin()
	defer e.heap.end()
	if err := file.write(ctx, to); err != nil {
		to.Abort()
		return nil, wayOut(file.Name, err)
	}
	blob, err := to.Finish()
	if err != nil {
		to.Abort()
		return nil, wayOut(file.Name, err)
	}
	return saved{file.Name, blob}, nil
}

// wayOut says what can be done where a file could not be read or written.
func wayOut(name string, err error) error {
	switch {
	case errors.Is(err, browser.ErrUnreadable):
		return usererr.New("export", name, "%w", err).Hinted("choose the model's files again under Model, and download once more")
	case strings.Contains(err.Error(), "QuotaExceededError"):
		return usererr.New("export", name, "%w", err).Hinted("free some space, or choose another place or type")
	}
	return err
}

func (e *engine) exported(r request) (*exported, error) {
	var args exportArgs
	if err := r.decode(&args); err != nil {
		return nil, err
	}
	adapter, err := e.exportedAdapter(args.Run)
	if err != nil {
		return nil, err
	}
	kind, isModel := gguf.FileTypes[args.Format]
	if !isModel {
		return e.adapterFor(adapter, args.Format)
	}
	weights, warnings, err := convert.New(e.model, []*lora.Files{adapter}, convert.Base{})
	if err != nil {
		return nil, err
	}
	tell := func(p events.Part) { e.emit(r, events.Writing{Part: p}) }
	file, said, err := weights.GGUF(convert.GGUFOptions{Type: kind, Name: e.baseName(), Tell: tell})
	if err != nil {
		return nil, err
	}
	warnings = slices.Concat(e.model.Warnings, warnings, said)
	return &exported{e.fileName(args.Format + ".gguf"), file.Size(), warnings, file.Stream}, nil
}

// exportedAdapter is a run's, which has to be one of the open model.
func (e *engine) exportedAdapter(run string) (*lora.Files, error) {
	f, err := folderOf(run)
	if err != nil {
		return nil, err
	}
	about, err := e.readAbout(run)
	if err != nil {
		return nil, usererr.New("export", run, "%w", err).Hinted("it may have been deleted in another tab")
	}
	if e.model == nil || about.Fingerprint != "" && about.Fingerprint != e.Fingerprint {
		return nil, usererr.New("export", "", "the run's model is not open").
			Hinted("open %s under Model", cmp.Or(about.ModelName, "the model that the adapter belongs to"))
	}
	dir, _, err := e.adapterIn(f)
	if err != nil {
		return nil, err
	}
	return lora.Open(e.store, dir)
}

// adapterFor is the adapter alone, in another program's format.
func (e *engine) adapterFor(adapter *lora.Files, format string) (*exported, error) {
	sum, err := adapters.Add(e.model.Spec, e.baseName(), adapter)
	if err != nil {
		return nil, err
	}
	switch format {
	case formatLoRA:
		file, err := sum.GGUF(gguf.F32)
		if err != nil {
			return nil, err
		}
		write := func(_ context.Context, w io.Writer) error { return file.Write(w) }
		return &exported{e.fileName("lora.gguf"), file.Size, sum.Warnings, write}, nil
	case formatMLX:
		files, err := sum.MLX()
		if err != nil {
			return nil, err
		}
		out := &exported{Name: e.fileName("mlx.zip"), Warnings: sum.Warnings}
		for _, f := range files {
			out.Size += f.Size
		}
		out.write = func(_ context.Context, w io.Writer) error { return zipped(w, "adapter-mlx/", files) }
		return out, nil
	}
	return nil, usererr.New("export", "", "there is no format %q", format)
}

// zipped writes files as a zip file of a folder.
func zipped(w io.Writer, folder string, files map[string]*adapters.File) error {
	z := zip.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		member, err := z.CreateHeader(&zip.FileHeader{Name: folder + name, Method: zip.Store}) // weights do not compress
		if err == nil {
			err = files[name].Write(member)
		}
		if err != nil {
			return err
		}
	}
	return z.Close()
}

// baseName is what files call the open model, as those of the program do.
func (e *engine) baseName() string {
	return cmp.Or(e.model.Name, strings.TrimSuffix(path.Base(e.ModelName), ".gguf"))
}

var notInNames = regexp.MustCompile(`[^\w.-]+`)

// fileName is a name for the disk, with an ending.
func (e *engine) fileName(ending string) string {
	return strings.Trim(notInNames.ReplaceAllString(path.Base(e.baseName()), "-"), "-.") + "-" + ending
}
