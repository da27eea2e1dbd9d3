package tokenizer

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/testfiles"
	"qlora-wgpu/internal/usererr"
)

func BenchmarkEncode(b *testing.B) {
	tok := modelTokenizer(b)
	var text strings.Builder
	for _, c := range readCases(b, testfiles.Reference(b, "tokenizer", "smollm2.jsonl")) {
		text.WriteString(c.Text)
	}
	for _, cache := range []bool{true, false} {
		b.Run(fmt.Sprintf("cache=%v", cache), func(b *testing.B) {
			b.SetBytes(int64(text.Len()))
			for b.Loop() {
				if !cache {
					clear(tok.model.cache)
				}
				tok.Encode(text.String())
			}
		})
	}
}

// FuzzFromJSON attacks tokenizer.json, and the text that it then encodes.
func FuzzFromJSON(f *testing.F) {
	for _, name := range []string{
		"gpt2", "qwen2", "linear_pattern", "fused", "prefix_space", "llama2", "mistral", "gemma", "converted", "rarer",
		"words", "behaviors", "gpt4o",
	} {
		data, err := os.ReadFile("testdata/" + name + ".tokenizer.json")
		require.NoError(f, err)
		f.Add(data, "The river 123 <|end|>\n")
	}
	f.Add([]byte(`{"added_tokens":[{"id":3,"content":"<e>","special":true,"lstrip":true,"rstrip":true,"single_word":true}],`+
		`"normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},`+
		`{"type":"ByteLevel","add_prefix_space":true,"use_regex":true}]},"decoder":{"type":"ByteLevel"},"post_processor":null,`+
		`"model":{"type":"BPE","unk_token":"b","fuse_unk":true,"vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}}`), "ab <e> 1é")
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		tok, err := FromJSON(data, "fuzz", nil)
		if err != nil {
			var mistake *usererr.Error
			require.ErrorAs(t, err, &mistake)
			return
		}
		var bytes strings.Builder
		ids := tok.Encode(text)
		for _, id := range ids {
			require.Less(t, int(id), tok.Size())
			token, ok := tok.Token(id)
			require.True(t, ok)
			again, ok := tok.ID(token)
			require.True(t, ok)
			require.Equal(t, id, again)
			bytes.WriteString(tok.Bytes(id))
		}
		require.Equal(t, validText(bytes.String()), tok.DecodeContinuation(ids))
		var streamed strings.Builder
		stream := tok.Stream()
		for _, id := range ids {
			streamed.WriteString(stream.Push(id))
		}
		require.Equal(t, tok.Decode(ids), streamed.String()+stream.Flush())
	})
}

// FuzzPattern attacks the pattern of a Split, and the text that it cuts.
func FuzzPattern(f *testing.F) {
	for _, pattern := range []string{
		gpt2Pattern, llama3Pattern, gpt4oPattern, deepseek3Pattern, `(?:a|a)*b|a`, `\b[\p{L}&&[^a-c]]{2,}?(?!\d$)|^x`,
	} {
		f.Add(pattern, "it's  12345\r\n\u00a0 ABCdef aaaa")
	}
	f.Fuzz(func(t *testing.T, text, over string) {
		p, err := compilePattern(text)
		if err != nil {
			return
		}
		done := 0
		p.find(over, func(start, end int) {
			require.True(t, done <= start && start < end && end <= len(over))
			done = end
		})
	})
}

// FuzzTekken attacks a tekken.json, and the text that it then encodes.
func FuzzTekken(f *testing.F) {
	ranks, err := os.ReadFile("testdata/tiktoken.tekken.json")
	require.NoError(f, err)
	f.Add(ranks, "The river  123 <s>\n")
	f.Add([]byte(`{"config":{"pattern":"a|.","default_vocab_size":4,"default_num_special_tokens":1},"vocab":[{"token_bytes":"YQ=="},`+
		`{"token_bytes":"Yg=="},{"token_bytes":"YWI="}],"special_tokens":[{"rank":0,"token_str":"<s>"}]}`), "ab<s>c")
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		tok, err := FromTekken(data, "fuzz", "<s>", "", nil)
		if err != nil {
			var mistake *usererr.Error
			require.ErrorAs(t, err, &mistake)
			return
		}
		for _, id := range tok.Encode(text) {
			_, ok := tok.Token(id)
			require.True(t, ok)
		}
	})
}

