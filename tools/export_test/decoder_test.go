package export_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/reference"
)

// decoder computes a model in float64 from the description and the values that our reader finds in its files.
func decoder(t *testing.T, m *pretrained.Model) *reference.Decoder {
	s := m.Spec
	described := reference.Spec{
		Hidden: s.Hidden, Vocab: s.Vocab, NormEps: s.NormEps, TiedHead: s.TiedHead, Renamed: s.Renamed, EmbeddingScale: s.EmbeddingScale,
		ResidualScale: s.ResidualScale, LogitScale: s.LogitScale, LogitSoftCap: s.LogitSoftCap,
	}
	for _, l := range s.Layers {
		layer := reference.Layer{
			Heads: l.Heads, KVHeads: l.KVHeads, HeadDim: l.HeadDim, MLP: l.MLP, QKNorm: reference.QKNorm(l.QKNorm), Norms: reference.Norms(l.Norms),
			Window: l.Window, Scale: l.ScoreScale, SoftCap: l.ScoreSoftCap, GELU: l.GELU, FusedQKV: l.FusedQKV, FusedMLP: l.FusedMLP,
			NoRoPE: l.RoPE == nil,
			Bias: reference.Projections{
				Q: l.QKVBias, K: l.QKVBias, V: l.QKVBias, O: l.OBias, Gate: l.MLPBias, Up: l.MLPBias, Down: l.MLPBias,
			},
		}
		if l.RoPE != nil {
			layer.RoPE = new(rotation(*l.RoPE))
		}
		described.Layers = append(described.Layers, layer)
	}
	return reference.NewDecoder(described, func(name string, rows, cols int) []float64 {
		got, ok := m.Lookup(name)
		require.True(t, ok, name)
		require.Equal(t, rows*cols, got.Rows*got.Cols, name)
		x, out := make([]float32, rows*cols), make([]float64, rows*cols)
		require.NoError(t, m.ReadRows(name, 0, got.Rows, x))
		for i, v := range x {
			out[i] = float64(v)
		}
		return out
	})
}

func rotation(r spec.RoPE) reference.RoPE {
	wide := func(list []float32) (out []float64) {
		for _, x := range list {
			out = append(out, float64(x))
		}
		return out
	}
	out := reference.RoPE{Theta: r.Theta, Dim: r.Dim, RoPEScaling: reference.RoPEScaling{
		Type: r.Scaling, Factor: r.Factor, LowFreqFactor: r.LowFreqFactor, HighFreqFactor: r.HighFreqFactor,
		OriginalMaxPositionEmbeddings: r.OriginalMaxPositions, BetaFast: r.BetaFast, BetaSlow: r.BetaSlow,
		AttentionFactor: r.AttentionFactor, QueryScaling: r.QueryScaling,
	}}
	if r.Scaling == "longrope" {
		out.ShortFactor, out.LongFactor = wide(r.Factors), wide(r.LongFactors)
	} else {
		out.FrequencyFactors = wide(r.Factors)
	}
	return out
}

// logits are those of a sequence, [len(ids), vocabulary].
func logits(d *reference.Decoder, ids []uint32) []float64 {
	targets := make([]int32, len(ids)) // any: logits are those of tokens with a target
	return d.Logits(reference.Segments([][]uint32{ids}, [][]int32{targets}), nil)
}
