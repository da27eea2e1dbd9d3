package gguf

import (
	"bytes"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/usererr"
)

func TestMetadata(t *testing.T) {
	f, _ := fixture(t, "types")
	for key, want := range map[string]int64{
		"test.uint8": 200, "test.int8": -3, "test.uint16": 60000, "test.int16": -300, "test.uint32": 4000000000,
		"test.int32": -70000, "test.uint64": 1 << 40, "test.int64": -1 << 40, "general.alignment": 64,
	} {
		got, ok, err := f.Int(key)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, want, got, key)
	}
	for key, want := range map[string]float64{"test.float32": float64(float32(0.1)), "test.float64": 0.1} {
		got, ok, err := f.Float(key)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, want, got, key)
	}
	b, ok, err := f.Bool("test.bool")
	require.True(t, b && ok)
	require.NoError(t, err)
	s, ok, err := f.String("test.string")
	require.True(t, ok)
	require.NoError(t, err)
	require.Equal(t, "grüße", s)
	list, ok, err := f.Strings("test.strings")
	require.True(t, ok)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "", "ĠÑ"}, list)
	ints, ok, err := f.Ints("test.int16s")
	require.True(t, ok)
	require.NoError(t, err)
	require.Equal(t, []int64{-1, 2, 300}, ints)

	_, ok, err = f.Int("absent")
	require.False(t, ok)
	require.NoError(t, err)
}

func TestMetadataOfAnotherType(t *testing.T) {
	var w writer
	w.header(3, 0, 3)
	w.str("s").u32(8).str("text")
	w.str("big").u32(10).u64(math.MaxUint64)
	w.str("bigs").u32(9).u32(10).u64(2).u64(1).u64(1 << 63)
	f, err := Read(bytes.NewReader(w.Bytes()), int64(w.Len()), "m")
	require.NoError(t, err)
	get := func(_ any, ok bool, err error) error {
		require.True(t, ok)
		require.True(t, usererr.Is(err, usererr.Format))
		return err
	}
	for message, err := range map[string]error{
		"offset 37: bad format: s has type string, an integer was wanted":             get(f.Int("s")),
		"offset 37: bad format: s has type string, a float was wanted":                get(f.Float("s")),
		"offset 37: bad format: s has type string, a bool was wanted":                 get(f.Bool("s")),
		"offset 37: bad format: s has type string, an array of strings was wanted":    get(f.Strings("s")),
		"offset 37: bad format: s has type string, an array of integers was wanted":   get(f.Ints("s")),
		"offset 37: bad format: s has type string, an array of float32 was wanted":    get(f.Floats("s")),
		"offset 64: bad format: big is above 2^63-1":                                  get(f.Int("big")),
		"offset 88: bad format: element 1 of bigs is above 2^63-1":                    get(f.Ints("bigs")),
		"offset 88: bad format: bigs has type array of uint64, a string was wanted":   get(f.String("bigs")),
		"offset 88: bad format: bigs has type array of uint64, an integer was wanted": get(f.Int("bigs")),
	} {
		require.EqualError(t, err, "read gguf m: "+message)
	}
}
