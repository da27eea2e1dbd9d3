package adapters

import (
	"encoding/json/v2"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/model/architectures"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/lora"
)

// throughGGUF is the adapter written as GGUF and read again.
func throughGGUF(t testing.TB, s spec.Spec, kind gguf.Type, adapters ...*lora.Files) *lora.Files {
	sum, err := Add(s, "owner/base", adapters...)
	require.NoError(t, err)
	f, err := sum.GGUF(kind)
	require.NoError(t, err)
	data := written(t, f)
	require.Equal(t, f.Size, int64(len(data)))
	a, err := Open(store{files: map[string][]byte{"a.gguf": data}}, "a.gguf")
	require.NoError(t, err)
	files, err := a.For(s)
	require.NoError(t, err)
	return files
}

// throughMLX is the adapter written as MLX's folder and read again.
func throughMLX(t testing.TB, s spec.Spec, adapters ...*lora.Files) *lora.Files {
	sum, err := Add(s, "owner/base", adapters...)
	require.NoError(t, err)
	list, err := sum.MLX()
	require.NoError(t, err)
	held := map[string][]byte{}
	for name, f := range list {
		held["mlx/"+name] = written(t, f)
		require.LessOrEqual(t, int64(len(held["mlx/"+name])), f.Size+1024)
	}
	a, err := Open(store{files: held}, "mlx")
	require.NoError(t, err)
	files, err := a.For(s)
	require.NoError(t, err)
	return files
}

func productsOf(t testing.TB, s spec.Spec, files *lora.Files) map[string]lora.Product {
	products, warnings, err := files.Products(lora.LinearsOf(s))
	require.NoError(t, err)
	require.Empty(t, warnings)
	return products
}

// foldsQueries: llama.cpp has a scale of the scores of its own, and the difference goes into q's matrices.
func foldsQueries(s spec.Spec) bool {
	return architectures.ScoreFactor(s, 0) != 1 && s.Layers[0].QKNorm == spec.NoQKNorm
}

// Adapters that were trained on every family's small model come back from each format as they were, but for
// the rounding of what is folded.
func TestTrainedAdaptersComeBack(t *testing.T) {
	cases, err := filepath.Glob("../parity/testdata/*/model")
	require.NoError(t, err)
	require.NotEmpty(t, cases)
	for _, dir := range cases {
		dir = filepath.ToSlash(filepath.Dir(dir))
		t.Run(filepath.Base(dir), func(t *testing.T) {
			model, err := pretrained.Open(dir + "/model")
			require.NoError(t, err)
			defer model.Close()
			files, err := lora.Open(checkpoint.Files{}, dir+"/init_adapter")
			require.NoError(t, err)
			trained, err := checkpoint.Files{}.Open(dir + "/adapter_after.safetensors")
			require.NoError(t, err)
			defer trained.Close()
			files.Tensors, err = lora.ReadWeights(trained, trained.Size(), "trained")
			require.NoError(t, err)
			want := productsOf(t, model.Spec, files)
			for linear, p := range want {
				require.True(t, slices.ContainsFunc(p.B, func(v float32) bool { return v != 0 }), "%s proves nothing", linear)
			}
			require.Equal(t, want, productsOf(t, model.Spec, throughMLX(t, model.Spec, files)))
			got := productsOf(t, model.Spec, throughGGUF(t, model.Spec, gguf.F32, files))
			for _, m := range matrices(model.Spec) {
				if linear := linearOf(m); foldsQueries(model.Spec) && m.Module == spec.QProj {
					require.InDeltaSlice(t, added(m.Rows, m.Cols, want[linear]), added(m.Rows, m.Cols, got[linear]), 5e-6, linear)
				} else {
					require.Equal(t, want[linear], got[linear], linear)
				}
			}
		})
	}
}

// sizes are keys of a small model's config.json that all families have.
const sizes = `"hidden_size":24,"intermediate_size":20,"shared_intermediate_size":20,"num_hidden_layers":3,"num_attention_heads":4,` +
	`"num_key_value_heads":2,"head_dim":6,"vocab_size":9,"max_position_embeddings":64,"num_local_experts":0,` +
	`"layer_types":["full_attention","full_attention","full_attention"]`

// small is the description of a small model of a class.
func small(t testing.TB, class string) spec.Spec {
	k := &spec.Keys{Path: "config.json"}
	require.NoError(t, json.Unmarshal(fmt.Appendf(nil, `{"architectures":[%q],%s}`, class, sizes), &k.Values))
	family, err := architectures.Find(k)
	require.NoError(t, err)
	s, err := family.Read(k)
	require.NoError(t, err)
	return s
}

var classes = []string{
	"LlamaForCausalLM", "MistralForCausalLM", "Ministral3ForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "Gemma2ForCausalLM",
	"Gemma3ForCausalLM", "Phi3ForCausalLM", "SmolLM3ForCausalLM", "GraniteForCausalLM", "GraniteMoeHybridForCausalLM", "Olmo2ForCausalLM",
}

// drawn is an adapter of random matrices for those linears that pick gives a rank and a scale.
func drawn(t testing.TB, s spec.Spec, seed uint64, pick func(t spec.Tensor) (rank int, scale float32)) *lora.Files {
	rng, products := rand.New(rand.NewPCG(seed, 1)), map[string]lora.Product{}
	values := func(n int) (x []float32) {
		for range n {
			x = append(x, float32(rng.NormFloat64()))
		}
		return x
	}
	for _, m := range matrices(s) {
		if rank, scale := pick(m); rank > 0 {
			products[linearOf(m)] = lora.Product{Rank: rank, Scaling: scale, A: values(rank * m.Cols), B: values(m.Rows * rank)}
		}
	}
	files, err := lora.Assemble(lora.Origin{Path: "drawn"}, products)
	require.NoError(t, err)
	return files
}

