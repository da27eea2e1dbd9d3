//go:build !js

package nf4cache

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/safetensors"
)

// loaded is what a start got, whether it had to make it, and what it said.
type loaded struct {
	parts []string
	made  bool
	said  string
}

// partSizes are two of each tensor.
func partSizes(source *pretrained.Model) (sizes []int64) {
	for _, tensor := range source.Tensors() {
		half := tensor.Rows * tensor.Cols / 2
		sizes = append(sizes, int64(2*half), int64(2*(tensor.Rows*tensor.Cols-half)))
	}
	return sizes
}

// load gets a model's tensors, each as two parts, the second written in two pieces.
func load(t *testing.T, ctx context.Context, dir, model, settings string) loaded {
	t.Helper()
	return loadWithin(t, ctx, dir, 1<<40, model, settings)
}

func loadWithin(t *testing.T, ctx context.Context, dir string, limit int64, model, settings string) (r loaded) {
	t.Helper()
	source, err := pretrained.Open(model)
	require.NoError(t, err)
	defer source.Close()
	cache := New(ctx, dir, limit, source, func(m string) { r.said += "warning: " + m + "\n" }, func(m string) { r.said += m + "\n" })
	defer cache.Close()
	sizes := partSizes(source)
	if parts := cache.Find(ctx, settings, sizes); parts != nil {
		for _, part := range parts {
			r.parts = append(r.parts, string(part))
		}
		return r
	}
	r.made = true
	write, finish := cache.Create(settings, sizes)
	for i, tensor := range source.Tensors() {
		values := make([]float32, tensor.Rows*tensor.Cols)
		require.NoError(t, source.ReadRows(tensor.Name, 0, tensor.Rows, values))
		data := safetensors.BFloat16Bytes(values)
		half := sizes[2*i]
		r.parts = append(r.parts, string(data[:half]), string(data[half:]))
		if write != nil {
			write(data[:half])
			write(data[half : half+4])
			write(data[half+4:])
		}
	}
	if finish != nil {
		finish(ctx.Err() == nil)
	}
	return r
}

// old makes the model's weights look as if they had been written an hour ago.
func old(t *testing.T, model string) {
	when := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(filepath.Join(model, "model.safetensors"), when, when))
}

func cached(t *testing.T, dir string) (names []string) {
	names, err := filepath.Glob(filepath.Join(dir, "*.nf4"))
	require.NoError(t, err)
	temporary, err := filepath.Glob(filepath.Join(dir, "*.tmp"))
	require.NoError(t, err)
	require.Empty(t, temporary)
	return names
}

func TestSecondStartMakesNothing(t *testing.T) {
	dir, model := filepath.Join(t.TempDir(), "a", "b"), demotest.Model(t, 1, nil)
	first := load(t, t.Context(), dir, model, "x")
	require.Contains(t, first.said, "is cached for the next start in "+dir)
	require.True(t, first.made)
	require.Greater(t, len(strings.Join(first.parts, "")), 300_000)
	second := load(t, t.Context(), dir, model, "x")
	require.False(t, second.made)
	require.Equal(t, first.parts, second.parts)
	require.Contains(t, second.said, "comes from the cache: "+cached(t, dir)[0])

	// Another place, and other settings.
	moved := filepath.Join(t.TempDir(), "moved")
	require.NoError(t, os.Rename(model, moved))
	require.False(t, load(t, t.Context(), dir, moved, "x").made)
	require.True(t, load(t, t.Context(), dir, moved, "y").made)
	require.Len(t, cached(t, dir), 2)
	require.False(t, load(t, t.Context(), dir, moved, "x").made)
}

// Content is only hashed again when the file may have changed.
func TestIndex(t *testing.T) {
	dir, model := t.TempDir(), demotest.Model(t, 1, nil)
	old(t, model)
	digest := func() (string, bool) {
		source, err := pretrained.Open(model)
		require.NoError(t, err)
		defer source.Close()
		c := New(t.Context(), dir, 1<<40, source, nil, nil)
		defer c.Close()
		r := c.remembered(c.identities())
		d, err := c.contentDigest(t.Context())
		require.NoError(t, err)
		return d, r != nil && c.remembered(c.identities()).Files[0] == r.Files[0]
	}
	first, known := digest()
	require.False(t, known)
	second, known := digest()
	require.True(t, known)
	require.Equal(t, first, second)

	index := filepath.Join(dir, indexFile)
	text, err := os.ReadFile(index)
	require.NoError(t, err)
	lie := strings.Repeat("0", 64)
	require.NoError(t, os.WriteFile(index, bytes.Replace(text, []byte(first), []byte(lie), 1), 0o666))
	got, _ := digest()
	require.Equal(t, lie, got, "the index was asked")
	require.NoError(t, os.Chtimes(filepath.Join(model, "model.safetensors"), time.Now(), time.Now()))
	got, _ = digest()
	require.Equal(t, first, got, "touched: hashed again")
	old(t, model)
	require.NoError(t, os.WriteFile(index, []byte("{]"), 0o666))
	got, _ = digest()
	require.Equal(t, first, got)
}

