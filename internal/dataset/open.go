//go:build !js

package dataset

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"qlora-wgpu/internal/files"
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
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, openError(path, err)
	}
	if !info.IsDir() {
		train, err = openFile(path, info, columns)
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
	if train, err = openFile(name, info, columns); err != nil {
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
	valid, err = openFile(name, info, columns)
	return train, valid, err
}

func openFile(path string, info fs.FileInfo, columns settings.Columns) (*Source, error) {
	if !info.Mode().IsRegular() {
		return nil, usererr.New(readOp, path, "not a regular file").
			Hinted("a run that goes on after an interruption reads it again, so a pipe will not do")
	}
	file, err := files.Open(path)
	if err != nil {
		return nil, openError(path, err)
	}
	defer file.Close()
	if isParquet(file) {
		return readParquet(file, info.Size(), path, columns)
	}
	text, end, err := unpacked(file, info.Size())
	if err != nil {
		return nil, openError(path, err)
	}
	defer end()
	return ReadColumns(text, path, columns)
}

func openError(path string, err error) error {
	var inner *fs.PathError
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return usererr.New(readOp, path, "%w", err)
}
