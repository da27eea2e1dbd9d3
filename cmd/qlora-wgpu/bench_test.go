//go:build unix

package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/trainer"
)

func TestRatioLine(t *testing.T) {
	require.Equal(t, "   85 %  a : b (goal 85 %: reached)", ratioLine(trainer.Ratio{Name: "a : b", Value: 0.85, Goal: 0.85}))
	require.Equal(t, "   84 %  a : b (goal 85 %: missed)", ratioLine(trainer.Ratio{Name: "a : b", Value: 0.84, Goal: 0.85}))
	require.Equal(t, "  120 %  a : b", ratioLine(trainer.Ratio{Name: "a : b", Value: 1.2}))
	require.Equal(t, "      -  a : b (a was not measured)", ratioLine(trainer.Ratio{Name: "a : b", Goal: 0.85, Missing: "a was not measured"}))
}

func TestBenchMistakes(t *testing.T) {
	refused(t, "settings: filter is (, allowed: a regular expression (for instance nf4_forward.*T512)\n", "bench", "kernels", "--filter", "(")
	refused(t, "settings: runs is 0, allowed: 1 to 1000\n", "bench", "load", "--model", "none.gguf", "--runs", "0")
	refused(t, "settings: block_size is 48, allowed: ", "bench", "load", "--model", "none.gguf", "--block-size", "48")
	refused(t, "open model none.gguf: no such file or directory\n", "bench", "load", "--model", "none.gguf")
}
