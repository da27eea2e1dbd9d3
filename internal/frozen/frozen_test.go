package frozen_test

import (
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/frozen"
	"qlora-wgpu/internal/reference"
	"qlora-wgpu/paging"
)

func values(rng *rand.Rand, n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(rng.NormFloat64())
	}
	return out
}

// TestNF4RegionsKeepTheirBytes holds the bytes of regions to what commit e4c5d2a made of the same weights: caches are
// read by later versions.
func TestNF4RegionsKeepTheirBytes(t *testing.T) {
	linears := []struct {
		name string
		n, k int
		bias bool
	}{{"a", 132, 264, true}, {"b", 1056, 96, false}, {"c", 20, 72, true}}
	for _, want := range []struct {
		limit, block, parts, bytes int
		hash                       string
	}{
		{16384, 32, 6, 87296, "b180179778d63b04"},
		{16384, 64, 6, 84480, "03b2d419764dfc96"},
		{16384, 512, 6, 83200, "6098f42a7b69f48d"},
		{40960, 32, 2, 80128, "88d07a65f2315915"},
		{40960, 64, 2, 77824, "11639584e41de8dc"},
		{40960, 512, 2, 76032, "52c234f921bd7f29"},
		{1048576, 32, 1, 78336, "0cd172f42e8ecbc3"},
		{1048576, 64, 1, 76288, "7151be1314d38ff4"},
		{1048576, 512, 1, 74240, "d0845a3150e7c8f9"},
	} {
		layout := paging.NewLayout(frozen.NF4(want.block), int64(want.limit))
		for _, l := range linears {
			layout.AddLinear(l.name, frozen.NF4(want.block), l.n, l.k, l.bias)
		}
		layout.AddVector("v", 260)
		parts, rng := layout.NewParts(), rand.New(rand.NewPCG(3, 4))
		for _, l := range linears {
			w := layout.Writer(parts, l.name)
			require.Negative(t, w.Rows(0, values(rng, l.n*l.k)))
			if l.bias {
				w.Finish(values(rng, l.n))
			} else {
				w.Finish(nil)
			}
		}
		layout.PutVector(parts, "v", values(rng, 260))
		h := sha256.New()
		for _, part := range parts {
			h.Write(part)
		}
		require.Equal(t, want.parts, len(parts))
		require.EqualValues(t, want.bytes, layout.Bytes())
		require.Equal(t, want.hash, fmt.Sprintf("%x", h.Sum(nil)[:8]), "blocks of %d, parts of %d bytes", want.block, want.limit)
	}
}

var formats = []frozen.Format{frozen.NF4(64), frozen.NF4Single(64), frozen.BFloat16, frozen.Float32}

// However a weight is cut into parts, and whatever rows are written at a time, what the device decodes is the same; and
// both products are those of what it decodes, the bias of every row with it.
func TestAWeightIsTheSameHoweverItIsCut(t *testing.T) {
	const n, k, tokens = 320, 72, 8
	dev, err := gpu.Open(t.Context(), gpu.Options{})
	require.NoError(t, err)
	defer dev.Release()
	for _, format := range formats {
		var decoded [][]float32
		for _, limit := range []int64{12 << 10, 40 << 10, 1 << 20} {
			layout := paging.NewLayout(format, limit)
			layout.AddLinear("w", format, n, k, true)
			if limit == 12<<10 {
				require.Greater(t, len(layout.Parts), 1, "%v is cut", format)
			}
			parts, all := layout.NewParts(), values(rand.New(rand.NewPCG(1, 2)), n*k)
			w := layout.Writer(parts, "w")
			step := format.Together(k) * 3
			for row := 0; row < n; row += step {
				require.Negative(t, w.Rows(row, all[row*k:min(row+step, n)*k]))
			}
			bias := values(rand.New(rand.NewPCG(5, 6)), n)
			w.Finish(bias)
			region := &paging.Region{Layout: layout}
			for i, part := range parts {
				b, err := dev.NewUniformBuffer("part", layout.Parts[i])
				require.NoError(t, err)
				defer b.Release()
				require.NoError(t, b.Write(0, part))
				region.Parts = append(region.Parts, b.All())
			}
			out, err := dev.NewTensor("w", gpu.F32, n, k)
			require.NoError(t, err)
			defer out.Release()
			rec := dev.Record("dequantize")
			region.Linear("w").Dequantize(rec, out)
			require.NoError(t, rec.Submit())
			got, err := dev.ReadFloat32(t.Context(), out)
			require.NoError(t, err)
			decoded = append(decoded, got)
			requireProducts(t, dev, region.Linear("w"), got, bias, tokens)
			if format == frozen.Float32 {
				require.Equal(t, all, got)
			}
			if format == frozen.BFloat16 {
				for i, v := range all {
					require.InEpsilon(t, v, got[i], 1.0/256, "a rounding to 8 bits")
					require.Zero(t, math.Float32bits(got[i])&0xffff)
				}
			}
		}
		require.Equal(t, decoded[0], decoded[2], "%v", format)
		require.Equal(t, decoded[1], decoded[2], "%v", format)
	}
}

