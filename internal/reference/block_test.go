package reference

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// small is a model in which every size is another number.
var small = Spec{
	Hidden: 6, Vocab: 11, NormEps: 0.02, RoPE: RoPE{Theta: 10},
	Layers: []Layer{{Heads: 4, KVHeads: 2, HeadDim: 8, MLP: 7}, {Heads: 4, KVHeads: 2, HeadDim: 8, MLP: 7}},
}

// packed are two segments, with supervised tokens in both.
var packed = Segments([][]uint32{{3, 9, 1, 4}, {5, 0, 7}}, [][]int32{{-100, 1, 4, 10}, {2, -100, 6}})

// options are what a block can be made of, each by itself and all that a family has together; layer changes both
// layers.
var options = []struct {
	name  string
	layer func(*Layer)
	model func(*Spec)
}{
	{"Llama", nil, nil},
	{"one key head for all query heads", func(l *Layer) { l.KVHeads = 1 }, nil},
	{"a key head for each query head", func(l *Layer) { l.KVHeads = 4 }, nil},
	{"head_dim times heads is hidden", func(l *Layer) { l.Heads, l.KVHeads, l.HeadDim = 1, 1, 6 }, nil},
	{"a norm of queries and keys per head", func(l *Layer) { l.QKNorm = PerHead }, nil},
	{"a norm of queries and keys over the whole width", func(l *Layer) { l.QKNorm = WholeWidth }, nil},
	{"a bias of q", func(l *Layer) { l.Bias.Q = true }, nil},
	{"a bias of k", func(l *Layer) { l.Bias.K = true }, nil},
	{"a bias of v", func(l *Layer) { l.Bias.V = true }, nil},
	{"a bias of o", func(l *Layer) { l.Bias.O = true }, nil},
	{"a bias of gate", func(l *Layer) { l.Bias.Gate = true }, nil},
	{"a bias of up", func(l *Layer) { l.Bias.Up = true }, nil},
	{"a bias of down", func(l *Layer) { l.Bias.Down = true }, nil},
	{"a window", func(l *Layer) { l.Window = 2 }, nil},
	{"another scale of the scores", func(l *Layer) { l.Scale = 0.9 }, nil},
	{"a soft cap of the scores", func(l *Layer) { l.SoftCap = 0.4 }, nil},
	{"norms behind", func(l *Layer) { l.Norms = NormsBehind }, nil},
	{"norms around", func(l *Layer) { l.Norms = NormsAround }, nil},
	{"GELU", func(l *Layer) { l.GELU = true }, nil},
	{"fused projections", func(l *Layer) { l.FusedQKV, l.FusedMLP = true, true }, nil},
	{"fused projections with biases", func(l *Layer) { l.FusedQKV, l.FusedMLP, l.Bias = true, true, Projections{Q: true, Gate: true} }, nil},
	{"no rotation", func(l *Layer) { l.NoRoPE = true }, nil},
	{"another rotation in one layer", nil, func(s *Spec) { s.Layers[0].RoPE = &RoPE{Theta: 3} }},
	{"a part of a head rotates", nil, func(s *Spec) { s.RoPE.Dim = 4 }},
	{"longrope", nil, func(s *Spec) { s.RoPE.RoPEScaling = longRoPE }},
	{"queries scaled by their position", nil, func(s *Spec) { s.RoPE.QueryScaling, s.RoPE.OriginalMaxPositionEmbeddings = 0.6, 2 }},
	{"scaled embeddings", nil, func(s *Spec) { s.EmbeddingScale = 3 }},
	{"scaled branches", nil, func(s *Spec) { s.ResidualScale = 0.3 }},
	{"scaled branches behind norms", func(l *Layer) { l.Norms = NormsAround }, func(s *Spec) { s.ResidualScale = 0.3 }},
	{"scaled logits", nil, func(s *Spec) { s.LogitScale = 0.4 }},
	{"a soft cap of the logits", nil, func(s *Spec) { s.LogitSoftCap, s.LogitScale = 0.8, 0.7 }},
	{"another base", nil, func(s *Spec) { s.RoPE.Theta = 100 }},
	{"linear scaling", nil, func(s *Spec) { s.RoPE.RoPEScaling = RoPEScaling{Type: "linear", Factor: 2} }},
	{"llama3 scaling", nil, func(s *Spec) { s.RoPE.RoPEScaling = llama3Bands }},
	{"factors of the frequencies", nil, func(s *Spec) { s.RoPE.FrequencyFactors = []float64{1, 2, 3, 5} }},
	{"another epsilon", nil, func(s *Spec) { s.NormEps = 1e-5 }},
	{"a tied head", nil, func(s *Spec) { s.TiedHead = true }},
	{"layers that differ", nil, func(s *Spec) { s.Layers[1].Window, s.Layers[1].KVHeads, s.Layers[0].QKNorm = 2, 1, PerHead }},
	{"all of Qwen2", func(l *Layer) { l.Bias = Projections{Q: true, K: true, V: true} }, func(s *Spec) { s.TiedHead = true }},
	{"all of Qwen3", func(l *Layer) { l.QKNorm = PerHead }, func(s *Spec) { s.TiedHead = true }},
}

