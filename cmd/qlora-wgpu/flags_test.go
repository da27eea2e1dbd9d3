package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// invoke runs a command line in this process.
func invoke(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	status = run(&console{context: t.Context(), args: args, stdin: strings.NewReader(""), stdout: &out, stderr: &err})
	return status, out.String(), err.String()
}

// resolve prints the settings of train with --dry-run.
func resolve(t *testing.T, args ...string) string {
	t.Helper()
	status, stdout, stderr := invoke(t, append([]string{"train", "--dry-run", "--model=m.gguf", "--data=d.json"}, args...)...)
	require.Empty(t, stderr)
	require.Zero(t, status)
	return stdout
}

func writeYAML(t *testing.T, content string) string {
	path := filepath.Join(t.TempDir(), "run.yaml")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o666))
	return path
}

const defaultSettings = `model: m.gguf
data: d.json
data_config: ""
data_split: ""
data_template: ""
data_columns: ""
data_format: ""
train_on_inputs: false
output_dir: out
overwrite: false
logging_steps: 1
save_steps: 50
save_total_limit: 3
resume_from_checkpoint: ""
lora_r: 16
lora_target_modules:
- all-linear
lora_alpha: 16.0
lora_dropout: 0.0
use_rslora: false
init_adapter: ""
quantization: nf4
block_size: 64
chat_template: ""
template_args: ""
packing: false
train_on: all
shuffle: true
val_size: 0.0
eval_steps: 0
max_seq_length: 1024
batch_size: 2
gradient_accumulation_steps: 4
num_train_epochs: 1.0
max_steps: 0
learning_rate: 0.0002
lr_scheduler_type: linear
warmup_steps: 0
warmup_ratio: 0.03
optim: adamw_32bit
weight_decay: 0.01
adam_beta1: 0.9
adam_beta2: 0.999
adam_epsilon: 1e-08
max_grad_norm: 1.0
seed: 42
vram_budget: ""
gradient_checkpointing: auto
activation_dtype: f32
device: ""
cache_dir: ""
autotune: "on"
`

func TestDefaultsReachTheCommandLine(t *testing.T) {
	require.Equal(t, defaultSettings, resolve(t))
}

func TestDryRunIsAConfigFile(t *testing.T) {
	changed := resolve(t, "--lora-target-modules=q_proj,v_proj", "--seed=18446744073709551615", "--resume", "--no-shuffle",
		"--learning-rate=1e-5", "--device=llvm pipe", "--num-epochs=2.5", "--mask-prompt")
	require.Equal(t, changed, resolve(t, "--config", writeYAML(t, changed)))
	require.Equal(t, defaultSettings, resolve(t, "--config", writeYAML(t, defaultSettings)))
	require.Equal(t, defaultSettings, resolve(t, "--config", writeYAML(t, "# nothing\n")))
	require.Equal(t, defaultSettings, resolve(t, "--config", writeYAML(t, "max_steps: null\nseed:\n")))
}