// requireProducts holds a linear to y = x Wᵀ + bias and dx = dy W in float64, the second given and added, W [N, K]
// as it was decoded.
func requireProducts(t *testing.T, dev *gpu.Device, linear frozen.Linear, w, bias []float32, tokens int) {
	n, rng := len(bias), rand.New(rand.NewPCG(7, 8))
	k := len(w) / n
	tensors := make([]*gpu.Tensor, 4)
	for i, name := range []string{"x", "y", "dx", "dy"} { // [T, K] and [T, N] in turns
		var err error
		tensors[i], err = dev.NewTensor(name, gpu.F32, tokens, []int{k, n}[i%2])
		require.NoError(t, err)
		defer tensors[i].Release()
	}
	x, y, dx, dy := tensors[0], tensors[1], tensors[2], tensors[3]
	xs, dys := values(rng, tokens*k), values(rng, tokens*n)
	require.NoError(t, x.WriteFloat32(xs))
	require.NoError(t, dy.WriteFloat32(dys))
	require.NoError(t, dx.WriteFloat32(xs)) // what is to be overwritten
	rec := dev.Record("products")
	linear.Forward(rec, y, x)
	linear.Backward(rec, dx, dy, false)
	linear.Backward(rec, dx, dy, true)
	require.NoError(t, rec.Submit())
	twice := reference.MatmulBackwardInput(wide(dys), wide(w), tokens, n, k)
	for i := range twice {
		twice[i] *= 2
	}
	for tensor, want := range map[*gpu.Tensor][]float64{
		y: reference.MatmulForward(wide(xs), wide(w), wide(bias), tokens, n, k), dx: twice,
	} {
		got, err := dev.ReadFloat32(t.Context(), tensor)
		require.NoError(t, err)
		require.InDeltaSlice(t, want, wide(got), 1e-4, tensor.Name)
	}
}

func wide(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

// A value that is not finite is found where it is, before a whole model is trained on it.
func TestAValueThatIsNotFiniteIsNamed(t *testing.T) {
	const n, k = 64, 72
	for _, format := range formats {
		layout := paging.NewLayout(format, 1<<20)
		layout.AddLinear("w", format, n, k, false)
		w := layout.Writer(layout.NewParts(), "w")
		all := values(rand.New(rand.NewPCG(1, 2)), 16*k)
		require.Equal(t, -1, w.Rows(16, all))
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(-1))} {
			all[777] = bad
			require.Equal(t, 777, w.Rows(16, all), "%v", format)
		}
	}
}

// What caches go by tells formats apart.
func TestFormatsHaveKeysOfTheirOwn(t *testing.T) {
	keys := map[string]bool{}
	for _, format := range []frozen.Format{
		frozen.NF4(32), frozen.NF4(64), frozen.NF4(128), frozen.NF4Single(64), frozen.BFloat16, frozen.Float32,
	} {
		keys[format.Key()] = true
	}
	require.Len(t, keys, 6)
	require.True(t, keys["NF4 blocks of 64"], "as every cache so far has it")
}
