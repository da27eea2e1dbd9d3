//go:build !js

package model_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/reference"
)

// A window of 5 and passes of up to 6 tokens: layers with the window have 11 rows.
const (
	testedWindow = 5
	testedAtOnce = 6
	testedTokens = 44
)

// sliding are the families that have layers with windows.
var sliding = map[string]reference.Spec{
	"mistral": mistral, "gemma2": gemma2, "gemma3": gemma3, "qwen2": options["a window in one layer"],
	"qwen3": with(func(l *reference.Layer) { l.QKNorm, l.Window = reference.PerHead, testedWindow }),
	"phi3": withModel(func(s *reference.Spec) {
		s.RoPE = phi3.RoPE
		s.RoPE.OriginalMaxPositionEmbeddings = 2 * testedTokens
		for i := range s.Layers {
			s.Layers[i].FusedQKV, s.Layers[i].FusedMLP, s.Layers[i].Window = true, true, testedWindow
		}
	}),
	"smollm3": withModel(func(s *reference.Spec) {
		s.Layers[1].NoRoPE, s.Layers[1].Window = true, testedWindow
	}),
}

// tokens are so many ids, others for each seed.
func tokens(n int, seed uint64) []uint32 {
	rng, ids := rand.New(rand.NewPCG(seed, 7)), make([]uint32, n)
	for i := range ids {
		ids[i] = uint32(rng.IntN(small.Vocab))
	}
	return ids
}

// float64Logits are those [T, V] of a list.
func (w *twin) float64Logits(ids []uint32) []float64 {
	return w.float64.Logits(reference.Segments([][]uint32{ids}, [][]int32{make([]int32, len(ids))}), nil)
}

// cache makes one that the test releases.
func (w *twin) cache(maxTokens, atOnce int) *model.Cache {
	c, err := w.model.NewCache(maxTokens, atOnce)
	require.NoError(w.t, err)
	w.t.Cleanup(c.Release)
	return c
}

// requireLogits passes ids up to `to` at once and compares the last one's logits, and which token is the likeliest,
// with those in float64's [T, V]. The operations that are counted are the same with every cache.
func (w *twin) requireLogits(ids []uint32, to int, want []float64, caches ...*model.Cache) {
	w.t.Helper()
	vocab := w.float64.Spec.Vocab
	want = want[(to-1)*vocab : to*vocab]
	var costs []int64
	for _, c := range caches {
		got := w.logits(ids[c.Length():to], c)
		require.Less(w.t, reference.NMSE(got, want), exact.logits, "after token %d", to)
		likeliest := slices.Index(got, slices.Max(got)) // logits at their cap are as good as equal
		require.InDelta(w.t, slices.Max(want), want[likeliest], 1e-6, "after token %d", to)
		costs = append(costs, w.cost)
	}
	require.Len(w.t, slices.Compact(costs), 1, "up to token %d", to)
}

// Layers that slide keep the last rows alone, however a list is cut: a prompt longer than the window in pieces, one
// that grows over it token by token, and more turns after that.
func TestLayersThatSlideNeedTheirLastKeysAlone(t *testing.T) {
	for name, s := range sliding {
		t.Run(name, func(t *testing.T) {
			w := open(t, s, nil)
			ids := tokens(testedTokens, 1)
			want := w.float64Logits(ids)
			for _, ends := range [][]int{
				{6, 12, 18, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 36, 42, 43, 44},
				{3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 18, 20, 21, 22, 23, 24, 30, 32, 38, 44},
			} {
				short, whole := w.cache(testedTokens, testedAtOnce), w.cache(testedTokens, testedTokens)
				for _, to := range ends {
					w.requireLogits(ids, to, want, short, whole)
				}
			}
		})
	}
}

// Every variant of attention reads the rows that move, of heads that all of them have and with queries for a tile.
func TestEveryVariantOfAttentionReadsASlidingCache(t *testing.T) {
	const op = "attention_forward"
	w := open(t, with(func(l *reference.Layer) { l.HeadDim, l.Window = 32, 40 }), nil)
	ids := tokens(110, 3)
	want := w.float64Logits(ids)
	defer w.dev.Variants.Force(op, "")
	for _, variant := range kernels.VariantsOn(w.dev, op) {
		t.Run(variant, func(t *testing.T) {
			w.dev.Variants.Force(op, variant)
			c := w.cache(len(ids), 24)
			for _, to := range []int{24, 48, 70, 71, 95, 96, 110} {
				w.requireLogits(ids, to, want, c)
			}
		})
	}
}

// A cache goes back as far as it still holds what the next token sees, or to the beginning; and what is passed again
// there may be something else.
func TestACacheGoesBackAsFarAsItReaches(t *testing.T) {
	for _, name := range []string{"mistral", "gemma3"} {
		t.Run(name, func(t *testing.T) {
			w := open(t, sliding[name], nil)
			first, other := tokens(testedTokens, 1), tokens(testedTokens, 2)
			want := w.float64Logits(first)
			c := w.cache(testedTokens, testedAtOnce)
			for to := 1; to <= 11; to++ {
				w.requireLogits(first, to, want, c)
				for n := range testedTokens {
					require.Equal(t, n <= to, c.Reaches(n), "%d of %d", n, to)
				}
			}
			// The 12th token has no room: rows 6 to 10 move, and token 10 is the first that has all that it sees.
			w.requireLogits(first, 12, want, c)
			for n := range testedTokens {
				require.Equal(t, n == 0 || n >= 10 && n <= 12, c.Reaches(n), "%d", n)
			}
			require.Panics(t, func() { c.Rewind(9) })
			for _, n := range []int{12, 11, 10, 0} {
				c.Rewind(n)
				require.Equal(t, n, c.Length())
				mixed := slices.Concat(first[:n], other[n:])
				want := w.float64Logits(mixed)
				for _, more := range []int{1, 2} { // which do not let the rows move again
					w.requireLogits(mixed, n+more, want, c)
				}
			}
			want = w.float64Logits(other)
			for to := 3; to <= testedTokens; to++ {
				w.requireLogits(other, to, want, c)
			}
		})
	}
}

// A cache of layers without a window, or of a context that is no longer than their windows, has a row for every token
// and none to move them through.
func TestRowsOfACache(t *testing.T) {
	bytes := func(s reference.Spec, maxTokens int) int64 {
		w := open(t, s, nil)
		before := w.dev.Bytes()
		w.cache(maxTokens, testedAtOnce)
		return w.dev.Bytes() - before
	}
	const row = 2 * 12 * 4 // bytes of a key or a value
	aligned := func(rows int) int64 { return int64(rows*row+255) / 256 * 256 }
	require.Equal(t, 4*aligned(40), bytes(small, 40))
	require.Equal(t, 4*aligned(11), bytes(mistral, 11))
	require.Equal(t, 4*aligned(11)+aligned(5), bytes(mistral, 12))
	require.Equal(t, 4*aligned(11)+aligned(5), bytes(mistral, 4000))
	require.Equal(t, 2*aligned(40)+2*aligned(11)+aligned(5), bytes(gemma3, 40))
}
