package tokenizer

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/usererr"
)

// A vocabulary with all 256 bytes gives back any bytes, through every pre-tokenizer that drops nothing.
func TestRoundTripRandomBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{"gpt2", "llama3"} {
		tok := readTokenizer(t, "testdata/"+name+".tokenizer.json")
		for range 200 {
			b := make([]byte, r.IntN(200))
			for i := range b {
				b[i] = byte(r.IntN(256))
			}
			ids := tok.Encode(string(b))
			var raw strings.Builder
			for _, id := range ids {
				raw.WriteString(tok.Bytes(id))
			}
			require.Equal(t, string(b), raw.String())
			require.Equal(t, validText(string(b)), tok.Decode(ids))
		}
	}
}

func TestStreamHoldsBackIncompleteCharacters(t *testing.T) {
	tok := readTokenizer(t, "testdata/gpt2.tokenizer.json")
	var ids []int32
	for _, b := range []byte("é🌊") {
		id, ok := tok.ID(string(charOfByte[b]))
		require.True(t, ok)
		ids = append(ids, id)
	}
	s := tok.Stream()
	var got []string
	for _, id := range ids {
		got = append(got, s.Push(id))
	}
	require.Equal(t, []string{"", "é", "", "", "", "🌊"}, got)
	require.Empty(t, s.Flush())

	require.Empty(t, s.Push(ids[2]))
	require.Equal(t, "\uFFFD", s.Push(ids[2]), "a second start ends the first")
	require.Equal(t, "\uFFFD", s.Flush())
	require.Empty(t, s.Flush())

	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		ids := make([]int32, r.IntN(40))
		for i := range ids {
			ids[i] = int32(r.IntN(tok.Size()+2)) - 1
		}
		var out strings.Builder
		for _, id := range ids {
			out.WriteString(s.Push(id))
		}
		out.WriteString(s.Flush())
		require.Equal(t, tok.Decode(ids), out.String())
	}
}

// The expected strings are those of Python's bytes.decode("utf-8", "replace"), which follows the WHATWG rule as Rust
// does.
func TestInvalidTextIsReplacedByLongestPrefix(t *testing.T) {
	for in, want := range map[string]string{
		"a\xff\xffb": "a\uFFFD\uFFFDb", "\xf0\x9f\x8c": "\uFFFD", "\xf0\x9fx": "\uFFFDx", "\xe2\x82\xe2\x82\xac": "\uFFFD€",
		"\xed\xa0\x80": "\uFFFD\uFFFD\uFFFD", "\xc0\x80": "\uFFFD\uFFFD", "\xf4\x90\x80\x80": "\uFFFD\uFFFD\uFFFD\uFFFD", "ok\uFFFD": "ok\uFFFD",
	} {
		require.Equal(t, want, validText(in), "%q", in)
	}
}

func TestLookups(t *testing.T) {
	tok := readTokenizer(t, "testdata/qwen2.tokenizer.json")
	end, ok := tok.ID("<|end|>")
	require.True(t, ok)
	require.True(t, tok.IsSpecial(end))
	tool, ok := tok.ID("<tool>")
	require.True(t, ok)
	require.False(t, tok.IsSpecial(tool))
	require.Equal(t, "x <tool>", tok.DecodeSkipSpecial(tok.Encode("x <tool><|end|>")))
	name, ok := tok.Token(tool)
	require.True(t, ok)
	require.Equal(t, "<tool>", name)
	for id := range int32(tok.Size()) {
		token, ok := tok.Token(id)
		require.True(t, ok)
		back, ok := tok.ID(token)
		require.True(t, ok)
		require.Equal(t, id, back)
	}
	for _, id := range []int32{-1, int32(tok.Size()), 1 << 30} {
		_, ok = tok.Token(id)
		require.False(t, ok)
		require.Empty(t, tok.Decode([]int32{id}))
	}
	_, ok = tok.ID("no such token")
	require.False(t, ok)
}

func TestConcurrentUse(t *testing.T) {
	tok := readTokenizer(t, "testdata/llama3.tokenizer.json")
	text := strings.Repeat("The river rose; 1987 people left. ", 20)
	want := tok.Encode(text)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				if got := tok.Encode(text); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Error("ids differ between goroutines")
				}
			}
		})
	}
	wg.Wait()
}