func TestEveryNameOfASetting(t *testing.T) {
	for _, test := range []struct{ flag, yaml, line string }{
		{"--lora-rank=7", "lora_rank: 7", "lora_r: 7\n"},
		{"-r7", "r: 7", "lora_r: 7\n"},
		{"--target-modules=q_proj", "target_modules: q_proj", "- q_proj\n"},
		{"--lora-target-modules=q_proj,o_proj", "lora_target_modules: [q_proj, o_proj]", "- q_proj\n- o_proj\n"},
		{"--cutoff-len=99", "cutoff_len: 99", "max_seq_length: 99\n"},
		{"--sequence-len=99", "sequence_len: 99", "max_seq_length: 99\n"},
		{"--max-length=99", "max_length: 99", "max_seq_length: 99\n"},
		{"--micro-batch-size=3", "micro_batch_size: 3", "batch_size: 3\n"},
		{"--per-device-train-batch-size=3", "per_device_train_batch_size: 3", "batch_size: 3\n"},
		{"--iters=5", "iters: 5", "max_steps: 5\n"},
		{"--num-epochs=0.5", "num_epochs: 0.5", "num_train_epochs: 0.5\n"},
		{"--sample-packing", "sample_packing: true", "packing: true\n"},
		{"--train-on-inputs", "train_on_inputs: true", "train_on_inputs: true\n"},
		{"--mask-prompt=false", "mask_prompt: false", "train_on_inputs: true\n"},
		{"--shuffle=false", "shuffle: false", "shuffle: false\n"},
		{"--no-shuffle", "no_shuffle: true", "shuffle: false\n"},
		{"--no-gradient-checkpointing", "gradient_checkpointing: false", "gradient_checkpointing: \"off\"\n"},
		{"--gradient-checkpointing=off", "no_gradient_checkpointing: true", "gradient_checkpointing: \"off\"\n"},
		{"--gradient-checkpointing", "gradient_checkpointing: true", "gradient_checkpointing: full\n"},
		{"--gradient-checkpointing=selective", "gradient_checkpointing: selective", "gradient_checkpointing: selective\n"},
		{"--activation-dtype=bf16", "activation_dtype: bf16", "activation_dtype: bf16\n"},
		{"--val-set-size=0.1", "val_set_size: 0.1", "val_size: 0.1\n"},
		{"--adapter-path=elsewhere", "adapter_path: elsewhere", "output_dir: elsewhere\n"},
		{"--adam-beta1=0.8", "adam_beta1: 0.8", "adam_beta1: 0.8\n"},
		{"--learning-rate=2e-5", "learning_rate: 2e-5", "learning_rate: 2e-05\n"},
		{"--lora-alpha=32", "lora_alpha: 32", "lora_alpha: 32.0\n"},
		{"--resume=out/checkpoint-3", "resume_from_checkpoint: out/checkpoint-3", "resume_from_checkpoint: out/checkpoint-3\n"},
		{"--vram-budget=6GiB", "vram_budget: 6GiB", "vram_budget: 6GiB\n"},
		{"--device=0", "device: 0", "device: \"0\"\n"},
		{"--lora-r=8", "lora_r: '8'", "lora_r: 8\n"},
		{
			`--template-args={"enable_thinking":false,"n":[1,"x"]}`, "template_args:\n  enable_thinking: false\n  n: [1, x]",
			`template_args: "{\"enable_thinking\":false,\"n\":[1,\"x\"]}"` + "\n",
		},
		{`--template-args={"a": 1.5}`, `template_args: '{"a": 1.5}'`, `template_args: "{\"a\": 1.5}"` + "\n"},
		{"--chat-template=a b", "chat_template: |-\n  a b", "chat_template: a b\n"},
		{"--resume-from-checkpoint=auto", "resume: auto", "resume_from_checkpoint: auto\n"},
	} {
		require.NotContains(t, defaultSettings, test.line)
		require.Contains(t, resolve(t, test.flag), test.line)
		require.Contains(t, resolve(t, "--config", writeYAML(t, test.yaml)), test.line)
	}
}

func TestResumeAlone(t *testing.T) {
	for _, test := range []struct {
		line string
		args []string
	}{
		{"resume_from_checkpoint: auto\n", []string{"--resume", "--seed=1"}},
		{"resume_from_checkpoint: auto\n", []string{"--seed=1", "--resume"}},
		{"resume_from_checkpoint: out/checkpoint-7\n", []string{"--resume", "out/checkpoint-7", "--seed=1"}},
	} {
		got := resolve(t, test.args...)
		require.Contains(t, got, test.line)
		require.Contains(t, got, "seed: 1\n")
	}
}

func TestFlagsOverrideTheFile(t *testing.T) {
	file := writeYAML(t, "lora_r: 8\nbatch_size: 3\nshuffle: false\nlora_target_modules: [q_proj, k_proj]\n")
	got := resolve(t, "--config", file, "--batch-size=5", "--shuffle", "--target-modules=v_proj")
	require.Contains(t, got, "lora_r: 8\n")
	require.Contains(t, got, "batch_size: 5\n")
	require.Contains(t, got, "shuffle: true\n")
	require.Contains(t, got, "lora_target_modules:\n- v_proj\nlora_alpha")
}

// What --dry-run prints --config reads again, whatever a name holds.
func TestDryRunIsReadAgain(t *testing.T) {
	for _, name := range []string{
		"a: b #c", ".inf", "12:30:45", "yes", "null", "1e3", "a\tb", "a\nb", "a\x01b", "? b",
		"<<", "-", "[a]", `a\b"c'd`, "üñ 日本", " a ", "~", "0x10", "a\u2028b",
	} {
		printed := resolve(t, "--model", name, "--target-modules", name)
		status, again, stderr := invoke(t, "train", "--dry-run", "--config", writeYAML(t, printed))
		require.Zero(t, status, "%q: %s", name, stderr)
		require.Equal(t, printed, again)
		require.Equal(t, printed, resolve(t, "--config", writeYAML(t, printed), "--model", name), "%q", name)
	}
}

