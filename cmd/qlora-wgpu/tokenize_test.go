package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/testfiles"
)

// tokenize runs the command on the 135M model.
func tokenize(t *testing.T, input string, args ...string) (status int, stdout, stderr string) {
	var out, errors bytes.Buffer
	args = append([]string{"tokenize", "--model", testfiles.Models(t, "SmolLM2-135M-Instruct.Q4_1.gguf")}, args...)
	status = run(&console{context: t.Context(), args: args, stdin: strings.NewReader(input), stdout: &out, stderr: &errors})
	return status, out.String(), errors.String()
}

func TestTokenizeTexts(t *testing.T) {
	reference := testfiles.Reference(t, "tokenizer", "smollm2.jsonl")
	status, stdout, stderr := tokenize(t, "", reference)
	require.Empty(t, stderr)
	require.Zero(t, status)
	want, err := os.ReadFile(reference)
	require.NoError(t, err)
	type row struct {
		IDs []int32 `json:"ids"`
	}
	wanted, got := strings.Split(strings.TrimSpace(string(want)), "\n"), strings.Split(strings.TrimSpace(stdout), "\n")
	require.Len(t, got, len(wanted))
	for i := range got {
		var a, b row
		require.NoError(t, json.Unmarshal([]byte(wanted[i]), &a))
		require.NoError(t, json.Unmarshal([]byte(got[i]), &b))
		require.Equal(t, a, b, wanted[i])
	}
}

func TestTokenizeConversation(t *testing.T) {
	line := `{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}` + "\n"
	status, stdout, stderr := tokenize(t, line+line, "--chat")
	require.Empty(t, stderr)
	require.Zero(t, status)
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	require.Len(t, lines, 2)
	require.Equal(t, lines[0], lines[1])
	var got struct{ IDs, Target []int32 }
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &got))
	require.Len(t, got.Target, len(got.IDs))
	end := len(got.IDs)
	require.Equal(t, []int32{19556, 2, 198}, got.IDs[end-3:], "Hello, end of turn, line break")
	require.Equal(t, []int32{0, 1, 1, 0}, got.Target[end-4:])
	require.NotContains(t, got.Target[:end-3], int32(1))
}

func TestTokenizeMistakes(t *testing.T) {
	for _, test := range []struct {
		input, message string
		args           []string
	}{
		{
			`{"text": "a"}` + "\n\n" + `{"messages": []}`,
			`error: tokenize standard input: line 3: bad format: there is no "text" (--chat reads conversations)` + "\n", nil,
		},
		{`{"text": 3}`, "error: tokenize standard input: line 1: bad format: text is a number, a string was wanted\n", nil},
		{`{"text": "a"}`, "error: tokenize standard input: line 1: a text, not a conversation (leave --chat away)\n", []string{"--chat"}},
		{"", "error: tokenize nowhere.jsonl: no such file or directory (without a file, standard input is read)\n", []string{"nowhere.jsonl"}},
	} {
		status, _, stderr := tokenize(t, test.input, test.args...)
		require.Equal(t, statusUserError, status)
		require.Contains(t, stderr, test.message)
	}
	status, _, stderr := invoke(t, "tokenize", "--model", filepath.Join(t.TempDir(), "none.gguf"))
	require.Equal(t, statusUserError, status)
	require.Contains(t, stderr, "none.gguf: no such file or directory\n")
}
