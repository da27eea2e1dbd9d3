//go:build js

package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall/js"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/parity"
	"qlora-wgpu/internal/pretrained"
)

// served is a folder on the page's server, with the names that it holds: asking for one that is absent would be an error on the browser's console.
type served struct {
	url   string
	names []string
}

// list reads the names that FOLDER/names.txt has, one a line.
func list(url string) (served, error) {
	data, err := fetch(url + "/names.txt")
	return served{url, strings.Fields(string(data))}, err
}

// file is one that was fetched as a whole.
type file struct{ *bytes.Reader }

func (file) Close() error { return nil }

func (s served) Open(name string) (pretrained.File, error) {
	if !slices.Contains(s.names, name) {
		return nil, &fs.PathError{Op: "fetch", Path: s.url + "/" + name, Err: fs.ErrNotExist}
	}
	data, err := fetch(s.url + "/" + name)
	if err != nil {
		return nil, err
	}
	return file{bytes.NewReader(data)}, nil
}

// sub is a folder within another.
type sub struct {
	served
	dir string
}

func (s sub) Open(name string) (pretrained.File, error) { return s.served.Open(s.dir + "/" + name) }

// fetch reads a file from the page's server.
func fetch(url string) ([]byte, error) {
	response, err := await(js.Global().Call("fetch", url))
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", url, err)
	}
	if !response.Get("ok").Bool() {
		return nil, fmt.Errorf("fetch %s: status %d", url, response.Get("status").Int())
	}
	buffer, err := await(response.Call("arrayBuffer"))
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", url, err)
	}
	data := make([]byte, buffer.Get("byteLength").Int())
	js.CopyBytesToGo(data, js.Global().Get("Uint8Array").New(buffer))
	return data, nil
}

func await(promise js.Value) (value js.Value, err error) {
	done := make(chan struct{})
	resolved := js.FuncOf(func(_ js.Value, args []js.Value) any {
		value = args[0]
		close(done)
		return nil
	})
	rejected := js.FuncOf(func(_ js.Value, args []js.Value) any {
		err = fmt.Errorf("%s", args[0].Call("toString").String())
		close(done)
		return nil
	})
	defer resolved.Release()
	defer rejected.Release()
	promise.Call("then", resolved, rejected)
	<-done
	return value, err
}

// step runs the first training step of the case that run.sh put beside the page, and compares it with PyTorch's.
func (c *checker) step(ctx context.Context, work chan<- func(*gpu.Device)) {
	work <- func(dev *gpu.Device) {
		c.check(dev, "parity", "training step", func() (bool, string) {
			uses, err := step(ctx, dev)
			if err != nil {
				return false, err.Error()
			}
			ok, worst := len(uses) > 0, parity.Use{}
			for _, use := range uses {
				ok = ok && use.Used() <= 1
				if use.Used() >= worst.Used() || worst.Name == "" {
					worst = use
				}
			}
			return ok, worst.String()
		})
	}
}

func step(ctx context.Context, dev *gpu.Device) ([]parity.Use, error) {
	files, err := list("parity")
	if err != nil {
		return nil, err
	}
	model := sub{files, "model"}
	source, err := pretrained.OpenFolder(model, model.url)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	result, err := parity.Run(ctx, dev, files, source, parity.Options{MaxSteps: 1, Log: func(string) {}})
	if err != nil {
		return nil, err
	}
	return result.Uses, nil
}