// Steps over a random shape are no run that is written down: their settings are printed where they are given.
func TestDryRunOfARandomShape(t *testing.T) {
	args := []string{"train", "--dry-run", "--arch=smollm2-135m", "--random-weights", "--layers=2", "--max-steps=1"}
	status, printed, stderr := invoke(t, args...)
	require.Zero(t, status, stderr)
	require.Contains(t, printed, "\narch: smollm2-135m\nlayers: 2\nrandom_weights: true\n")
	status, again, stderr := invoke(t, "train", "--dry-run", "--config", writeYAML(t, printed))
	require.Zero(t, status, stderr)
	require.Equal(t, printed, again)
	for message, args := range map[string][]string{
		"arch is \"smollm2-135m\", allowed: only with random_weights (to train a real model, give model and data)": {"--arch=smollm2-135m"},
		"arch is \"smollm2-135m\", allowed: either arch, or model and data": {"--arch=smollm2-135m",
			"--random-weights", "--model=m"},
		"max_steps is 0, allowed: at least 1 with arch":   {"--arch=smollm2-135m", "--random-weights"},
		"random_weights is true, allowed: only with arch": {"--random-weights"},
		"layers is 2, allowed: only with arch":            {"--layers=2"},
		"layers is -1, allowed: 0 to 1000": {
			"--arch=smollm2-135m", "--random-weights", "--max-steps=1", "--layers=-1",
		},
		"lora_r is 0, allowed: 1 to 65536": {
			"--arch=smollm2-135m", "--random-weights", "--max-steps=1", "--lora-r=0",
		},
		"model is missing, allowed: the path of a GGUF file or of a Hugging Face folder": {},
	} {
		status, _, stderr := invoke(t, append([]string{"train"}, args...)...)
		require.Equal(t, statusUserError, status)
		require.Equal(t, "error: settings: "+message+"\n", stderr)
	}
}

func TestUnknownFlag(t *testing.T) {
	for given, want := range map[string]string{
		"--lora-rnk=8":   "did you mean --lora-rank?",
		"--leaning-rate": "did you mean --learning-rate?",
		"--adapter=x":    "did you mean --adapter-path or --init-adapter?",
		"--zzz":          "--help lists them",
		"--no-shufle":    "did you mean --no-shuffle?",
	} {
		status, _, stderr := invoke(t, "train", given)
		require.Equal(t, statusUserError, status)
		name, _, _ := strings.Cut(given, "=")
		require.Equal(t, fmt.Sprintf("error: command line: unknown flag %s (%s)\n", name, want), stderr)
	}
	status, _, stderr := invoke(t, "evil")
	require.Equal(t, statusUserError, status)
	require.Contains(t, stderr, `unexpected argument evil, did you mean "eval"?`)
	_, _, stderr = invoke(t, "train", "--lora-r=many")
	require.Equal(t, "error: command line: --lora-r: expected a whole number but got \"many\" (--help lists the commands and flags)\n",
		stderr)
}

