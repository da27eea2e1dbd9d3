package adapters

import (
	"bytes"
	"encoding/json/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/lora"
)

// interleaved puts the two halves of each head's rows in turns, as permute in convert_hf_to_gguf.py does.
func interleaved(x []float32, cols, headDim int) (y []float32) {
	for head := 0; head < len(x)/cols; head += headDim {
		for i := range headDim / 2 {
			for _, row := range []int{head + i, head + i + headDim/2} {
				y = append(y, x[row*cols:(row+1)*cols]...)
			}
		}
	}
	return y
}

// transposed is a matrix of so many columns the other way round.
func transposed(x []float32, cols int) (y []float32) {
	for c := range cols {
		for r := range len(x) / cols {
			y = append(y, x[r*cols+c])
		}
	}
	return y
}

// What stands in a GGUF file is what convert_lora_to_gguf.py writes: metadata, names, shapes, order of rows.
func TestGGUFIsLlamaCppsFormat(t *testing.T) {
	const rank, ffn = 3, 20
	for _, c := range []struct {
		class, architecture string
		interleaved         bool
	}{
		{"LlamaForCausalLM", "llama", true}, {"MistralForCausalLM", "llama", true}, {"Ministral3ForCausalLM", "mistral3", true},
		{"Qwen2ForCausalLM", "qwen2", false}, {"Gemma3ForCausalLM", "gemma3", false}, {"SmolLM3ForCausalLM", "smollm3", true},
		{"GraniteForCausalLM", "granite", true}, {"GraniteMoeHybridForCausalLM", "granite", true}, {"Olmo2ForCausalLM", "olmo2", false},
		{"Phi3ForCausalLM", "phi3", false},
	} {
		s := small(t, c.class)
		files := drawn(t, s, 7, func(spec.Tensor) (int, float32) { return rank, float32(16.0 / 3) })
		products := productsOf(t, s, files)
		sum, err := Add(s, "owner/base", files)
		require.NoError(t, err)
		f, err := sum.GGUF(gguf.F32)
		require.NoError(t, err)
		data := written(t, f)
		g, err := gguf.Read(bytes.NewReader(data), int64(len(data)), "a.gguf")
		require.NoError(t, err)
		for key, value := range map[string]string{
			"general.architecture": c.architecture, "general.type": "adapter", "adapter.type": "lora",
			"general.base_model.0.name": "owner/base", "general.base_model.0.repo_url": "https://huggingface.co/owner/base",
		} {
			got, _, err := g.String(key)
			require.NoError(t, err)
			require.Equal(t, value, got, key)
		}
		alpha, _, err := g.Float("adapter.lora.alpha")
		require.NoError(t, err)
		require.Equal(t, 16.0, alpha)
		seen := 0
		holds := func(name string, rows, cols int, values []float32) {
			tensor, there := g.Lookup(name)
			require.True(t, there, name)
			require.Equal(t, []int{rows, cols}, tensor.Shape, name)
			x := make([]float32, rows*cols)
			require.NoError(t, g.ReadFloat32(tensor, x, 0, rows))
			require.Equal(t, values, x, "%s, %s", c.class, name)
			seen++
		}
		pair := func(name string, rows, cols int, a, b []float32) {
			holds(name+".weight.lora_a", rank, cols, a)
			holds(name+".weight.lora_b", rows, rank, b)
		}
		const layer = "model.layers.1."
		p := products[layer+"self_attn.o_proj"]
		pair("blk.1.attn_output", 24, 24, p.A, p.B)
		switch {
		case c.architecture == "phi3":
			p = products[layer+"self_attn.qkv_proj"]
			pair("blk.1.attn_qkv", 48, 24, p.A, p.B)
			p = products[layer+"mlp.gate_up_proj"]
			pair("blk.1.ffn_up", 2*ffn, 24, p.A, p.B)
		case c.class == "GraniteMoeHybridForCausalLM":
			p = products[layer+"shared_mlp.input_linear"]
			pair("blk.1.ffn_gate", ffn, 24, p.A, p.B[:ffn*rank])
			pair("blk.1.ffn_up", ffn, 24, p.A, p.B[ffn*rank:])
			p = products[layer+"shared_mlp.output_linear"]
			pair("blk.1.ffn_down", 24, ffn, p.A, p.B)
			fallthrough
		default:
			for _, module := range []string{"q", "k"} {
				p = products[layer+"self_attn."+module+"_proj"]
				rows, b := len(p.B)/rank, p.B
				if c.interleaved {
					b = interleaved(b, rank, 6)
					require.NotEqual(t, p.B, b)
				}
				pair("blk.1.attn_"+module, rows, 24, p.A, b)
			}
			p = products[layer+"self_attn.v_proj"]
			pair("blk.1.attn_v", 12, 24, p.A, p.B)
		}
		require.Len(t, g.Tensors(), 3*2*len(modulesOf(g)), c.class)
		require.Positive(t, seen)
	}
}

