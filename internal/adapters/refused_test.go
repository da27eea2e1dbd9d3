package adapters

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/lora"
)

// held is a matrix of ones in a file.
type held struct {
	name       string
	rows, cols int
}

// ggufOf is a GGUF file of these pairs and matrices.
func ggufOf(t testing.TB, metadata []gguf.Pair, list ...held) []byte {
	var tensors []gguf.Tensor
	for _, m := range list {
		tensors = append(tensors, gguf.Tensor{Name: m.name, Type: gguf.F32, Shape: []int{m.rows, m.cols}})
	}
	var out bytes.Buffer
	w, err := gguf.NewWriter(&out, metadata, tensors)
	require.NoError(t, err)
	for _, m := range list {
		require.NoError(t, w.Write(m.name, ones(m)))
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

func ones(m held) []byte {
	return bytes.Repeat([]byte{0, 0, 0x80, 0x3f}, m.rows*m.cols)
}

// mlxOf are adapters.safetensors of these matrices.
func mlxOf(t testing.TB, list ...held) []byte {
	var data []safetensors.Data
	for _, m := range list {
		data = append(data, safetensors.Data{Name: m.name, DType: safetensors.F32, Shape: []int{m.rows, m.cols}, Bytes: ones(m)})
	}
	var out bytes.Buffer
	require.NoError(t, safetensors.Write(&out, nil, data))
	return out.Bytes()
}

// opened reads an adapter for a small Llama.
func opened(t testing.TB, files map[string][]byte, name string) (*lora.Files, error) {
	a, err := Open(store{files: files}, name)
	if err != nil {
		return nil, err
	}
	return a.For(small(t, "LlamaForCausalLM"))
}

func about(pairs ...gguf.Pair) []gguf.Pair {
	all := []gguf.Pair{{Key: "general.architecture", Value: "llama"}, {Key: "general.type", Value: "adapter"},
		{Key: "adapter.type", Value: "lora"}, {Key: "adapter.lora.alpha", Value: float32(8)}}
	for _, p := range pairs {
		replaced := false
		for i := range all {
			if all[i].Key == p.Key {
				all[i], replaced = p, true
			}
		}
		if !replaced {
			all = append(all, p)
		}
	}
	return all
}

const vA, vB = "blk.0.attn_v.weight.lora_a", "blk.0.attn_v.weight.lora_b"

func TestGGUFAdaptersAreRead(t *testing.T) {
	for alpha, want := range map[float32]float32{8: 4, 0: 1} {
		data := ggufOf(t, about(gguf.Pair{Key: "adapter.lora.alpha", Value: alpha}), held{vA, 2, 24}, held{vB, 12, 2})
		files, err := opened(t, map[string][]byte{"a": data}, "a")
		require.NoError(t, err)
		products := productsOf(t, small(t, "LlamaForCausalLM"), files)
		require.Len(t, products, 1)
		require.Equal(t, want, products["model.layers.0.self_attn.v_proj"].Scaling)
	}
}

func TestRefusedGGUF(t *testing.T) {
	a, b := held{vA, 2, 24}, held{vB, 12, 2}
	pair := func(key string, value any) []gguf.Pair { return about(gguf.Pair{Key: key, Value: value}) }
	for _, c := range []struct {
		want string
		data []byte
	}{
		{
			"load adapter a: it is a model and no adapter (give it as --model",
			ggufOf(t, pair("general.type", "model"), a, b),
		},
		{
			`it is no adapter: general.type is "mmproj"`,
			ggufOf(t, pair("general.type", "mmproj"), a, b),
		},
		{
			`unsupported: adapter.type is "loha"`,
			ggufOf(t, pair("adapter.type", "loha"), a, b),
		},
		{
			"adapter.alora.invocation_tokens: the adapter applies only behind",
			ggufOf(t, pair("adapter.alora.invocation_tokens", []uint32{1}), a, b),
		},
		{
			"adapter.lora.alpha is -1, it must be positive",
			ggufOf(t, pair("adapter.lora.alpha", float32(-1)), a, b),
		},
		{
			"adapter.lora.alpha has type int32, a float was wanted",
			ggufOf(t, pair("adapter.lora.alpha", int32(1)), a, b),
		},
		{
			"it is for the architecture qwen2, the model's is llama (the adapter belongs to another model)",
			ggufOf(t, pair("general.architecture", "qwen2"), a, b),
		},
		{
			"blk.0.attn_v.weight is for 12×28, the model's is 12×24 (the adapter belongs to another model, by what it says to Big 7B)",
			ggufOf(t, pair("general.base_model.0.name", "Big 7B"), held{vA, 2, 28}, b),
		},
		{
			"blk.0.attn_v.weight is for 14×28, the model's is 12×24; 2 of 2 do not fit",
			ggufOf(t, about(), held{vA, 2, 28}, held{vB, 14, 2}, held{"blk.1.attn_v.weight.lora_a", 2, 28},
				held{"blk.1.attn_v.weight.lora_b", 14, 2}),
		},
		{
			"blk.9.attn_v.weight has no place in the model, which has names such as blk.2.ffn_down.weight",
			ggufOf(t, about(), a, b, held{"blk.9.attn_v.weight.lora_a", 2, 24}, held{"blk.9.attn_v.weight.lora_b", 12, 2}),
		},
		{
			"blk.0.ssm_in.weight, blk.0.ssm_out.weight have no place",
			ggufOf(t, about(), held{"blk.0.ssm_in.weight.lora_a", 2, 24}, held{"blk.0.ssm_in.weight.lora_b", 12, 2},
				held{"blk.0.ssm_out.weight.lora_a", 2, 24}, held{"blk.0.ssm_out.weight.lora_b", 12, 2}),
		},
		{
			"unsupported: token_embd.weight.lora_a adapts the embedding or the head (only linears of the layers",
			ggufOf(t, about(), a, b, held{"token_embd.weight.lora_a", 9, 2}, held{"token_embd.weight.lora_b", 24, 2}),
		},
		{
			"unsupported: tensor blk.0.attn_norm.weight of shape [1 24]",
			ggufOf(t, about(), a, b, held{"blk.0.attn_norm.weight", 1, 24}),
		},
		{
			"blk.0.attn_v.weight.lora_b is missing",
			ggufOf(t, about(), a),
		},
		{
			"blk.0.attn_v.weight.lora_a is missing",
			ggufOf(t, about(), b),
		},
		{
			"the ranks of blk.0.attn_v.weight.lora_a and .lora_b differ:",
			ggufOf(t, about(), a, held{vB, 12, 3}),
		},
		{
			"bad format: it holds no matrices",
			ggufOf(t, about()),
		},
		{
			"load adapter a: bad format: the file is no GGUF (an adapter is a GGUF file, or a folder with adapter_config.json",
			[]byte("PK\x03\x04 whatever"),
		},
	} {
		_, err := opened(t, map[string][]byte{"a": c.data}, "a")
		require.ErrorContains(t, err, c.want)
	}
}

func TestRefusedMLX(t *testing.T) {
	const q = "model.layers.0.self_attn.q_proj"
	a, b := held{q + ".lora_a", 24, 2}, held{q + ".lora_b", 2, 24}
	const config = `{"fine_tune_type":"lora","num_layers":-1,"lora_parameters":{"rank":2,"scale":20.0,"dropout":0.0}}`
	with := func(from, to string) string {
		require.Contains(t, config, from)
		return strings.Replace(config, from, to, 1)
	}
	for _, c := range []struct {
		config  string
		weights []byte
		want    string
	}{
		{with(`"lora"`, `"full"`), mlxOf(t, a, b), "fine_tune_type is full: it holds whole weights, and is no adapter (mlx_lm.fuse"},
		{with(`"lora"`, `"dora"`), mlxOf(t, a, b), "unsupported: fine_tune_type is dora"},
		{with(`"lora"`, `"ia3"`), mlxOf(t, a, b), `fine_tune_type is "ia3"`},
		{with(`"scale":20.0,`, ``), mlxOf(t, a, b), "lora_parameters has no scale (mlx-lm has no alpha"},
		{with(`20.0`, `0`), mlxOf(t, a, b), "lora_parameters.scale is 0, it must be positive"},
		{with(`20.0`, `"a"`), mlxOf(t, a, b), "mlx/adapter_config.json: bad format: lora_parameters.scale is a string, a number was wanted"},
		{with(`"rank":2`, `"rank":8`), mlxOf(t, a, b), "the rank of " + q + " is 2, mlx/adapter_config.json says 8"},
		{with(`"dropout":0.0`, `"dropout":1`), mlxOf(t, a, b), "lora_parameters.dropout is 1"},
		{with(`,"lora_parameters":{"rank":2,"scale":20.0,"dropout":0.0}`, ``), mlxOf(t, a, b), "lora_parameters are missing"},
		{with(`-1`, `2`), mlxOf(t, a, b), "it holds matrices of " + q + ", which mlx/adapter_config.json does not name"},
		{with(`0.0`, `0.0,"keys":["self_attn.v_proj"]`), mlxOf(t, a, b), "it holds matrices of " + q + ", which"},
		{config, mlxOf(t, a, held{q + ".lora_b", 2, 28}), q + " is for 28×24, the model's is 24×24 (the adapter belongs to another model)"},
		{config, mlxOf(t, a, b, held{"model.layers.7.self_attn.q_proj.lora_a", 24, 2}, held{"model.layers.7.self_attn.q_proj.lora_b", 2, 24}),
			"model.layers.7.self_attn.q_proj has no place in the model"},
		{config, mlxOf(t, a, b, held{"lm_head.lora_a", 24, 2}, held{"lm_head.lora_b", 2, 9}), "lm_head.lora_a adapts the embedding or the head"},
		{config, mlxOf(t, a, b, held{q + ".m", 1, 24}), "tensor " + q + ".m of shape [1 24] (only LoRA matrices"},
		{config, mlxOf(t, a, b, held{"language_model." + q + ".lora_a", 24, 2}, held{"language_model." + q + ".lora_b", 2, 24}),
			"2 of its 4 names begin with language_model., the others not"},
		{config, mlxOf(t, a), q + ".lora_b is missing"},
		{config, nil, "mlx/adapters.safetensors: file does not exist (mlx_lm.lora writes it"},
	} {
		files := map[string][]byte{"mlx/adapter_config.json": []byte(c.config)}
		if c.weights != nil {
			files["mlx/adapters.safetensors"] = c.weights
		}
		_, err := opened(t, files, "mlx")
		require.ErrorContains(t, err, c.want)
	}
	for _, named := range []string{`"self_attn.q_proj"`, `"` + q + `"`, `"language_model.` + q + `"`} {
		files, err := opened(t, map[string][]byte{"mlx/adapter_config.json": []byte(with(`0.0`, `0.0,"keys":[`+named+`]`)),
			"mlx/adapters.safetensors": mlxOf(t, a, b)}, "mlx")
		require.NoError(t, err, named)
		require.Equal(t, float32(20), productsOf(t, small(t, "LlamaForCausalLM"), files)[q].Scaling)
	}
	_, err := opened(t, map[string][]byte{"mlx/adapter_config.json": []byte(`{"peft_type":"LORA","r":2}`),
		"mlx/adapters.safetensors": mlxOf(t, a, b)}, "mlx")
	require.ErrorContains(t, err, "mlx/adapter_model.safetensors", "a configuration of PEFT's is read as PEFT's")
}

// Values that a type does not hold, or that are too large once a scale is folded into them, are named.
func TestRefusedValues(t *testing.T) {
	s := small(t, "LlamaForCausalLM")
	files := drawn(t, s, 9, func(m spec.Tensor) (int, float32) { return 2, 1 + float32(m.Layer)*1000 })
	for i, tensor := range files.Tensors {
		if strings.HasSuffix(tensor.Name, "layers.2.self_attn.o_proj.lora_B.weight") {
			files.Tensors[i].Values[5] = 3e38
		}
	}
	sum, err := Add(s, "", files)
	require.NoError(t, err)
	for _, kind := range []gguf.Type{gguf.F32, gguf.F16} {
		f, err := sum.GGUF(kind)
		require.NoError(t, err)
		require.ErrorContains(t, f.Write(&bytes.Buffer{}), "element [2,1] of blk.2.attn_output.weight.lora_b is ")
	}
	mlx, err := sum.MLX()
	require.NoError(t, err)
	err = mlx["adapters.safetensors"].Write(&bytes.Buffer{})
	require.ErrorContains(t, err, "element [2,1] of model.layers.2.self_attn.o_proj.lora_b is larger")
}
