//go:build !js

package dataset

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"qlora-wgpu/internal/files"
	"qlora-wgpu/internal/usererr"
)

const (
	maxFiles   = 100_000 // of a folder
	readmeName = "README.md"
)

// OpenFolder reads the splits that are wanted of a folder: the one to train on, or to measure, and the one to evaluate
// on, nil where there is none or a split was named.
func (r Reading) OpenFolder(path string) (train, valid *Source, err error) {
	names, err := filesIn(path)
	if err != nil {
		return nil, nil, err
	}
	readme, err := files.Read(filepath.Join(path, readmeName), MaxReadme)
	if err != nil {
		readme = nil // it says something about splits or not
	}
	l, err := LayoutOf(path, names, readme, r.Config)
	if err != nil {
		return nil, nil, err
	}
	return r.OpenLayout(l, path)
}

// OpenLayout is OpenFolder of what is laid out so.
func (r Reading) OpenLayout(l *Layout, path string) (train, valid *Source, err error) {
	first, second, err := l.Choose(r.Split)
	if err != nil {
		return nil, nil, err
	}
	if train, err = r.openSplit(l, path, first); err != nil {
		return nil, nil, err
	}
	train.Notes = append(train.Notes, l.Notes(first, second)...)
	if second != "" {
		valid, err = r.openSplit(l, path, second)
	}
	return train, valid, err
}

// filesIn are the files below a folder, with "/" between folders; hidden ones are left out.
func filesIn(path string) (names []string, err error) {
	err = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch hidden := strings.HasPrefix(entry.Name(), ".") && name != path; {
		case hidden && entry.IsDir():
			return fs.SkipDir
		case hidden || entry.IsDir():
			return nil
		case len(names) == maxFiles:
			return usererr.New(readOp, path, "it has more than %d files", maxFiles).Hinted("name a folder of the data set alone")
		}
		local, err := filepath.Rel(path, name)
		names = append(names, filepath.ToSlash(local))
		return err
	})
	if _, said := errors.AsType[*usererr.Error](err); err != nil && !said {
		err = openError(path, err)
	}
	return names, err
}

// openSplit reads all files of a split, one behind another.
func (r Reading) openSplit(l *Layout, dir, split string) (*Source, error) {
	names := l.Splits[split]
	for _, name := range names[1:] {
		if containerOf(name) != containerOf(names[0]) {
			return nil, usererr.New(readOp, dir, "mixed formats in the split %s: %s and %s", quote(split), names[0], name).Of(usererr.Format).
				Hinted("are these the same rows twice? Name the file or the folder that is meant")
		}
	}
	var parts []*Source
	var empty error
	var read, notes []string
	left := r.held()
	for _, name := range names {
		path := filepath.Join(dir, filepath.FromSlash(name))
		info, err := os.Stat(path)
		if err != nil {
			return nil, openError(path, err)
		}
		if r.Held = left; left <= 0 {
			r.Held = -1
		}
		part, err := r.openFile(path, info)
		if _, none := errors.AsType[*noRows](err); none {
			empty, notes = err, append(notes, name+" has no rows")
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, row := range part.rows {
			left -= int64(row.size())
		}
		parts, read = append(parts, part), append(read, name)
	}
	switch {
	case len(parts) == 0 && len(names) == 1:
		return nil, empty
	case len(parts) == 0:
		return nil, usererr.New(readOp, dir, "the split %s is empty: none of its %d files has rows", quote(split), len(names)).Of(usererr.Format)
	case len(names) == 1:
		return parts[0], nil
	}
	s, err := join(dir, read, parts)
	if err == nil {
		s.Notes = append(s.Notes, notes...)
	}
	return s, err
}
