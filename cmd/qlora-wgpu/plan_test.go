package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/preview"
)

type planJSON struct {
	Peak    int64 `json:"peak_device_bytes"`
	Budget  int64 `json:"budget_bytes"`
	Minimum int64 `json:"minimum_budget_bytes"`

	KeysAndValues int64 `json:"keys_and_values_bytes"`

	GradientCheckpointing string           `json:"gradient_checkpointing"`
	Choices               []preview.Choice `json:"choices"`

	Rows []struct {
		Name   string `json:"name"`
		Device int64  `json:"device_bytes"`
	} `json:"rows"`
	Largest struct {
		MaxSeqLength int `json:"max_seq_length"`
	} `json:"largest"`
}

func plan(t *testing.T, args ...string) (p planJSON) {
	t.Helper()
	status, stdout, stderr := invoke(t, append([]string{"plan", "--json"}, args...)...)
	require.Zero(t, status, stderr)
	require.NoError(t, json.Unmarshal([]byte(stdout), &p))
	var sum int64
	for _, row := range p.Rows {
		sum += row.Device
	}
	require.Equal(t, sum, p.Peak)
	return p
}

// What the README and docs/memory.md promise of Llama-3.1-8B.
func TestPlanOfLlama(t *testing.T) {
	args := []string{"--arch=Llama-3.1-8B", "--max-seq-length=512", "--batch-size=1", "--lora-r=16"}
	resident := plan(t, args...)
	require.Less(t, resident.Peak, int64(6.5*(1<<30)))
	require.Zero(t, resident.Budget)
	// The embedding's rows are what leaves the device first.
	gathered := plan(t, append(args, "--vram-budget=5.5GiB")...)
	require.LessOrEqual(t, gathered.Peak, int64(5.5*(1<<30)))
	for _, row := range gathered.Rows {
		require.NotContains(t, row.Name, "ring of weights")
	}
	require.Less(t, float64(resident.Minimum), 0.4*float64(resident.Peak))
	require.Equal(t, "full", resident.GradientCheckpointing)
	// What a larger card could keep: the estimate for a way to treat activations is its own plan's.
	require.Len(t, resident.Choices, 6)
	for i, choice := range resident.Choices {
		require.Equal(t, []string{"off", "selective", "full"}[i%3], choice.GradientCheckpointing)
		require.Equal(t, []string{"f32", "bf16"}[i/3], choice.ActivationDType)
	}
	selective := resident.Choices[4]
	args = append(args, "--activation-dtype=bf16")
	exact := plan(t, append(args, "--gradient-checkpointing=selective")...)
	require.InEpsilon(t, exact.Peak, selective.Peak, 0.01)
	auto := plan(t, append(args, fmt.Sprintf("--vram-budget=%dB", exact.Peak))...)
	require.Equal(t, "selective", auto.GradientCheckpointing)
	require.Equal(t, exact.Peak, auto.Peak)
	require.Greater(t, resident.Choices[0].Peak, resident.Choices[1].Peak+1<<30)
	require.Greater(t, resident.Choices[1].Peak, resident.Choices[2].Peak+1<<29)
	// half of what is kept goes: 32 layers × 512 tokens × 2 bytes × the values kept of a token
	for i, choice := range resident.Choices[3:] {
		kept := []int64{2 * (4*4096 + 2*1024 + 2*14336), 2 * (4*4096 + 2*1024), 2 * 4096}[i] * 31 * 512
		require.InEpsilon(t, kept, resident.Choices[i].Peak-choice.Peak, 0.1)
	}
	// Moments in 8 bits are a quarter of the adapter's 42 M parameters times 8 bytes.
	eight := plan(t, append(args, "--optim=adamw_8bit", "--gradient-checkpointing=selective")...)
	require.InDelta(t, 0.75*8*41.9e6, exact.Peak-eight.Peak, 4e6)
}

// What docs/memory.md promises of answers: with six layers of Gemma 3, one of them holds every token.
func TestPlanTellsWhatAnswersHold(t *testing.T) {
	args := []string{"--arch=gemma-3-4b", "--layers=6", "--batch-size=1", "--max-seq-length=8192"}
	const row = 2 * 4 * 256 * 4 // bytes of a token's keys and values in a layer
	held := float64(row*(8192+5*(1024+256)+1024/2)) / (1 << 20)
	status, stdout, stderr := invoke(t, append([]string{"plan"}, args...)...)
	require.Zero(t, status, stderr)
	require.Contains(t, stdout,
		fmt.Sprintf("Answers, with their prompts up to 8192 tokens, hold %.1f MiB of keys and values beside the weights.\n", held))
}

