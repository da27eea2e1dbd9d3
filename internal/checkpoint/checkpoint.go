// Package checkpoint keeps the complete state of a run in folders checkpoint-N of the run's folder, N the step.
//
// A checkpoint is written into checkpoint-N.tmp, every file synced, the manifest (sizes and SHA-256 of all the others)
// last, read back and verified, and only then renamed. At every moment of a crash the run's folder therefore holds the
// checkpoints it held before, or those and the new one. Nothing is read from a checkpoint that was not verified whole.
package checkpoint

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"qlora-wgpu/internal/usererr"
)

// File is one part of the state.
type File struct {
	Name  string // plain: letters, digits, underscore, dot, hyphen
	Size  int64  // about how many bytes it will take, for the check of free space
	Write func(io.Writer) error
}

// Identity says which run a checkpoint belongs to: what was hashed ("model", "data", "settings") → the hash.
type Identity map[string]string

// Checkpoint is a verified checkpoint.
type Checkpoint struct {
	Path string
	Step int

	store    Store
	manifest manifest
}

// Save writes checkpoint-step into the run folder dir. state is encoded as JSON. A checkpoint of the same step is
// replaced. When Save fails, what was there before still is; a disk that is too full is a usererr.Error.
func Save(s Store, dir string, step int, identity Identity, state any, files []File) error {
	final := path.Join(dir, folderName(step))
	temporary := final + temporarySuffix
	encoded, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("save %s: state: %w", final, err)
	}
	files = append([]File{{
		Name: stateName, Size: int64(len(encoded)),
		Write: func(w io.Writer) error { _, err := w.Write(encoded); return err },
	}}, files...)
	if err := s.MakeDir(dir); err != nil {
		return fmt.Errorf("save %s: %w", final, err)
	}
	_ = Clean(s, dir) // for room; what has to go is this checkpoint's own folder
	if err := s.Remove(temporary); err != nil {
		return fmt.Errorf("save %s: %w", final, err)
	}
	if err := checkFree(s, dir, final, files); err != nil {
		return err
	}
	if err := write(s, temporary, step, identity, files); err != nil {
		_ = s.Remove(temporary) // gives the space back; a failure here adds nothing to the first error
		return fmt.Errorf("save %s: %w", final, err)
	}
	if err := publish(s, dir, temporary, final); err != nil {
		return fmt.Errorf("save %s: %w", final, err)
	}
	return nil
}

// checkFree wants room for the files, for rounding each up to whole blocks and for the manifest.
func checkFree(s Store, dir, final string, files []File) error {
	free, err := s.Free(dir)
	if err != nil {
		return fmt.Errorf("save %s: free space: %w", final, err)
	}
	need := int64(1 << 20)
	for _, f := range files {
		need += f.Size
	}
	if free >= 0 && free < need {
		return usererr.New("save", final, "the disk is too full: %.1f MB are needed, %.1f MB are free", float64(need)/1e6, float64(free)/1e6).
			Hinted("free some space, then go on from the last checkpoint; save_total_limit bounds how many are kept")
	}
	return nil
}

// write fills the temporary folder, manifest last, and reads all of it back.
func write(s Store, temporary string, step int, identity Identity, files []File) error {
	if err := s.MakeDir(temporary); err != nil {
		return err
	}
	m := manifest{Format: formatName, Version: formatVersion, Step: step, Identity: identity}
	for _, f := range files {
		e, err := writeFile(s, path.Join(temporary, f.Name), f.Write)
		if err != nil {
			return err
		}
		m.Files = append(m.Files, e)
	}
	if _, err := writeFile(s, path.Join(temporary, manifestName), func(w io.Writer) error {
		_, err := w.Write(m.encode())
		return err
	}); err != nil {
		return err
	}
	if err := s.SyncDir(temporary); err != nil {
		return err
	}
	_, err := verify(s, temporary)
	return err
}

