package tokenizer

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/testfiles"
)

// modelTokenizer is the tokenizer in the metadata of the 135M model.
func modelTokenizer(t testing.TB) *Tokenizer {
	path := testfiles.Models(t, "SmolLM2-135M-Instruct.Q4_1.gguf")
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	info, err := f.Stat()
	require.NoError(t, err)
	model, err := gguf.Read(f, info.Size(), path)
	require.NoError(t, err)
	var v Vocabulary
	v.Model, _, err = model.String("tokenizer.ggml.model")
	require.NoError(t, err)
	v.Pre, _, err = model.String("tokenizer.ggml.pre")
	require.NoError(t, err)
	v.Tokens, _, err = model.Strings("tokenizer.ggml.tokens")
	require.NoError(t, err)
	v.Merges, _, err = model.Strings("tokenizer.ggml.merges")
	require.NoError(t, err)
	types, _, err := model.Ints("tokenizer.ggml.token_type")
	require.NoError(t, err)
	for _, n := range types {
		v.Types = append(v.Types, int(n))
	}
	tok, err := FromVocabulary(v, path)
	require.NoError(t, err)
	return tok
}
