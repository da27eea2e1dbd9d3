//go:build unix

package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/bench"
)

func TestRatioLine(t *testing.T) {
	require.Equal(t, "   85 %  a : b (goal 85 %: reached)", ratioLine(bench.Ratio{Name: "a : b", Value: 0.85, Goal: 0.85}))
	require.Equal(t, "   84 %  a : b (goal 85 %: missed)", ratioLine(bench.Ratio{Name: "a : b", Value: 0.84, Goal: 0.85}))
	require.Equal(t, "  120 %  a : b", ratioLine(bench.Ratio{Name: "a : b", Value: 1.2}))
	require.Equal(t, "      -  a : b (a was not measured)", ratioLine(bench.Ratio{Name: "a : b", Goal: 0.85, Missing: "a was not measured"}))
}

func TestBenchMistakes(t *testing.T) {
	refused(t, "settings: filter is (, allowed: a regular expression (for instance nf4_forward.*T512)\n", "bench", "kernels", "--filter", "(")
	refused(t, "settings: runs is 0, allowed: 1 to 1000\n", "bench", "load", "--model", "none.gguf", "--runs", "0")
	refused(t, "settings: block_size is 48, allowed: ", "bench", "load", "--model", "none.gguf", "--block-size", "48")
	refused(t, "open model none.gguf: no such file or directory\n", "bench", "load", "--model", "none.gguf")
	refused(t, "bench: one of --model, and --arch with --random-weights, is wanted\n", "bench", "train")
	refused(t, "bench: --arch is only for --random-weights (to time a real model, give --model)\n", "bench", "train", "--arch", "llama-3.1-8b")
	refused(t, "bench: --random-weights and --layers are for --arch\n", "bench", "train", "--model", "none.gguf", "--layers", "2")
	refused(t, `plan: unsupported: there is no architecture "llama-3.1-8c" (did you mean llama-3.1-8b?)`,
		"bench", "train", "--arch", "llama-3.1-8c", "--random-weights")
	refused(t, "settings: layers is -1, allowed: 0 to 1000\n", "bench", "train", "--arch", "llama-3.1-8b", "--random-weights", "--layers=-1")
	refused(t, "open model none.gguf: no such file or directory\n", "bench", "train", "--model", "none.gguf")
}
