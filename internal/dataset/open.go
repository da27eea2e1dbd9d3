//go:build !js

package dataset

import (
	"errors"
	"io/fs"
	"os"

	"qlora-wgpu/internal/usererr"
)

// Open reads a file, or a folder with the splits that Hugging Face's datasets and MLX know: what is for training, and
// what is for validation (nil without it). A split for tests is left to be named.
func Open(path string) (train, valid *Source, err error) { return Reading{}.Open(path) }

// Open is Open of this package, in a way of reading.
func (r Reading) Open(path string) (train, valid *Source, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, openError(path, err)
	}
	if info.IsDir() {
		return r.OpenFolder(path)
	}
	if r.Config != "" || r.Split != "" {
		return nil, nil, usererr.New(readOp, path, "a file has neither configs nor splits").
			Hinted("data_config and data_split choose of a folder, or of a data set of the hub")
	}
	train, err = r.openFile(path, info)
	return train, nil, err
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
