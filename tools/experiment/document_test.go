//go:build !js

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// docs/qlora.md has the tables of what was measured last, line by line.
func TestTheDocumentHasTheResults(t *testing.T) {
	r, err := readResults("../../docs/qlora.json")
	require.NoError(t, err)
	require.NotEmpty(t, r.Errors)
	require.NotEmpty(t, r.Losses)
	require.NotEmpty(t, r.Training)
	text, err := os.ReadFile("../../docs/qlora.md")
	require.NoError(t, err)
	lines := map[string]bool{"": true}
	for line := range strings.Lines(string(text)) {
		lines[strings.TrimRight(line, "\n")] = true
	}
	for _, line := range r.tables() {
		require.True(t, lines[line], "docs/qlora.md lacks %q: `go run ./tools/experiment -tables` prints its tables", line)
	}
}
