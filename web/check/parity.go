//go:build js

package main

import (
	"context"
	"io/fs"
	"path"
	"slices"
	"strings"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/browser"
	"qlora-wgpu/internal/parity"
	"qlora-wgpu/internal/pretrained"
)

// served is a folder on the page's server, with the names that it holds: asking for one that is absent would be an
// error on the browser's console.
type served struct {
	url   string
	names []string
}

// list reads the names that FOLDER/names.txt has, one a line.
func list(url string) (served, error) {
	file, err := browser.Fetch(context.Background(), url+"/names.txt")
	if err != nil {
		return served{}, err
	}
	data, err := file.Bytes()
	return served{url, strings.Fields(string(data))}, err
}

func (s served) Open(name string) (pretrained.File, error) {
	if !slices.Contains(s.names, name) {
		return nil, &fs.PathError{Op: "fetch", Path: s.url + "/" + name, Err: fs.ErrNotExist}
	}
	file, err := browser.Fetch(context.Background(), s.url+"/"+name)
	if err != nil {
		return nil, err // and no file that is not nil
	}
	return file, nil
}

// sub is a folder within another.
type sub struct {
	served
	dir string
}

func (s sub) Open(name string) (pretrained.File, error) { return s.served.Open(s.dir + "/" + name) }

// List gives the names of the files in a folder of it.
func (s sub) List(folder string) (names []string, err error) {
	for _, name := range s.names {
		if dir, base := path.Split(name); dir == s.dir+"/"+folder+"/" {
			names = append(names, base)
		}
	}
	return names, nil
}

// parity runs the case that run.sh put beside the page to its last step, and compares it with PyTorch's.
func (c *checker) parity(ctx context.Context, work chan<- func(*gpu.Device)) {
	work <- func(dev *gpu.Device) {
		c.check(dev, "parity", "training steps", func() (bool, string) {
			uses, err := runCase(ctx, dev)
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

func runCase(ctx context.Context, dev *gpu.Device) ([]parity.Use, error) {
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
	result, err := parity.Run(ctx, dev, files, source, parity.Options{Log: func(string) {}})
	if err != nil {
		return nil, err
	}
	return result.Uses, nil
}
