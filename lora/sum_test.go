package lora

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/optim"
)

// drawn is an adapter with random matrices of a rank on the linears.
func drawn(t *testing.T, seed uint64, rank int, keys string, linears ...*Linear) *Files {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, seed))
	values := func(n int) []float32 {
		out := make([]float32, n)
		for i := range out {
			out[i] = float32(rng.NormFloat64())
		}
		return out
	}
	var tensors []Tensor
	for _, l := range linears {
		tensors = append(tensors, Tensor{keyA(l), rank, l.In, values(rank * l.In)}, Tensor{keyB(l), l.Out, rank, values(rank * l.Out)})
	}
	f, err := filesOf(t, keys, tensors)
	require.NoError(t, err)
	return f
}

// added is what a loaded adapter adds to each linear, with its matrices as the device holds them.
func added(t *testing.T, f *Files, linears []*Linear) map[string][]float64 {
	t.Helper()
	a, err := Attach(gpu.NewDry(gpu.Options{}), linears, f.Config, optim.Options{})
	require.NoError(t, err)
	require.Empty(t, a.Warnings)
	require.NoError(t, a.SetTensors(f.Tensors, f.Path))
	products, _, err := f.Products(linears)
	require.NoError(t, err)
	all := map[string][]float64{}
	for _, l := range linears {
		p, adapted := products[l.Name]
		require.Equal(t, adapted, l.Rank > 0, l.Name)
		sum := make([]float64, l.Out*l.In)
		for i := range sum {
			for k := range p.Rank {
				sum[i] += float64(p.Scaling) * float64(p.B[i/l.In*p.Rank+k]) * float64(p.A[k*l.In+i%l.In])
			}
		}
		all[l.Name] = sum
	}
	return all
}

func TestSum(t *testing.T) {
	wide := &Linear{Name: "model.layers.0.mlp.down_proj", In: 24, Out: 8}
	tall := &Linear{Name: "model.layers.0.mlp.up_proj", In: 8, Out: 24}
	square := &Linear{Name: "model.layers.1.self_attn.q_proj", In: 16, Out: 16}
	bare := &Linear{Name: "model.layers.0.self_attn.o_proj", In: 8, Out: 8}
	linears := []*Linear{wide, tall, square, bare}
	list := []*Files{
		drawn(t, 1, 4, `"target_modules":["down_proj","up_proj","q_proj"]`, wide, tall, square),
		// 4 and 6 are more than 8
		drawn(t, 2, 6, `"rank_pattern":{".*":6},"alpha_pattern":{".*":3},"target_modules":["down_proj","up_proj"]`, wide, tall),
		drawn(t, 3, 5, `"rank_pattern":{"q_proj":5},"use_rslora":true,"target_modules":["q_proj"]`, square),
	}
	want := map[string][]float64{}
	for _, f := range list {
		for name, values := range added(t, f, linears) {
			if want[name] == nil {
				want[name] = make([]float64, len(values))
			}
			for i, v := range values {
				want[name][i] += v
			}
		}
	}
	sum, err := Sum(list, linears)
	require.NoError(t, err)
	require.Equal(t, "dir + dir + dir", sum.Path)
	got := added(t, sum, linears)
	require.Equal(t, []int{8, 8, 9, 0}, []int{wide.Rank, tall.Rank, square.Rank, bare.Rank})
	for name, values := range want {
		require.InDeltaSlice(t, values, got[name], 1e-5, name)
	}
	require.NotZero(t, got[square.Name][0])

	alone, err := Sum(list[:1], linears)
	require.NoError(t, err)
	require.Same(t, list[0], alone)
	_, err = Sum(list, linears[1:])
	require.ErrorContains(t, err, "model.layers.0.mlp.down_proj")
}

// Two adapters are the same whatever folder they lie in and whatever order their tensors have; another value or
// another scale makes them two.
func TestSame(t *testing.T) {
	l, m := &Linear{Name: "model.layers.0.mlp.up_proj", In: 8, Out: 8}, &Linear{Name: "model.layers.0.mlp.down_proj", In: 8, Out: 8}
	const both = `"target_modules":["up_proj","down_proj"]`
	f, again := drawn(t, 1, 4, both, l, m), drawn(t, 1, 4, both, l, m)
	again.Path = "elsewhere"
	again.Tensors[0], again.Tensors[2] = again.Tensors[2], again.Tensors[0]
	require.True(t, f.Same(again))
	require.False(t, f.Same(drawn(t, 2, 4, both, l, m)))
	require.False(t, f.Same(drawn(t, 1, 4, both+`,"alpha_pattern":{"up_proj":9}`, l, m)))
	require.False(t, f.Same(drawn(t, 1, 4, both, l)))
	again.Tensors[1].Values[3]++
	require.False(t, f.Same(again))
}
