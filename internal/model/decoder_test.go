//go:build !js

package model_test

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/reference"
	"qlora-wgpu/internal/reference/referencetest"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// allowances are how far float32 may be from float64: the loss relatively, tensors by their NMSE.
type allowances struct{ loss, logits, gradient float64 }

var (
	// Sums of so few terms in float32 are off by 1e-7 at most, which is an NMSE of 1e-14; a layer adds some ten of
	// them, and the backward subtracts numbers near one another: 3e-11 came out. The rest is left for other orders of
	// summation.
	exact = allowances{loss: 1e-6, logits: 1e-11, gradient: 1e-10}
	// A bf16 has 8 bits: a kept activation is off by 2⁻⁹ at most, which is an NMSE of 1.3e-6 in the mean. A gradient
	// takes in many such roundings, and through attention what is left when sums over a few keys are subtracted: 5e-4
	// came out, twice that is allowed. Losses are those of float32: only what is kept for the backward is rounded.
	rounded = allowances{loss: 1e-6, gradient: 1.2e-3}
)

// packed are three segments, one of them without a target at its end, and one of a single token.
var packed = reference.Segments(
	[][]uint32{{3, 9, 60, 4, 17, 33, 2, 9, 41}, {5}, {0, 7, 58, 12, 29, 30, 30, 8, 1, 44, 52}},
	[][]int32{{-100, -100, 4, 17, -100, 2, 9, 41, 6}, {11}, {7, -100, 12, 29, 30, -100, 8, 1, 44, 52, -100}})

func with(change func(*reference.Layer)) reference.Spec {
	s := small
	s.Layers = slices.Clone(s.Layers)
	for i := range s.Layers {
		change(&s.Layers[i])
	}
	return s
}

func withModel(change func(*reference.Spec)) reference.Spec {
	s := small
	s.Layers = slices.Clone(s.Layers)
	change(&s)
	return s
}

// The families' own, whose files hold what is theirs (configOf).
var (
	mistral = with(func(l *reference.Layer) { l.Window = 5 })
	granite = withModel(func(s *reference.Spec) {
		s.EmbeddingScale, s.ResidualScale, s.LogitScale = 3, 0.3, 0.5
		for i := range s.Layers {
			s.Layers[i].Scale = 0.4
		}
	})
	granite4 = withModel(func(s *reference.Spec) {
		s.EmbeddingScale, s.ResidualScale, s.LogitScale = 3, 0.3, 0.5
		for i := range s.Layers {
			s.Layers[i].Scale, s.Layers[i].FusedMLP, s.Layers[i].NoRoPE = 0.4, true, true
		}
		s.Renamed = map[string]string{"mlp.gate_up_proj": "shared_mlp.input_linear", "mlp.down_proj": "shared_mlp.output_linear"}
	})
	olmo2  = with(func(l *reference.Layer) { l.Norms, l.QKNorm = reference.NormsBehind, reference.WholeWidth })
	gemma2 = withModel(func(s *reference.Spec) {
		s.LogitSoftCap, s.TiedHead, s.EmbeddingScale = 2, true, math.Sqrt(float64(s.Hidden))
		for i := range s.Layers {
			l := &s.Layers[i]
			l.Norms, l.GELU, l.SoftCap, l.Scale = reference.NormsAround, true, 1.5, 0.5
		}
		s.Layers[0].Window = 5
	})
	gemma3 = withModel(func(s *reference.Spec) {
		s.TiedHead, s.EmbeddingScale = true, math.Sqrt(float64(s.Hidden))
		local, full := reference.RoPE{Theta: 30}, s.RoPE
		local.Type = "default"
		full.RoPEScaling = reference.RoPEScaling{Type: "linear", Factor: 4}
		for i := range s.Layers {
			l := &s.Layers[i]
			l.Norms, l.GELU, l.Scale, l.QKNorm, l.RoPE = reference.NormsAround, true, 0.5, reference.PerHead, &full
		}
		s.Layers[0].Window, s.Layers[0].RoPE = 5, &local
		s.RoPE = reference.RoPE{}
	})
	smollm3 = withModel(func(s *reference.Spec) { s.Layers[1].NoRoPE = true })
	phi3    = withModel(func(s *reference.Spec) {
		s.RoPE.Dim = 8
		s.RoPE.RoPEScaling = reference.RoPEScaling{
			Type: "longrope", OriginalMaxPositionEmbeddings: 10, ShortFactor: []float64{1, 1, 2, 2}, LongFactor: []float64{3, 2, 1, 4},
			AttentionFactor: 1.2,
		}
		for i := range s.Layers {
			s.Layers[i].FusedQKV, s.Layers[i].FusedMLP = true, true
		}
	})
)