func TestMistakesInTheFile(t *testing.T) {
	for _, test := range []struct{ yaml, message string }{
		{"lora_r: 8\nlora_alhpa: 16\n", `line 2, column 1: unknown key "lora_alhpa" (did you mean lora_alpha?)`},
		{"config: other.yaml\n", `line 1, column 1: unknown key "config" (did you mean data_config?)`},
		{"lora_r: many\n", `line 1, column 9: bad format: lora_r takes a whole number, this is many`},
		{"lora_r: 8\nrank: 9\n", `line 2, column 1: unknown key "rank" (did you mean lora_rank?)`},
		{"lora_r: 8\nr: 9\n", `line 2, column 1: bad format: r is set a second time, under another of its names`},
		{"seed: 1\nseed: 2\n", `line 2, column 1: bad format: mapping key "seed" already defined at [1:1]`},
		{"lora_alpha: much\n", `line 1, column 13: bad format: lora_alpha takes a number, this is much`},
		{"packing: 3\n", `line 1, column 10: bad format: packing takes true or false, this is 3`},
		{"seed: -1\n", `line 1, column 7: bad format: seed takes a whole number from 0, this is -1`},
		{"lora_r: 16.5\n", `line 1, column 9: bad format: lora_r takes a whole number, this is 16.5`},
		{"packing: 'true'\n", `line 1, column 10: bad format: packing takes true or false, this is 'true'`},
		{"lora_r: 99999999999999999999\n", `line 1, column 9: bad format: lora_r takes a whole number, this is 99999999999999999999`},
		{"seed: 18446744073709551616\n", `line 1, column 7: bad format: seed takes a whole number from 0, this is 18446744073709551616`},
		{"lora_alpha: .inf\n", `line 1, column 13: bad format: lora_alpha takes a number, this is .inf`},
		{"data: &a x\nmodel: *a\n", `line 1, column 7: bad format: data takes a text, this is &a x`},
		{"model: [x]\n", `line 1, column 8: bad format: model takes a text, this is a list`},
		{"target_modules: [[x]]\n", `line 1, column 17: bad format: target_modules takes a name or a list of names, this is a list`},
		{"target_modules: {a: 1}\n", `line 1, column 17: bad format: target_modules takes a name or a list of names, this is a mapping`},
		{"- lora_r\n", `line 1, column 1: bad format: not a mapping of names to values`},
		{"a: 1\n---\nb: 2\n", "bad format: several documents in one file"},
		{"lora_r: [1, 2\n", "line 1, column 9: bad format: sequence end token ']' not found"},
		{"seed: 1\nmodel: " + strings.Repeat("{a: ", 25000), "line 2, column 68: bad format: nested too deep: more than 16 levels"},
		{"model: " + strings.Repeat("[", 25000), "line 1, column 23: bad format: nested too deep: more than 16 levels"},
		{"model:\n " + strings.Repeat("- ", 25000), "line 2, column 32: bad format: nested too deep: more than 16 levels"},
		{"model: " + strings.Repeat("!!x ", 25000), "line 1, column 53: bad format: nested too deep: more than 16 levels"},
		{strings.Repeat("? ", 25000), "line 1, column 33: bad format: nested too deep: more than 16 levels"},
		{manyKeys(50_000), "line 1001, column 6: bad format: more than 1000 keys"},
		{strings.Repeat("q", 1<<19) + ": 1", `line 1, column 1: unknown key "` + strings.Repeat("q", 60) + `" (--help lists them)`},
		{stairs(1000), "line 17, column 17: bad format: nested too deep: more than 16 levels"},
		{"lora_r: " + strings.Repeat("1", 5000), "line 1, column 9: bad format: lora_r takes a whole number, this is " +
			strings.Repeat("1", 60) + "…"},
		{strings.Repeat("# a long comment\n", 1<<17), "more than 1048576 bytes"},
	} {
		file := writeYAML(t, test.yaml)
		status, _, stderr := invoke(t, "train", "--config", file)
		require.Equal(t, "error: read settings "+file+": "+test.message+"\n", stderr)
		require.Equal(t, statusUserError, status)
	}
	status, _, stderr := invoke(t, "train", "--config", "nowhere.yaml")
	require.Equal(t, "error: read settings nowhere.yaml: no such file or directory\n", stderr)
	require.Equal(t, statusUserError, status)
	status, _, stderr = invoke(t, "train", "--config", writeYAML(t, "model: m\ndata: d\nlora_r: 0"))
	require.Equal(t, "error: settings: lora_r is 0, allowed: 1 to 65536\n", stderr)
	require.Equal(t, statusUserError, status)
}

// stairs are mappings in mappings, each a column further to the right.
// manyKeys are different ones, which a library may compare each with each.
func manyKeys(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "k%04d: 1\n", i)
	}
	return text.String()
}

func stairs(n int) string {
	var text strings.Builder
	for i := range n {
		text.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return text.String()
}

// --data may be there again, and a file of settings may have a list.
func TestSeveralDataSets(t *testing.T) {
	require.Contains(t, resolve(t, "--data", "b.parquet::1000"), `data: "d.json\nb.parquet::1000"`)
	file := writeYAML(t, "model: m.gguf\ndata: [a.jsonl:2, b.jsonl]\n")
	status, stdout, stderr := invoke(t, "train", "--dry-run", "--config", file)
	require.Zero(t, status, stderr)
	require.Contains(t, stdout, `data: "a.jsonl:2\nb.jsonl"`)
	status, again, stderr := invoke(t, "train", "--dry-run", "--config", writeYAML(t, stdout))
	require.Zero(t, status, stderr)
	require.Equal(t, stdout, again)
	require.Contains(t, resolve(t, "--config", file), "data: d.json\n")
}
