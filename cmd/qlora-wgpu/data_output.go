package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/usererr"
)

// mayWrite refuses names that something has already, unless force says that files give way.
func mayWrite(op string, force bool, names ...string) error {
	for _, name := range names {
		info, err := os.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return usererr.New(op, name, "%w", err)
		case info.IsDir():
			return usererr.New(op, name, "this is a folder").Hinted("name a file in it")
		case !force:
			return usererr.New(op, name, "it is there already").Hinted("--force replaces it")
		}
	}
	return nil
}

// writeOutput makes a file that is there whole or not at all.
func writeOutput(op, name string, write func(io.Writer) error) error {
	if err := checkpoint.WriteFile(checkpoint.Files{}, filepath.ToSlash(name), write); err != nil {
		return usererr.New(op, name, "%w", err)
	}
	return nil
}
