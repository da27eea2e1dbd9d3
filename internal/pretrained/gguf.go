package pretrained

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/usererr"
)

// ggufModules maps the tensors of a layer (blk.N.…) to Hugging Face's modules (model.layers.N.…).
var ggufModules = map[string]string{
	"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
	"attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
	"ffn_down": "mlp.down_proj",
}

var ggufTop = map[string]string{
	"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight", "output.weight": "lm_head.weight",
}

// ropeFactors is the tensor in which llama.cpp stores Llama 3's rotary scaling.
const ropeFactors = "rope_freqs.weight"

// OpenGGUF opens a GGUF file of the llama architecture. Rows of q_proj and k_proj, which llama.cpp stores with the two halves of each
// head interleaved, come back in Hugging Face's order. The path only serves messages. Errors are *usererr.Error.
func OpenGGUF(r io.ReaderAt, size int64, path string) (*Model, error) {
	f, err := gguf.Read(r, size, path)
	if err != nil {
		return nil, err
	}
	m, h := newModel(path)
	g := &ggufReader{File: f, path: path}
	if err := g.config(&m.Config); err != nil {
		return nil, err
	}
	for _, t := range f.Tensors() {
		if t.Name == ropeFactors {
			if t.Rows() != 1 || t.Cols() > maxDimension {
				return nil, usererr.New(op, path, "tensor %s has shape %v", t.Name, t.Shape).Of(usererr.Format)
			}
			m.Config.RopeFactors = make([]float32, t.Cols())
			if err := f.ReadFloat32(t, m.Config.RopeFactors, 0, 1); err != nil {
				return nil, err
			}
			continue
		}
		w, err := g.weight(t, &m.Config)
		if err != nil {
			return nil, err
		}
		if err := m.add(w); err != nil {
			return nil, err
		}
	}
	if err := m.Config.validate(path); err != nil {
		return nil, err
	}
	if m.tokenizer = g.tokenizer(&m.Config); g.err != nil {
		return nil, g.err
	}
	if err := hashPart(h, r, f.DataStart()); err != nil {
		return nil, usererr.New(op, path, "%w", err)
	}
	if err := m.hashTensors(h); err != nil {
		return nil, err
	}
	return m, nil
}

// ggufReader reads metadata and keeps the first error.
type ggufReader struct {
	*gguf.File
	path string
	err  error
}

// read takes what a getter returned; the fallback where the key is absent.
func read[T any](g *ggufReader, get func(string) (T, bool, error), key string, fallback T) T {
	v, ok, err := get(key)
	if g.err == nil {
		g.err = err
	}
	if !ok || err != nil {
		return fallback
	}
	return v
}

func (g *ggufReader) integer(key string, fallback int) int {
	v := read(g, g.Int, key, int64(fallback))
	if v < math.MinInt32 || v > math.MaxInt32 {
		g.fail("%s is %d", key, v)
		return fallback
	}
	return int(v)
}

// required is an integer without a default.
func (g *ggufReader) required(key string) int {
	v := g.integer(key, -1)
	if v < 1 {
		g.fail("%s is missing or not positive", key)
	}
	return v
}

func (g *ggufReader) unsupported(format string, args ...any) *usererr.Error {
	return usererr.New(op, g.path, "%w", fmt.Errorf(format, args...)).Of(usererr.Unsupported)
}

// config fills the configuration from metadata and from which tensors exist. What llama.cpp has defaults for has the same here.
func (g *ggufReader) config(c *Config) error {
	if arch := read(g, g.String, "general.architecture", ""); g.err == nil && arch != "llama" {
		return g.unsupported("the architecture is %q", arch).Hinted("GGUF files of the llama architecture are read; for others take the Hugging Face folder")
	}
	if g.integer("llama.expert_count", 0) > 0 {
		return g.unsupported("the model is a mixture of experts")
	}
	heads := g.required("llama.attention.head_count")
	*c = Config{
		Architectures: []string{"LlamaForCausalLM"}, ModelType: "llama", HiddenAct: "silu",
		HiddenSize: g.required("llama.embedding_length"), IntermediateSize: g.required("llama.feed_forward_length"),
		NumHiddenLayers: g.required("llama.block_count"), NumAttentionHeads: heads,
		NumKeyValueHeads:      g.integer("llama.attention.head_count_kv", heads),
		MaxPositionEmbeddings: g.required("llama.context_length"),
		RMSNormEps:            read(g, g.Float, "llama.attention.layer_norm_rms_epsilon", 0),
		RopeTheta:             read(g, g.Float, "llama.rope.freq_base", 10000),
		BosTokenID:            g.integer("tokenizer.ggml.bos_token_id", -1),
		PadTokenID:            g.integer("tokenizer.ggml.padding_token_id", -1),
	}
	if eos := g.integer("tokenizer.ggml.eos_token_id", -1); eos != -1 {
		c.EosTokenIDs = []int{eos}
	}
	if g.err != nil {
		return g.err
	}
	c.HeadDim = g.integer("llama.attention.key_length", c.HiddenSize/heads)
	if v := g.integer("llama.attention.value_length", c.HeadDim); v != c.HeadDim {
		return g.unsupported("keys of %d and values of %d dimensions", c.HeadDim, v)
	}
	if d := g.integer("llama.rope.dimension_count", c.HeadDim); d != c.HeadDim {
		return g.unsupported("rotary embeddings over %d of %d dimensions", d, c.HeadDim)
	}
	embedding, _ := g.Lookup("token_embd.weight")
	c.VocabSize = g.integer("llama.vocab_size", embedding.Rows())
	_, untied := g.Lookup("output.weight")
	_, c.AttentionBias = g.Lookup("blk.0.attn_q.bias")
	_, c.MLPBias = g.Lookup("blk.0.ffn_up.bias")
	c.TieWordEmbeddings = !untied
	g.ropeScaling(c)
	return g.err
}

