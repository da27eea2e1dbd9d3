//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/testfiles"
)

// evaluation is the line that eval --json prints; no other field is allowed.
type evaluation struct {
	Loss         float64 `json:"loss"`
	Perplexity   float64 `json:"perplexity"`
	TargetTokens int     `json:"target_tokens"`
}

func evaluate(t *testing.T, args ...string) evaluation {
	t.Helper()
	status, stdout, stderr := invoke(t, append([]string{"eval", "--json"}, args...)...)
	require.Zero(t, status, stderr)
	require.Equal(t, 1, strings.Count(stdout, "\n"))
	require.Regexp(t, `^\{"loss":[\d.e-]+,"perplexity":[\d.e+-]+,"target_tokens":\d+\}\n$`, stdout)
	var e evaluation
	require.NoError(t, json.Unmarshal([]byte(stdout), &e))
	require.InEpsilon(t, math.Exp(e.Loss), e.Perplexity, 1e-9)
	return e
}

func TestEvalPrintsOneLine(t *testing.T) {
	model, data := demotest.Model(t, 1, nil), demotest.Rows(t, 6)
	answers := evaluate(t, "--model", model, "--data", data, "--autotune=off")
	all := evaluate(t, "--model", model, "--data", data, "--autotune=off", "--train-on-inputs")
	require.Greater(t, all.TargetTokens, answers.TargetTokens)
	require.NotEqual(t, answers.Loss, all.Loss)
	status, stdout, _ := invoke(t, "eval", "--model", model, "--data", data, "--autotune=off", "--rows=:2")
	require.Zero(t, status)
	require.Regexp(t, `^loss \d+\.\d{6}, perplexity \d+\.\d{4} over \d+ target tokens of 2 rows\n$`, stdout)
}

func TestGenerateStreamsToStdout(t *testing.T) {
	args := []string{"generate", "--model", demotest.Model(t, 1, nil), "--prompt=What color is the cup?", "--max-tokens=8", "--autotune=off"}
	status, first, stderr := invoke(t, args...)
	require.Zero(t, status, stderr)
	require.Contains(t, stderr, "Device: ")
	require.NotContains(t, first, "Device: ")
	require.Greater(t, len(first), 1)
	_, second, _ := invoke(t, args...)
	require.Equal(t, first, second)
	_, raw, _ := invoke(t, append(args, "--raw")...)
	require.NotEqual(t, first, raw)
	_, drawn, _ := invoke(t, append(args, "--temperature=2", "--seed=5")...)
	_, again, _ := invoke(t, append(args, "--temperature=2", "--seed=5")...)
	require.Equal(t, drawn, again)
	require.NotEqual(t, first, drawn)
}

func TestDevices(t *testing.T) {
	status, stdout, stderr := invoke(t, "devices", "--json")
	require.Zero(t, status, stderr)
	var list []gpu.AdapterInfo
	decoder := json.NewDecoder(strings.NewReader(stdout))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&list))
	require.NotEmpty(t, list)
	_, text, _ := invoke(t, "devices")
	require.NotContains(t, text, "-1 MiB", "software Vulkan tells no limit of a buffer")
	for i, a := range list {
		require.Equal(t, i, a.Index)
		require.NotEmpty(t, a.Name)
		require.NotEmpty(t, a.Backend)
		require.GreaterOrEqual(t, a.MaxBindingBytes, uint64(128<<20))
		require.Contains(t, text, a.Name)
	}
	status, stdout, stderr = invoke(t, "generate", "--model", demotest.Model(t, 1, nil), "--prompt=x", "--device=no such card")
	require.Equal(t, statusUserError, status)
	require.Empty(t, stdout, "no answer")
	require.Contains(t, stderr, "no such card")
	require.Contains(t, stderr, list[0].Name, "the choice there is")
}

func TestLimitsAsTheyAre(t *testing.T) {
	require.Equal(t, "128 MiB", shownLimit(128<<20))
	require.Equal(t, "2047 MiB", shownLimit(1<<31-1))
	require.Equal(t, "8796093022207 MiB", shownLimit(math.MaxInt64))
	require.Equal(t, "without limit", shownLimit(gpu.NoLimit))
}

