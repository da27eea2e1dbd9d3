package tokenizer

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/testfiles"
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

func FuzzFromJSON(f *testing.F) {
	for _, name := range []string{"gpt2", "qwen2", "linear_pattern"} {
		data, err := os.ReadFile("testdata/" + name + ".tokenizer.json")
		require.NoError(f, err)
		f.Add(data, "The river 123 <|end|>\n")
	}
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		tok, err := FromJSON(data, "fuzz", nil)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		ids := tok.Encode(text)
		for _, id := range ids {
			_, ok := tok.Token(id)
			require.True(t, ok)
		}
		tok.Decode(ids)
	})
}

func FuzzEncode(f *testing.F) {
	tok := readTokenizer(f, "testdata/llama3.tokenizer.json")
	f.Add("it's  12345\r\n\u00a0<|end|>")
	f.Fuzz(func(t *testing.T, text string) {
		require.Equal(t, validText(text), tok.Decode(tok.Encode(text)))
	})
}
