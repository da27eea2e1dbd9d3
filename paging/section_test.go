package paging

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// memory is a cache that holds one model.
type memory struct {
	sizes    []int64
	data     []byte
	complete bool
}

func (m *memory) Find(_ context.Context, _ string, sizes []int64) (parts [][]byte) {
	if !m.complete {
		return nil
	}
	data := m.data
	for _, n := range sizes {
		parts, data = append(parts, data[:n]), data[n:]
	}
	return parts
}

func (m *memory) Create(_ string, sizes []int64) (func([]byte), func(bool)) {
	m.sizes, m.data = sizes, nil
	return func(data []byte) { m.data = append(m.data, data...) }, func(complete bool) { m.complete = complete }
}

func (m *memory) Release() {}

// fake sections: "ab" and "cde", then "fghi" in two pieces.
func fake(placed *string, made *int, failMaking, failPlacing error) []Section {
	section := func(first int64, sizes []int64, fail bool, pieces ...string) Section {
		return Section{
			Parts: sizes,
			Make: func(_ context.Context, emit func([]byte) error) error {
				*made++
				if fail && failMaking != nil {
					return failMaking
				}
				for _, piece := range pieces {
					if err := emit([]byte(piece)); err != nil {
						return err
					}
				}
				return nil
			},
			Place: func(part int, at int64, data []byte) error {
				if fail && failPlacing != nil {
					return failPlacing
				}
				at += first
				for _, size := range sizes[:part] {
					at += size
				}
				if at != int64(len(*placed)) {
					return fmt.Errorf("%s placed at %d after %s", data, at, *placed)
				}
				*placed += string(data)
				return nil
			},
		}
	}
	return []Section{section(0, []int64{2, 3}, false, "ab", "cde"), section(5, []int64{4}, true, "fg", "hi")}
}

func TestLoad(t *testing.T) {
	bad := errors.New("bad")
	cache := &memory{}
	load := func(ctx context.Context, failMaking, failPlacing error) (placed string, made, progress int, err error) {
		err = Load(ctx, fake(&placed, &made, failMaking, failPlacing), cache, "", func(p Progress) {
			require.Equal(t, Progress{progress, 2, int64(len(placed)), 9}, Progress{min(p.Sections, progress), p.OfSections, p.Bytes, p.OfBytes})
			progress = p.Sections
		})
		return placed, made, progress, err
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, made, _, err := load(cancelled, nil, nil)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, made)
	for _, fail := range [][2]error{{bad, nil}, {nil, bad}} {
		_, _, progress, err := load(t.Context(), fail[0], fail[1])
		require.Equal(t, bad, err)
		require.Equal(t, 1, progress)
		require.False(t, cache.complete)
	}
	for _, wantMade := range []int{2, 0} {
		placed, made, progress, err := load(t.Context(), nil, nil)
		require.NoError(t, err)
		require.Equal(t, "abcdefghi", placed)
		require.Equal(t, []int{wantMade, 2}, []int{made, progress})
		require.True(t, cache.complete)
		require.Equal(t, []int64{2, 3, 4}, cache.sizes)
	}
	_, _, _, err = load(t.Context(), bad, bad)
	require.Equal(t, bad, err, "from the cache too")
	_, _, _, err = load(cancelled, nil, nil)
	require.ErrorIs(t, err, context.Canceled)
}

// A cancel in mid-load places nothing more, whichever side is ready: no piece is handed over after it.
func TestLoadHearsACancel(t *testing.T) {
	for range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		var placed string
		var made int
		err := Load(ctx, fake(&placed, &made, nil, nil), nil, "", func(at Progress) {
			require.LessOrEqual(t, at.Sections, 1)
			if at.Sections == 1 {
				cancel()
			}
		})
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, "abcde", placed)
	}
}
