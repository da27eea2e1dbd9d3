//go:build unix

package main

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/lora"
)

// refused runs a command line, trainings in real child processes, and wants a user's error that holds the message, with
// no folder of a run left or changed.
func refused(t *testing.T, message string, args ...string) {
	t.Helper()
	t.Setenv(programVariable, "1")
	status, _, stderr := invoke(t, args...)
	require.Contains(t, stderr, "error: "+message)
	require.Equal(t, statusUserError, status, stderr)
	require.NotContains(t, stderr, "panic")
	require.NotContains(t, stderr, "goroutine")
	require.NotContains(t, stderr, "died")
	require.Equal(t, 1, strings.Count(stderr, "error: "), "said once")
}

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o666))
	return path
}

const goodRow = `{"messages": [{"role": "user", "content": "The cup is pink. What color is the cup?"}, {"role": "assistant", ` +
	`"content": "pink"}]}` + "\n"

func TestWrongModels(t *testing.T) {
	data := writeFile(t, "rows.jsonl", goodRow)
	everywhere := func(model, message string) {
		t.Helper()
		refused(t, message, "train", "--model", model, "--data", data, "--output-dir", filepath.Join(t.TempDir(), "out"))
		refused(t, message, "generate", "--model", model, "--prompt=Hello")
		refused(t, message, "eval", "--model", model, "--data", data)
	}
	missing := filepath.Join(t.TempDir(), "none.gguf")
	everywhere(missing, "open model "+missing+": no such file or directory\n")

	whole := demotest.Model(t, 1, nil)
	weights := filepath.Join(whole, "model.safetensors")
	info, err := os.Stat(weights)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(weights, info.Size()-1000))
	everywhere(whole, "read safetensors "+weights+": offset ")
	_, _, stderr := invoke(t, "eval", "--model", whole, "--data", data)
	require.Regexp(t, `bad format: tensor "[\w.]+" ends at \d+, the file holds \d+ bytes of data`, stderr)
	require.NoError(t, os.Truncate(weights, 5))
	everywhere(whole, "read safetensors "+weights+": offset 0: bad format: the file has 5 bytes, a header length takes 8\n")

	wide := demotest.Model(t, 1, func(config map[string]any) { config["intermediate_size"] = 1000 })
	everywhere(wide, "open model "+filepath.Join(wide, "model.safetensors")+
		": bad format: tensor model.layers.0.mlp.gate_proj.weight has shape [384, 128], the configuration asks for [1000, 128]")
	deep := demotest.Model(t, 1, func(config map[string]any) { config["num_hidden_layers"] = 2 })
	everywhere(deep, "open model "+deep+": bad format: tensor model.layers.1.")
	foreign := demotest.Model(t, 1, func(config map[string]any) { config["architectures"] = []string{"MambaForCausalLM"} })
	everywhere(foreign, "open model "+filepath.Join(foreign, "config.json")+
		": line 1: unsupported: architectures is [\"MambaForCausalLM\"] (known are Gemma2ForCausalLM")

	everywhere(writeFile(t, "cut.gguf", ggufFile(typeF32)[:3000]), "read gguf ")
	_, _, stderr = invoke(t, "generate", "--model", writeFile(t, "cut.gguf", ggufFile(typeF32)[:3000]), "--prompt=Hello")
	require.Regexp(t, `cut\.gguf: offset \d+: bad format: tensor "token_embd.weight" needs bytes up to 4096 of the data, the file holds \d+`,
		stderr)
	everywhere(writeFile(t, "header.gguf", ggufFile(typeF32)[:60]), "read gguf ")
	everywhere(writeFile(t, "exotic.gguf", ggufFile(typeIQ2XXS)), "read gguf ")
	_, _, stderr = invoke(t, "generate", "--model", writeFile(t, "exotic.gguf", ggufFile(typeIQ2XXS)), "--prompt=Hello")
	require.Regexp(t, `exotic\.gguf: offset \d+: unsupported: tensor "token_embd.weight" has type IQ2_XXS `+
		`\(take the model in one of F32, F16, `, stderr)
}

