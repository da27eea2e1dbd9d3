package main

import (
	"encoding/json/v2"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/lora"
)

// drawnAdapter is a PEFT folder of random matrices for all linears of a model.
func drawnAdapter(t *testing.T, model string, seed uint64, rank int) string {
	m, err := pretrained.Open(model)
	require.NoError(t, err)
	defer m.Close()
	rng, products := rand.New(rand.NewPCG(seed, 1)), map[string]lora.Product{}
	values := func(n int) (x []float32) {
		for range n {
			x = append(x, float32(rng.NormFloat64()/10))
		}
		return x
	}
	for _, l := range lora.LinearsOf(m.Spec) {
		products[l.Name] = lora.Product{Rank: rank, Scaling: 2, A: values(rank * l.In), B: values(l.Out * rank)}
	}
	files, err := lora.Assemble(lora.Origin{Path: "drawn"}, products)
	require.NoError(t, err)
	dir := t.TempDir()
	for name, write := range map[string]func(f *os.File) error{
		lora.ConfigFile:  func(f *os.File) error { return files.Config.WriteConfig(f, "") },
		lora.WeightsFile: func(f *os.File) error { return files.Config.WriteWeights(f, files.Tensors) },
	} {
		f, err := os.Create(filepath.Join(dir, name))
		require.NoError(t, err)
		require.NoError(t, write(f))
		require.NoError(t, f.Close())
	}
	return dir
}

// An adapter that is exported in each format has the loss that it has, and two have the loss of their sum.
func TestExportedAdapters(t *testing.T) {
	model := filepath.Join("..", "..", "internal", "demo", "model")
	one, other := drawnAdapter(t, model, 1, 4), drawnAdapter(t, model, 2, 3)
	loss := func(adapter ...string) float64 {
		args := []string{"eval", "--model", model, "--rows=0:1", "--json", "--quantization=none",
			"--data", filepath.Join("..", "..", "internal", "demo", "heldout.jsonl")}
		for _, a := range adapter {
			args = append(args, "--adapter", a)
		}
		status, stdout, stderr := invoke(t, args...)
		require.Zero(t, status, stderr)
		var said struct {
			Loss float64 `json:"loss"`
		}
		require.NoError(t, json.Unmarshal([]byte(stdout), &said))
		return said.Loss
	}
	export := func(output string, args ...string) string {
		output = filepath.Join(t.TempDir(), "new", output)
		status, stdout, stderr := invoke(t, append([]string{"export", "--model", model, "--output", output}, args...)...)
		require.Zero(t, status, stderr)
		require.Equal(t, output+"\n", stdout)
		return output
	}
	gguf, mlx := export("a.gguf", "--adapter", one, "--adapter-only"), export("mlx", "--adapter", one, "--format=mlx")
	want := loss(one)
	require.Greater(t, math.Abs(want-loss()), 0.1, "an adapter that changes nothing proves nothing")
	require.Equal(t, want, loss(gguf))
	require.Equal(t, want, loss(mlx))
	require.InDelta(t, want, loss(export("a.gguf", "--adapter", mlx, "--adapter-only", "--type=f16")), 1e-2)
	both := export("b.gguf", "--adapter", gguf, "--adapter", other, "--adapter-only")
	merged := filepath.Join(t.TempDir(), "merged")
	status, _, stderr := invoke(t, "merge", "--model", model, "--adapter", one, "--adapter", other, "--output", merged, "--dtype=f32")
	require.Zero(t, status, stderr)
	sum := loss(both)
	require.Greater(t, math.Abs(sum-want), 0.1)
	model = merged
	require.InDelta(t, loss(), sum, 2e-2, "merged weights are rounded to 16 bits")

	for message, args := range map[string][]string{
		"adapter is empty, allowed: with an adapter alone":    {"--adapter-only", "--output=a.gguf"},
		"base is dequantized, allowed: only with a model":     {"--adapter-only", "--output=a.gguf", "--adapter", one, "--base=dequantized"},
		"report is on, allowed: only with a model, not with":  {"--adapter-only", "--output=a.gguf", "--adapter", one, "--report=on"},
		"block_size is 128, allowed: only with a model, not":  {"--format=mlx", "--output=a", "--adapter", one, "--block-size=128"},
		`type is "q8_0", allowed: f32, f16, bf16, auto`:       {"--adapter-only", "--output=a.gguf", "--adapter", one, "--type=q8_0"},
		"type is f16, allowed: only with format gguf":         {"--format=mlx", "--output=a", "--adapter", one, "--type=f16"},
		"ollama is true, allowed: only with format gguf":      {"--format=mlx", "--output=a", "--adapter", one, "--ollama"},
		"output is a, allowed: the name of a file that ends":  {"--adapter-only", "--output=a", "--adapter", one},
		"the folder is not empty: it holds adapter":           {"--format=mlx", "--output", mlx, "--adapter", one},
		"the file is there already (choose another --output":  {"--adapter-only", "--output", gguf, "--adapter", one},
		"it is a model and no adapter (give it as --model":    {"--adapter-only", "--output=a.gguf", "--adapter", export("m.gguf", "--type=f16")},
		"give the base model's file as --model, and an adapt": {"--adapter-only", "--output=a.gguf", "--adapter", one, "--model", gguf},
	} {
		status, _, stderr := invoke(t, append([]string{"export", "--model", filepath.Join("..", "..", "internal", "demo", "model")}, args...)...)
		require.Equal(t, 2, status, stderr)
		require.Contains(t, stderr, message)
	}
}