func TestTokenizeWithTheEmbeddedModel(t *testing.T) {
	model := demotest.Model(t, 1, nil)
	input := writeFile(t, "texts.jsonl", `{"text": "The cup is pink."}`+"\n"+`{"text": ""}`+"\n")
	status, stdout, stderr := invoke(t, "tokenize", "--model", model, input)
	require.Zero(t, status, stderr)
	require.Regexp(t, `^\{"ids":\[\d+(,\d+)*\]\}\n\{"ids":\[\]\}\n$`, stdout)
	status, stdout, stderr = invoke(t, "tokenize", "--model", model, "--chat", writeFile(t, "rows.jsonl", goodRow))
	require.Zero(t, status, stderr)
	var row struct{ IDs, Target []int }
	require.NoError(t, json.Unmarshal([]byte(stdout), &row))
	require.Len(t, row.Target, len(row.IDs))
	require.Regexp(t, `"target":\[0(,0)*(,1)+\]`, stdout, "the answer and its end, nothing before")
}

// A table whose columns are named gives the same ids as the conversations that it holds; without names it is asked for.
func TestColumnsOfATable(t *testing.T) {
	model := demotest.Model(t, 1, nil)
	status, want, stderr := invoke(t, "tokenize", "--model", model, "--chat", writeFile(t, "rows.jsonl",
		`{"messages":[{"role":"user","content":"a; b"},{"role":"assistant","content":"c"}]}`))
	require.Zero(t, status, stderr)
	table := writeFile(t, "rows.csv", "Frage;Antwort\n\"a; b\";c\n")
	status, got, stderr := invoke(t, "tokenize", "--model", model, "--chat", "--data-columns", "prompt=Frage,completion=Antwort", table)
	require.Zero(t, status, stderr)
	require.Equal(t, want, got)
	require.Equal(t, "Data: the first row names the columns\n", stderr)

	made := writeFile(t, "rows.jinja", `{{ {"prompt": row.Frage, "completion": row.Antwort} | tojson }}`)
	status, got, stderr = invoke(t, "tokenize", "--model", model, "--chat", "--data-template", made, table)
	require.Zero(t, status, stderr)
	require.Equal(t, want, got)
	folder := t.TempDir()
	for _, name := range []string{"train.jsonl", "validation.jsonl"} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(goodRow+"\n"), 0o666))
	}
	require.NoError(t, os.Rename(table, filepath.Join(folder, "test.csv")))
	table = filepath.Join(folder, "test.csv")
	status, got, stderr = invoke(t, "tokenize", "--model", model, "--chat", "--data-split", "test", "--data-template", made, folder)
	require.Zero(t, status, stderr)
	require.Equal(t, want, got)
	status, got, stderr = invoke(t, "tokenize", "--model", model, "--chat", folder)
	require.Zero(t, status, stderr)
	require.Equal(t, 1, strings.Count(got, "\n"))
	require.Contains(t, stderr, "1 rows for validation are not printed: --data-split prints those of a split.\n")
	refused(t, "tokenize "+table+": the settings of data are for conversations (--chat reads those)", "tokenize", "--model", model,
		"--data-template", made, table)
	refused(t, "tokenize standard input: it has neither configs nor splits (name the folder", "tokenize", "--model", model, "--chat",
		"--data-split", "test")

	status, _, stderr = invoke(t, "tokenize", "--model", model, "--chat", table)
	require.Equal(t, statusUserError, status)
	require.Contains(t, stderr, `does the first row ("Frage", "Antwort") name the columns, or is it an example? (`)
	status, _, stderr = invoke(t, "tokenize", "--model", model, "--chat", "--data-columns", "prompt=Frage", table)
	require.Equal(t, statusUserError, status)
	require.Contains(t, stderr, `data_columns is "prompt=Frage", allowed: prompt=NAME,completion=NAME`)
}