// added is what adapters add to a linear [outs, ins], in float64.
func added(outs, ins int, parts ...lora.Product) []float64 {
	w := make([]float64, outs*ins)
	for _, p := range parts {
		for o := range outs {
			for k := range p.Rank {
				for i := range ins {
					w[o*ins+i] += float64(p.Scaling) * float64(p.B[o*p.Rank+k]) * float64(p.A[k*ins+i])
				}
			}
		}
	}
	return w
}

// Ranks and scales of their own, also of several adapters on top of each other, are the same products in each format.
func TestEveryFamilyThroughEveryFormat(t *testing.T) {
	uniform := func(spec.Tensor) (int, float32) { return 3, float32(16.0 / 3) }
	ranks := func(m spec.Tensor) (int, float32) { // one alpha: GGUF says it, MLX pads and folds
		rank := 2 + m.Layer
		return rank, 8 / float32(rank)
	}
	scales := func(m spec.Tensor) (int, float32) { // in part of the linears, with scales that no alpha gives
		if m.Layer == 0 && m.InAttention() {
			return 0, 0
		}
		return 2, 0.7 + float32(m.Layer)*0.37
	}
	for _, class := range classes {
		t.Run(class, func(t *testing.T) {
			s := small(t, class)
			folded := foldsQueries(s)
			require.Equal(t, class == architectures.Gemma2.Names[0], folded)
			for name, c := range map[string]struct {
				adapters  []*lora.Files
				gguf, mlx bool // comes back to the bit
			}{
				"uniform": {[]*lora.Files{drawn(t, s, 1, uniform)}, true, true},
				"ranks":   {[]*lora.Files{drawn(t, s, 2, ranks)}, true, false},
				"scales":  {[]*lora.Files{drawn(t, s, 3, scales)}, false, false},
				"two":     {[]*lora.Files{drawn(t, s, 4, uniform), drawn(t, s, 5, scales)}, false, false},
			} {
				var want []map[string]lora.Product
				for _, files := range c.adapters {
					want = append(want, productsOf(t, s, files))
				}
				for format, got := range map[string]*lora.Files{
					"gguf": throughGGUF(t, s, gguf.F32, c.adapters...), "mlx": throughMLX(t, s, c.adapters...),
				} {
					got := productsOf(t, s, got)
					if format == "gguf" && c.gguf && !folded || format == "mlx" && c.mlx {
						require.Equal(t, want[0], got, "%s, %s", name, format)
						continue
					}
					for _, m := range matrices(s) {
						var parts []lora.Product
						for _, one := range want {
							if p, there := one[linearOf(m)]; there {
								parts = append(parts, p)
							}
						}
						p, there := got[linearOf(m)]
						require.Equal(t, len(parts) > 0, there, m.Name)
						if !there {
							continue
						}
						require.InDeltaSlice(t, added(m.Rows, m.Cols, parts...), added(m.Rows, m.Cols, p), 5e-6, "%s, %s, %s", name, format, m.Name)
					}
				}
			}
		})
	}
}

// An adapter in float16 and bfloat16 comes back within their rounding.
func TestTypes(t *testing.T) {
	s := small(t, "LlamaForCausalLM")
	files := drawn(t, s, 6, func(spec.Tensor) (int, float32) { return 4, 2 })
	want := productsOf(t, s, files)
	for kind, within := range map[gguf.Type]float64{gguf.F16: 0x1p-11, gguf.BF16: 0x1p-8} {
		for linear, p := range productsOf(t, s, throughGGUF(t, s, kind, files)) {
			require.Equal(t, want[linear].Scaling, p.Scaling)
			for i, v := range p.B {
				require.InEpsilon(t, want[linear].B[i], v, within)
			}
			require.NotEqual(t, want[linear].A, p.A)
		}
	}
}

// Where somebody trained gate and up apart, and this model's files have one matrix, each keeps matrices of its own.
func TestGateAndUpThatWereTrainedApart(t *testing.T) {
	s := small(t, "GraniteMoeHybridForCausalLM")
	const outs, half, ins = 40, 20, 24
	rng := rand.New(rand.NewPCG(10, 1))
	matrixOf := func(rows, cols int) *matrix {
		m := &matrix{rows: rows, cols: cols}
		for range rows * cols {
			m.values = append(m.values, float32(rng.NormFloat64()))
		}
		return m
	}
	gate, up := pair{matrixOf(2, ins), matrixOf(half, 2)}, pair{matrixOf(3, ins), matrixOf(half, 3)}
	places, _ := inGGUF(s)
	for _, c := range []pairs{
		{"blk.1.ffn_gate.weight": gate, "blk.1.ffn_up.weight": up}, {"blk.1.ffn_gate.weight": gate}, {"blk.1.ffn_up.weight": up},
	} {
		a := &Adapter{pairs: c, scale: func(rank int) float32 { return ggufScale(8, rank) }}
		var want []lora.Product
		for name, both := range c {
			p := lora.Product{Rank: both.a.rows, Scaling: 8 / float32(both.a.rows), A: both.a.values, B: make([]float32, outs*both.a.rows)}
			first := 0
			if name == "blk.1.ffn_up.weight" {
				first = half
			}
			copy(p.B[first*p.Rank:], both.b.values)
			want = append(want, p)
		}
		got := a.products(places)["model.layers.1.shared_mlp.input_linear"]
		require.InDeltaSlice(t, added(outs, ins, want...), added(outs, ins, got), 5e-6)
	}
}
