package checkpoint

import (
	"fmt"
	"io"
	"math/rand/v2"
	"path"
)

// WriteFile replaces a file in one step: what write gives goes into a file beside it, which is synced and then renamed.
// When it fails, or the process dies, the old content is still there; of a process that died a file name.….tmp may
// stay.
func WriteFile(s Store, name string, write func(io.Writer) error) error {
	temporary := fmt.Sprintf("%s.%08x%s", name, rand.Uint32(), temporarySuffix) // another process may write the same file
	f, err := s.Create(temporary)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = s.Rename(temporary, name)
	}
	if err == nil {
		err = s.SyncDir(path.Dir(name))
	}
	if err != nil {
		_ = s.Remove(temporary) // gives the space back; a failure here adds nothing to the first error
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// WriteBytes is WriteFile of bytes that are there.
func WriteBytes(s Store, name string, data []byte) error {
	return WriteFile(s, name, func(w io.Writer) error { _, err := w.Write(data); return err })
}

// ReadBytes reads a file of at most limit bytes.
func ReadBytes(s Store, name string, limit int64) ([]byte, error) {
	f, err := s.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size() > limit {
		return nil, fmt.Errorf("read %s: %d bytes, more than %d", name, f.Size(), limit)
	}
	data := make([]byte, f.Size())
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, f.Size()), data); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}
