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
// nothing, so the last good one is never removed; that is said, since an older one stays in its place. A failure leaves
// the others to the next call.
func Rotate(s Store, dir string, keep int) error {
	found, err := folders(s, dir)
	if err != nil {
		return err
	}
	var failed error
	kept := 0
	for _, f := range found {
		name := path.Join(dir, f.name)
		switch {
		case f.suffix == removedSuffix:
			failed = cmp.Or(failed, s.Remove(name))
		case f.suffix == temporarySuffix || keep == 0:
		case kept == keep:
			failed = cmp.Or(failed, discard(s, dir, name))
		default:
			if _, err := verifyOwn(s, name); err == nil {
				kept++
			} else {
				failed = cmp.Or(failed, fmt.Errorf("%s does not verify, and an older one is kept for it: %w", name, err))
			}
		}
	}
	if failed != nil {
		return fmt.Errorf("remove old checkpoints: %w", failed)
	}
	return nil
}

// discard removes a checkpoint. It is renamed first: if removing ends halfway, what is left does not stand there under
// the name of a checkpoint. Where that would copy it, it loses its manifest first.
func discard(s Store, dir, name string) error {
	if _, copies := s.(Copier); copies {
		if err := s.Remove(path.Join(name, manifestName)); err != nil {
			return err
		}
		return s.Remove(name)
	}
	removed := name + removedSuffix
	if err := s.Remove(removed); err != nil { // of an earlier checkpoint of this step
		return err
	}
	if err := s.Rename(name, removed); err != nil {
		return err
	}
	if err := s.SyncDir(dir); err != nil {
		return err
	}
	return s.Remove(removed)
}

// Clean removes the unfinished and the half removed checkpoints of processes that died; no other may be writing there.
// Latest comes before it: an unfinished checkpoint may only want its name. It returns the first failure, and goes on.
func Clean(s Store, dir string) error {
	found, err := folders(s, dir)
	if err != nil {
		return err
	}
	var failed error
	for _, f := range found {
		if f.suffix != "" {
			failed = cmp.Or(failed, s.Remove(path.Join(dir, f.name)))
		}
	}
	return failed
}

const (
	folderPrefix    = "checkpoint-"
	temporarySuffix = ".tmp"     // being written
	removedSuffix   = ".removed" // being removed
)

func folderName(step int) string { return folderPrefix + strconv.Itoa(step) }

type folder struct {
	name   string
	step   int
	suffix string // empty: a finished checkpoint
}

// folders lists the checkpoints of a run, highest step first, a finished one before what is left of others of the same
// step.
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
		base, suffix := name, ""
		for _, s := range []string{temporarySuffix, removedSuffix} {
			if cut, ok := strings.CutSuffix(name, s); ok {
				base, suffix = cut, s
			}
		}
		step, err := strconv.Atoi(strings.TrimPrefix(base, folderPrefix))
		if err == nil && step >= 0 && base == folderName(step) {
			found = append(found, folder{name, step, suffix})
		}
	}
	slices.SortFunc(found, func(a, b folder) int {
		return cmp.Or(cmp.Compare(b.step, a.step), cmp.Compare(a.name, b.name))
	})
	return found, nil
}
