package processor

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo"
	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/usererr"
)

// modelTexts is a model's files without a disk; what is empty is not there.
type modelTexts map[string]string

func (f modelTexts) Open(name string) (pretrained.File, error) {
	if f[name] == "" {
		return nil, fs.ErrNotExist
	}
	return textFile{bytes.NewReader([]byte(f[name]))}, nil
}

func (f modelTexts) List(folder string) (names []string, err error) {
	for name := range f {
		if inside, ok := strings.CutPrefix(name, folder+"/"); ok {
			names = append(names, inside)
		}
	}
	return names, nil
}

type textFile struct{ *bytes.Reader }

func (textFile) Close() error { return nil }

// FuzzFolder attacks the texts of a Hugging Face folder, each of which may be missing; what opens encodes and answers.
func FuzzFolder(f *testing.F) {
	const config = `{"model_type":"llama","hidden_size":2,"intermediate_size":2,"num_hidden_layers":1,"num_attention_heads":1,` +
		`"vocab_size":258,"tie_word_embeddings":true,"eos_token_id":256,"bos_token_id":1}`
	var weights bytes.Buffer
	require.NoError(f, safetensors.Write(&weights, nil, []safetensors.Data{
		{Name: "model.embed_tokens.weight", DType: safetensors.F32, Shape: []int{1, 2}, Bytes: make([]byte, 8)},
	}))
	text := func(name string) string {
		content, err := fs.ReadFile(demo.ModelFiles(), name)
		require.NoError(f, err)
		return string(content)
	}
	f.Add(text("config.json"), text("generation_config.json"), text("tokenizer_config.json"), "", text("tokenizer.json"), "")
	const tokenizer = `{"added_tokens":[{"id":2,"content":"</s>","special":true}],"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[]},` +
		`"pre_tokenizer":{"type":"ByteLevel","use_regex":true},"decoder":{"type":"ByteLevel"}}`
	f.Add(config, `{"eos_token_id":[1,2],"pad_token_id":null}`,
		`{"eos_token":{"content":"</s>"},"chat_template":[{"name":"default","template":"{{ eos_token }}"}]}`,
		`{"eos_token":"</s>","additional_special_tokens":["<x>"]}`, tokenizer, "")
	f.Add(config, "", `{"add_bos_token":true,"bos_token":"a","added_tokens_decoder":{"2":{"content":"</s>","special":true}}}`, "", tokenizer,
		"{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}")
	f.Add(config, "[]", "null", "{}", tokenizer, "{{")
	f.Fuzz(func(t *testing.T, config, generation, tokenizerConfig, specialTokens, tokenizer, template string) {
		attack(t, func() (*pretrained.Model, error) {
			return pretrained.OpenFolder(modelTexts{
				"config.json": config, "generation_config.json": generation, "tokenizer_config.json": tokenizerConfig,
				"special_tokens_map.json": specialTokens, "tokenizer.json": tokenizer, "chat_template.jinja": template,
				"model.safetensors": weights.String(),
			}, "m")
		})
	})
}

// FuzzGGUF attacks a whole GGUF model: metadata, vocabulary, template and tensors.
func FuzzGGUF(f *testing.F) {
	f.Add(smallGGUF("{% for m in messages %}{{ m.content }}</s>{% endfor %}", gguf.F32))
	f.Add(smallGGUF("", gguf.Q4_0))
	f.Fuzz(func(t *testing.T, b []byte) {
		attack(t, func() (*pretrained.Model, error) {
			return pretrained.OpenGGUF(modelTexts{"m.gguf": string(b)}, "m.gguf", "m.gguf")
		})
	})
}

// attack opens a model, reads what it has and lets its text side work.
func attack(t *testing.T, open func() (*pretrained.Model, error)) {
	mistake := func(err error) bool {
		if err != nil {
			require.IsType(t, &usererr.Error{}, err)
		}
		return err != nil
	}
	m, err := open()
	if mistake(err) {
		return
	}
	defer m.Close()
	for _, tensor := range m.Tensors() {
		mistake(m.ReadRows(tensor.Name, 0, tensor.Rows, make([]float32, tensor.Rows*tensor.Cols)))
	}
	p, err := New(m, "m", Options{Now: time.Unix(1_700_000_000, 0)})
	if mistake(err) {
		return
	}
	for _, id := range p.StopTokens() {
		require.GreaterOrEqual(t, id, 0)
	}
	prompt, err := p.Prompt("a b", "", false)
	if !mistake(err) {
		for _, id := range prompt.IDs {
			require.Less(t, int(id), m.Spec.Vocab)
		}
	}
	source, err := dataset.Read(bytes.NewReader([]byte(`{"text":"ab"}`)), "x.jsonl")
	require.NoError(t, err)
	samples, _, err := p.Encoder(chat.TrainOnAssistant, 8).Encode(source)
	if mistake(err) {
		return
	}
	for i := range samples.Len() {
		sample, err := samples.At(i)
		require.NoError(t, err)
		require.Len(t, sample.Labels, len(sample.IDs))
	}
}

// smallGGUF is a model of one layer, of which only the embedding is there.
func smallGGUF(template string, kind gguf.Type) []byte {
	b := append([]byte(gguf.Magic), 3, 0, 0, 0)
	u32 := func(v uint32) { b = binary.LittleEndian.AppendUint32(b, v) }
	u64 := func(v uint64) { b = binary.LittleEndian.AppendUint64(b, v) }
	str := func(s string) { u64(uint64(len(s))); b = append(b, s...) }
	integers := []struct {
		key   string
		value uint32
	}{
		{"llama.embedding_length", 32}, {"llama.feed_forward_length", 4}, {"llama.block_count", 1}, {"llama.context_length", 64},
		{"llama.attention.head_count", 2}, {"llama.attention.head_count_kv", 1}, {"tokenizer.ggml.eos_token_id", 3},
	}
	tokens, types := []string{"a", "b", "ab", "</s>", "Ġ"}, []uint32{1, 1, 1, 3, 1}
	u64(1)
	u64(uint64(len(integers) + 7))
	for _, p := range integers {
		str(p.key)
		u32(4)
		u32(p.value)
	}
	for _, p := range [][2]string{
		{"general.architecture", "llama"}, {"tokenizer.ggml.model", "gpt2"}, {"tokenizer.ggml.pre", "smollm"},
		{"tokenizer.chat_template", template},
	} {
		str(p[0])
		u32(8)
		str(p[1])
	}
	str("llama.attention.layer_norm_rms_epsilon")
	u32(6)
	u32(math.Float32bits(1e-5))
	str("tokenizer.ggml.tokens")
	u32(9)
	u32(8)
	u64(uint64(len(tokens)))
	for _, token := range tokens {
		str(token)
	}
	str("tokenizer.ggml.token_type")
	u32(9)
	u32(5)
	u64(uint64(len(types)))
	for _, kind := range types {
		u32(kind)
	}
	str("token_embd.weight")
	u32(2)
	u64(32)
	u64(uint64(len(tokens)))
	u32(uint32(kind))
	u64(0)
	b = append(b, make([]byte, (32-len(b)%32)%32)...)
	size := map[gguf.Type]int{gguf.F32: 128, gguf.Q4_0: 18}[kind]
	return append(b, make([]byte, (len(tokens)*size+31)/32*32)...)
}
