package kernels

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	testify "github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
)

// chunkedKeyGradients runs the backward over chunks of so many queries of causal attention, and returns dk and dv.
func chunkedKeyGradients(t *testing.T, dev *gpu.Device, headDim, tokens, chunk int) (dk, dv []float32) {
	a := Attention{Heads: 4, KVHeads: 2, HeadDim: headDim, Scale: 0.125}
	rng := rand.New(rand.NewPCG(1, 2))
	tensor := func(rows, cols int) *gpu.Tensor {
		x, err := dev.NewTensor("x", gpu.F32, rows, cols)
		testify.NoError(t, err)
		values := make([]float32, rows*cols)
		for i := range values {
			values[i] = float32(rng.NormFloat64())
		}
		testify.NoError(t, x.Single().Buffer.Write(0, gpu.Float32Bytes(values)))
		return x
	}
	positions := func(value uint32) *gpu.Tensor {
		x, err := dev.NewTensor("positions", gpu.U32, 1, tokens)
		testify.NoError(t, err)
		testify.NoError(t, x.Single().Buffer.Write(0, gpu.Uint32Bytes(slices.Repeat([]uint32{value}, tokens))))
		return x
	}
	a.FirstKey, a.LastQuery = positions(0), positions(uint32(tokens))
	wide, narrow := a.Heads*a.HeadDim, a.KVHeads*a.HeadDim
	q, k, v, do := tensor(tokens, wide), tensor(tokens, narrow), tensor(tokens, narrow), tensor(tokens, wide)
	o, lse, stats := tensor(tokens, wide), tensor(tokens, a.Heads), tensor(tokens, 2*a.Heads)
	dq, dks, dvs := tensor(tokens, wide), tensor(tokens, narrow), tensor(tokens, narrow)
	rec := dev.Record("test")
	AttentionForward(rec, a, AttentionTensors{Q: q, K: k, V: v, O: o, LSE: lse})
	for first := 0; first < tokens; first += chunk {
		n := min(chunk, tokens-first)
		a.QueryOffset, a.Accumulate = first, first > 0
		AttentionBackward(rec, a, AttentionTensors{
			Q: q.Slice(first, n), K: k, V: v, O: o.Slice(first, n), LSE: lse.Slice(first, n),
			DO: do.Slice(first, n), DQ: dq.Slice(first, n), DK: dks, DV: dvs, Stats: stats.View(n, 2*a.Heads),
		})
	}
	testify.NoError(t, rec.Submit())
	dk, err := dev.ReadFloat32(t.Context(), dks)
	testify.NoError(t, err)
	dv, err = dev.ReadFloat32(t.Context(), dvs)
	testify.NoError(t, err)
	return dk, dv
}

// Chunks of queries cut at multiples of 64 add up to the bytes of all at once, a short last one too.
func TestSharedAttentionInChunks(t *testing.T) {
	dev, err := gpu.Open(t.Context(), gpu.Options{})
	testify.NoError(t, err)
	defer dev.Release()
	for _, op := range []string{"attention_forward", "attention_backward"} {
		dev.Variants.Force(op, sharedAttention)
	}
	for _, c := range []struct{ headDim, tokens int }{{64, 130}, {64, 192}, {256, 130}} {
		wantK, wantV := chunkedKeyGradients(t, dev, c.headDim, c.tokens, c.tokens)
		dk, dv := chunkedKeyGradients(t, dev, c.headDim, c.tokens, 64)
		testify.Equal(t, wantK, dk, c)
		testify.Equal(t, wantV, dv, c)
	}
}

// On a GPU a chunk that adds to others takes the kernels that those took, however few its tokens; a short sequence
// takes its own.
func TestShortLastChunkOnAGPU(t *testing.T) {
	kernels := func(tokens int, accumulate bool) []string {
		dev := gpu.NewDryDiscrete()
		rec := dev.DryRecord("test")
		tensor := func(dtype gpu.DType, rows, cols int) *gpu.Tensor {
			x, err := dev.NewTensor("x", dtype, rows, cols)
			testify.NoError(t, err)
			return x
		}
		f32 := func(rows, cols int) *gpu.Tensor { return tensor(gpu.F32, rows, cols) }
		keys := tokens + 64
		a := Attention{
			Heads: 2, KVHeads: 1, HeadDim: 64, Scale: 1, QueryOffset: 64, Accumulate: accumulate,
			FirstKey: tensor(gpu.U32, 1, tokens), LastQuery: tensor(gpu.U32, 1, keys),
		}
		AttentionBackward(rec, a, AttentionTensors{
			Q: f32(tokens, 128), K: f32(keys, 64), V: f32(keys, 64), O: f32(tokens, 128), LSE: f32(tokens, 2),
			DO: f32(tokens, 128), DQ: f32(tokens, 128), DK: f32(keys, 64), DV: f32(keys, 64), Stats: f32(tokens, 4),
		})
		names := map[string]bool{}
		for _, spec := range rec.Kernels() {
			names[spec.Name] = true
		}
		return slices.Sorted(maps.Keys(names))
	}
	many := kernels(64, true)
	testify.Contains(t, many, "attention_backward_key_shared")
	testify.Equal(t, many, kernels(2, true))
	testify.NotContains(t, kernels(2, false), "attention_backward_key_shared")
}
