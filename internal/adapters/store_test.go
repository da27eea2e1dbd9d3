package adapters

import (
	"bytes"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/checkpoint"
)

// store holds files without a disk. Only what opens them is there.
type store struct {
	checkpoint.Store
	files map[string][]byte
}

func (s store) Open(name string) (checkpoint.Reader, error) {
	content, ok := s.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return reader{bytes.NewReader(content)}, nil
}

type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

// written is what is in a file; its size is as it was said before.
func written(t testing.TB, f *File) []byte {
	var out bytes.Buffer
	require.NoError(t, f.Write(&out))
	return out.Bytes()
}