// What training makes of a conversation is printed, with its tools and another template, and what it would say.
func TestTokenizeIsWhatTrainDoes(t *testing.T) {
	model := demotest.Model(t, 1, nil)
	template := writeFile(t, "tools.jinja", `{% if tools %}{{ '<|system|>' + tools|tojson + '<|end|>' }}{% endif %}`+
		`{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{% endfor %}`+
		`{% if add_generation_prompt %}<|assistant|>{% endif %}`)
	rows := writeFile(t, "rows.jsonl",
		`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"tools":[{"name":"w"}]}`+"\n"+
			`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":""},{"role":"user","content":"a"}]}`)
	lengths := func(args ...string) (list []int, stderr string) {
		status, stdout, stderr := invoke(t, append([]string{"tokenize", "--model", model, "--chat", rows}, args...)...)
		require.Zero(t, status, stderr)
		for _, line := range strings.Split(strings.TrimSpace(stdout), "\n") {
			var row struct{ IDs []int }
			require.NoError(t, json.Unmarshal([]byte(line), &row))
			list = append(list, len(row.IDs))
		}
		return list, stderr
	}
	const empty = "warning: 1 rows have an assistant turn of which the chat template shows nothing: it is not learned, the first at line 2\n"
	plain, stderr := lengths()
	require.Equal(t, []int{6, 8}, plain)
	require.Equal(t, empty+"warning: 1 rows have tools that the chat template does not show to the model, the first at line 1\n", stderr)
	shown, stderr := lengths("--chat-template", template)
	require.Greater(t, shown[0], plain[0]+8)
	require.Equal(t, plain[1], shown[1])
	require.Equal(t, empty, stderr)

	status, _, stderr := invoke(t, "eval", "--model", model, "--data", rows)
	require.Zero(t, status, stderr)
	require.Contains(t, stderr, "warning: 1 rows left out (no answer), the first at line 2\n")
}

// A template that leaves out earlier thoughts, by name, with variables, and for training.
func TestTemplatesThatRewrite(t *testing.T) {
	model := demotest.Model(t, 1, nil)
	write := func(name, text string) {
		path := filepath.Join(model, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o666))
	}
	// What the family is told by stands in the comment.
	write("chat_template.jinja", `{# <|im_start|> </think> </tool_response> {"name": " #}{% for m in messages %}<|{{ m.role }}|>`+
		`{% if loop.last and m.thinking and enable_thinking is not false %}<think>{{ m.thinking }}</think>{% endif %}{{ m.content }}<|end|>`+
		`{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}`)
	write("additional_chat_templates/plain.jinja", `{% for m in messages %}{{ m.content }}<|end|>{% endfor %}`)
	rows := writeFile(t, "rows.jsonl", `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","thinking":"c"},`+
		`{"role":"user","content":"d"},{"role":"assistant","content":"e","thinking":"f"}]}`)
	tokenized := func(args ...string) (samples int, stderr string) {
		status, stdout, stderr := invoke(t, append([]string{"tokenize", "--model", model, "--chat", rows}, args...)...)
		require.Zero(t, status, stderr)
		return strings.Count(stdout, "\n"), stderr
	}
	samples, stderr := tokenized()
	require.Equal(t, 2, samples)
	require.Equal(t, "warning: 1 conversations became 2 samples, one for each answer: the chat template writes earlier turns "+
		"differently once others follow, and each answer is learned behind what the model saw then; the first at line 1\n", stderr)
	samples, stderr = tokenized("--template-args", `{"enable_thinking": false}`)
	require.Equal(t, 1, samples)
	require.Contains(t, stderr, "1 rows have reasoning that the chat template does not show")
	samples, stderr = tokenized("--chat-template", "training")
	require.Equal(t, 1, samples)
	require.Empty(t, stderr)
	samples, _ = tokenized("--chat-template", "plain")
	require.Equal(t, 1, samples)

	for _, wrong := range []struct{ name, message string }{
		{"rag", "error: read chat template rag: no such file or directory (chat_template is a file, or one of the names default, plain, " +
			"training)\n"},
		{model, "error: read chat template "},
	} {
		status, _, stderr := invoke(t, "tokenize", "--model", model, "--chat", rows, "--chat-template", wrong.name)
		require.Equal(t, statusUserError, status)
		require.Contains(t, stderr, wrong.message)
	}
	status, _, stderr := invoke(t, "tokenize", "--model", model, "--chat", rows, "--template-args", `{"messages": 1}`)
	require.Equal(t, statusUserError, status)
	require.Equal(t, "error: settings: template_args: messages cannot be given: messages, tools, add_generation_prompt come from "+
		"the conversation\n", stderr)
	status, stdout, stderr := invoke(t, "eval", "--model", model, "--data", rows)
	require.Zero(t, status, stderr)
	require.Regexp(t, `of 1 rows\n$`, stdout, "two samples of one row")
}

