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

// mayWrite refuses names that something has already, unless force says that files give way: then a file and a link do,
// which is replaced and not followed. output is what the user named: its folder has to be there.
func mayWrite(op string, force bool, output string, names ...string) error {
	if folder := filepath.Dir(output); folder != "." {
		if info, err := os.Stat(folder); err != nil || !info.IsDir() {
			return usererr.New(op, output, "there is no folder %s", folder).Hinted("make it before")
		}
	}
	for _, name := range names {
		info, err := os.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return usererr.New(op, name, "%w", err)
		case info.IsDir():
			return usererr.New(op, name, "this is a folder").Hinted("name a file in it")
		case !info.Mode().IsRegular() && info.Mode()&fs.ModeSymlink == 0: // a device would be replaced for the whole system
			return usererr.New(op, name, "not a regular file").Hinted("name another")
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
