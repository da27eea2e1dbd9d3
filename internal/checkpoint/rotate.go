package checkpoint

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Rotate removes all checkpoints below the `keep` highest that verify; 0 keeps all. One that does not verify counts for
// nothing, so the last good one is never removed.
func Rotate(s Store, dir string, keep int) error {
	found, err := folders(s, dir)
	if err != nil || keep == 0 {
		return err
	}
	kept := 0
	for _, f := range found {
		name := path.Join(dir, f.name)
		switch {
		case f.temporary:
		case kept == keep:
			if err := s.Remove(name); err != nil {
				return fmt.Errorf("remove %s: %w", name, err)
			}
		default:
			if _, err := verify(s, name); err == nil {
				kept++
			}
		}
	}
	return nil
}

const (
	folderPrefix    = "checkpoint-"
	temporarySuffix = ".tmp"
)

func folderName(step int) string { return folderPrefix + strconv.Itoa(step) }

type folder struct {
	name      string
	step      int
	temporary bool
}

// folders lists the checkpoints of a run, highest step first, a finished one before a temporary one of the same step.
func folders(s Store, dir string) ([]folder, error) {
	names, err := s.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list checkpoints: %w", err)
	}
	var found []folder
	for _, name := range names {
		base, temporary := strings.CutSuffix(name, temporarySuffix)
		step, err := strconv.Atoi(strings.TrimPrefix(base, folderPrefix))
		if err == nil && step >= 0 && base == folderName(step) {
			found = append(found, folder{name, step, temporary})
		}
	}
	slices.SortFunc(found, func(a, b folder) int {
		return cmp.Or(cmp.Compare(b.step, a.step), cmp.Compare(a.name, b.name))
	})
	return found, nil
}

func removeTemporary(s Store, dir string) error {
	found, err := folders(s, dir)
	if err != nil {
		return err
	}
	for _, f := range found {
		if f.temporary {
			if err := s.Remove(path.Join(dir, f.name)); err != nil {
				return err
			}
		}
	}
	return nil
}
