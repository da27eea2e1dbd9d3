package usererr

import (
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

func TestNearest(t *testing.T) {
	require.Equal(t, "lora_r", Nearest("lora_rr", []string{"lora_alpha", "lora_r", "seed"}))
}