// One word of a megabyte takes time in proportion to its length; quadratic merging would take minutes.
func TestLongWordsAreNotQuadratic(t *testing.T) {
	for _, name := range []string{"qwen2", "gpt4o", "llama2", "gemma", "scores"} {
		tok := besideCases(t, "testdata/"+name+".jsonl")
		for _, unit := range []string{"the", "ab", " ", "\n", "=", "<", "<tool", "e\u0301", "'s", "Aa", "\u2581", "\U0010FFFD"} {
			text := strings.Repeat(unit, 1<<18/len(unit))
			start := time.Now()
			ids := tok.Encode(text)
			require.Less(t, time.Since(start), 10*time.Second, "%s, %q", name, unit)
			want := text
			if tok.model.byteLevel {
				want = tok.normalize(text)
			} else if unit == "\u2581" {
				want = strings.ReplaceAll(text, unit, " ")
			}
			require.True(t, want == tok.Decode(ids), "%s, %q", name, unit)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	tok := readTokenizer(t, "testdata/gpt2.tokenizer.json")
	for i := range cachedWords + 100 {
		tok.model.appendWord(nil, fmt.Sprint("w", i))
	}
	require.LessOrEqual(t, len(tok.model.cache), cachedWords)
	tok.model.appendWord(nil, strings.Repeat("x", cachedWordBytes+1))
	require.NotContains(t, tok.model.cache, strings.Repeat("x", cachedWordBytes+1))
}

// gpt2.tokenizer.json with one part replaced must be refused, with the part and the reason named.
func TestRefusedFiles(t *testing.T) {
	data, err := os.ReadFile("testdata/gpt2.tokenizer.json")
	require.NoError(t, err)
	byteLevel := `{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}`
	for _, c := range []struct {
		path, value string // the member that is replaced, "a.b.c"
		kind        usererr.Kind
		messages    []string
	}{
		{"model.type", `"Unigram"`, usererr.Unsupported, []string{"model", "Unigram"}},
		{"model.type", `"WordPiece"`, usererr.Unsupported, []string{"model", "WordPiece"}},
		{"model", `[]`, usererr.Format, []string{"model"}},
		{"model", `null`, usererr.Unsupported, []string{"model"}},
		{"model.dropout", `0.1`, usererr.Unsupported, []string{"dropout"}},
		{"model.continuing_subword_prefix", `"##"`, usererr.Unsupported, []string{"continuing_subword_prefix"}},
		{"model.end_of_word_suffix", `"</w>"`, usererr.Unsupported, []string{"end_of_word_suffix"}},
		{"model.unk_token", `"<none>"`, usererr.Format, []string{"unk_token", "<none>"}},
		{"model.vocab", `{}`, usererr.Format, []string{"empty"}},
		{"model.vocab", `{"a":0,"b":0}`, usererr.Format, []string{`"a"`, `"b"`, "id 0"}},
		{"model.vocab", `{"a":0,"a":1}`, usererr.Format, []string{"offset", "duplicate"}},
		{"model.vocab", `{"a":-1}`, usererr.Format, []string{"id -1"}},
		{"model.vocab", `{"a":1048576}`, usererr.Format, []string{"id 1048576"}},
		{"model.vocab", `{"a":1e99}`, usererr.Format, []string{"model/vocab/a"}},
		{"model.vocab", `{"":1}`, usererr.Format, []string{"empty"}},
		{"model.merges", `[["zz","t"]]`, usererr.Format, []string{"merge 0", "zz"}},
		{"model.merges", `["a b c"]`, usererr.Format, []string{"model/merges/0", "two tokens"}},
		{"model.merges", `[["a"]]`, usererr.Format, []string{"model/merges/0", "two parts"}},
		{"model.merges", `[3]`, usererr.Format, []string{"model/merges/0"}},
		{"normalizer", `{"type":"Precompiled"}`, usererr.Unsupported, []string{"normalizer", "Precompiled", "NFKC"}},
		{
			"normalizer", `{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Nmt"}]}`,
			usererr.Unsupported, []string{"normalizer[1]", "Nmt"},
		},
		{"normalizer", `{"type":"Replace","pattern":{"String":""},"content":"a"}`, usererr.Format, []string{"Replace", "empty text"}},
		{"pre_tokenizer", `{"type":"Metaspace"}`, usererr.Format, []string{"pre_tokenizer", "Metaspace", "one character"}},
		{
			"pre_tokenizer", `{"type":"Metaspace","replacement":"▁","prepend_scheme":"last"}`, usererr.Unsupported,
			[]string{"pre_tokenizer", "prepend_scheme", `"last"`},
		},
		{
			"pre_tokenizer", `{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","add_prefix_space":false}`, usererr.Format,
			[]string{"pre_tokenizer", "add_prefix_space", `"first"`},
		},
		{"pre_tokenizer", `{"type":"Metaspace","replacement":"▁"}`, usererr.Unsupported, []string{"pre_tokenizer and decoder", "ByteLevel"}},
		{"pre_tokenizer", `null`, usererr.Unsupported, []string{"pre_tokenizer", "ByteLevel"}},
		{"pre_tokenizer", `{"type":"Digits","individual_digits":true}`, usererr.Unsupported, []string{"ByteLevel"}},
		{"pre_tokenizer", `{"type":"NFC"}`, usererr.Unsupported, []string{"pre_tokenizer", "NFC"}},
		{
			"pre_tokenizer", `{"type":"Sequence","pretokenizers":[` + byteLevel + `,{"type":"Digits"}]}`, usererr.Unsupported,
			[]string{"pre_tokenizer[1]", "Digits", "after ByteLevel"},
		},
		{
			"pre_tokenizer", `{"type":"Split","pattern":{"Regex":"(?<=b)a"},"behavior":"Isolated","invert":false}`, usererr.Unsupported,
			[]string{"(?<=b)a", "look-behind"},
		},
		{
			"pre_tokenizer", `{"type":"Split","pattern":{"Regex":"(a)\\1"},"behavior":"Isolated","invert":false}`, usererr.Unsupported,
			[]string{`\\1`},
		},
		{
			"pre_tokenizer", `{"type":"Split","pattern":{"Regex":"(ab)++"},"behavior":"Isolated","invert":false}`, usererr.Unsupported,
			[]string{"possessive"},
		},
		{
			"pre_tokenizer", `{"type":"Split","pattern":{"Regex":"a"},"behavior":"Merged","invert":false}`, usererr.Unsupported,
			[]string{`"Merged"`},
		},
		{"pre_tokenizer", `{"type":"Split","pattern":{},"behavior":"Isolated","invert":false}`, usererr.Format, []string{"no pattern"}},
		{"post_processor", `{"type":"BertProcessing"}`, usererr.Format, []string{"post_processor", "BertProcessing without cls or sep"}},
		{"post_processor", `{"type":"Unknown"}`, usererr.Unsupported, []string{"post_processor", "Unknown"}},
		{
			"post_processor", `{"type":"RobertaProcessing","sep":["<s>"],"cls":["<s>",0]}`,
			usererr.Format, []string{"sep", "neither a token nor its id"},
		},
		{
			"post_processor", `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],"special_tokens":{}}`,
			usererr.Format, []string{"post_processor", `special_tokens has no "<s>"`},
		},
		{"post_processor", `{"type":"TemplateProcessing","single":[]}`, usererr.Unsupported, []string{"0 texts"}},
		{
			"normalizer", `{"type":"Sequence","normalizers":[` + strings.Repeat(`{"type":"Replace","pattern":{"String":"a"},"content":"aa"},`, 11) +
				`{"type":"NFC"}]}`, usererr.Unsupported, []string{"normalizer[10]", "2048 times longer"},
		},
		{
			"pre_tokenizer", `{"type":"Sequence","pretokenizers":[` + strings.Repeat(`{"type":"Digits"},`, 100) + byteLevel + `]}`,
			usererr.Unsupported, []string{"pre_tokenizer[100]", "more than 100 components"},
		},
		{"decoder", `{"type":"WordPiece"}`, usererr.Unsupported, []string{"decoder", "WordPiece"}},
		{"decoder", `null`, usererr.Unsupported, []string{"decoder"}},
		{
			"decoder", `{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"ByteFallback"}]}`, usererr.Unsupported,
			[]string{"decoder[1]", "ByteFallback", "after Fuse"},
		},
		{
			"decoder", `{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"Strip","content":" ","start":0,"stop":1}]}`,
			usererr.Unsupported, []string{"decoder[1]", "Strip"},
		},
		{"decoder", `{"type":"Strip","content":"ab","start":1,"stop":0}`, usererr.Format, []string{"decoder", "Strip", `"ab"`}},
		{"added_tokens", `[{"id":5,"content":"<x>","special":true}]`, usererr.Format, []string{"<x>", "id 5"}},
		{"added_tokens", `[{"id":9999,"content":"<x>"},{"id":9999,"content":"<y>"}]`, usererr.Format, []string{"<x>", "<y>", "9999"}},
		{"added_tokens", `[{"id":9999,"content":"a"}]`, usererr.Format, []string{`"a"`, "9999"}},
		{"added_tokens", `[{"id":9999,"content":""}]`, usererr.Format, []string{"empty"}},
		{"added_tokens", `[{"id":9999,"content":"` + strings.Repeat("x", 2000) + `"}]`, usererr.Format, []string{"9999", "2000 bytes"}},
		{"added_tokens", strings.Repeat("[", 70) + strings.Repeat("]", 70), usererr.Format, []string{"64 levels", "offset"}},
	} {
		t.Run(c.path+" "+c.value[:min(40, len(c.value))], func(t *testing.T) {
			_, err := FromJSON(replaced(t, data, strings.Split(c.path, "."), c.value), "t.json", nil)
			require.Error(t, err)
			require.True(t, usererr.Is(err, c.kind), "%v", err)
			for _, m := range append(c.messages, "t.json") {
				require.ErrorContains(t, err, m)
			}
		})
	}
	for _, cut := range []int{0, 1, 100, len(data) - 3} {
		_, err := FromJSON(data[:cut], "t.json", nil)
		require.True(t, usererr.Is(err, usererr.Format), "%v", err)
	}
	_, err = FromJSON(make([]byte, maxFileBytes+1), "t.json", nil)
	require.ErrorContains(t, err, "more than")
}

// A decoder that changes no token still joins them, which `tokenizers` does with spaces only where there is no decoder.
// The texts are what tokenizers 0.23.3 gives.
func TestDecodersThatChangeNoToken(t *testing.T) {
	file := func(decoder string) []byte {
		return fmt.Appendf(nil, `{"decoder":%s,"model":{"type":"BPE","vocab":{" ":0,"a":1,"b":2,"c":3,"d":4},"merges":[]}}`, decoder)
	}
	for decoder, want := range map[string]string{
		`{"type":"Fuse"}`:                   "  ab cd",
		`{"type":"Sequence","decoders":[]}`: "  ab cd",
		`{"type":"Strip","content":" "}`:    "  ab cd",
		`{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}`: " ab cd",
	} {
		tok, err := FromJSON(file(decoder), "t.json", nil)
		require.NoError(t, err, decoder)
		require.Equal(t, want, tok.Decode(tok.Encode("  ab cd")), decoder)
	}
	_, err := FromJSON(file("null"), "t.json", nil)
	require.EqualError(t, err, "read tokenizer t.json: decoder: unsupported: no decoder: tokens would be read with spaces between them")
}

// replaced sets one member of a JSON object, written as it stands so that duplicate keys survive.
func replaced(t *testing.T, data []byte, path []string, value string) []byte {
	var object map[string]jsontext.Value
	require.NoError(t, json.Unmarshal(data, &object))
	if len(path) > 1 {
		value = string(replaced(t, object[path[0]], path[1:], value))
	}
	delete(object, path[0])
	var out strings.Builder
	fmt.Fprintf(&out, "{%q:%s", path[0], value)
	for name, member := range object {
		fmt.Fprintf(&out, ",%q:%s", name, member)
	}
	return []byte(out.String() + "}")
}

func TestRefusedVocabularies(t *testing.T) {
	good := func() Vocabulary {
		return Vocabulary{Model: "gpt2", Pre: "gpt-2", Tokens: []string{"a", "b", "ab", "<s>"}, Types: []int{1, 1, 1, 3}, Merges: []string{"a b"}}
	}
	tok, err := FromVocabulary(good(), "m.gguf")
	require.NoError(t, err)
	require.Equal(t, []int32{2, 3, 0}, tok.Encode("ab<s>a"))
	require.True(t, tok.IsSpecial(3))
	for message, change := range map[string]func(*Vocabulary){
		`tokenizer model "bert"`:    func(v *Vocabulary) { v.Model = "bert" },
		`pre-tokenization "viking"`: func(v *Vocabulary) { v.Pre = "viking" },
		"0 scores for 4 tokens":     func(v *Vocabulary) { v.Model = "llama" },
		"the score of token 1 is not": func(v *Vocabulary) {
			v.Model, v.Scores = "llama", []float32{0, float32(math.NaN()), 0, 0}
		},
		"it is missing: nothing tells how": func(v *Vocabulary) { v.Pre = "" },
		"3 types for 4 tokens":             func(v *Vocabulary) { v.Types = v.Types[:3] },
		"ids 0 and 1 have the same token":  func(v *Vocabulary) { v.Tokens[1] = "a" },
		"tokenizer.ggml.merges[0]":         func(v *Vocabulary) { v.Merges[0] = "ab" },
		"not in the vocabulary":            func(v *Vocabulary) { v.Merges[0] = "b a" },
		"the vocabulary is empty":          func(v *Vocabulary) { *v = Vocabulary{Model: "gpt2", Pre: "gpt-2"} },
		"more than 1048576":                func(v *Vocabulary) { v.Tokens = make([]string, maxTokens+1) },
		"more than 8388608": func(v *Vocabulary) {
			v.Model, v.Scores = "llama", make([]float32, 4)
			v.Tokens[0], v.Tokens[1] = strings.Repeat("a", 1<<22), strings.Repeat("b", 1<<22)
		},
		"the token with id 0 is empty": func(v *Vocabulary) { v.Tokens[0] = "" },
	} {
		v := good()
		change(&v)
		_, err := FromVocabulary(v, "m.gguf")
		require.ErrorContains(t, err, message)
		require.ErrorContains(t, err, "m.gguf")
	}
}
