//go:build !js

package hub

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"sync"

	"qlora-wgpu/internal/files"
)

// partial is a file that is on its way: its bytes, of full size from the beginning, and beside them a byte for each
// part that has come whole. A part is noted after its bytes are written, so that what a killed process leaves is right.
type partial struct {
	file  File
	bytes *os.File
	notes *os.File
	part  int64
	parts int

	mu   sync.Mutex
	came []bool
}

const (
	bytesSuffix = ".parts-incomplete"
	notesSuffix = ".parts-came"
)

func openPartial(blob string, f File, part int64) (*partial, error) {
	p := &partial{file: f, part: part, parts: max(1, int((f.Size+part-1)/part))}
	p.came = make([]bool, p.parts)
	var err error
	if p.bytes, err = files.Update(blob + bytesSuffix); err != nil {
		return nil, err
	}
	if p.notes, err = files.Update(blob + notesSuffix); err != nil {
		p.bytes.Close()
		return nil, err
	}
	if err := p.resume(); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// resume reads which parts came before. The notes begin with the size of a part: another one begins anew.
func (p *partial) resume() error {
	head := fmt.Sprintf("%016x", p.part)
	notes, err := io.ReadAll(p.notes)
	if err != nil {
		return err
	}
	info, err := p.bytes.Stat()
	if err != nil {
		return err
	}
	if len(notes) == len(head)+p.parts && string(notes[:len(head)]) == head && info.Size() == p.file.Size {
		for i, note := range notes[len(head):] {
			p.came[i] = note == 1
		}
		return nil
	}
	if err := errors.Join(p.notes.Truncate(0), p.bytes.Truncate(0), p.bytes.Truncate(p.file.Size)); err != nil {
		return err
	}
	_, err = p.notes.WriteAt(append([]byte(head), make([]byte, p.parts)...), 0)
	return err
}

// begun counts the bytes of a file that came before, without opening it for writing.
func begun(blob string, f File, part int64) (bytes int64) {
	notes, err := files.Read(blob+notesSuffix, maxListing)
	if err != nil || len(notes) < 16 || string(notes[:16]) != fmt.Sprintf("%016x", part) {
		return 0
	}
	for i, note := range notes[16:] {
		if note == 1 {
			bytes += span(f, part, i)
		}
	}
	return min(bytes, f.Size)
}

// span is the size of a part.
func span(f File, part int64, i int) int64 { return max(0, min(part, f.Size-int64(i)*part)) }

func (p *partial) has(i int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.came[i]
}

// note says that a part came whole.
func (p *partial) note(i int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.came[i] = true
	_, err := p.notes.WriteAt([]byte{1}, int64(16+i))
	return err
}

// have counts the bytes of the parts that came whole.
func (p *partial) have() (bytes int64) {
	for i := range p.parts {
		if p.has(i) {
			bytes += span(p.file, p.part, i)
		}
	}
	return bytes
}

func (p *partial) lacks() int64 { return p.file.Size - p.have() }

// wrongHash: what came is not what the hub keeps.
type wrongHash struct{ got, want string }

func (w *wrongHash) Error() string {
	return fmt.Sprintf("its hash is %s, the hub's is %s", w.got, w.want)
}

// finish checks the whole and gives it its name. A file with another hash is thrown away.
func (p *partial) finish(blob string) error {
	got, err := digest(p.bytes, p.file)
	if err != nil {
		return err
	}
	if got != p.file.Hash {
		return errors.Join(&wrongHash{got, p.file.Hash}, p.remove(blob))
	}
	if err := p.bytes.Sync(); err != nil {
		return err
	}
	p.Close() // before it is renamed, which Windows wants
	if err := os.Rename(blob+bytesSuffix, blob); err != nil {
		return err
	}
	return os.Remove(blob + notesSuffix)
}

func (p *partial) remove(blob string) error {
	p.Close()
	var failed []error
	for _, suffix := range []string{notesSuffix, bytesSuffix} {
		if err := os.Remove(blob + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// Close closes both files; twice is once.
func (p *partial) Close() {
	p.bytes.Close()
	p.notes.Close()
}

// digest is the hash of a file as the hub makes it: SHA-256 in large-file storage, else git's id of a blob, the SHA-1
// of "blob SIZE\x00" and the bytes.
func digest(r io.ReaderAt, f File) (string, error) {
	var h hash.Hash
	if f.large() {
		h = sha256.New()
	} else {
		h = sha1.New()
		fmt.Fprintf(h, "blob %d\x00", f.Size)
	}
	if _, err := io.Copy(h, io.NewSectionReader(r, 0, f.Size)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