func writeFile(s Store, name string, content func(io.Writer) error) (entry, error) {
	w, err := s.Create(name)
	if err != nil {
		return entry{}, err
	}
	h := sha256.New()
	size := new(counter)
	buffered := bufio.NewWriterSize(w, 1<<16)
	err = content(io.MultiWriter(h, size, buffered))
	if err == nil {
		err = buffered.Flush()
	}
	if err == nil {
		err = w.Sync()
	}
	if err = cmp.Or(err, w.Close()); err != nil {
		return entry{}, fmt.Errorf("write %s: %w", path.Base(name), err)
	}
	return entry{Name: path.Base(name), Size: int64(*size), SHA256: hex.EncodeToString(h.Sum(nil))}, nil
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// publish renames a verified temporary folder. Latest finishes this if it is interrupted, so that the old checkpoint of
// the same step may go first.
func publish(s Store, dir, temporary, final string) error {
	names, err := s.List(dir)
	if err != nil {
		return err
	}
	if slices.Contains(names, path.Base(final)) {
		if err := discard(s, dir, final); err != nil {
			return err
		}
	}
	if err := s.Rename(temporary, final); err != nil {
		return err
	}
	return s.SyncDir(dir)
}

// Latest opens the checkpoint of the highest step that verifies. The notes say which ones were passed over and why.
// Without any it returns nil and no error.
func Latest(s Store, dir string) (*Checkpoint, []string, error) {
	found, err := folders(s, dir)
	if err != nil {
		return nil, nil, err
	}
	var notes []string
	for _, f := range found {
		if f.suffix == removedSuffix {
			continue
		}
		name := path.Join(dir, f.name)
		m, err := verifyOwn(s, name)
		if err != nil {
			notes = append(notes, fmt.Sprintf("%s is passed over: %v", f.name, err))
			continue
		}
		if f.suffix == temporarySuffix { // complete, but interrupted before its rename
			final := strings.TrimSuffix(name, temporarySuffix)
			if err := publish(s, dir, name, final); err != nil {
				return nil, notes, fmt.Errorf("recover %s: %w", name, err)
			}
			name = final
		}
		return &Checkpoint{Path: name, Step: m.Step, store: s, manifest: m}, notes, nil
	}
	return nil, notes, nil
}

const otherCheckpoint = "resume from another checkpoint; auto takes the newest valid one"

// Open verifies and opens the checkpoint in the folder name. Its errors are usererr.Errors that name the file: Format
// for a damaged, truncated or half-written one, Unsupported for a newer format.
func Open(s Store, name string) (*Checkpoint, error) {
	m, err := verify(s, name)
	if e := (*usererr.Error)(nil); errors.As(err, &e) {
		return nil, e.Hinted(otherCheckpoint)
	}
	if err != nil {
		return nil, err
	}
	return &Checkpoint{Path: name, Step: m.Step, store: s, manifest: m}, nil
}

// Check compares the identity of the run that wants to go on with the one that the checkpoint was saved by.
func (c *Checkpoint) Check(run Identity) error {
	keys := slices.Sorted(maps.Keys(run))
	for key := range c.manifest.Identity {
		if _, ok := run[key]; !ok {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		if saved := c.manifest.Identity[key]; saved != run[key] {
			return usererr.New("resume", c.Path, "the checkpoint belongs to another run: its %s is %.12q, this run's is %.12q",
				key, saved, run[key]).
				Hinted("resume with the same model, data and settings, or start a new run in another output_dir")
		}
	}
	return nil
}

// State decodes what Save was given as state.
func (c *Checkpoint) State(v any) error {
	name := path.Join(c.Path, stateName)
	raw, err := readFile(c.store, name, maxState)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	err = d.Decode(v)
	if err == nil {
		if _, more := d.Token(); more == io.EOF {
			return nil
		}
		err = fmt.Errorf("there is more behind the JSON value")
	} else if err == io.EOF {
		err = fmt.Errorf("it is empty")
	}
	return bad(name, "%w", err).Hinted(otherCheckpoint)
}

// Open opens a file of the checkpoint.
func (c *Checkpoint) Open(name string) (Reader, error) {
	for _, f := range c.manifest.Files {
		if f.Name == name {
			return c.store.Open(path.Join(c.Path, name))
		}
	}
	return nil, bad(c.Path, "it has no file %q", name)
}
