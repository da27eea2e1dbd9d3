package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"

	"qlora-wgpu/internal/usererr"
)

const (
	manifestName = "manifest.json"
	stateName    = "state.json"

	formatName    = "qlora-wgpu checkpoint"
	formatVersion = 1

	maxManifest = 1 << 20 // bytes; a real one has a few hundred
	maxState    = 64 << 20
)

// manifest is the last file of a checkpoint to be written: as long as it is missing, the checkpoint does not exist.
type manifest struct {
	Format   string   `json:"format"`
	Version  int      `json:"version"`
	Step     int      `json:"step"`
	Identity Identity `json:"identity"`
	Files    []entry  `json:"files"`
	SHA256   string   `json:"sha256"` // of this manifest with this field empty
}

type entry struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$`)

func (m manifest) encode() []byte {
	m.SHA256 = ""
	unsigned := marshal(m)
	sum := sha256.Sum256(unsigned)
	m.SHA256 = hex.EncodeToString(sum[:])
	return marshal(m)
}

func marshal(v any) []byte {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err) // strings, integers and a map of strings always encode
	}
	return append(b, '\n')
}

// readManifest accepts the bytes that encode writes and no others, so that every flipped bit is noticed.
func readManifest(s Store, dir string) (manifest, error) {
	var m manifest
	name := path.Join(dir, manifestName)
	raw, err := readFile(s, name, maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return m, bad(dir, "there is no %s: it was interrupted while being written or removed, or is no checkpoint", manifestName)
	}
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return m, bad(name, "not the manifest of a checkpoint: %w", err)
	}
	if m.Format == formatName && m.Version > formatVersion {
		return m, usererr.New(opRead, name, "written by a newer version of the program (format %d, this one reads %d)", m.Version, formatVersion).
			Of(usererr.Unsupported)
	}
	if m.Format != formatName || m.Version != formatVersion || !bytes.Equal(raw, m.encode()) {
		return m, bad(name, "damaged: its own SHA-256 does not fit")
	}
	seen := map[string]bool{}
	for _, f := range m.Files {
		if !plainName.MatchString(f.Name) || f.Name == manifestName || seen[f.Name] || f.Size < 0 {
			return m, bad(name, "a file is listed wrongly: %q of %d bytes", f.Name, f.Size)
		}
		seen[f.Name] = true
	}
	if m.Step < 0 || !seen[stateName] {
		return m, bad(name, "step %d, state listed: %t", m.Step, seen[stateName])
	}
	return m, nil
}

// verify reads every file of the checkpoint and compares size and SHA-256 with the manifest.
func verify(s Store, dir string) (manifest, error) {
	m, err := readManifest(s, dir)
	if err != nil {
		return m, err
	}
	for _, f := range m.Files {
		if err := verifyFile(s, path.Join(dir, f.Name), f); err != nil {
			return m, err
		}
	}
	return m, nil
}

// verifyOwn is verify for a checkpoint that was found in a run's folder: none that lies elsewhere.
func verifyOwn(s Store, dir string) (manifest, error) {
	if err := checkLink(s, dir); err != nil {
		return manifest{}, err
	}
	return verify(s, dir)
}

// checkLink refuses a link: a folder may come from somebody else, and what it leads to is not the run's.
func checkLink(s Store, name string) error {
	if l, ok := s.(Linker); ok && l.IsLink(name) {
		return bad(name, "it is a link to somewhere else").Hinted("put what it leads to in its place")
	}
	return nil
}

func verifyFile(s Store, name string, want entry) error {
	if err := checkLink(s, name); err != nil {
		return err
	}
	r, err := s.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return bad(name, "the file is missing")
	}
	if err != nil {
		return fmt.Errorf("read checkpoint %s: %w", name, err)
	}
	defer r.Close()
	if r.Size() < want.Size {
		return bad(name, "truncated: %d bytes of %d", r.Size(), want.Size)
	}
	if r.Size() > want.Size {
		return bad(name, "damaged: %d bytes instead of %d", r.Size(), want.Size)
	}
	h := sha256.New()
	if _, err := io.CopyBuffer(h, io.NewSectionReader(r, 0, want.Size), make([]byte, min(1<<20, want.Size+1))); err != nil {
		return fmt.Errorf("read checkpoint %s: %w", name, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want.SHA256 {
		return bad(name, "damaged: SHA-256 %.12s… instead of %.12s…", got, want.SHA256)
	}
	return nil
}

func readFile(s Store, name string, limit int64) ([]byte, error) {
	if err := checkLink(s, name); err != nil {
		return nil, err
	}
	r, err := s.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read checkpoint %s: %w", name, err)
	}
	defer r.Close()
	if r.Size() > limit {
		return nil, bad(name, "%d bytes, at most %d are allowed", r.Size(), limit)
	}
	raw := make([]byte, r.Size())
	if n, err := r.ReadAt(raw, 0); n < len(raw) {
		return nil, fmt.Errorf("read checkpoint %s: %w", name, err)
	}
	return raw, nil
}

const opRead = "read checkpoint"

func bad(name, format string, args ...any) *usererr.Error {
	return usererr.New(opRead, name, format, args...).Of(usererr.Format)
}
