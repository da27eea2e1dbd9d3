package pretrained

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/usererr"
)

// memory is a folder without a disk.
type memory map[string][]byte

func (m memory) Open(name string) (File, error) {
	b, ok := m[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return memoryFile{bytes.NewReader(b)}, nil
}

type memoryFile struct{ *bytes.Reader }

func (memoryFile) Close() error { return nil }

// weights is a safetensors file of float32 tensors [2, 3] whose elements count up from first.
func weights(t *testing.T, first float32, names ...string) []byte {
	var out bytes.Buffer
	var tensors []safetensors.Data
	for _, name := range names {
		x := make([]float32, 6)
		for i := range x {
			x[i] = first
			first++
		}
		tensors = append(tensors, safetensors.Data{Name: name, DType: safetensors.F32, Shape: []int{2, 3}, Bytes: safetensors.Float32Bytes(x)})
	}
	require.NoError(t, safetensors.Write(&out, nil, tensors))
	return out.Bytes()
}

func sum(x []float32) string { return fmt.Sprintf("%x", sha256.Sum256(safetensors.Float32Bytes(x))) }

func TestOpenShards(t *testing.T) {
	index := `{"metadata":{"total_size":1},"weight_map":{"a":"1.safetensors","b":"2.safetensors","c":"2.safetensors"}}`
	folder := memory{
		"config.json": []byte(minimal), "model.safetensors.index.json": []byte(index),
		"1.safetensors": weights(t, 0, "a"), "2.safetensors": weights(t, 100, "c", "b"),
		"tokenizer.json": []byte("{}"), "chat_template.jinja": []byte("{{ new }}"),
		"tokenizer_config.json": []byte(`{"bos_token":{"content":"<s>","lstrip":false},"eos_token":"</s>","pad_token":null,"unk_token":"?",` +
			`"add_bos_token":true,"chat_template":"{{ old }}","model_max_length":1000000000000000019884624838656}`),
	}
	m, err := OpenFolder(folder, "m/")
	require.NoError(t, err)
	require.Equal(t, []Tensor{{"a", 2, 3}, {"c", 2, 3}, {"b", 2, 3}}, m.Tensors())
	tensor, ok := m.Lookup("b")
	require.True(t, ok)
	require.Equal(t, Tensor{"b", 2, 3}, tensor)
	row := make([]float32, 3)
	require.NoError(t, m.ReadRows("b", 1, 1, row))
	require.Equal(t, []float32{109, 110, 111}, row)
	require.Equal(t, TokenizerSource{
		JSON: []byte("{}"), ChatTemplate: "{{ new }}", BosToken: "<s>", EosToken: "</s>", UnkToken: "?", AddBos: true,
	}, m.Tokenizer())

	delete(folder, "chat_template.jinja")
	for template, want := range map[string]string{
		`"{{ old }}"`: "{{ old }}", `null`: "",
		`[{"name":"tool_use","template":"t"},{"name":"default","template":"d"}]`: "d",
	} {
		folder["tokenizer_config.json"] = []byte(`{"chat_template":` + template + `}`)
		m, err := OpenFolder(folder, "m")
		require.NoError(t, err)
		require.Equal(t, want, m.Tokenizer().ChatTemplate)
	}
	folder["tokenizer_config.json"] = []byte(`{"chat_template":[{"name":"rag","template":"t"}]}`)
	_, err = OpenFolder(folder, "m")
	require.ErrorContains(t, err,
		"open model m/tokenizer_config.json: line 1: bad format: /chat_template: none of the 1 chat templates is named default")
}

func TestOpenFolderRefuses(t *testing.T) {
	index := func(weightMap string) []byte { return []byte(`{"weight_map":` + weightMap + `}`) }
	for _, c := range []struct {
		name    string
		change  memory // nil removes a file
		message string
	}{
		{"no config", memory{"config.json": nil}, "open model m: there is no config.json"},
		{
			"no weights", memory{"model.safetensors": nil},
			"open model m: there is neither model.safetensors nor model.safetensors.index.json (weights in other formats",
		},
		{"bad weights", memory{"model.safetensors": []byte("12345678")}, "read safetensors m/model.safetensors: offset 0: "},
		{
			"bad tokenizer config", memory{"tokenizer_config.json": []byte(`{"bos_token":1}`)},
			"open model m/tokenizer_config.json: line 1: bad format: /bos_token",
		},
		{
			"outside", memory{"model.safetensors": nil, "model.safetensors.index.json": index(`{"a":"../1.safetensors"}`)},
			`open model m/model.safetensors.index.json: bad format: "../1.safetensors" is no plain file name`,
		},
		{"drive", memory{"model.safetensors": nil, "model.safetensors.index.json": index(`{"a":"C:1.safetensors"}`)}, "is no plain file name"},
		{"empty index", memory{"model.safetensors": nil, "model.safetensors.index.json": index(`{}`)}, "weight_map is empty"},
		{
			"duplicate in index", memory{"model.safetensors": nil, "model.safetensors.index.json": index(`{"a":"1","a":"2"}`)},
			"line 1: bad format: no valid JSON at /weight_map/a: duplicate",
		},
		{
			"missing shard", memory{"model.safetensors": nil, "model.safetensors.index.json": index(`{"a":"1"}`)},
			"open model m/1: file does not exist (fetch the missing weights)",
		},
		{"twice", memory{
			"model.safetensors": nil, "model.safetensors.index.json": index(`{"a":"1","b":"2"}`), "1": weights(t, 0, "a"),
			"2": weights(t, 0, "b", "a"),
		},
			"open model m/2: bad format: tensor a is in m/1 too"},
		{"elsewhere", memory{"model.safetensors": nil, "model.safetensors.index.json": index(`{"a":"1","b":"1"}`), "1": weights(t, 0, "a")},
			"open model m/1: bad format: tensor b is missing, the index puts it here"},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := memory{"config.json": []byte(minimal), "model.safetensors": weights(t, 0, "a")}
			for name, data := range c.change {
				if folder[name] = data; data == nil {
					delete(folder, name)
				}
			}
			_, err := OpenFolder(folder, "m")
			require.ErrorContains(t, err, c.message)
			require.IsType(t, &usererr.Error{}, err)
		})
	}
	_, err := OpenFolder(big{}, "m")
	require.ErrorContains(t, err, "open model m/config.json: bad format: the file has 67108865 bytes, the limit is 67108864")
}