// ministral3 has segments that are several times as long as its original context.
var ministral3 = withModel(func(s *reference.Spec) {
	s.RoPE.RoPEScaling = reference.RoPEScaling{
		Type: "yarn", Factor: 4, OriginalMaxPositionEmbeddings: 4, BetaFast: 4, BetaSlow: 0.25, AttentionFactor: 1.05, QueryScaling: 0.2,
	}
})

// biased and normed are the two that keep most for the backward.
var (
	biased = with(func(l *reference.Layer) {
		l.Bias = reference.Projections{Q: true, K: true, V: true, O: true, Gate: true, Up: true, Down: true}
	})
	normed = with(func(l *reference.Layer) { l.QKNorm = reference.PerHead })
)

// options are what a block can be made of, each by itself.
var options = map[string]reference.Spec{
	"Llama":                            small,
	"one key head for all query heads": with(func(l *reference.Layer) { l.KVHeads = 1 }),
	"a key head for each query head":   with(func(l *reference.Layer) { l.KVHeads = 4 }),
	"three query heads for a key head": with(func(l *reference.Layer) { l.Heads, l.HeadDim = 6, 8 }),
	"heads wider than the model":       with(func(l *reference.Layer) { l.HeadDim = 32 }),
	"biases of q, k, v and o": with(func(l *reference.Layer) {
		l.Bias = reference.Projections{Q: true, K: true, V: true, O: true}
	}),
	"biases of gate, up and down": with(func(l *reference.Layer) {
		l.Bias = reference.Projections{Gate: true, Up: true, Down: true}
	}),
	"biases of all":                    biased,
	"biases of q, k and v":             with(func(l *reference.Layer) { l.Bias = reference.Projections{Q: true, K: true, V: true} }),
	"normed heads of queries and keys": normed,
	"normed heads, one of them of keys, and biases": with(func(l *reference.Layer) {
		l.KVHeads, l.QKNorm, l.Bias = 1, reference.PerHead, reference.Projections{Q: true, K: true, V: true, O: true}
	}),
	"a window": mistral,
	"a window in one layer": withModel(func(s *reference.Spec) {
		s.Layers[1].Window = 5
		for i := range s.Layers {
			s.Layers[i].Bias = reference.Projections{Q: true, K: true, V: true}
		}
	}),
	"factors of everything":                                      granite,
	"factors, a fused MLP, and no layer that rotates":            granite4,
	"norms behind, and of queries and keys over the whole width": olmo2,
	"norms around, GELU, soft caps and a window":                 gemma2,
	"norms around, two rotations and normed heads":               gemma3,
	"one layer that does not rotate":                             smollm3,
	"fused projections, a part of each head rotates":             phi3,
	"queries scaled by their position":                           ministral3,
	"a tied head":                                                withModel(func(s *reference.Spec) { s.TiedHead = true }),
	"linear scaling": withModel(func(s *reference.Spec) {
		s.RoPE.RoPEScaling = reference.RoPEScaling{Type: "linear", Factor: 4}
	}),
	"llama3 scaling": withModel(func(s *reference.Spec) {
		s.RoPE.RoPEScaling = reference.RoPEScaling{
			Type: "llama3", Factor: 8, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPositionEmbeddings: 64,
		}
	}),
}

func TestEveryOptionsLossAndGradientsAreThoseOfFloat64(t *testing.T) {
	for name, s := range options {
		t.Run(name, func(t *testing.T) {
			w := open(t, s, nil)
			loss, gradients := w.train(packed, pass{})
			w.requireNear(packed, loss, gradients, exact)
			require.Equal(t, loss, w.evaluate(packed, pass{}), "evaluation is the forward pass of training")
		})
	}
}

