package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/drift"
)

// merge and export measure what they have written, over rows of a data set or over those of the program.
func TestDriftReport(t *testing.T) {
	model, dir := demotest.Model(t, 1, nil), t.TempDir()
	adapter := demotest.Adapter(t, model, 4, 1, 0.1)
	data := filepath.Join(dir, "rows.jsonl")
	require.NoError(t, os.WriteFile(data, []byte(`{"prompt":"What color is the cup?","completion":"The cup is pink."}
{"prompt":"Who has the kite?","completion":"Ann has it."}
{"prompt":"Where is Ruth?","completion":"At the farm."}
`), 0o666))
	reported := func(args ...string) (out struct {
		Output string
		Drift  *drift.Report
	}) {
		status, stdout, stderr := invoke(t, append(args, "--model", model, "--adapter", adapter, "--json")...)
		require.Zero(t, status, stderr)
		require.NoError(t, json.Unmarshal([]byte(stdout), &out), stdout)
		return out
	}
	out := filepath.Join(dir, "exact")
	r := reported("merge", "--output", out, "--base=dequantized", "--dtype=f32", "--data", data, "--rows=1:")
	require.Equal(t, out, r.Output)
	require.Equal(t, 2, r.Drift.Rows)
	require.Less(t, r.Drift.Merged.KL, 1e-9)
	require.Greater(t, r.Drift.Base.KL, 0.1)
	whole := reported("merge", "--output", filepath.Join(dir, "all"), "--base=dequantized", "--quantization=none", "--data", data,
		"--train-on-inputs")
	require.Equal(t, 3, whole.Drift.Rows)
	require.Greater(t, whole.Drift.AnswerTokens, 2*r.Drift.AnswerTokens, "the prompts count too")
	require.Contains(t, whole.Drift.Live.Weights, "bfloat16")
	require.Nil(t, reported("merge", "--output", filepath.Join(dir, "off"), "--report=off").Drift)

	out = filepath.Join(dir, "m.gguf")
	status, stdout, stderr := invoke(t, "export", "--model", model, "--adapter", adapter, "--output", out, "--type=q8_0")
	require.Zero(t, status, stderr)
	require.Equal(t, out+"\n", stdout)
	require.Regexp(t, `(?s)over \d+ answer tokens of 8 rows:\n.*\n  live adapter, .*\n  merged, F32, before.*\n`+
		`  re-quantized, Q8_0.*\n  template: the ids of `, stderr)

	out = filepath.Join(dir, "none")
	for message, args := range map[string][]string{
		"no such file or directory":                    {"merge", "--data", filepath.Join(dir, "absent.jsonl")},
		"rows is \"1:\", allowed: only with data":      {"merge", "--rows=1:"},
		"outside of the data set":                      {"merge", "--data", data, "--rows=5:9"},
		"empty with report off":                        {"merge", "--data", data, "--report=off"},
		"a data set where others of its settings are":  {"merge", "--data-split=test"},
		"report is \"yes\", allowed: auto, on, off":    {"merge", "--report=yes"},
		"no adapter matches \"nonsense\"":              {"merge", "--device=nonsense"},
		"block_size is 48, allowed: ":                  {"merge", "--block-size=48"},
		"false together with train_on last":            {"merge", "--train-on=last", "--train-on-inputs"},
		"template_args is [1], allowed: a JSON object": {"merge", "--template-args=[1]"},
	} {
		status, _, stderr := invoke(t, append(args, "--model", model, "--adapter", adapter, "--output", out)...)
		require.Equal(t, 2, status, stderr)
		require.Contains(t, stderr, message)
		require.NoDirExists(t, out)
	}
	for message, args := range map[string][]string{
		"only with an adapter": {"--report=on"}, "is \"" + data + "\", allowed: only with an adapter": {"--data", data},
	} {
		status, _, stderr := invoke(t, append([]string{"export", "--model", model, "--output", out + ".gguf"}, args...)...)
		require.Equal(t, 2, status, stderr)
		require.Contains(t, stderr, message)
	}
}