// longRoPE is beyond its original context with the longer of the segments.
var longRoPE = RoPEScaling{
	Type: "longrope", OriginalMaxPositionEmbeddings: 3, ShortFactor: []float64{1, 1, 2, 2}, LongFactor: []float64{3, 2, 1, 4},
	AttentionFactor: 1.2,
}

// llama3Bands has, with base 10 and 8 dimensions, wavelengths of 6.3 (kept), 11 and 20 (mixed) and 35 (divided).
var llama3Bands = RoPEScaling{Type: "llama3", Factor: 8, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPositionEmbeddings: 32}

// with is the spec with changes of all its layers and of the model; nil leaves them.
func (s Spec) with(layer func(*Layer), model func(*Spec)) Spec {
	s.Layers = slices.Clone(s.Layers)
	for i := range s.Layers {
		if layer != nil {
			layer(&s.Layers[i])
		}
	}
	if model != nil {
		model(&s)
	}
	return s
}

// decoder has random weights, each from a seed of its name, so that an option leaves the other tensors alone, and
// adapters in all linears.
func decoder(s Spec) *Decoder {
	seed := func(name string) (h uint64) {
		for _, c := range name {
			h = h*31 + uint64(c)
		}
		return h
	}
	d := NewDecoder(s, func(name string, rows, cols int) []float64 {
		x := random(seed(name), rows*cols)
		for i := range x {
			switch {
			case strings.HasSuffix(name, "norm.weight"):
				x[i] = 1 + 0.3*x[i]
			case strings.HasSuffix(name, "_proj.weight"):
				x[i] *= 1.5 / math.Sqrt(float64(cols))
			}
		}
		return x
	})
	for _, l := range d.Linears() {
		a, b := random(seed(l.Name)+1, 2*l.In), random(seed(l.Name)+2, l.Out*2)
		l.Attach(2, 0.5, scaled(a, 1/math.Sqrt(float64(l.In))), b)
	}
	return d
}

// requireGradients compares dx and the adapters' gradients with differences of loss.
func requireGradients(t *testing.T, linears []*Linear, dx, x []float64, loss func() float64) {
	t.Helper()
	requireGradient(t, dx, x, loss)
	for _, l := range linears {
		requireGradient(t, l.LoRA.DA, l.LoRA.A, loss)
		requireGradient(t, l.LoRA.DB, l.LoRA.B, loss)
	}
}

// linears are those that are there.
func linears(all ...*Linear) []*Linear {
	return slices.DeleteFunc(all, func(l *Linear) bool { return l == nil })
}

