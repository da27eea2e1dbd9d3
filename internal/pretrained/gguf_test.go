package pretrained

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/model/architectures"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/usererr"
)

// pair is a metadata entry: a uint32, float32, bool, string, or an array of strings or int32.
type pair struct {
	key   string
	value any
}

// matrix is a float32 tensor; ne in ggml's order. Its elements count up from 0 where it has no values.
type matrix struct {
	name   string
	ne     []uint64
	values []float32
}

func ggufFile(t testing.TB, pairs []pair, tensors []matrix) []byte {
	var b bytes.Buffer
	put := func(v any) { require.NoError(t, binary.Write(&b, binary.LittleEndian, v)) }
	str := func(s string) { put(uint64(len(s))); b.WriteString(s) }
	b.WriteString(gguf.Magic)
	put(uint32(3))
	put([]uint64{uint64(len(tensors)), uint64(len(pairs))})
	for _, p := range pairs {
		str(p.key)
		switch v := p.value.(type) {
		case int:
			put([]uint32{4, uint32(v)})
		case float64:
			put([]uint32{6, math.Float32bits(float32(v))})
		case bool:
			put(uint32(7))
			put(v)
		case string:
			put(uint32(8))
			str(v)
		case []string:
			put([]uint32{9, 8})
			put(uint64(len(v)))
			for _, s := range v {
				str(s)
			}
		case []float32:
			put([]uint32{9, 6})
			put(uint64(len(v)))
			put(v)
		case []int32:
			put([]uint32{9, 5})
			put(uint64(len(v)))
			put(v)
		}
	}
	var data bytes.Buffer
	for _, m := range tensors {
		n := uint64(1)
		for _, d := range m.ne {
			n *= d
		}
		str(m.name)
		put(uint32(len(m.ne)))
		put(m.ne)
		put(uint32(gguf.F32))
		put(uint64(data.Len()))
		if m.values == nil {
			for i := range n {
				m.values = append(m.values, float32(i))
			}
		}
		require.NoError(t, binary.Write(&data, binary.LittleEndian, m.values))
		data.Write(make([]byte, (32-data.Len()%32)%32))
	}
	b.Write(make([]byte, (32-b.Len()%32)%32))
	b.Write(data.Bytes())
	return b.Bytes()
}

// small is a model of 2 heads of 4 dimensions, one key and value head.
func small() ([]pair, []matrix) {
	pairs := []pair{
		{"general.architecture", "llama"}, {"llama.embedding_length", 8}, {"llama.feed_forward_length", 4}, {"llama.block_count", 1},
		{"llama.context_length", 64}, {"llama.attention.head_count", 2}, {"llama.attention.head_count_kv", 1},
		{"llama.attention.layer_norm_rms_epsilon", 1e-5}, {"tokenizer.ggml.model", "llama"},
		{"tokenizer.ggml.tokens", []string{"<unk>", "<s>", "</s>"}},
		{"tokenizer.ggml.scores", []float32{0, -1, -2.5}}, {"tokenizer.ggml.token_type", []int32{2, 3, 3}},
		{"tokenizer.ggml.bos_token_id", 1}, {"tokenizer.ggml.eos_token_id", 2},
	}
	matrices := []matrix{
		{name: "token_embd.weight", ne: []uint64{8, 3}}, {name: "output.weight", ne: []uint64{8, 3}},
		{name: "blk.0.attn_q.weight", ne: []uint64{2, 8}},
		{name: "blk.0.attn_q.bias", ne: []uint64{8}}, {name: "blk.0.attn_k.bias", ne: []uint64{4}}, {name: "rope_freqs.weight", ne: []uint64{2}},
	}
	return pairs, matrices
}

func openBytes(b []byte) (*Model, error) {
	return openIn(memory{"m.gguf": b}, "m.gguf")
}

// openIn opens a file of a folder, by its name alone.
func openIn(folder memory, name string) (*Model, error) { return OpenGGUF(folder, name, name) }

