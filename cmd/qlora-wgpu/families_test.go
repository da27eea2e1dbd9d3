//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/testfiles"
	"qlora-wgpu/lora"
)

// Each family's small model goes through the program as a user's would: it learns packed rows, the same with its layers
// paged and from a checkpoint on; what it learned lowers the loss; and it answers.
func TestEveryFamily(t *testing.T) {
	done := map[string]bool{}
	of := func(t *testing.T, root string) {
		models, err := filepath.Glob(filepath.Join(root, "*", "model"))
		require.NoError(t, err)
		require.NotEmpty(t, models)
		for _, model := range models {
			if name := filepath.Base(filepath.Dir(model)); !done[name] {
				done[name] = true
				t.Run(name, func(t *testing.T) { testFamily(t, spelling(t, model)) })
			}
		}
	}
	of(t, filepath.Join(testfiles.Root(t), "internal", "parity", "testdata"))
	t.Run("reference", func(t *testing.T) { of(t, testfiles.Reference(t, "families")) })
}

// spelling copies a model that has no tokenizer and gives it one, of single characters, with a chat template.
func spelling(t *testing.T, from string) string {
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(from)))
	vocabulary := map[string]int{}
	for id, token := range append([]string{"<pad>", "<s>", "</s>", "<unk>"}, strings.Split(" abcdefghijklmnopqrstuvwxyz.,?", "")...) {
		vocabulary[token] = id
	}
	var special []map[string]any
	for _, token := range []string{"<s>", "</s>"} { // whose ids the configurations give
		special = append(special, map[string]any{"id": vocabulary[token], "content": token, "special": true})
	}
	text, err := json.Marshal(map[string]any{
		"added_tokens": special, "decoder": map[string]any{"type": "Fuse"},
		"model": map[string]any{"type": "BPE", "vocab": vocabulary, "merges": []string{}, "unk_token": "<unk>"},
	})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.json"), text, 0o666))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "chat_template.jinja"),
		[]byte(`{{ '<s>' }}{% for m in messages %}{{ m.content + '</s>' }}{% endfor %}`), 0o666))
	return dir
}

const spelledRows = `{"prompt": "what color is the cup?", "completion": "it is pink."}
{"prompt": "where is ann?", "completion": "ann is at home."}
{"prompt": "who is there?", "completion": "it is bob."}
{"prompt": "how are you?", "completion": "fine, and you?"}
{"prompt": "what is in the box?", "completion": "a red ball."}
{"prompt": "can you sing?", "completion": "yes, a bit."}
`

func testFamily(t *testing.T, model string) {
	t.Setenv(programVariable, "1")
	data := writeFile(t, "rows.jsonl", spelledRows)
	common := []string{"--model", model}
	shape := []string{"--max-seq-length=80", "--batch-size=1", "--gradient-accumulation-steps=1", "--lora-r=4"}
	train := func(more ...string) (adapter []byte, stdout, out string) {
		t.Helper()
		out = filepath.Join(t.TempDir(), "out")
		args := append([]string{"train", "--data", data, "--output-dir", out, "--packing", "--max-steps=4", "--save-steps=2",
			"--learning-rate=1e-2", "--lr-scheduler-type=constant", "--autotune=off"}, common...)
		status, stdout, stderr := invoke(t, append(append(args, shape...), more...)...)
		require.Zero(t, status, stderr)
		adapter, err := os.ReadFile(filepath.Join(out, lora.WeightsFile))
		require.NoError(t, err)
		return adapter, stdout, out
	}
	adapter, stdout, out := train()
	require.Contains(t, stdout, "about 1.33 epochs", "6 rows in 3 sequences")

	least := regexp.MustCompile(`the least: ([\d.]+) ([KM]iB)`).FindStringSubmatch(stdout)
	require.NotNil(t, least)
	rounded, err := strconv.ParseFloat(least[1], 64) // to a tenth
	require.NoError(t, err)
	paged, stdout, _ := train(fmt.Sprintf("--vram-budget=%.2f%s", rounded+0.06, least[2]))
	planned := slices.Concat(shape, common)
	minimum := plan(t, planned...).Minimum
	if plan(t, append(planned, fmt.Sprintf("--vram-budget=%dB", minimum))...).Rows[0].Device == 0 {
		require.Regexp(t, `layers +\d of \d streamed`, stdout)
		require.Contains(t, stdout, "moved a step")
	} // otherwise the layers are smaller than what streaming them takes
	require.Equal(t, adapter, paged, "paging changes no byte")

	resumed, stdout, _ := train("--resume", filepath.Join(out, "checkpoint-2"))
	require.Contains(t, stdout, "checkpoint-2 after step 2.")
	require.Equal(t, adapter, resumed, "a resumed run gives the same bytes")

	common = append(common, "--autotune=off")
	without := evaluate(t, append([]string{"--data", data}, common...)...)
	with := evaluate(t, append([]string{"--data", data, "--adapter", out}, common...)...)
	t.Logf("loss %.4f without, %.4f with", without.Loss, with.Loss)
	require.Less(t, with.Loss, without.Loss)

	generate := append([]string{"generate", "--adapter", out, "--raw", "--prompt=what is", "--max-tokens=6"}, common...)
	status, answer, stderr := invoke(t, generate...)
	require.Zero(t, status, stderr)
	require.Greater(t, len(answer), 1)
	_, again, _ := invoke(t, generate...)
	require.Equal(t, answer, again)
}