// The loss that PyTorch has on the same NF4 weights, from the GGUF through tokenizer, template and every layer of a
// real model.
func TestEvalOfSmolLM2EqualsPyTorch(t *testing.T) {
	equalsPyTorch(t, testfiles.Reference(t, "parity", "smollm2", "eval.json"), testfiles.Models(t, smolLM2), 5e-5)
}

const smolLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"

// Other real models whose file is at hand.
func TestEvalOfRealModelsEqualsPyTorch(t *testing.T) {
	for _, name := range realModels(t) {
		t.Run(name, func(t *testing.T) {
			equalsPyTorch(t, testfiles.Reference(t, "real", name+realLoss), testfiles.RealModel(t, name+".gguf"), 5e-6)
		})
	}
}

const realLoss = ".eval_0_16.json"

// realModels are the names of those that PyTorch computed.
func realModels(t *testing.T) (names []string) {
	found, err := filepath.Glob(filepath.Join(testfiles.Reference(t, "real"), "*"+realLoss))
	require.NoError(t, err)
	require.NotEmpty(t, found)
	for _, path := range found {
		names = append(names, strings.TrimSuffix(filepath.Base(path), realLoss))
	}
	return names
}

// equalsPyTorch compares the loss over rows of Alpaca with that in a file.
func equalsPyTorch(t *testing.T, path, model string, allowed float64) {
	var want struct {
		Rows         [2]int
		Loss         float64
		TargetTokens int `json:"target_tokens"`
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &want))
	rows := fmt.Sprintf("--rows=%d:%d", want.Rows[0], want.Rows[1])
	got := evaluate(t, "--model", model, "--data", testfiles.Data(t, "alpaca_en_demo.json"), rows)
	require.Equal(t, want.TargetTokens, got.TargetTokens)
	difference := math.Abs(got.Loss-want.Loss) / want.Loss
	t.Logf("loss %.9f, PyTorch's %.9f: relative difference %.2g of an allowed %.0g", got.Loss, want.Loss, difference, allowed)
	require.Less(t, difference, allowed)
}

// Thirty steps on Alpaca lower the perplexity on rows that were not trained on.
func TestTrainingSmolLM2LowersThePerplexity(t *testing.T) {
	if os.Getenv("QLORA_TEST_LONG") == "" {
		t.Skip("QLORA_TEST_LONG is not set")
	}
	trainingLowersThePerplexity(t, testfiles.Models(t, smolLM2), "900:960", "--max-steps=30")
}

// So do twenty of one row each.
func TestTrainingOfRealModelsLowersThePerplexity(t *testing.T) {
	if os.Getenv("QLORA_TEST_LONG") == "" {
		t.Skip("QLORA_TEST_LONG is not set")
	}
	for _, name := range realModels(t) {
		t.Run(name, func(t *testing.T) {
			trainingLowersThePerplexity(t, testfiles.RealModel(t, name+".gguf"), "900:908",
				"--max-steps=20", "--batch-size=1", "--gradient-accumulation-steps=1")
		})
	}
}

func trainingLowersThePerplexity(t *testing.T, model, rows string, more ...string) {
	t.Setenv(programVariable, "1")
	data, out := testfiles.Data(t, "alpaca_en_demo.json"), filepath.Join(t.TempDir(), "out")
	var all []json.RawMessage
	text, err := os.ReadFile(data)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &all))
	first900, err := json.Marshal(all[:900])
	require.NoError(t, err)
	trained := filepath.Join(t.TempDir(), "train.json")
	require.NoError(t, os.WriteFile(trained, first900, 0o666))
	before := evaluate(t, "--model", model, "--data", data, "--rows="+rows)
	status, _, stderr := invoke(t, append([]string{"train", "--model", model, "--data", trained, "--output-dir", out}, more...)...)
	require.Zero(t, status, stderr)
	after := evaluate(t, "--model", model, "--adapter", out, "--data", data, "--rows="+rows)
	require.Equal(t, before.TargetTokens, after.TargetTokens)
	t.Logf("perplexity %.4f, after training %.4f", before.Perplexity, after.Perplexity)
	require.Less(t, after.Perplexity, 0.98*before.Perplexity)
}