func TestOpenSmallGGUF(t *testing.T) {
	pairs, tensors := small()
	file := ggufFile(t, append(pairs, pair{"llama.rope.scaling.type", "linear"}, pair{"llama.rope.scaling.factor", 4.0}), tensors)
	// The factors count up from 0 and have to be positive.
	copy(file[len(file)-32:], binary.LittleEndian.AppendUint32(nil, math.Float32bits(0.5)))
	m, err := openBytes(file)
	require.NoError(t, err)
	require.Equal(t, spec.Spec{
		Family: "LlamaForCausalLM", Hidden: 8, Vocab: 3, MaxPositions: 64, NormEps: float64(float32(1e-5)),
		Layers: rotating([]spec.Layer{{Heads: 2, KVHeads: 1, HeadDim: 4, MLP: 4, QKVBias: true, OBias: true}},
			spec.RoPE{Dim: 4, Theta: 10000, Scaling: "linear", Factor: 4, Factors: []float32{0.5, 1}}),
	}, m.Spec)
	require.Equal(t, Tokens{BOS: 1, EOS: []int{2}, Stop: []int{2}, Pad: -1}, m.Tokens)
	_, listed := m.Lookup("rope_freqs.weight")
	require.False(t, listed)
	require.NoError(t, m.Expect("lm_head.weight", 3, 8))
	require.Equal(t, []string{"F32", ""}, []string{m.Type("lm_head.weight"), m.Type("rope_freqs.weight")})

	// Stored rows 0 1 2 3 of a head are its features 0 2 1 3.
	q := make([]float32, 16)
	require.NoError(t, m.ReadRows("model.layers.0.self_attn.q_proj.weight", 0, 8, q))
	require.Equal(t, []float32{0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15}, q)
	require.NoError(t, m.ReadRows("model.layers.0.self_attn.q_proj.bias", 0, 1, q[:8]))
	require.Equal(t, []float32{0, 2, 1, 3, 4, 6, 5, 7}, q[:8])
	require.NoError(t, m.ReadRows("model.layers.0.self_attn.k_proj.bias", 0, 1, q[:4]))
	require.Equal(t, []float32{0, 2, 1, 3}, q[:4])

	tok := m.Tokenizer()
	require.True(t, tok.AddBos, "the default of SentencePiece vocabularies")
	require.Equal(t, map[string]string{"bos_token": "<s>", "eos_token": "</s>"}, tok.Named)
	require.Equal(t, []int{2, 3, 3}, tok.Types)
	require.Equal(t, []float32{0, -1, -2.5}, tok.Scores)
	require.True(t, tok.AddSpacePrefix, "the default of SentencePiece vocabularies")
	require.False(t, tok.CollapseSpaces)
	m, err = openBytes(ggufFile(t, append(pairs, pair{"tokenizer.ggml.add_space_prefix", false},
		pair{"tokenizer.ggml.remove_extra_whitespaces", true}), tensors[:len(tensors)-1]))
	require.NoError(t, err)
	require.False(t, m.Tokenizer().AddSpacePrefix)
	require.True(t, m.Tokenizer().CollapseSpaces)
}

