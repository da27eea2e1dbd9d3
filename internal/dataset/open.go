//go:build !js

package dataset

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
)

// Open reads a file, or a folder that holds train.jsonl and, at will, valid.jsonl (the layout of MLX; valid is nil
// without it, and test.jsonl is left to be named by its own path).
func Open(path string) (train, valid *Source, err error) {
	return OpenColumns(path, settings.Columns{})
}

// OpenColumns is Open, told which columns are learned.
func OpenColumns(path string, columns settings.Columns) (train, valid *Source, err error) {
	return Reading{Columns: columns}.Open(path)
}

// Open is what Open does, in a way of reading.
func (r Reading) Open(path string) (train, valid *Source, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, openError(path, err)
	}
	if !info.IsDir() {
		train, err = r.openFile(path, info)
		return train, nil, err
	}
	name := filepath.Join(path, "train.jsonl")
	info, err = os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, usererr.New(readOp, path, "the folder has no train.jsonl").
			Hinted("name a file, or put train.jsonl (and valid.jsonl) into the folder")
	}
	if err != nil {
		return nil, nil, openError(name, err)
	}
	if train, err = r.openFile(name, info); err != nil {
		return nil, nil, err
	}
	name = filepath.Join(path, "valid.jsonl")
	info, err = os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return train, nil, nil
	}
	if err != nil {
		return nil, nil, openError(name, err)
	}
	valid, err = r.openFile(name, info)
	return train, valid, err
}

func (r Reading) openFile(path string, info fs.FileInfo) (*Source, error) {
	if !info.Mode().IsRegular() {
		return nil, usererr.New(readOp, path, "not a regular file").
			Hinted("a run that goes on after an interruption reads it again, so a pipe will not do")
	}
	return r.file(path, info)
}

func openError(path string, err error) error {
	var inner *fs.PathError
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return usererr.New(readOp, path, "%w", err)
}
