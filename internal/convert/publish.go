package convert

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/usererr"
)

// PublishFile makes a file of so many bytes, as PublishFolder makes a folder; one that is there is an error.
func PublishFile(out checkpoint.Store, file string, size int64, write func(io.Writer) error) error {
	if there, err := out.Open(file); err == nil {
		_ = there.Close() // it was not read
		return usererr.New(op, file, "the file is there already").Hinted("choose another --output, or remove it")
	} else if !errors.Is(err, fs.ErrNotExist) {
		return usererr.New(op, file, "%w", err)
	}
	if err := room(out, file, size); err != nil {
		return err
	}
	return checkpoint.WriteFile(out, file, write)
}

// PublishFolder makes a folder whose content, of about size bytes, write writes into the folder that it is given. It
// appears under its name when all of it is written; before, and where that fails, there is nothing. Errors are
// *usererr.Error: a folder that is there and not empty, a disk that is too full; and write's.
func PublishFolder(out checkpoint.Store, dir string, size int64, write func(temporary string) error) error {
	names, err := out.List(dir)
	if err == nil && len(names) > 0 {
		return usererr.New(op, dir, "the folder is not empty: it holds %s", names[0]).Hinted("choose another --output")
	}
	there := err == nil
	temporary := fmt.Sprintf("%s.%08x.tmp", dir, rand.Uint32()) // another process may write the same folder
	if err := room(out, dir, size); err != nil {
		return err
	}
	err = out.MakeDir(temporary)
	if err == nil {
		err = write(temporary)
	}
	if err == nil && there {
		err = out.Remove(dir)
	}
	if err == nil {
		err = out.Rename(temporary, dir)
	}
	if err == nil {
		err = out.SyncDir(path.Dir(dir))
	}
	if err != nil {
		_ = out.Remove(temporary) // gives the space back; a failure here adds nothing to the first error
		return fmt.Errorf("write %s: %w", dir, err)
	}
	return nil
}

// room makes the folder of a file or a folder, and looks whether its disk has so many bytes.
func room(out checkpoint.Store, name string, size int64) error {
	if err := out.MakeDir(path.Dir(name)); err != nil {
		return usererr.New(op, name, "%w", err)
	}
	free, err := out.Free(path.Dir(name))
	if err != nil {
		return usererr.New(op, name, "free space: %w", err)
	}
	if need := size + 64<<20; free >= 0 && free < need {
		return usererr.New(op, name, "the disk is too full: %.1f MB are needed, %.1f MB are free", float64(need)/1e6, float64(free)/1e6).
			Hinted("free some space, or choose an --output on another disk")
	}
	return nil
}
