package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The demo model goes through GGUF and comes back: the same ids, an answer, the warnings that belong to it.
func TestExport(t *testing.T) {
	model, out := filepath.Join("..", "..", "internal", "demo", "model"), filepath.Join(t.TempDir(), "a", "model.gguf")
	status, stdout, stderr := invoke(t, "export", "--model", model, "--output", out, "--type=q4_k_m")
	require.Zero(t, status, stderr)
	require.Equal(t, out+"\n", stdout)
	require.Contains(t, stderr, "as llama.cpp has it")
	texts := filepath.Join(t.TempDir(), "texts.jsonl")
	require.NoError(t, os.WriteFile(texts, []byte("{\"text\": \"One text, and <|im_start|>user\\n another.\"}\n"), 0o600))
	var ids []string
	for _, from := range []string{model, out} {
		status, stdout, stderr := invoke(t, "tokenize", "--model", from, texts)
		require.Zero(t, status, stderr)
		ids = append(ids, stdout)
	}
	require.NotEmpty(t, ids[0])
	require.Equal(t, ids[0], ids[1])
	out16 := filepath.Join(t.TempDir(), "q.gguf")
	status, _, stderr = invoke(t, "quantize", "--model", model, "--output", out16, "--format=gguf", "--type=f16")
	require.Zero(t, status, stderr)

	beside := filepath.Join(t.TempDir(), "my model.gguf")
	status, stdout, stderr = invoke(t, "export", "--model", model, "--output", beside, "--type=f16", "--ollama")
	require.Zero(t, status, stderr)
	modelfile := filepath.Join(filepath.Dir(beside), "Modelfile")
	require.Equal(t, beside+"\n"+modelfile+"\n", stdout)
	text, err := os.ReadFile(modelfile)
	require.NoError(t, err)
	require.Contains(t, string(text), "FROM ./my model.gguf\nTEMPLATE ")
	other := filepath.Join(filepath.Dir(beside), "other.gguf")
	status, _, stderr = invoke(t, "export", "--model", model, "--output", other, "--ollama")
	require.Equal(t, 2, status, stderr)
	require.Contains(t, stderr, "Modelfile: the file is there already")
	require.NoFileExists(t, other)

	for message, args := range map[string][]string{
		"the file is there already":                            {"--output", out},
		"output is missing, allowed: the name of a file that ": {},
		"output is m.bin, allowed: the name of a file that ":   {"--output", "m.bin"},
		`type is "q5", allowed: f32, f16, bf16, q8_0, q4_k_m`:  {"--output", out, "--type=q5"},
		`format is "onnx", allowed: gguf, mlx`:                 {"--output", out, "--format=onnx"},
		"quantization is none, allowed: only with base dequan": {"--output", out, "--quantization=none"},
	} {
		status, _, stderr = invoke(t, append([]string{"export", "--model", model}, args...)...)
		require.Equal(t, 2, status, stderr)
		require.Contains(t, stderr, message)
	}
	for message, args := range map[string][]string{
		"format is gguf, allowed: nf4 with a block size or ": {"--format=gguf", "--block-size=128"},
		"dtype is f16, allowed: only with format nf4":        {"--format=gguf", "--dtype=f16"},
		"type is f16, allowed: only with format gguf":        {"--type=f16"},
		"output is q, allowed: the name of a file that ":     {"--format=gguf"},
	} {
		status, _, stderr = invoke(t, append([]string{"quantize", "--model", model, "--output", "q"}, args...)...)
		require.Equal(t, 2, status, stderr)
		require.Contains(t, stderr, message)
	}
}