// Logits are computed for so many tokens at a time, and again from each chunk's first on.
func TestMoreSupervisedTokensThanHaveLogitsAtATime(t *testing.T) {
	var ids [][]uint32
	var targets [][]int32
	for segment := range uint32(12) {
		own, next := make([]uint32, 25), make([]int32, 25)
		for i := range own {
			own[i] = (segment*31 + uint32(i*(i+7))) % uint32(small.Vocab)
			next[i] = int32(own[i]+segment) % int32(small.Vocab)
		}
		ids, targets = append(ids, own), append(targets, next)
	}
	in := reference.Segments(ids, targets)
	require.Greater(t, len(in.IDs), 2*model.LossTokens)
	for _, chunk := range []int{0, 208} {
		w := open(t, small, nil)
		loss, gradients := w.train(in, pass{chunk: chunk})
		w.requireNear(in, loss, gradients, exact)
		require.Equal(t, loss, w.evaluate(in, pass{chunk: chunk}))
	}
}

func TestGenerationWithTheCacheGivesFloat64sLogitsWithEveryOption(t *testing.T) {
	for name, s := range options {
		t.Run(name, func(t *testing.T) {
			w := open(t, s, nil)
			in := reference.Segments([][]uint32{packed.IDs[:9]}, [][]int32{packed.Targets[:9]})
			want := w.float64.Logits(in, nil)
			cache, err := w.model.NewCache(len(in.IDs), len(in.IDs))
			require.NoError(t, err)
			defer cache.Release()
			for at := 0; at < len(in.IDs); {
				n := 1
				if at == 0 {
					n = 6 // a prompt, and then token by token
				}
				got := w.logits(in.IDs[at:at+n], cache)
				at += n
				require.Less(t, reference.NMSE(got, want[(at-1)*s.Vocab:at*s.Vocab]), exact.logits, "after token %d", at)
			}
		})
	}
}

// Whatever is kept, the backward computes with the same values.
func TestEveryWayOfKeepingActivationsGivesTheSameBytes(t *testing.T) {
	for name, s := range map[string]reference.Spec{"biased": biased, "normed": normed} {
		t.Run(name, func(t *testing.T) {
			w := open(t, s, nil)
			offloading := open(t, s, &paging.Plan{StreamedLayers: make([]bool, 2), Staging: 2, StagingOut: 2, StagingBytes: 64 << 10})
			for _, chunk := range []int{0, 8} {
				loss, gradients := w.train(packed, pass{chunk: chunk})
				w.requireNear(packed, loss, gradients, exact)
				same := func(w *twin, what string, o pass) {
					o.chunk = chunk
					again, same := w.train(packed, o)
					require.Equal(t, loss, again, what)
					require.Equal(t, gradients, same, what)
				}
				same(w, "selective", pass{activations: paging.Selective})
				same(w, "keep", pass{activations: paging.Keep})
				same(offloading, "offload", pass{activations: paging.Offload})
				if chunk > 0 {
					same(w, "chunks that stay empty", pass{room: 40})
				}
				require.Equal(t, loss, w.evaluate(packed, pass{chunk: chunk}))
			}
		})
	}
}

func TestActivationsKeptInBF16GiveGradientsWithinTheirRounding(t *testing.T) {
	for name, s := range map[string]reference.Spec{"biased": biased, "normed": normed} {
		t.Run(name, func(t *testing.T) {
			w := open(t, s, nil)
			_, exactly := w.train(packed, pass{})
			for _, activations := range []paging.Activations{paging.Recompute, paging.Selective, paging.Keep} {
				loss, gradients := w.train(packed, pass{activations: activations, kept: gpu.BF16, chunk: 8})
				w.requireNear(packed, loss, gradients, rounded)
				require.NotEqual(t, exactly, gradients, "nothing was rounded")
			}
		})
	}
}

// watched is a cross-entropy that notes which rows it is handed, for which targets.
type watched struct {
	model.CrossEntropy
	rows map[bool][]int // by whether the pass is dry
	t    *testing.T
}

func (l watched) Rows(rec *gpu.Recorder, r model.LossRows, gradient bool) {
	require.True(l.t, gradient)
	require.Equal(l.t, []int{small.Vocab, 64}, []int{r.Vocab, r.Logits.Cols}, "a padded vocabulary")
	for i := range r.Logits.Rows {
		l.rows[rec.Dry()] = append(l.rows[rec.Dry()], r.First+i)
	}
	l.CrossEntropy.Rows(rec, r, gradient)
}