// modulesOf are the modules of a layer that have matrices.
func modulesOf(g *gguf.File) map[string]bool {
	modules := map[string]bool{}
	for _, t := range g.Tensors() {
		modules[t.Name[len("blk.0"):len(t.Name)-len(".lora_a")]] = true
	}
	return modules
}

// What stands in an MLX folder is what mlx-lm writes: names, A [inputs, rank] and B [rank, outputs].
func TestMLXIsMLXsFormat(t *testing.T) {
	for _, c := range []struct {
		class, wrapper, within string
		o, gate                string // modules in PEFT's names
		rows                   int    // of gate
	}{
		{"LlamaForCausalLM", "", "", "self_attn.o_proj", "mlp.gate_proj", 20},
		{"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration", "language_model.", "self_attn.o_proj", "mlp.gate_proj", 20},
		{"GraniteMoeHybridForCausalLM", "", "", "self_attn.o_proj", "shared_mlp.input_linear", 20},
	} {
		s := small(t, c.class)
		s.Wrapper = c.wrapper
		files := drawn(t, s, 8, func(m spec.Tensor) (int, float32) {
			if m.Layer == 0 || m.Module == spec.QProj {
				return 0, 0
			}
			return 3 - m.Layer, 2.5
		})
		products := productsOf(t, s, files)
		sum, err := Add(s, "owner/base", files)
		require.NoError(t, err)
		mlx, err := sum.MLX()
		require.NoError(t, err)
		require.Len(t, mlx, 2)
		var config map[string]any
		require.NoError(t, json.Unmarshal(written(t, mlx["adapter_config.json"]), &config))
		require.Equal(t, map[string]any{
			"fine_tune_type": "lora", "num_layers": 2.0, "model": "owner/base", "lora_parameters": map[string]any{
				"rank": 2.0, "scale": 2.5, "dropout": 0.0, "keys": []any{"self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
					"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"},
			},
		}, config)
		data := written(t, mlx["adapters.safetensors"])
		f, err := safetensors.Read(bytes.NewReader(data), int64(len(data)), "adapters.safetensors")
		require.NoError(t, err)
		require.Len(t, f.Tensors(), 2*6*2)
		holds := func(name string, rows, cols int, values []float32) {
			tensor, there := f.Lookup(c.within + name)
			require.True(t, there, name)
			require.Equal(t, []int{rows, cols}, tensor.Shape, name)
			x := make([]float32, rows*cols)
			require.NoError(t, f.ReadFloat32(tensor, x, 0))
			require.Equal(t, values, x, "%s, %s", c.class, name)
		}
		p := products["model.layers.1."+c.o]
		holds("model.layers.1.self_attn.o_proj.lora_a", 24, 2, transposed(p.A, 24))
		holds("model.layers.1.self_attn.o_proj.lora_b", 2, 24, transposed(p.B, 2))
		p = products["model.layers.2."+c.gate] // of rank 1: padded
		holds("model.layers.2.mlp.gate_proj.lora_a", 24, 2, transposed(append(append([]float32{}, p.A...), make([]float32, 24)...), 24))
		holds("model.layers.2.mlp.gate_proj.lora_b", 2, c.rows, append(append([]float32{}, p.B[:c.rows]...), make([]float32, c.rows)...))
		again := throughMLX(t, s, files)
		require.Equal(t, map[string]string{"": "", "language_model.": lora.Wrapped}[c.within], again.Config.Within)
		require.Equal(t, products, productsOf(t, s, again), "padding is no rank")
	}
}