func TestTheAttentionBlocksGradientsAreThoseOfDifferencesWithEveryOption(t *testing.T) {
	for _, o := range options {
		t.Run(o.name, func(t *testing.T) {
			b := decoder(small.with(o.layer, o.model)).Layers[0].Attention
			x, dy := random(1, 7*6), random(2, 7*6)
			_, kept := b.Forward(x, packed, nil)
			requireGradients(t, linears(b.QKV, b.Q, b.K, b.V, b.O), b.Backward(dy, kept, nil), x, func() float64 {
				y, _ := b.Forward(x, packed, nil)
				return dot(dy, y)
			})
		})
	}
}

func TestTheMLPBlocksGradientsAreThoseOfDifferencesWithEveryOption(t *testing.T) {
	for _, o := range options {
		t.Run(o.name, func(t *testing.T) {
			b := decoder(small.with(o.layer, o.model)).Layers[0].MLP
			x, dy := random(1, 7*6), random(2, 7*6)
			_, kept := b.Forward(x, nil)
			requireGradients(t, linears(b.GateUp, b.Gate, b.Up, b.Down), b.Backward(dy, kept, nil), x, func() float64 {
				y, _ := b.Forward(x, nil)
				return dot(dy, y)
			})
		})
	}
}

func TestTheModelsGradientsAreThoseOfDifferencesWithEveryOption(t *testing.T) {
	for _, o := range options {
		t.Run(o.name, func(t *testing.T) {
			d := decoder(small.with(o.layer, o.model))
			x := d.Embed(packed)
			loss, dx := d.Train(x, packed, nil)
			require.Equal(t, d.Loss(x, packed, nil), loss)
			requireGradients(t, d.Linears(), dx, x, func() float64 { return d.Loss(x, packed, nil) })
		})
	}
}

func TestDropoutGoesThroughTheModelsGradients(t *testing.T) {
	d := decoder(small)
	x := d.Embed(packed)
	plain := d.Loss(x, packed, nil)
	for i, l := range d.Linears() {
		_, l.LoRA.Mask = Dropout(make([]float64, 7*l.In), 1, uint32(i), 0.3)
	}
	loss, dx := d.Train(x, packed, nil)
	require.Greater(t, math.Abs(loss-plain), 1e-2, "nothing was dropped")
	requireGradients(t, d.Linears(), dx, x, func() float64 { return d.Loss(x, packed, nil) })
}

func TestALinearWithoutAnAdapterLetsGradientsThrough(t *testing.T) {
	d := decoder(small)
	d.Layers[0].Attention.Q.LoRA, d.Layers[1].MLP.Down.LoRA = nil, nil
	x := d.Embed(packed)
	_, dx := d.Train(x, packed, nil)
	requireGradient(t, dx, x, func() float64 { return d.Loss(x, packed, nil) })
}

// An option that was forgotten in forward and backward alike would pass the differences.
func TestEveryOptionChangesTheLoss(t *testing.T) {
	seen := map[float64]string{}
	for _, o := range options {
		d := decoder(small.with(o.layer, o.model))
		loss := d.Loss(d.Embed(packed), packed, nil)
		for other, name := range seen {
			require.Greater(t, math.Abs(loss-other), 1e-4, "%s and %s", o.name, name)
		}
		seen[loss] = o.name
	}
	require.Len(t, seen, len(options))
}

func TestPackedSegmentsAddUpToWhatTheyAreAlone(t *testing.T) {
	d := decoder(small.with(func(l *Layer) { l.QKNorm, l.Window = PerHead, 3 }, nil))
	loss, dx := d.Train(d.Embed(packed), packed, nil)
	first := Segments([][]uint32{packed.IDs[:4]}, [][]int32{packed.Targets[:4]})
	second := Segments([][]uint32{packed.IDs[4:]}, [][]int32{packed.Targets[4:]})
	alone := decoder(d.Spec)
	firstLoss, firstDX := alone.Train(alone.Embed(first), first, nil)
	secondLoss, secondDX := alone.Train(alone.Embed(second), second, nil)
	require.InDelta(t, loss, firstLoss+secondLoss, 1e-12)
	requireClose(t, dx, append(firstDX, secondDX...))
	for i, l := range d.Linears() {
		requireClose(t, l.LoRA.DA, alone.Linears()[i].LoRA.DA)
		requireClose(t, l.LoRA.DB, alone.Linears()[i].LoRA.DB)
	}
}