// FuzzSentencePiece attacks a tokenizer.model, and the text that it then encodes.
func FuzzSentencePiece(f *testing.F) {
	model, err := os.ReadFile("testdata/scores.model")
	require.NoError(f, err)
	f.Add(model, "The river  123 <tool>\n\u2581")
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		v, err := SentencePiece(data, "fuzz")
		var tok *Tokenizer
		if err == nil {
			tok, err = FromVocabulary(v, "fuzz")
		}
		if err != nil {
			var mistake *usererr.Error
			require.ErrorAs(t, err, &mistake)
			return
		}
		for _, id := range tok.Encode(text) {
			_, ok := tok.Token(id)
			require.True(t, ok)
		}
	})
}

// FuzzVocabulary attacks the vocabulary of a GGUF file. Tokens, merges and types are lines.
func FuzzVocabulary(f *testing.F) {
	f.Add("gpt2", "smollm", "a\nb\nab\n<|end|>\nĠ", "a b", "1\n1\n1\n3\n1", "ab b <|end|>")
	f.Add("gpt2", "llama-bpe", "a\nb\nab", "a b\nab a", "", "ab 123")
	f.Add("gpt2", "qwen2", "a\na\n", "a a", "1\n9\n-1", "a")
	f.Add("llama", "default", "<s>\n<0x00>\n\u2581", "", "3\n6\n1", "x")
	f.Add("llama", "", "<unk>\n<0x61>\na\n\u2581\n\u2581a\naa\n\u2581\u2581\n<s>", "", "2\n6\n1\n1\n1\n1\n4\n3", "  aa a<s> b")
	f.Fuzz(func(t *testing.T, model, pre, tokens, merges, types, text string) {
		v := Vocabulary{Model: model, Pre: pre, Tokens: strings.Split(tokens, "\n")}
		if merges != "" {
			v.Merges = strings.Split(merges, "\n")
		}
		if types != "" {
			for line := range strings.SplitSeq(types, "\n") {
				kind, _ := strconv.Atoi(line)
				v.Types = append(v.Types, kind)
			}
		}
		if model == "llama" { // worse the later, some alike
			for id := range v.Tokens {
				v.Scores = append(v.Scores, -float32(id/2))
			}
			v.AddSpacePrefix, v.CollapseSpaces = len(pre)%2 == 0, len(pre) > 8
		}
		tok, err := FromVocabulary(v, "fuzz")
		if err != nil {
			var mistake *usererr.Error
			require.ErrorAs(t, err, &mistake)
			return
		}
		for _, id := range tok.Encode(text) {
			_, ok := tok.Token(id)
			require.True(t, ok)
		}
	})
}

// FuzzEncode encodes any text with a vocabulary that has all bytes: nothing is lost, nor made up.
func FuzzEncode(f *testing.F) {
	var all []*Tokenizer
	for _, name := range []string{"llama3", "gpt2"} {
		all = append(all, readTokenizer(f, "testdata/"+name+".tokenizer.json"))
	}
	f.Add("it's  12345\r\n\u00a0<|end|>", uint8(0))
	f.Add("\xff\xfe a\u0301 \U0001f600\t\t <|en", uint8(1))
	f.Add("don't 1234567890", uint8(0))
	f.Fuzz(func(t *testing.T, text string, which uint8) {
		tok := all[int(which)%len(all)]
		ids := tok.Encode(text)
		require.LessOrEqual(t, len(ids), 3*len(text), "a byte that is not UTF-8 is U+FFFD, which has three")
		require.Equal(t, validText(text), tok.Decode(ids))
	})
}
