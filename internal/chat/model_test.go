package chat

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/testfiles"
	"qlora-wgpu/internal/tokenizer"
)

// model reads tokenizer and chat template from the metadata of the 135M model.
func model(t testing.TB) (*tokenizer.Tokenizer, *Template) {
	path := testfiles.Models(t, "SmolLM2-135M-Instruct.Q4_1.gguf")
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	info, err := f.Stat()
	require.NoError(t, err)
	file, err := gguf.Read(f, info.Size(), path)
	require.NoError(t, err)
	text := func(key string) string {
		s, _, err := file.String(key)
		require.NoError(t, err)
		return s
	}
	v := tokenizer.Vocabulary{Model: text("tokenizer.ggml.model"), Pre: text("tokenizer.ggml.pre")}
	v.Tokens, _, err = file.Strings("tokenizer.ggml.tokens")
	require.NoError(t, err)
	v.Merges, _, err = file.Strings("tokenizer.ggml.merges")
	require.NoError(t, err)
	types, _, err := file.Ints("tokenizer.ggml.token_type")
	require.NoError(t, err)
	for _, n := range types {
		v.Types = append(v.Types, int(n))
	}
	tok, err := tokenizer.FromVocabulary(v, path)
	require.NoError(t, err)
	template := parsed(text("tokenizer.chat_template"), map[string]string{"eos_token": "<|im_end|>", "bos_token": "<|im_start|>"})
	return tok, template
}
