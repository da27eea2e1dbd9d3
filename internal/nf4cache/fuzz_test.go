//go:build !js

package nf4cache

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzOpenFile attacks a file of the cache: what opens has the bytes that were written, and what does not is damaged.
func FuzzOpenFile(f *testing.F) {
	key, sizes := sha256.Sum256([]byte("key")), []int64{5, 0, 4096}
	parts := [][]byte{[]byte("first"), nil, make([]byte, 4096)}
	var sums []uint32
	for _, part := range parts {
		sums = append(sums, crc32.Checksum(part, castagnoli))
	}
	content := make([]byte, fileSize(sizes))
	copy(content, encodeHeader(key, sizes, sums))
	copy(content[headerSize(len(sizes)):], parts[0])
	f.Add(content)
	f.Add(content[:len(content)-1])
	for _, at := range []int64{0, headerSize(len(sizes)), fileSize(sizes) - 1} {
		damaged := bytes.Clone(content)
		damaged[at] ^= 1
		f.Add(damaged)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		name := filepath.Join(t.TempDir(), "x.nf4")
		require.NoError(t, os.WriteFile(name, content, 0o666))
		m, err := openFile(t.Context(), name, key, sizes)
		if err != nil {
			require.True(t, errors.Is(err, errDamaged) || errors.Is(err, io.EOF), err.Error())
			return
		}
		defer m.release()
		require.Equal(t, len(parts), len(m.parts))
		for i, part := range parts {
			require.Equal(t, string(part), string(m.parts[i]))
		}
	})
}

// FuzzIndex attacks the list of models that were loaded before.
func FuzzIndex(f *testing.F) {
	f.Add([]byte(`[{"files":[{"name":"m","size":1,"changed":2,"number":3}],"content":"0123456789abcdef",` +
		`"digest":"0123456789abcdef0123456789abcdef"}]`))
	f.Add([]byte(`[{"content":"../../x","digest":null},{}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, indexFile), text, 0o666))
		for _, r := range readIndex(dir) {
			require.NotEmpty(t, contentName(r.Content, r.Digest))
		}
	})
}
