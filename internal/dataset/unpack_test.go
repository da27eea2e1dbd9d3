//go:build !js

package dataset

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// packedBy is a text compressed; bzip2's, which Go only reads, is a file.
func packedBy(t *testing.T, ending string, text []byte) []byte {
	var out bytes.Buffer
	var w io.WriteCloser
	switch ending {
	case ".gz":
		w = gzip.NewWriter(&out)
	case ".zst":
		var err error
		w, err = zstd.NewWriter(&out)
		require.NoError(t, err)
	case ".bz2":
		packed, err := os.ReadFile(filepath.Join("testdata", "alpaca.csv.bz2"))
		require.NoError(t, err)
		return packed
	}
	_, err := w.Write(text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

// A compressed file is the data set in it: the same rows, and the same run to go on with.
func TestCompressedFiles(t *testing.T) {
	plain := filepath.Join("testdata", "alpaca.csv")
	want, _, err := Open(plain)
	require.NoError(t, err)
	text, err := os.ReadFile(plain)
	require.NoError(t, err)
	for _, ending := range []string{".gz", ".zst", ".bz2"} {
		for _, name := range []string{"a.csv" + ending, "A.CSV" + strings.ToUpper(ending), "a.csv"} {
			packed := packedBy(t, ending, text)
			path := filepath.Join(t.TempDir(), name)
			require.NoError(t, os.WriteFile(path, packed, 0o666))
			got, _, err := Open(path)
			require.NoError(t, err)
			require.Equal(t, want.Hash, got.Hash)
			require.Equal(t, want.rows, got.rows)
			require.Equal(t, want.Format, got.Format)

			require.NoError(t, os.WriteFile(path, packed[:len(packed)-7], 0o666))
			_, _, err = Open(path)
			require.ErrorContains(t, err, "it cannot be unpacked: ")
			damaged := bytes.Clone(packed)
			damaged[len(packed)/2] ^= 1
			require.NoError(t, os.WriteFile(path, damaged, 0o666))
			_, _, err = Open(path)
			require.Error(t, err)
		}
	}
}

// A small file that never ends is refused.
func TestCompressedBombs(t *testing.T) {
	for _, ending := range []string{".gz", ".zst"} {
		in, end, err := unpacked(bytes.NewReader(packedBy(t, ending, bytes.Repeat([]byte("row\n"), 1<<20))), 10)
		require.NoError(t, err)
		in.(*unpacking).left = 1 << 20
		n, err := io.Copy(io.Discard, in)
		require.ErrorContains(t, err, "it cannot be unpacked: more than 200 times its size comes out")
		require.LessOrEqual(t, n, int64(1<<20))
		end()
	}
}

func FuzzUnpacked(f *testing.F) {
	f.Add([]byte("\x1f\x8b\x08\x00"))
	f.Add([]byte("\x28\xb5\x2f\xfd\x04\x00"))
	f.Add([]byte("BZh91AY&SY"))
	f.Fuzz(func(t *testing.T, packed []byte) {
		in, end, err := unpacked(bytes.NewReader(packed), int64(len(packed)))
		if err != nil {
			return
		}
		defer end()
		if u, ok := in.(*unpacking); ok {
			u.left = 1 << 20
		}
		_, _ = io.Copy(io.Discard, in)
	})
}
