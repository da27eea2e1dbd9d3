package lora

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/usererr"
)

// What is assembled gives each linear its rank and, to the bit, its scaling, also when PEFT's files hold it.
func TestAssemble(t *testing.T) {
	product := func(rank int, scaling float32) Product {
		p := Product{Rank: rank, Scaling: scaling, A: make([]float32, rank*6), B: make([]float32, 4*rank)}
		p.A[0], p.B[1] = float32(rank), scaling
		return p
	}
	products := map[string]Product{
		"model.layers.0.self_attn.q_proj": product(3, float32(16.0/3)), "model.layers.1.self_attn.q_proj": product(3, float32(16.0/3)),
		"model.layers.0.mlp.up_proj": product(4, 4), "model.layers.1.mlp.up_proj": product(2, 8),
		"model.layers.0.mlp.down_proj": product(3, 0.1), "model.layers.10.mlp.down_proj": product(3, 0.1),
		"model.layers.1.mlp.gate_proj": product(3, 2.8284271),
	}
	for _, within := range []string{"", Wrapped} {
		f, err := Assemble(Origin{Path: "x.gguf", Base: "owner/base", Within: within, Dropout: 0.25}, products)
		require.NoError(t, err)
		require.Equal(t, []any{3, 16.0, 0.25, "owner/base"}, []any{f.Config.Rank, f.Config.Alpha, f.Config.Dropout, f.Config.MadeFor()})
		var config, weights bytes.Buffer
		require.NoError(t, f.Config.WriteConfig(&config, "owner/base"))
		require.NoError(t, f.Config.WriteWeights(&weights, f.Tensors))
		require.Contains(t, config.String(), `"down_proj": 0.3`)
		read, err := Read("peft", config.Bytes(), bytes.NewReader(weights.Bytes()), int64(weights.Len()))
		require.NoError(t, err)
		for name, p := range products {
			l := &Linear{Name: name, In: 6, Out: 4}
			for _, files := range []*Files{f, read} {
				one := *files
				one.Config.loaded = &loaded{path: "one", adapted: map[string]bool{name: true}, selection: selection{target: modules{open: true}}}
				one.Tensors = nil
				for _, tensor := range files.Tensors {
					if tensor.Name == keyA(l) || tensor.Name == keyB(l) {
						one.Tensors = append(one.Tensors, tensor)
					}
				}
				got, _, err := one.Products([]*Linear{l})
				require.NoError(t, err)
				require.Equal(t, p, got[name], name)
			}
		}
	}
	for _, scaling := range []float32{0, -1, 3e38} {
		_, err := Assemble(Origin{Path: "x.gguf"}, map[string]Product{"model.layers.0.mlp.up_proj": product(2, scaling)})
		require.True(t, usererr.Is(err, usererr.Format), "%v", err)
		require.ErrorContains(t, err, "the scale of model.layers.0.mlp.up_proj is")
	}
}
