//go:build !js

package dataset

import (
	"cmp"
	"io/fs"
	"os"

	"qlora-wgpu/internal/files"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
)

// HeldBytes are what the rows of a file may take in memory; those of a larger one are read whenever they are needed.
const HeldBytes = 16 << 20

// Reading is how files are read.
type Reading struct {
	Columns settings.Columns
	// of a folder, or a data set of the hub, with several: the config, and the one split that is wanted
	Config, Split string
	Held          int64 // bytes that the rows of a file may take in memory; 0: HeldBytes, negative: none
	// Stop ends the reading, which gives its error, once it gives one. nil: nothing does.
	Stop func() error
	// Progress is told how much is read of a file whose rows are not held, in bytes. nil: nobody wants to know.
	Progress func(path string, done, total int64)
	Known    Known // nil: nothing is known
}

// Known remembers large files, so that one which stays as it was is not read once more to tell what is in it.
type Known interface {
	// Recall gives what was remembered of the file that info is of, nil where that was another one.
	Recall(path string, info fs.FileInfo, columns settings.Columns) *Facts
	// Remember is told what was found in the file that info is of.
	Remember(path string, info fs.FileInfo, columns settings.Columns, f Facts)
}

// Facts are what reading a file finds out, but for its rows.
type Facts struct {
	Format    string   `json:"format"`
	Container string   `json:"container"`
	Notes     []string `json:"notes"`
	Hash      string   `json:"hash"`
	Rows      int      `json:"rows"`
}

// file reads the one that info is of.
func (r Reading) file(path string, info fs.FileInfo) (*Source, error) {
	if r.Known != nil {
		if f := r.Known.Recall(path, info, r.Columns); f != nil {
			s := &Source{Path: path, Format: f.Format, Container: f.Container, Notes: f.Notes, Hash: f.Hash, columns: r.Columns, count: f.Rows}
			s.again = r.again(s, info)
			return s, nil
		}
	}
	var rows []Row
	size, tooMany := int64(0), false
	s, err := r.scan(path, info, func(row Row) error {
		size += int64(row.size())
		if tooMany = size > r.held(); tooMany {
			rows = nil
		} else {
			rows = append(rows, row)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !tooMany {
		s.rows = rows
		return s, nil
	}
	if r.Known != nil && r.unchanged(path, info) {
		r.Known.Remember(path, info, r.Columns, Facts{s.Format, s.Container, s.Notes, s.Hash, s.count})
	}
	s.again = r.again(s, info)
	return s, nil
}

// again reads the rows of a source once more; its file has to be the same.
func (r Reading) again(s *Source, info fs.FileInfo) func(do func(Row) error) error {
	r.Progress = nil // whoever wants the rows knows how many come
	path, hash := s.Path, s.Hash
	return func(do func(Row) error) error {
		changed := usererr.New(readOp, path, "the file has changed since it was first read").Hinted("start again")
		if !r.unchanged(path, info) {
			return changed
		}
		var ended error
		now, err := r.scan(path, info, func(row Row) error {
			ended = do(row)
			return ended
		})
		switch {
		case ended != nil:
			return ended
		case err == nil && now.Hash != hash:
			return changed
		}
		return err
	}
}

func (r Reading) unchanged(path string, info fs.FileInfo) bool {
	now, err := os.Stat(path)
	return err == nil && os.SameFile(now, info) && now.Size() == info.Size() && now.ModTime().Equal(info.ModTime())
}

func (r Reading) held() int64 { return cmp.Or(r.Held, HeldBytes) }

// scan reads a file from its beginning to its end.
func (r Reading) scan(path string, info fs.FileInfo, row func(Row) error) (*Source, error) {
	file, err := files.Open(path)
	if err != nil {
		return nil, openError(path, err)
	}
	defer file.Close()
	read, total := &counter{file: file}, info.Size()
	read.each = func() error {
		if r.Stop != nil {
			if err := r.Stop(); err != nil {
				return err
			}
		}
		if r.Progress != nil && read.bytes > r.held() {
			r.Progress(path, min(read.bytes, total), total)
		}
		return nil
	}
	var s *Source
	if isParquet(file) {
		total *= 2 // its hash is taken first
		s, err = scanParquet(read, info.Size(), path, r.Columns, row)
	} else {
		in, end, openErr := unpacked(read, info.Size())
		if openErr != nil {
			return nil, openError(path, openErr)
		}
		defer end()
		s, err = scan(in, path, r.Columns, row)
	}
	if r.Stop != nil && r.Stop() != nil {
		return nil, r.Stop()
	}
	return s, err
}

// counter counts the bytes that are read of a file.
type counter struct {
	file  *os.File
	bytes int64
	each  func() error // comes after each part
}

func (c *counter) Read(p []byte) (int, error) { return c.count(c.file.Read(p)) }

func (c *counter) ReadAt(p []byte, at int64) (int, error) { return c.count(c.file.ReadAt(p, at)) }

func (c *counter) count(n int, err error) (int, error) {
	if c.bytes += int64(n); err == nil {
		err = c.each()
	}
	return n, err
}
