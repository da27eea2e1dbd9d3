package kernels

import (
	"encoding/binary"
	"testing"

	testify "github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
)

// A query and a key that it sees are counted as they are numbered: by windows, and behind keys before the first query.
func TestSeenPairs(t *testing.T) {
	for _, c := range []struct{ queries, before, window int }{
		{9, 0, 0}, {9, 4, 0}, {9, 0, 3}, {9, 0, 9}, {9, 0, 20}, {9, 4, 3}, {9, 4, 6}, {1, 7, 5},
	} {
		want := int64(0)
		for q := range c.queries {
			for k := range c.queries + c.before {
				if at := q + c.before; k <= at && (c.window == 0 || k > at-c.window) {
					want++
				}
			}
		}
		testify.Equal(t, want, seenPairs(c.queries, c.before, c.window), c)
	}
}

// A cell's operands see what its flops count.
func TestCellWithAWindow(t *testing.T) {
	dev, err := gpu.Open(t.Context(), gpu.Options{})
	testify.NoError(t, err)
	defer dev.Release()
	c := Cell{Op: BenchAttentionBackward, T: 50, Heads: 2, KVHeads: 1, HeadDim: 4, Window: 7, SoftCap: 2}
	testify.Equal(t, "attention_backward T50 H2 KVH1 D4 W7 cap2", c.String())
	m := &maker{dev: dev}
	defer m.release()
	a := attentionOperands(m, c)
	testify.NoError(t, m.err)
	words := func(x *gpu.Tensor) []uint32 {
		var out []uint32
		data, err := dev.Read(t.Context(), x.Single())
		testify.NoError(t, err)
		for i := range c.T {
			out = append(out, binary.LittleEndian.Uint32(data[4*i:]))
		}
		return out
	}
	byQuery, byKey := int64(0), int64(0)
	for query, first := range words(a.FirstKey) {
		byQuery += int64(query) + 1 - int64(first)
	}
	for key, last := range words(a.LastQuery) {
		byKey += int64(last) - int64(key)
	}
	testify.Equal(t, c.Flops(), 2*10*4*byQuery)
	testify.Equal(t, byQuery, byKey)
}