func TestOpenGGUFRefuses(t *testing.T) {
	const f, u = usererr.Format, usererr.Unsupported
	for _, c := range []struct {
		name    string
		change  pair   // replaces an entry or is added; a nil value removes it
		tensor  matrix // is added where it has a name
		kind    usererr.Kind
		message string
	}{
		{"architecture", pair{"general.architecture", "mamba"}, matrix{}, u, `the architecture is "mamba" (known are gemma2`},
		{"architecture of experts", pair{"general.architecture", "qwen3moe"}, matrix{}, u, `the architecture is "qwen3moe" (known are gemma2`},
		{"attention that looks ahead", pair{"llama.attention.causal", false}, matrix{}, u,
			"llama.attention.causal: unsupported: is_causal is false, which LlamaForCausalLM does not read"},
		{"causal is no number", pair{"llama.attention.causal", 1}, matrix{}, f, "llama.attention.causal has type uint32, a bool was wanted"},
		{"alibi", pair{"llama.attention.max_alibi_bias", 8.0}, matrix{}, u, "llama.attention.max_alibi_bias: unsupported: alibi is 8, which"},
		{"clipped", pair{"llama.attention.clamp_kqv", 8.0}, matrix{}, u, "llama.attention.clamp_kqv: unsupported: clip_qkv is 8, which"},
		{"parallel", pair{"llama.use_parallel_residual", true}, matrix{}, u,
			"llama.use_parallel_residual: unsupported: use_parallel_residual is"},
		{"scaled", pair{"llama.embedding_scale", 12.0}, matrix{}, u, "llama.embedding_scale: unsupported: embedding_multiplier is 12, which"},
		{"adapter", pair{"general.type", "adapter"}, matrix{}, u, `the file holds no model: general.type is "adapter" (give the base model's`},
		{"no architecture", pair{"general.architecture", nil}, matrix{}, u, `the architecture is ""`},
		{"experts", pair{"llama.expert_count", 8}, matrix{}, u, "the model is a mixture of experts: llama.expert_count is 8 (take a dense"},
		{"no width", pair{"llama.embedding_length", nil}, matrix{}, f, "llama.embedding_length is missing or not positive"},
		{
			"width of another type", pair{"llama.embedding_length", "8"}, matrix{}, f,
			"llama.embedding_length has type string, an integer was wanted",
		},
		{"huge width", pair{"llama.embedding_length", -1}, matrix{}, f, "llama.embedding_length is 4294967295"},
		{
			"heads by layer", pair{"llama.attention.head_count_kv", []int32{1}}, matrix{}, f,
			"head_count_kv has type array of int32, an integer was wanted",
		},
		{"no epsilon", pair{"llama.attention.layer_norm_rms_epsilon", nil}, matrix{}, f, "rms_norm_eps is 0"},
		{"partial rotary", pair{"llama.rope.dimension_count", 2}, matrix{}, u,
			"partial_rotary_factor is 0.5: of head_dim 4 a multiple of 4 has to rotate"},
		{"value length", pair{"llama.attention.value_length", 8}, matrix{}, u, "keys of 4 and values of 8 dimensions"},
		{"ntk", pair{"llama.rope.scaling.type", "ntk"}, matrix{}, u, `rope_scaling.rope_type is "ntk"`},
		{
			"unknown tensor", pair{}, matrix{name: "blk.0.attn_sinks.weight", ne: []uint64{2}}, u,
			`the model has a tensor "blk.0.attn_sinks.weight"`,
		},
		{"a part of no place", pair{"split.count", 3}, matrix{}, f, "split.count is 3, but split.no is missing"},
		{"parts of no number", pair{"split.count", "x"}, matrix{}, f, "split.count has type string, an integer was wanted"},
		{
			"k of another width", pair{}, matrix{name: "blk.0.attn_k.weight", ne: []uint64{2, 3}}, f,
			"tensor blk.0.attn_k.weight has 3 outputs for 1 heads",
		},
		{"zero rope factor", pair{}, matrix{name: "rope_freqs.weight", ne: []uint64{2}}, f, "rope factor 0 is 0"},
		{"three rope factors", pair{}, matrix{name: "rope_freqs.weight", ne: []uint64{3}}, f,
			"there are 3 rope factors for 4 rotating dimensions"},
		{"rope factor matrix", pair{}, matrix{name: "rope_freqs.weight", ne: []uint64{1, 2}}, f, "tensor rope_freqs.weight has shape [2 1]"},
		{
			"more tokens than rows", pair{"tokenizer.ggml.tokens", []string{"a", "b", "c", "d"}}, matrix{}, f,
			"there are 4 tokens, the embedding has 3 rows",
		},
		{"types", pair{"tokenizer.ggml.token_type", []int32{1}}, matrix{}, f, "there are 3 tokens and 1 token types"},
		{"bos", pair{"tokenizer.ggml.bos_token_id", 3}, matrix{}, f, "token id 3 lies outside the vocabulary of 3"},
		{"unknown token", pair{"tokenizer.ggml.unknown_token_id", 3}, matrix{}, f, "tokenizer.ggml.unknown_token_id is 3, there are 3 tokens"},
	} {
		t.Run(c.name, func(t *testing.T) {
			base, tensors := small()
			tensors = tensors[:5] // without rope factors
			var pairs []pair
			for _, p := range append(base, c.change) {
				if p.key != "" && p.value != nil && (p.key != c.change.key || p.value == nil) {
					pairs = append(pairs, p)
				}
			}
			if c.change.value != nil {
				pairs = append(pairs, c.change)
			}
			if c.tensor.name != "" {
				tensors = append(tensors, c.tensor)
			}
			_, err := openBytes(ggufFile(t, pairs, tensors))
			require.Error(t, err)
			require.True(t, usererr.Is(err, c.kind), err)
			require.ErrorContains(t, err, "m.gguf: ")
			require.ErrorContains(t, err, c.message)
		})
	}
}