// big holds files above the limit.
type big struct{}

func (big) Open(string) (File, error)         { return big{}, nil }
func (big) Size() int64                       { return maxText + 1 }
func (big) Close() error                      { return nil }
func (big) ReadAt([]byte, int64) (int, error) { panic("read before the size was checked") }

func TestContentHash(t *testing.T) {
	open := func(change func(memory)) string {
		folder := memory{"config.json": []byte(minimal), "model.safetensors": weights(t, 0, "a", "b")}
		change(folder)
		m, err := OpenFolder(folder, "m")
		require.NoError(t, err)
		require.Len(t, m.ContentHash(), 64)
		return m.ContentHash()
	}
	base := open(func(memory) {})
	require.Equal(t, base, open(func(f memory) { f["README.md"] = []byte("x") }))
	require.NotEqual(t, base, open(func(f memory) { f["config.json"] = []byte(with(`"rope_theta":5`)) }))
	require.NotEqual(t, base, open(func(f memory) { f["model.safetensors"] = weights(t, 0, "a", "c") }))
	require.NotEqual(t, base, open(func(f memory) { b := f["model.safetensors"]; b[len(b)-1] ^= 1 }), "last byte of a tensor")
	require.NotEqual(t, base, open(func(f memory) { b := f["model.safetensors"]; b[len(b)-48] ^= 1 }), "first byte of a tensor")
	require.Equal(t, strings.ToLower(base), base)
}

// A head that a tied model's files hold is used where it is not the embedding, and tensors without a use are named.
func TestWhatFilesHoldBeside(t *testing.T) {
	tied := []byte(with(`"tie_word_embeddings":true`))
	const head, embedding = "lm_head.weight", "model.embed_tokens.weight"
	for _, c := range []struct {
		weights  []byte
		tied     bool
		warnings []string
	}{
		{weights(t, 0, embedding), true, nil},
		{weights(t, 0, embedding, head), false, []string{
			"tie_word_embeddings is true, but lm_head.weight is not the embedding: the head is what the files hold, as in transformers."}},
		{twice(t, embedding, head), true, nil},
		{weights(t, 0, embedding, "model.layers.0.self_attn.q_proj.bias", "model.layers.0.self_attn.rotary_emb.inv_freq"), true, []string{
			"The configuration describes no use for 1 of the model's tensors: model.layers.0.self_attn.q_proj.bias."}},
		{weights(t, 0, embedding, "a", "b", "c", "d", "e", "f", "g"), true, []string{
			"The configuration describes no use for 7 of the model's tensors: a, b, c, d, e and 2 more."}},
	} {
		m, err := OpenFolder(memory{"config.json": tied, "model.safetensors": c.weights}, "m")
		require.NoError(t, err)
		require.Equal(t, c.tied, m.Spec.TiedHead)
		require.Equal(t, c.warnings, m.Warnings)
	}
}

// twice is a file with the same values under two names.
func twice(t *testing.T, names ...string) []byte {
	var out bytes.Buffer
	var tensors []safetensors.Data
	for _, name := range names {
		x := safetensors.Float32Bytes([]float32{1, 2, 3, 4, 5, 6})
		tensors = append(tensors, safetensors.Data{Name: name, DType: safetensors.F32, Shape: []int{2, 3}, Bytes: x})
	}
	require.NoError(t, safetensors.Write(&out, nil, tensors))
	return out.Bytes()
}
