//go:build linux || darwin || freebsd

package nf4cache

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/pretrained"
)

// A new model displaces those that were not used for longest, and none that is in use.
func TestLeastRecentlyUsedGoes(t *testing.T) {
	dir, model := t.TempDir(), demotest.Model(t, 1, nil)
	old(t, model)
	list := func() []Entry {
		list, err := List(dir)
		require.NoError(t, err)
		return list
	}
	require.Empty(t, list())
	path := map[string]string{}
	for i, settings := range []string{"a", "b", "c"} {
		require.True(t, load(t, t.Context(), dir, model, settings).made)
		for _, e := range list() {
			if time.Since(e.Used) < time.Hour {
				path[settings] = e.Path
				when := time.Now().Add(time.Duration(i-10) * time.Hour)
				require.NoError(t, os.Chtimes(e.Path, when, when))
			}
		}
	}
	require.Len(t, path, 3)
	entries := list()
	require.Equal(t, []string{path["a"], path["b"], path["c"]}, []string{entries[0].Path, entries[1].Path, entries[2].Path})
	require.Equal(t, []string{filepath.Join(model, "model.safetensors")}, entries[0].Model)
	limit := 3*entries[0].Bytes + 1<<20 // with what is asked for beyond the file

	require.False(t, load(t, t.Context(), dir, model, "a").made) // now b is the oldest
	fourth := loadWithin(t, t.Context(), dir, limit, model, "d")
	require.Contains(t, fourth.said, "Removed from the cache, for room: "+filepath.Join(model, "model.safetensors")+" quantized (0.")
	require.NoFileExists(t, path["b"])
	require.FileExists(t, path["a"])
	require.FileExists(t, path["c"])
	require.Len(t, list(), 3)

	// c is the oldest now, and mapped.
	f, err := os.Open(path["c"])
	require.NoError(t, err)
	require.NoError(t, lock(f, false))
	require.ErrorIs(t, list()[0].Remove(), errInUse)
	require.NotContains(t, loadWithin(t, t.Context(), dir, 1, model, "e").said, path["c"])
	require.Len(t, list(), 2, "c and e")
	require.NoError(t, f.Close())
	require.NoError(t, list()[0].Remove())
	require.NoFileExists(t, path["c"])
}

// A mapped model stays until it is released.
func TestMappedModelsAreLocked(t *testing.T) {
	dir, model := t.TempDir(), demotest.Model(t, 1, nil)
	load(t, t.Context(), dir, model, "x")
	source, err := pretrained.Open(model)
	require.NoError(t, err)
	defer source.Close()
	c := New(t.Context(), dir, DefaultLimit, source, nil, func(string) {})
	defer c.Close()
	require.NotNil(t, c.Find(t.Context(), "x", partSizes(source)))
	list, err := List(dir)
	require.NoError(t, err)
	require.ErrorIs(t, list[0].Remove(), errInUse)
	c.Release()
	require.NoError(t, list[0].Remove())
}

// A temporary file goes as soon as its writer is dead, at the next start of any model, and never while that lives,
// however long it has not written.
func TestTemporaryFilesOfTheDeadGo(t *testing.T) {
	dir, model := t.TempDir(), demotest.Model(t, 1, nil)
	source, err := pretrained.Open(model)
	require.NoError(t, err)
	defer source.Close()
	c := New(t.Context(), dir, DefaultLimit, source, nil, func(string) {})
	defer c.Close()
	write, finish := c.Create("x", []int64{8, 4})
	write(make([]byte, 8))
	living, err := filepath.Glob(filepath.Join(dir, "*"+temporarySuffix))
	require.NoError(t, err)
	require.Len(t, living, 1)
	dead, fresh := filepath.Join(dir, "123.tmp"), filepath.Join(dir, "124.tmp")
	for name, age := range map[string]time.Duration{living[0]: 2 * abandoned, dead: time.Minute, fresh: 0} {
		if name != living[0] {
			require.NoError(t, os.WriteFile(name, []byte("half"), 0o666))
		}
		require.NoError(t, os.Chtimes(name, time.Now(), time.Now().Add(-age)))
	}
	other := New(t.Context(), dir, DefaultLimit, source, nil, func(string) {})
	defer other.Close()
	require.Nil(t, other.Find(t.Context(), "y", []int64{8}))
	require.FileExists(t, living[0])
	require.NoFileExists(t, dead)
	require.FileExists(t, fresh)
	finish(false)
	require.NoFileExists(t, living[0])
}
