package pretrained

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
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

func (m memory) List(folder string) (names []string, err error) {
	for name := range m {
		if inside, ok := strings.CutPrefix(name, folder+"/"); ok {
			names = append(names, inside)
		}
	}
	return names, nil
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
		JSON: []byte("{}"), Templates: map[string]string{"default": "{{ new }}"},
		Named: map[string]string{"bos_token": "<s>", "eos_token": "</s>", "unk_token": "?"},
		Added: []AddedToken{
			{Content: "<s>", Special: true, IfMissing: true}, {Content: "</s>", Special: true, IfMissing: true},
			{Content: "?", Special: true, IfMissing: true},
		},
	}, m.Tokenizer())
}

// A tekken.json counts where there is no tokenizer.json, a tokenizer.model where there is neither; what surrounds a
// text is then in tokenizer_config.json.
func TestTokenizerModel(t *testing.T) {
	open := func(config string, files memory) TokenizerSource {
		files["config.json"], files["model.safetensors"] = []byte(minimal), weights(t, 0, "a")
		files["tokenizer.model"], files["tokenizer_config.json"] = []byte("pieces"), []byte(config)
		m, err := OpenFolder(files, "m")
		require.NoError(t, err)
		require.NoError(t, m.CheckTokenizer())
		return m.Tokenizer()
	}
	require.Equal(t, TokenizerSource{SentencePiece: []byte("pieces"), AddBos: true, Named: map[string]string{}}, open("{}", memory{}))
	require.Equal(t, TokenizerSource{SentencePiece: []byte("pieces"), AddEos: true, Named: map[string]string{}},
		open(`{"add_bos_token":false,"add_eos_token":true}`, memory{}))
	require.Equal(t, TokenizerSource{Tekken: []byte("ranks"), AddBos: true, Named: map[string]string{}},
		open("{}", memory{"tekken.json": []byte("ranks")}))
	require.Equal(t, TokenizerSource{JSON: []byte("{}"), Named: map[string]string{}},
		open(`{"add_eos_token":true}`, memory{"tokenizer.json": []byte("{}"), "tekken.json": []byte("ranks")}))
}

func TestChatTemplates(t *testing.T) {
	open := func(files memory) map[string]string {
		files["config.json"], files["model.safetensors"] = []byte(minimal), weights(t, 0, "a")
		m, err := OpenFolder(files, "m")
		require.NoError(t, err)
		return m.Tokenizer().Templates
	}
	config := func(template string) []byte { return []byte(`{"chat_template":` + template + `}`) }
	for template, want := range map[string]map[string]string{
		`"{{ old }}"`: {"default": "{{ old }}"}, `null`: nil,
		`[{"name":"tool_use","template":"t"},{"name":"default","template":"d"}]`: {"default": "d", "tool_use": "t"},
		`[{"name":"rag","template":"t"}]`:                                        {"rag": "t"},
		`{"default":"d","rag":"t"}`:                                              {"default": "d", "rag": "t"},
	} {
		require.Equal(t, want, open(memory{"tokenizer_config.json": config(template)}))
	}
	// Files go before what tokenizer_config.json has, all of it.
	require.Equal(t, map[string]string{"default": "f", "tool_use": "u"}, open(memory{
		"tokenizer_config.json": config(`[{"name":"rag","template":"t"}]`), "chat_template.jinja": []byte("f"),
		"additional_chat_templates/tool_use.jinja": []byte("u"), "additional_chat_templates/notes.txt": []byte("-"),
	}))
	// A processor's goes behind all others.
	require.Equal(t, map[string]string{"default": "p"}, open(memory{"chat_template.json": config(`"p"`)}))
	require.Equal(t, map[string]string{"default": "p"},
		open(memory{"chat_template.json": config(`"p"`), "tokenizer_config.json": []byte("{}")}))
	require.Equal(t, map[string]string{"default": "t"},
		open(memory{"chat_template.json": config(`"p"`), "tokenizer_config.json": config(`"t"`)}))
	require.Equal(t, map[string]string{"default": "f"},
		open(memory{"chat_template.json": config(`"p"`), "chat_template.jinja": []byte("f")}))
	_, err := OpenFolder(memory{"config.json": []byte(minimal), "chat_template.json": []byte("p")}, "m")
	require.ErrorContains(t, err, "open model m/chat_template.json: line 1: bad format: ")
	_, err = OpenFolder(memory{
		"config.json": []byte(minimal), "tokenizer_config.json": config(`[{"name":"a","template":"t"},{"name":"a","template":"u"}]`),
	}, "m")
	require.ErrorContains(t, err, `open model m/tokenizer_config.json: line 1: bad format: /chat_template: two chat templates are named "a"`)
}