const (
	typeF32    = 0
	typeIQ2XXS = 16
)

// ggufFile is a GGUF of the llama architecture with one tensor, 4 KiB if it is F32.
func ggufFile(tensorType uint32) string {
	var b []byte
	u32 := func(v uint32) { b = binary.LittleEndian.AppendUint32(b, v) }
	u64 := func(v uint64) { b = binary.LittleEndian.AppendUint64(b, v) }
	text := func(s string) { u64(uint64(len(s))); b = append(b, s...) }
	b = append(b, "GGUF"...)
	u32(3)
	u64(1) // tensors
	u64(1) // metadata
	text("general.architecture")
	u32(8) // a string
	text("llama")
	text("token_embd.weight")
	u32(2)
	u64(256)
	u64(4)
	u32(tensorType)
	u64(0)
	b = append(b, make([]byte, (32-len(b)%32)%32+4096)...)
	return string(b)
}

func TestWrongData(t *testing.T) {
	model := demotest.Model(t, 1, nil)
	both := func(data, message string, more ...string) {
		t.Helper()
		refused(t, message, append([]string{"train", "--model", model, "--data", data, "--output-dir", filepath.Join(t.TempDir(), "out")},
			more...)...)
		refused(t, message, append([]string{"eval", "--model", model, "--data", data}, more...)...)
	}
	missing := filepath.Join(t.TempDir(), "rows.jsonl")
	both(missing, "read data set "+missing+": no such file or directory\n")
	broken := writeFile(t, "broken.jsonl", goodRow+goodRow+`{"messages": [{"role": "user"`+"\n"+goodRow)
	both(broken, "read data set "+broken+": line 3: bad format: ")
	other := writeFile(t, "other.jsonl", goodRow+`{"text": "no conversation"}`+"\n")
	both(other, "read data set "+other+": line 2: bad format: ")
	unanswered := writeFile(t, "unanswered.jsonl", strings.ReplaceAll(goodRow, `"content": "pink"`, `"content": " "`))
	both(unanswered, "encode data set "+unanswered+
		": no supervised token in 1 rows: 1 with no answer (the first at line 1) (every row needs an answer")
	short := writeFile(t, "short.jsonl", goodRow)
	both(short, "encode data set "+short+
		": no supervised token in 1 rows: 1 with the answer beyond max_seq_length (the first at line 1) (raise max_seq_length above 8: the "+
		"longest row has ",
		"--max-seq-length=8")
	refused(t, `select rows `+short+`: rows "0:2": outside of the data set; the data set has 1 rows`,
		"eval", "--model", model, "--data", short, "--rows=0:2")
	refused(t,
		"settings: eval_steps is 5, allowed: 0 without rows to evaluate (set val_size to hold rows back, or put valid.jsonl beside "+
			"train.jsonl)\n",
		"train", "--model", model, "--data", short, "--output-dir", filepath.Join(t.TempDir(), "out"), "--eval-steps=5")
	refused(t, "settings: num_train_epochs is 1e+30, allowed: at most 2147483647 steps, an epoch of this data has 1\n",
		"train", "--model", model, "--data", short, "--output-dir", filepath.Join(t.TempDir(), "out"), "--num-train-epochs=1e30")
	refused(t, "settings: block_size is 7, allowed: 32, ", "eval", "--model", model, "--data", short, "--block-size=7")
	refused(t, "settings: max_seq_length is -3, allowed: 0 to ", "eval", "--model", model, "--data", short, "--max-seq-length=-3")
}