func TestALossIsHandedEverySupervisedTokenInOrder(t *testing.T) {
	w := open(t, small, nil)
	loss := watched{rows: map[bool][]int{}, t: t}
	sum, gradients := w.train(packed, pass{chunk: 8, loss: loss})
	w.requireNear(packed, sum, gradients, exact)
	supervised, _ := model.Input(packed).Supervised()
	require.Len(t, loss.rows[false], len(supervised))
	require.IsIncreasing(t, loss.rows[false])
	require.Equal(t, len(supervised)-1, loss.rows[false][len(supervised)-1])
	require.Equal(t, loss.rows[false], loss.rows[true])
}

// Where only layers' inputs are kept, float64 can round the same numbers, and then gradients are as near as without
// rounding.
func TestLayersInputsKeptInBF16AreRoundedOnceAndNothingElseIs(t *testing.T) {
	w := open(t, small, nil)
	inputs := w.trace(packed)
	_, gradients := w.train(packed, pass{kept: gpu.BF16})
	want := w.gradients()
	var trace reference.Trace
	w.float64.Train(w.float64.Embed(packed), packed, &trace)
	for _, g := range want {
		clear(g)
	}
	dx := find(trace, "d layers.1.output")
	for i, name := range []string{"layers.0.output", "embedded"} {
		layer := w.float64.Layers[1-i]
		_, kept := layer.Forward(referencetest.BFloat16(narrow(inputs[name])), packed, nil)
		dx = layer.Backward(dx, kept, nil)
	}
	w.requireGradients(want, gradients, exact.gradient)
}

func find(trace reference.Trace, name string) []float64 {
	for _, a := range trace.Activations {
		if a.Name == name {
			return a.Values
		}
	}
	panic(name)
}

// The mask of a linear's chunk follows from the pass's key, the chunk and the linear's place.
func TestDropoutsMasksAreThoseOfFloat64InEveryChunk(t *testing.T) {
	w := open(t, small, nil)
	const p, chunk = 0.3, 8
	key := kernels.DropoutKey{K0: 77, K1: 5}
	plain, _ := w.train(packed, pass{chunk: chunk})
	loss, gradients := w.train(packed, pass{chunk: chunk, dropout: p, key: key})
	require.Greater(t, max(loss/plain, plain/loss), 1.001, "nothing was dropped")
	for i, l := range w.float64.Linears() {
		l.LoRA.Mask = nil
		for first := 0; first < len(packed.IDs); first += chunk {
			n := min(chunk, len(packed.IDs)-first)
			_, mask := reference.Dropout(make([]float64, n*l.In), key.K0+uint32(first/chunk)*0x9e3779b9, key.K1+uint32(i), p)
			l.LoRA.Mask = append(l.LoRA.Mask, mask...)
		}
	}
	w.requireNear(packed, loss, gradients, exact)
}

// requireNear compares the loss and all gradients of a pass with float64's.
func (w *twin) requireNear(in reference.Input, loss float64, gradients []lora.Tensor, allowed allowances) {
	w.t.Helper()
	want := w.gradients()
	for _, g := range want {
		clear(g)
	}
	wantLoss, _ := w.float64.Train(w.float64.Embed(in), in, nil)
	require.InEpsilon(w.t, wantLoss, loss, allowed.loss)
	w.requireGradients(want, gradients, allowed.gradient)
}

// gradients are float64's, by PEFT's names.
func (w *twin) gradients() map[string][]float64 {
	g := map[string][]float64{}
	for _, l := range w.float64.Linears() {
		g[referencetest.Key(l, "A")], g[referencetest.Key(l, "B")] = l.LoRA.DA, l.LoRA.DB
	}
	return g
}

func (w *twin) requireGradients(want map[string][]float64, got []lora.Tensor, allowance float64) {
	w.t.Helper()
	require.Len(w.t, got, len(want))
	worst, where := 0.0, ""
	for _, g := range got {
		nmse := reference.NMSE(referencetest.Wide(g.Values), want[g.Name])
		require.Less(w.t, nmse, allowance, g.Name)
		if nmse > worst {
			worst, where = nmse, g.Name
		}
	}
	w.t.Logf("gradients are off by %.1e at most, %s", worst, where)
}