func (g *ggufReader) ropeScaling(c *Config) {
	kind := read(g, g.String, "llama.rope.scaling.type", "none")
	factor := read(g, g.Float, "llama.rope.scaling.factor", 0)
	if old := read(g, g.Float, "llama.rope.scale_linear", 0); old != 0 && factor == 0 {
		kind, factor = "linear", old // the key of files from 2023
	}
	if kind != "none" && factor != 1 {
		c.RopeScaling = &RopeScaling{Type: kind, Factor: factor}
	}
}

// weight maps a tensor to its Hugging Face name and row order.
func (g *ggufReader) weight(t gguf.Tensor, c *Config) (weight, error) {
	w := weight{
		Tensor: Tensor{ggufTop[t.Name], t.Rows(), t.Cols()}, file: g.path, size: t.Size,
		readRows:  func(first, rows int, dst []float32) error { return g.ReadFloat32(t, dst, first, rows) },
		readBytes: func(dst []byte, at int64) error { return g.ReadBytes(t, dst, at) },
	}
	if w.Name != "" {
		return w, nil
	}
	part := strings.Split(t.Name, ".")
	if len(part) != 4 || part[0] != "blk" || ggufModules[part[2]] == "" || part[3] != "weight" && part[3] != "bias" {
		return weight{}, g.unsupported("the model has a tensor %q", t.Name).Hinted("no model of the plain llama architecture has it")
	}
	w.Name = fmt.Sprintf("model.layers.%s.%s.%s", part[1], ggufModules[part[2]], part[3])
	heads := 0
	switch part[2] {
	case "attn_q":
		heads = c.NumAttentionHeads
	case "attn_k":
		heads = c.NumKeyValueHeads
	default:
		return w, nil
	}
	features := w.Rows
	if part[3] == "bias" {
		features = w.Cols
	}
	if heads < 1 || features%(2*heads) != 0 {
		return weight{}, usererr.New(op, g.path, "tensor %s has %d outputs for %d heads", t.Name, features, heads).Of(usererr.Format)
	}
	stored := storedRow(features / heads)
	if part[3] == "bias" {
		w.readRows = func(_, rows int, dst []float32) error {
			x := make([]float32, len(dst))
			err := g.ReadFloat32(t, x, 0, rows)
			for i := range dst {
				dst[i] = x[stored(i)]
			}
			return err
		}
		return w, nil
	}
	w.readRows = func(first, rows int, dst []float32) error {
		for i := range rows {
			if err := g.ReadFloat32(t, dst[i*w.Cols:(i+1)*w.Cols], stored(first+i), 1); err != nil {
				return err
			}
		}
		return nil
	}
	return w, nil
}

// storedRow maps a row of q_proj or k_proj in Hugging Face's order to where llama.cpp stores it: Hugging Face rotates feature i of a
// head with feature i + headDim/2, llama.cpp feature 2i with 2i + 1 (permute in convert_hf_to_gguf.py).
func storedRow(headDim int) func(row int) int {
	half := headDim / 2
	return func(row int) int {
		i := row % headDim
		return row - i + i%half*2 + i/half
	}
}

// tokenizer fills the tokenizer's source; errors stay in g.err.
func (g *ggufReader) tokenizer(c *Config) TokenizerSource {
	const key = "tokenizer.ggml."
	t := TokenizerSource{
		Model: read(g, g.String, key+"model", ""), Pre: read(g, g.String, key+"pre", ""),
		Tokens: read(g, g.Strings, key+"tokens", nil), Merges: read(g, g.Strings, key+"merges", nil),
		ChatTemplate: read(g, g.String, "tokenizer.chat_template", ""),
	}
	for _, v := range read(g, g.Ints, key+"token_type", nil) {
		t.Types = append(t.Types, int(v))
	}
	switch {
	case len(t.Tokens) > c.VocabSize:
		g.fail("there are %d tokens, the embedding has %d rows", len(t.Tokens), c.VocabSize)
	case len(t.Types) != 0 && len(t.Types) != len(t.Tokens):
		g.fail("there are %d tokens and %d token types", len(t.Tokens), len(t.Types))
	}
	token := func(name string) string {
		id := g.integer(key+name, -1)
		if id == -1 || len(t.Tokens) == 0 {
			return ""
		}
		if id < 0 || id >= len(t.Tokens) {
			g.fail("%s%s is %d, there are %d tokens", key, name, id, len(t.Tokens))
			return ""
		}
		return t.Tokens[id]
	}
	t.BosToken, t.EosToken = token("bos_token_id"), token("eos_token_id")
	t.UnkToken, t.PadToken = token("unknown_token_id"), token("padding_token_id")
	// llama.cpp's defaults, by vocabulary type and pre-tokenizer.
	byDefault := t.Model == "llama" || slices.Contains([]string{"llama3", "llama-v3", "llama-bpe"}, t.Pre)
	t.AddBos = read(g, g.Bool, key+"add_bos_token", byDefault)
	return t
}

func (g *ggufReader) fail(format string, args ...any) {
	if g.err == nil {
		g.err = usererr.New(op, g.path, "%w", fmt.Errorf(format, args...)).Of(usererr.Format)
	}
}