func TestSequencesLongerThanTheModel(t *testing.T) {
	t.Setenv(programVariable, "1")
	model := demotest.Model(t, 1, func(config map[string]any) { config["max_position_embeddings"] = 48 })
	prompt := strings.Repeat("the cup is pink. ", 40)
	_, _, stderr := invoke(t, "generate", "--model", model, "--prompt", prompt)
	require.Regexp(t, `\nerror: generate: the prompt has \d\d\d tokens, the model holds 48 \(shorten it\)\n`, stderr)

	long := strings.ReplaceAll(goodRow, `"pink"`, `"`+prompt+`"`)
	data := writeFile(t, "long.jsonl", goodRow+long)
	status, stdout, stderr := invoke(t, "train", "--model", model,
		"--data", data, "--output-dir", filepath.Join(t.TempDir(), "out"), "--max-steps=1", "--save-steps=0", "--autotune=off")
	require.Zero(t, status, stderr)
	require.Contains(t, stdout, "max_seq_length is 48: the model allows no more.\n")
	require.Contains(t, stderr, "warning: 1 conversations are longer than 48 tokens and were cut off; 1 of them lost a part of an answer\n")
}

func TestWrongAdapters(t *testing.T) {
	model, data := demotest.Model(t, 1, nil), writeFile(t, "rows.jsonl", goodRow)
	out := func() string { return filepath.Join(t.TempDir(), "out") }
	adapter := func(rank int, tensors ...lora.Tensor) string {
		dir := t.TempDir()
		config, err := os.Create(filepath.Join(dir, lora.ConfigFile))
		require.NoError(t, err)
		defer config.Close()
		require.NoError(t, lora.Config{Rank: rank, Alpha: 8, Targets: []string{"q_proj"}}.WriteConfig(config, ""))
		weights, err := os.Create(filepath.Join(dir, lora.WeightsFile))
		require.NoError(t, err)
		defer weights.Close()
		require.NoError(t, lora.Config{}.WriteWeights(weights, tensors))
		return dir
	}
	a := func(layer string, rows, cols int) lora.Tensor {
		return lora.Tensor{
			Name: "base_model.model.model.layers." + layer + ".self_attn.q_proj.lora_A.weight", Rows: rows, Cols: cols,
			Values: make([]float32, rows*cols),
		}
	}
	b := func(layer string, rows, cols int) lora.Tensor {
		x := a(layer, rows, cols)
		x.Name = strings.Replace(x.Name, "lora_A", "lora_B", 1)
		return x
	}
	for _, test := range []struct{ dir, message string }{
		{adapter(4, a("0", 4, 576), b("0", 576, 4)),
			"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight is 4×576, the model wants 4×128; 2 of 2 matrices do not fit, " +
				"those of q_proj (the adapter belongs to another model)"},
		{adapter(4, a("0", 4, 128)),
			"base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight is missing (the file is incomplete: fetch it anew)"},
		{adapter(4, a("0", 4, 128), b("0", 128, 4), a("29", 4, 128), b("29", 128, 4)), "base_model.model.model.layers.29.self_attn.q_proj.lora_"},
	} {
		message := "load adapter " + test.dir + ": " + test.message
		refused(t, message, "generate", "--model", model, "--adapter", test.dir, "--prompt=Hello")
		refused(t, message, "eval", "--model", model, "--adapter", test.dir, "--data", data)
		refused(t, message, "train", "--model", model, "--init-adapter", test.dir, "--data", data, "--output-dir", out())
	}
	none := t.TempDir()
	refused(t, "load adapter "+filepath.Join(none, lora.ConfigFile)+": no such file",
		"generate", "--model", model, "--adapter", none, "--prompt=Hello")

	refused(t, "attach adapter: lora_r is 129, model.layers.0.self_attn.q_proj is 128×128 (a rank of at most 128)\n",
		"train", "--model", model, "--data", data, "--output-dir", out(), "--lora-r=129", "--lora-target-modules=q_proj")
	refused(t, "attach adapter: lora_r is 65, model.layers.0.self_attn.k_proj is 64×128 (a rank of at most 64)\n",
		"train", "--model", model, "--data", data, "--output-dir", out(), "--lora-r=65")
	refused(t,
		`attach adapter: lora_target_modules has "qproj", the model has no such linear (it has q_proj, k_proj, v_proj, o_proj, gate_proj, `+
			`up_proj, down_proj)`+"\n",
		"train", "--model", model, "--data", data, "--output-dir", out(), "--lora-target-modules=q_proj,qproj")
}
