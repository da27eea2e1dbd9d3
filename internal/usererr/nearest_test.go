package usererr

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEdits(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"lora_r", "lora_r", 0}, {"ab", "ba", 2}} {
		require.Equal(t, test.want, Edits(test.a, test.b), "%s, %s", test.a, test.b)
	}
}

func TestDidYouMean(t *testing.T) {
	known := []string{"matmul_nf4_forward", "gather_rows", "matmul_nf4_backward_tiled", "lora_r", "--lora-rank", "-h"}
	for given, want := range map[string]string{
		"matmul_nf4": "did you mean matmul_nf4_forward or matmul_nf4_backward_tiled?", "lora_rr": "did you mean lora_r?",
		"gather": "did you mean gather_rows?", "nonsense": "ask",
		"--rank": "did you mean --lora-rank?", "--zzz": "ask", "": "ask", "r": "ask", strings.Repeat("q", 1<<19): "ask",
	} {
		require.Equal(t, want, DidYouMean(given, known, "ask"), given)
	}
	require.Equal(t, "ask", DidYouMean("lora", nil, "ask"))
}

func TestNearest(t *testing.T) {
	require.Equal(t, "lora_r", Nearest("lora_rr", []string{"lora_alpha", "lora_r", "seed"}))
}