// What llama.cpp has a default for is its, whatever the family's in transformers is.
func TestKeysThatAGGUFLacks(t *testing.T) {
	pairs, tensors := small()
	var m Model
	parts, err := m.openParts(memory{"m.gguf": ggufFile(t, pairs, tensors)}, "m.gguf", "m.gguf")
	require.NoError(t, err)
	g := &ggufReader{File: parts[0].head, path: "m.gguf", family: architectures.Llama}
	keys, err := g.keys()
	require.NoError(t, err)
	for name, want := range map[string]any{
		"rope_theta": 10000.0, "head_dim": 4.0, "vocab_size": 3.0, "tie_word_embeddings": false, "attention_bias": true, "mlp_bias": false,
	} {
		require.Equal(t, want, keys.Values[name], name)
	}
}

// All tensors without a use are counted, the first of them named.
func TestUnusedTensorsOfAGGUF(t *testing.T) {
	base, tensors := small()
	tensors = tensors[:5] // without rope factors
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		tensors = append(tensors, matrix{name: name, ne: []uint64{2}})
	}
	_, err := openBytes(ggufFile(t, base, tensors))
	require.ErrorContains(t, err,
		`unsupported: the model has 6 tensors without a use: "a", "b", "c", "d", "e" and 1 more `+
			`(no model of the plain llama architecture has them)`)
}

// Whoever needs a tokenizer is told which file is missing.
func TestMissingTokenizers(t *testing.T) {
	base, tensors := small()
	tensors = tensors[:5] // without rope factors
	m, err := openBytes(ggufFile(t, base, tensors))
	require.NoError(t, err)
	require.NoError(t, m.CheckTokenizer())
	var without []pair
	for _, p := range base {
		if p.key != "tokenizer.ggml.model" {
			without = append(without, p)
		}
	}
	m, err = openBytes(ggufFile(t, without, tensors))
	require.NoError(t, err)
	require.EqualError(t, m.CheckTokenizer(), "open model m.gguf: the file has no tokenizer: tokenizer.ggml.model is missing "+
		"(make the GGUF of a folder that has one, with llama.cpp's convert_hf_to_gguf.py)")

	folder := memory{"config.json": []byte(minimal), "model.safetensors": weights(t, 0, "a"), "tokenizer_config.json": []byte("{}")}
	m, err = OpenFolder(folder, "m")
	require.NoError(t, err)
	require.ErrorContains(t, m.CheckTokenizer(), "open model m: there is no tokenizer.json, tekken.json or tokenizer.model "+
		"(fetch it with the model; of vocab.json ")
	folder["tokenizer.json"] = []byte("{}")
	m, err = OpenFolder(folder, "m")
	require.NoError(t, err)
	require.NoError(t, m.CheckTokenizer())
}
