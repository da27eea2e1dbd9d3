//go:build !js

package checkpoint

import (
	"io"
	"os"
	"path"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/usererr"
)

func TestFullDisk(t *testing.T) {
	m := newMemory()
	require.NoError(t, save(m, 1, "a"))
	m.capacity = 1_000_000
	err := save(m, 2, "a")
	require.EqualError(t, err,
		"save out/checkpoint-2: the disk is too full: 1.1 MB are needed, 1.0 MB are free (free some space, then go on from the last "+
			"checkpoint; save_total_limit bounds how many are kept)")
	require.True(t, usererr.Is(err, usererr.Invalid))

	m.capacity, m.freeLies = m.root.size()+9_000, true
	err = save(m, 2, "a")
	require.ErrorIs(t, err, errFull)
	require.EqualError(t, err, "save out/checkpoint-2: write optimizer.bin: no space left on device")
	c, notes, err := Latest(m, "out")
	require.NoError(t, err)
	require.Empty(t, notes, "the unfinished folder gave its space back")
	requireWhole(t, c, 1, "a")
	require.Nil(t, m.find(path.Join("out", "checkpoint-2.tmp")))
}

func TestFreeOfTheRealDisk(t *testing.T) {
	free, err := Files{}.Free(t.TempDir())
	require.NoError(t, err)
	require.Greater(t, free, int64(1<<20))
	_, err = Files{}.Free(filepath.Join(t.TempDir(), "missing"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestWriterThatFails(t *testing.T) {
	m := newMemory()
	require.NoError(t, save(m, 1, "a"))
	err := Save(m, "out", 2, run, runState{}, []File{{Name: "optimizer.bin", Write: func(w io.Writer) error {
		_, _ = w.Write(make([]byte, 100))
		return io.ErrUnexpectedEOF
	}}})
	require.EqualError(t, err, "save out/checkpoint-2: write optimizer.bin: unexpected EOF")
	require.Nil(t, m.find("out/checkpoint-2.tmp"))
	require.Nil(t, m.find("out/checkpoint-2"))
}