func TestDamagedFilesAreMadeAnew(t *testing.T) {
	dir, model := t.TempDir(), demotest.Model(t, 1, nil)
	want := load(t, t.Context(), dir, model, "x")
	name := cached(t, dir)[0]
	whole, err := os.ReadFile(name)
	require.NoError(t, err)
	flip := func(at int) []byte {
		data := bytes.Clone(whole)
		data[at] ^= 1
		return data
	}
	for _, c := range []struct {
		data   []byte
		reason string
	}{
		{flip(len(whole) / 2), "has another checksum"},
		{flip(0), "its header is not that of this model"},
		{flip(8), "its header is not that of this model"},  // version
		{flip(20), "its header is not that of this model"}, // key
		{flip(56), "its header is not that of this model"}, // a checksum: the header's own no longer fits
		{whole[:len(whole)-4096], "bytes, wanted are"},
		{append(bytes.Clone(whole), 0), "bytes, wanted are"},
		{nil, "it has 0 bytes, wanted are"},
	} {
		require.NoError(t, os.WriteFile(name, c.data, 0o666))
		got := load(t, t.Context(), dir, model, "x")
		require.Contains(t, got.said, "warning: The cached model "+name+" is not used: damaged: ")
		require.Contains(t, got.said, c.reason)
		require.Equal(t, want.parts, got.parts)
		require.Equal(t, want.made, got.made)
		again, err := os.ReadFile(name)
		require.NoError(t, err)
		require.True(t, bytes.Equal(whole, again))
		require.False(t, load(t, t.Context(), dir, model, "x").made)
	}
}

// A byte in the middle of a tensor makes another model, though headers and ends of all tensors stay the same.
func TestChangedModelIsMadeAnew(t *testing.T) {
	dir, model := t.TempDir(), demotest.Model(t, 1, nil)
	old(t, model)
	first := load(t, t.Context(), dir, model, "x")
	before := cached(t, dir)
	weights := filepath.Join(model, "model.safetensors")
	data, err := os.ReadFile(weights)
	require.NoError(t, err)
	// the middle of the first tensor, which is bfloat16 in the file too
	at := bytes.Index(data, []byte(first.parts[0][len(first.parts[0])-64:]))
	require.Positive(t, at)
	data[at] ^= 1
	require.NoError(t, os.WriteFile(weights, data, 0o666))
	second := load(t, t.Context(), dir, model, "x")
	require.Contains(t, second.said, "warning: The model file has changed since its quantized form was cached")
	require.NotEqual(t, first.parts, second.parts)
	require.NotEqual(t, before, cached(t, dir))
	require.Len(t, cached(t, dir), 1, "what was made of the old file is gone")
	third := load(t, t.Context(), dir, model, "x")
	require.False(t, third.made)
	require.Equal(t, second.parts, third.parts)
}

func TestFolderThatCannotBeWritten(t *testing.T) {
	file, model := filepath.Join(t.TempDir(), "file"), demotest.Model(t, 1, nil)
	require.NoError(t, os.WriteFile(file, nil, 0o666))
	r := load(t, t.Context(), filepath.Join(file, "nf4"), model, "x")
	require.Contains(t, r.said, "warning: The quantized model is not cached: ")
	require.True(t, r.made)
}

// A start that is cancelled or fails leaves nothing, and what a killed one left goes at the next one.
func TestNothingIsLeftBehind(t *testing.T) {
	dir, model := t.TempDir(), demotest.Model(t, 1, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.True(t, load(t, ctx, dir, model, "x").made)
	require.Empty(t, cached(t, dir))

	left := filepath.Join(dir, "123.tmp")
	require.NoError(t, os.WriteFile(left, []byte("half"), 0o666))
	require.NoError(t, os.Chtimes(left, time.Now(), time.Now().Add(-2*justMade)))
	source, err := pretrained.Open(model)
	require.NoError(t, err)
	defer source.Close()
	c := New(t.Context(), dir, 1<<40, source, func(m string) { t.Error(m) }, func(string) {})
	require.Nil(t, c.Find(t.Context(), "x", []int64{8, 4}))
	require.NoFileExists(t, left)
	write, finish := c.Create("x", []int64{8, 4})
	write(make([]byte, 8))
	finish(false)
	c.Close()
	require.Empty(t, cached(t, dir))
}

func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	source, err := pretrained.Open(demotest.Model(t, 1, nil))
	require.NoError(t, err)
	defer source.Close()
	said := ""
	c := New(t.Context(), dir, 1<<40, source, func(m string) { said += m }, nil)
	defer c.Close()
	write, finish := c.Create("x", []int64{1 << 60})
	require.Nil(t, write)
	require.Nil(t, finish)
	require.Regexp(t,
		`^The quantized model is not cached: \S+ has [0-9.]+ MB free, 1152921504607\.9 MB are needed \(--cache-dir chooses another folder\)$`,
		said)
	require.Empty(t, cached(t, dir))
}
