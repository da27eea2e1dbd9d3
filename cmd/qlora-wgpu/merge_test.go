package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMerge(t *testing.T) {
	from := filepath.Join("..", "..", "internal", "parity", "testdata", "granite4")
	model, adapter, out := filepath.Join(from, "model"), filepath.Join(from, "init_adapter"), filepath.Join(t.TempDir(), "a", "merged")
	other := otherScale(t, adapter)
	status, stdout, stderr := invoke(t, "merge", "--model", model, "--adapter", adapter, "--adapter", other, "--output", out)
	require.Zero(t, status, stderr)
	require.Equal(t, out+"\n", stdout)
	require.Contains(t, stderr, "There will be no drift report: ", "the model has no tokenizer")
	card, err := os.ReadFile(filepath.Join(out, "README.md"))
	require.NoError(t, err)
	require.Contains(t, string(card), `Adapters "init_adapter", "other" added to the weights of the base model's files`)
	status, stdout, stderr = invoke(t, "plan", "--model", out, "--max-seq-length=16", "--lora-r=2")
	require.Zero(t, status, stderr)
	require.Contains(t, stdout, "2 of 2 resident")

	alien := filepath.Join(from, "..", "tiny_16bit", "init_adapter")
	for message, args := range map[string][]string{
		"the folder is not empty: it holds ":                  {"--adapter", adapter, "--output", out},
		"output is missing, allowed: a folder that is not":    {"--adapter", adapter},
		"adapter is empty, allowed: the folder of an adapter": {"--output", out},
		"block_size is 128, allowed: only with base dequant": {
			"--adapter", adapter, "--output", out + "2", "--block-size=128", "--report=off",
		},
		"quantization is none, allowed: only with base dequan": {
			"--adapter", adapter, "--output", out + "2", "--quantization=none", "--report=off",
		},
		"it is the same adapter as ":                     {"--adapter", adapter, "--adapter", adapter + "/", "--output", out + "2"},
		"no tokenizer":                                   {"--adapter", adapter, "--output", out + "2", "--report=on"},
		`base is "both", allowed: original, dequantized`: {"--adapter", adapter, "--output", out + "2", "--base=both"},
		"it has no ":                                     {"--adapter", alien, "--output", out + "2"},
	} {
		status, _, stderr = invoke(t, append([]string{"merge", "--model", model}, args...)...)
		require.Equal(t, 2, status, stderr)
		require.Contains(t, stderr, message)
		require.NoDirExists(t, out+"2")
	}
}

// otherScale is the same adapter with another scale, in a folder of its own.
func otherScale(t *testing.T, adapter string) string {
	dir := filepath.Join(t.TempDir(), "other")
	require.NoError(t, os.CopyFS(dir, os.DirFS(adapter)))
	name := filepath.Join(dir, "adapter_config.json")
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	changed := regexp.MustCompile(`"lora_alpha": *[0-9.]+`).ReplaceAll(text, []byte(`"lora_alpha": 3`))
	require.NotEqual(t, text, changed)
	require.NoError(t, os.WriteFile(name, changed, 0o666))
	return dir
}

// A folder is not written into that of the model, however one gets there; beside it it is.
func TestMergeIntoTheModel(t *testing.T) {
	from, dir := filepath.Join("..", "..", "internal", "parity", "testdata", "granite4"), t.TempDir()
	model := filepath.Join(dir, "model")
	require.NoError(t, os.CopyFS(model, os.DirFS(filepath.Join(from, "model"))))
	outputs := []string{filepath.Join(model, "merged"), filepath.Join(model, "a", "b"), dir + "/other/../model/merged"}
	below := filepath.Join(model, "below")
	require.NoError(t, os.Mkdir(below, 0o777))
	for i, to := range []string{model, below} {
		if link := filepath.Join(dir, "link"+strconv.Itoa(i)); os.Symlink(to, link) == nil { // which not every user of Windows may make
			outputs = append(outputs, filepath.Join(link, "merged"))
		}
	}
	write := func(command, output string) (int, string) {
		args := []string{command, "--model", model, "--output", output}
		if command == "merge" {
			args = append(args, "--adapter", filepath.Join(from, "init_adapter"), "--report=off")
		}
		status, _, stderr := invoke(t, args...)
		return status, stderr
	}
	before, err := os.ReadDir(model)
	require.NoError(t, err)
	for _, output := range outputs {
		for _, command := range []string{"merge", "quantize"} {
			status, stderr := write(command, output)
			require.Equal(t, 2, status, output)
			require.Contains(t, stderr, "the folder lies in that of the model, "+model)
		}
	}
	after, err := os.ReadDir(model)
	require.NoError(t, err)
	require.Equal(t, before, after)
	for _, output := range []string{filepath.Join(dir, "model-merged"), filepath.Join(dir, "deep", "er", "merged")} {
		status, stderr := write("merge", output)
		require.Zero(t, status, stderr)
	}
	file := filepath.Join(dir, "m.gguf") // whose folder is nobody's
	status, _, stderr := invoke(t, "export", "--model", filepath.Join("..", "..", "internal", "demo", "model"), "--output", file, "--type=f16")
	require.Zero(t, status, stderr)
	status, _, stderr = invoke(t, "quantize", "--model", file, "--output", filepath.Join(dir, "beside"))
	require.Zero(t, status, stderr)
}

func TestQuantize(t *testing.T) {
	model, out := filepath.Join("..", "..", "internal", "parity", "testdata", "granite4", "model"), filepath.Join(t.TempDir(), "nf4")
	status, stdout, stderr := invoke(t, "quantize", "--model", model, "--output", out, "--no-double-quant", "--block-size=128")
	require.Zero(t, status, stderr)
	require.Equal(t, out+"\n", stdout)
	card, err := os.ReadFile(filepath.Join(out, "README.md"))
	require.NoError(t, err)
	require.Contains(t, string(card), "Linears in 4-bit NormalFloat, blocks of 128, float32 absmax, by qlora-wgpu.")
	status, stdout, stderr = invoke(t, "plan", "--model", out, "--max-seq-length=16", "--lora-r=2")
	require.Zero(t, status, stderr)
	require.Contains(t, stdout, "2 of 2 resident")
	status, _, stderr = invoke(t, "quantize", "--model", out, "--output", out+"2")
	require.Equal(t, 2, status)
	require.Contains(t, stderr, "the model's files hold 4 bits already")
}