func TestPlanOfAModel(t *testing.T) {
	model := demotest.Model(t, 3, nil)
	args := []string{"--model", model, "--max-seq-length=64"}
	resident := plan(t, args...)
	small := plan(t, append(args, fmt.Sprintf("--vram-budget=%dB", resident.Minimum))...)
	require.Equal(t, resident.Minimum, small.Peak)
	require.Equal(t, 64, small.Largest.MaxSeqLength)
	status, _, stderr := invoke(t, append(append([]string{"plan"}, args...), fmt.Sprintf("--vram-budget=%dB", resident.Minimum-1))...)
	require.Equal(t, statusUserError, status)
	require.Contains(t, stderr, fmt.Sprintf("%d bytes", resident.Minimum))
	// The cut of a setting that it names does fit.
	require.Contains(t, stderr, "or lower max_seq_length × batch_size from 128 to 64 tokens")
	status, _, stderr = invoke(t, "plan", "--model", model,
		"--max-seq-length=32", "--batch-size=2", fmt.Sprintf("--vram-budget=%dB", resident.Minimum-1))
	require.Zero(t, status, stderr)
}

// A base that is not quantized takes two bytes a weight, and a budget that only a quantized one fits says so.
func TestPlanOfAnUnquantizedBase(t *testing.T) {
	args := []string{"--arch=smollm2-135m", "--max-seq-length=256", "--batch-size=1"}
	quantized, p := plan(t, args...), plan(t, append(args, "--quantization=none")...)
	const weights, norms = 2*576*576 + 2*192*576 + 3*1536*576, 2 * 576
	for _, row := range p.Rows {
		if row.Name == "layers" {
			require.EqualValues(t, 30*(2*weights+4*norms), row.Device)
		}
	}
	require.Greater(t, p.Minimum, quantized.Minimum+1<<20)
	budget := fmt.Sprintf("--vram-budget=%dB", quantized.Minimum+1<<20)
	status, _, stderr := invoke(t, append(append([]string{"plan", "--quantization=none"}, args...), budget)...)
	require.Equal(t, statusUserError, status)
	require.Contains(t, stderr, "or set quantization to nf4")
	status, _, stderr = invoke(t, append(append([]string{"plan"}, args...), budget)...)
	require.Zero(t, status, stderr)
	status, stdout, _ := invoke(t, append([]string{"plan", "--quantization=none"}, args...)...)
	require.Zero(t, status)
	require.Contains(t, stdout, "One change frees most: quantization nf4 instead of none")
}

func TestPlanRefuses(t *testing.T) {
	for _, c := range []struct{ args, message string }{
		{"--arch=lama-3.1-8b", "did you mean llama-3.1-8b?"},
		{"--arch=qwen2.5-7", "did you mean qwen2.5-7b?"},
		{"--optim=sgd --arch=smollm2-135m", `optim is "sgd", allowed: adamw_32bit, adamw_8bit, paged_adamw_32bit, paged_adamw_8bit`},
		{"--gradient-checkpointing=half --arch=smollm2-135m", `gradient_checkpointing is "half", allowed: auto, full, selective, off`},
		{"--vram-budget=1GiB", "one of --model and --arch"},
		{"--quantization=int8 --arch=smollm2-135m", `quantization is "int8", allowed: nf4, none`},
		{"--quantization=none --block-size=32 --arch=smollm2-135m", "block_size is 32, allowed: only with quantization nf4"},
	} {
		status, _, stderr := invoke(t, append([]string{"plan"}, strings.Fields(c.args)...)...)
		require.Equal(t, statusUserError, status)
		require.Contains(t, stderr, c.message)
	}
	for _, budget := range []string{"6 apples", "0", "0GiB", "-1GiB", "GiB", "1e99GiB", "nanGiB"} {
		for _, command := range [][]string{{"plan", "--arch=smollm2-135m"}, {"train", "--model=m", "--data=d"}} {
			status, _, stderr := invoke(t, append(command, "--vram-budget="+budget)...)
			require.Equal(t, statusUserError, status)
			require.Contains(t, stderr, "a size above 0 with its unit, such as 6GiB")
		}
	}
}

// What the files hold beside the configuration is said here too; layers of a shape are not those of a model.
func TestPlanOfAFolder(t *testing.T) {
	folder := demotest.Model(t, 2, func(config map[string]any) { config["num_hidden_layers"] = 1 })
	status, _, stderr := invoke(t, "plan", "--model", folder, "--max-seq-length=64")
	require.Zero(t, status, stderr)
	require.Contains(t, stderr, "warning: The configuration describes no use for ")
	status, _, stderr = invoke(t, "plan", "--model", folder, "--layers=1")
	require.Equal(t, 2, status)
	require.Contains(t, stderr, "layers is 1, allowed: only with arch")
	for key, message := range map[string]string{
		"num_hidden_layers": "is missing, shape [", "intermediate_size": "the weights do not belong to this configuration",
	} { // a plan of what no run could load
		folder := demotest.Model(t, 1, func(config map[string]any) { config[key] = 512 })
		status, _, stderr = invoke(t, "plan", "--model", folder, "--max-seq-length=64")
		require.Equal(t, 2, status)
		require.Contains(t, stderr, message)
	}
}

// A default that the model does not allow is lowered, as train does.
func TestPlanOfAShortModel(t *testing.T) {
	status, stdout, stderr := invoke(t, "plan", "--model", demotest.Model(t, 1, nil))
	require.Zero(t, status, stderr)
	require.Equal(t, "max_seq_length is 256: the model allows no more.\n", stderr)
	require.NotEmpty(t, stdout)
}
