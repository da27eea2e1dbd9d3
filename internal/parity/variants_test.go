package parity

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/opcases"
	"qlora-wgpu/internal/testfiles"
)

// rounds name a variant for every operation so that each variant runs in one of them: round i takes every operation's
// i-th, from the start again where it has fewer.
func rounds(t *testing.T) (rounds []map[string]string) {
	variants := map[string][]string{}
	most := 0
	for _, c := range opcases.All() {
		if len(kernels.Variants(c.Op)) > 0 {
			variants[c.Op] = c.On(gpu.NewDry(gpu.Options{})) // what every device runs
			most = max(most, len(variants[c.Op]))
		}
	}
	require.Greater(t, most, 1)
	for i := range most {
		round := map[string]string{}
		for op, names := range variants {
			round[op] = names[i%len(names)]
		}
		rounds = append(rounds, round)
	}
	return rounds
}

func runRound(t *testing.T, round map[string]string, limits gpu.Limits, d folder, o Options) *Result {
	dev := open(t, limits)
	for op, variant := range round {
		dev.Variants.Force(op, variant)
	}
	return run(t, dev, d, o)
}

// TestVariants runs the tiny case with every variant, under usual limits and under stress, and asks for the same
// losses and the same adapter. The variants are forced: chosen by the number of tokens, they would differ between
// chunks of logits of different length.
func TestVariants(t *testing.T) {
	requireStress(t)
	for i, round := range rounds(t) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Log(round)
			o := Options{MaxSteps: 5}
			if round["matmul_nf4_forward"] == "uniform_32x2" { // what the rules choose on a CPU device
				o.MaxSteps = 0
			}
			usual := runRound(t, round, gpu.Limits{}, tiny, o)
			require.Equal(t, usual, runRound(t, round, stress, tiny, o))
			if o.MaxSteps == 0 {
				require.Equal(t, usual, runRound(t, round, gpu.Limits{}, tiny, o), "a second run")
			}
		})
	}
}

// requireStress shows on a dry device that the limits do cut the tiny model's head.
func requireStress(t *testing.T) {
	head, ok := tiny.model(t).Lookup("lm_head.weight")
	require.True(t, ok)
	dev := gpu.NewDry(gpu.Options{Limits: stress})
	tensor := func(dtype gpu.DType, rows, cols int) *gpu.Tensor {
		x, err := dev.NewTensor("", dtype, rows, cols)
		require.NoError(t, err)
		return x
	}
	w := tensor(gpu.BF16, head.Rows, head.Cols)
	require.Greater(t, len(w.Shards), 1)
	rec := dev.DryRecord("head")
	kernels.MatmulForward(rec, tensor(gpu.F32, 32, head.Rows), tensor(gpu.F32, 32, head.Cols), w, 1, false)
	require.Greater(t, rec.Dispatches, len(w.Shards))
}

// TestEveryCaseWithEveryVariant takes hours: every variant in every case of the reference, in full, or so many steps
// of it as QLORA_TEST_STEPS says; the first compares logits and gradients.
func TestEveryCaseWithEveryVariant(t *testing.T) {
	if os.Getenv("QLORA_TEST_LONG") != "1" {
		t.Skip("QLORA_TEST_LONG=1 runs every variant in every case")
	}
	var o Options
	if steps := os.Getenv("QLORA_TEST_STEPS"); steps != "" {
		var err error
		o.MaxSteps, err = strconv.Atoi(steps)
		require.NoError(t, err)
	}
	for _, d := range cases(t, testfiles.Reference(t, "parity")) {
		for i, round := range rounds(t) {
			t.Run(fmt.Sprintf("%s/%d", filepath.Base(string(d)), i), func(t *testing.T) {
				t.Log(round)
				runRound(t, round, gpu.Limits{}, d, o)
			})
		}
	}
}