// What the files say of special tokens, and what counts where they do not agree: transformers 5.24's
// PreTrainedTokenizerBase._from_pretrained, whose results `make test-peft` compares anew.
func TestSpecialTokens(t *testing.T) {
	source := func(files memory) TokenizerSource {
		files["config.json"], files["model.safetensors"], files["tokenizer.json"] = []byte(minimal), weights(t, 0, "a"), []byte("{}")
		m, err := OpenFolder(files, "m")
		require.NoError(t, err)
		return m.Tokenizer()
	}
	special := func(content string) AddedToken { return AddedToken{Content: content, Special: true, IfMissing: true} }

	s := source(memory{"special_tokens_map.json": []byte(
		`{"eos_token":{"content":"</s>","lstrip":true,"normalized":true},"bos_token":"<s>"}`,
	)})
	require.Equal(t, map[string]string{"bos_token": "<s>", "eos_token": "</s>"}, s.Named)
	require.Equal(t, []AddedToken{
		special("<s>"), {Content: "</s>", LStrip: true, Normalized: true, Special: true, IfMissing: true},
	}, s.Added)

	config := `{"bos_token":"<b>","eos_token":"<e>","image_token":"<i>","add_bos_token":true,"additional_special_tokens":["<x>"]`
	tokensMap := []byte(`{"eos_token":"<f>","bos_token":null}`)
	s = source(memory{
		"tokenizer_config.json": []byte(config + "}"), "special_tokens_map.json": tokensMap,
		"added_tokens.json": []byte(`{"<z>":9,"<f>":8}`),
	})
	require.Equal(t, map[string]string{"eos_token": "<f>", "image_token": "<i>"}, s.Named, "the map overrides, with null too")
	require.Equal(t, []AddedToken{
		special("<f>"), {Content: "<z>", Normalized: true, IfMissing: true}, special("<i>"), special("<x>"),
	}, s.Added)

	decoder := `,"added_tokens_decoder":{"10":{"content":"<e>","rstrip":true},"9":{"content":"<y>","special":false,"normalized":false}}}`
	s = source(memory{
		"tokenizer_config.json": []byte(config + decoder), "special_tokens_map.json": tokensMap, "added_tokens.json": []byte(`{"<z>":9}`),
	})
	require.Equal(t, map[string]string{"bos_token": "<b>", "eos_token": "<e>", "image_token": "<i>"}, s.Named, "neither file counts")
	require.Equal(t, []AddedToken{
		{Content: "<y>"}, {Content: "<e>", RStrip: true, Special: true}, special("<b>"), special("<i>"), special("<x>"),
	}, s.Added)

	for file, wrong := range map[string]string{
		"tokenizer_config.json": `{"added_tokens_decoder":{"x":{"content":"<y>"}}}`, "special_tokens_map.json": "{\n\"eos_token\":7}",
		"added_tokens.json": `{"<z>":"9"}`,
	} {
		_, err := OpenFolder(memory{"config.json": []byte(minimal), file: []byte(wrong)}, "m")
		require.ErrorContains(t, err, "open model m/"+file+": line ")
	}
}