func TestLogitsAreThoseOfTheLoss(t *testing.T) {
	d := decoder(small)
	logits := d.Logits(packed, nil)
	rows, targets := packed.supervised()
	require.Equal(t, []uint32{1, 2, 3, 4, 6}, rows)
	losses, _ := CrossEntropy(GatherRows(logits, small.Vocab, rows), targets, small.Vocab)
	require.InDelta(t, d.Loss(d.Embed(packed), packed, nil), sum(losses), 1e-12)
	later := packed
	later.IDs = append([]uint32{}, packed.IDs...)
	later.IDs[2] = 8
	changed := d.Logits(later, nil)
	require.Equal(t, logits[:2*11], changed[:2*11], "no token sees a later one")
	require.NotEqual(t, logits[2*11:4*11], changed[2*11:4*11])
	require.Equal(t, logits[4*11:], changed[4*11:], "no segment sees another")
}

func TestATraceNamesWhatAPassComputesInItsOrder(t *testing.T) {
	d := decoder(small.with(func(l *Layer) { l.QKNorm = PerHead }, func(s *Spec) { s.Layers = s.Layers[:1] }))
	var trace Trace
	d.Train(d.Embed(packed), packed, &trace)
	at := map[string]Activation{}
	var names []string
	for _, a := range trace.Activations {
		at[a.Name], names = a, append(names, a.Name)
	}
	require.Len(t, at, len(names), "a name repeats")
	require.Equal(t, strings.Fields(`embedded layers.0.input_norm layers.0.q layers.0.k layers.0.v layers.0.q_norm
		layers.0.k_norm layers.0.q_rotated layers.0.k_rotated layers.0.attention layers.0.o layers.0.middle
		layers.0.post_attention_norm layers.0.gate layers.0.up layers.0.mlp_hidden layers.0.down layers.0.output norm logits`),
		names[:20])
	require.Equal(t, "d logits d norm d layers.0.output d layers.0.mlp_hidden", strings.Join(names[20:24], " "))
	require.Equal(t, "d layers.0.input_norm d embedded", strings.Join(names[len(names)-2:], " "))
	require.Equal(t, 32, at["layers.0.q"].Cols)
	require.Equal(t, at["layers.0.middle"].Values, ResidualAdd(at["embedded"].Values, at["layers.0.o"].Values))
	require.Equal(t, at["layers.0.output"].Values, ResidualAdd(at["layers.0.middle"].Values, at["layers.0.down"].Values))
	require.Len(t, at["logits"].Values, 5*11, "supervised rows")
	require.Equal(t, len(at["layers.0.k"].Values), len(at["d layers.0.k"].Values))
}

func TestNewDecoderAsksForTheTensorsOfItsSpec(t *testing.T) {
	asked := map[string]int{}
	bias := Projections{Q: true, K: true, V: true, O: true, Gate: true, Up: true, Down: true}
	all := small.with(func(l *Layer) { l.QKNorm, l.Bias = PerHead, bias }, nil)
	NewDecoder(all, func(name string, rows, cols int) []float64 {
		asked[name]++
		return make([]float64, rows*cols)
	})
	require.Len(t, asked, 3+2*(2+7*2+2))
	for _, name := range []string{"lm_head.weight", "model.layers.1.self_attn.k_norm.weight", "model.layers.0.mlp.down_proj.bias"} {
		require.Equal(t, 1, asked[name], name)
	}
	require.PanicsWithValue(t, "reference: model.embed_tokens.weight has 1 elements, want [11 6]", func() {
		NewDecoder(small, func(string, int, int) []float64 { return make([]float64, 1) })
	})
}