func TestTokensThatEndAnAnswer(t *testing.T) {
	tokens := func(files memory) Tokens {
		files["model.safetensors"] = weights(t, 0, "a")
		m, err := OpenFolder(files, "m")
		require.NoError(t, err)
		return m.Tokens
	}
	config := []byte(strings.Replace(minimal, "{", `{"eos_token_id":[5,6],`, 1))
	require.Equal(t, Tokens{BOS: -1, Pad: -1, EOS: []int{5, 6}, Stop: []int{5, 6}}, tokens(memory{"config.json": config}))
	require.Equal(t, Tokens{BOS: -1, Pad: -1, EOS: []int{7}, Stop: []int{5, 6, 7}},
		tokens(memory{"config.json": config, "generation_config.json": []byte(`{"eos_token_id":7}`)}))
	require.Equal(t, Tokens{BOS: -1, Pad: -1, EOS: []int{5, 6}, Stop: []int{5, 6}},
		tokens(memory{"config.json": config, "generation_config.json": []byte(`{"eos_token_id":null}`)}))
	_, err := OpenFolder(memory{"config.json": config, "generation_config.json": []byte(`{"eos_token_id":100000}`)}, "m")
	require.ErrorContains(t, err, "generation_config.json: bad format: token id 100000 lies outside the vocabulary of")
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
			"open model m/tokenizer_config.json: line 1: bad format: bos_token: neither a string nor",
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

func (big) List(string) ([]string, error)     { return nil, nil }
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

// Of a tied model's files the head alone is the embedding too, and a copy of it in another type is no other head.
func TestTiedHeadInEveryForm(t *testing.T) {
	const head, embedding = "lm_head.weight", "model.embed_tokens.weight"
	config := []byte(with(`"tie_word_embeddings":true`))
	m, err := OpenFolder(memory{"config.json": config, "model.safetensors": weights(t, 0, head)}, "m")
	require.NoError(t, err)
	require.True(t, m.Spec.TiedHead)
	require.Empty(t, m.Warnings)
	_, there := m.Lookup(head)
	require.False(t, there)
	got, there := m.Lookup(embedding)
	require.True(t, there)
	require.NoError(t, m.ReadRows(embedding, 0, got.Rows, make([]float32, got.Rows*got.Cols)))
	far, err := DescribeFolder(memory{"config.json": config, "model.safetensors": weights(t, 0, head)}, "m")
	require.NoError(t, err)
	require.NoError(t, far.Expect(embedding, got.Rows, got.Cols))

	for second, tied := range map[uint16]bool{0x4000: true, 0x4040: false} { // 2 and 3 in bfloat16
		var out bytes.Buffer
		half := []byte{0x80, 0x3f, byte(second), byte(second >> 8)}
		require.NoError(t, safetensors.Write(&out, nil, []safetensors.Data{
			{Name: embedding, DType: safetensors.F32, Shape: []int{2, 1}, Bytes: safetensors.Float32Bytes([]float32{1, 2})},
			{Name: head, DType: safetensors.BF16, Shape: []int{2, 1}, Bytes: half},
		}))
		m, err := OpenFolder(memory{"config.json": config, "model.safetensors": out.Bytes()}, "m")
		require.NoError(t, err)
		require.Equal(t, tied, m.Spec.TiedHead)
		require.Equal(t, tied, len(m.Warnings) == 0)
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

// A model that came by git clone without Git LFS has pointers in the place of its large files.
func TestPointersOfGitLFSAreToldFromFiles(t *testing.T) {
	pointer := []byte("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n")
	whole := memory{"config.json": []byte(minimal), "model.safetensors": weights(t, 0, "a"), "tokenizer.json": []byte("{}")}
	for name := range whole {
		m := maps.Clone(whole)
		m[name] = pointer
		_, err := OpenFolder(m, "m")
		require.True(t, usererr.Is(err, usererr.Format), "%v", err)
		require.ErrorContains(t, err, "m/"+name+": bad format: Git LFS has left a pointer here, not the file (fetch the file itself: git")
	}
	_, err := OpenGGUF(memory{"m.gguf": pointer}, "m.gguf", "m.gguf")
	require.ErrorContains(t, err, "read gguf m.gguf: bad format: Git LFS has left a pointer here")
}
