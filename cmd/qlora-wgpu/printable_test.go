package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/usererr"
)

// A text is escaped the same, however it is cut into writes.
func TestPrintable(t *testing.T) {
	const text = "a\x1b]0;title\a\r\tb\x7f\u0085\u202egpj.exe\u2066é😀\x9b\xff\n"
	const want = `a\x1b]0;title\x07\r` + "\tb" + `\x7f\u0085\u202egpj.exe\u2066é😀\x9b\xff` + "\n"
	for n := 1; n <= len(text); n++ {
		var out bytes.Buffer
		p := &printable{out: &out}
		for rest := text; rest != ""; rest = rest[min(n, len(rest)):] {
			written, err := p.Write([]byte(rest[:min(n, len(rest))]))
			require.NoError(t, err)
			require.Equal(t, min(n, len(rest)), written)
		}
		require.Equal(t, want, out.String(), "%d bytes at a time", n)
	}
}

// What a stranger's file says never acts on the terminal, wherever the message is made.
func TestMessagesAreQuoted(t *testing.T) {
	const evil = "\x1b]0;PWNED\a\x1b[2J\r\u202e\u009b31m"
	model, rows := demotest.Model(t, 1, nil), demotest.Rows(t, 4)
	file := func(name, content string) string {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o666))
		return path
	}
	quoted, err := json.Marshal(evil)
	require.NoError(t, err)
	changed := func(key string, value any) string {
		return demotest.Model(t, 1, func(config map[string]any) { config[key] = value })
	}
	for name, args := range map[string][]string{
		"template raises": {"eval", "--model", model, "--data", rows, "--chat-template", file("a", "{{ raise_exception('"+evil+"') }}")},
		"template":        {"eval", "--model", model, "--data", rows, "--chat-template", file("a", "{% '"+evil+"' %}")},
		"setting's key":   {"train", "--dry-run", "--config", file("a.yaml", string(quoted)+": 1\n")},
		"setting's value": {"train", "--dry-run", "--config", file("a.yaml", "lora_r: "+string(quoted)+"\n")},
		"column":          {"eval", "--model", model, "--data", file("a.jsonl", `{`+string(quoted)+`: 1}`)},
		"role":            {"eval", "--model", model, "--data", file("a.jsonl", `{"messages":[{"role":`+string(quoted)+`,"content":"a"}]}`)},
		"file's name":     {"eval", "--model", model, "--data", evil},
		"family":          {"eval", "--data", rows, "--model", changed("architectures", []string{evil})},
		"activation":      {"eval", "--data", rows, "--model", changed("hidden_act", evil)},
		"unknown flag":    {"eval", "--" + evil},
	} {
		status, stdout, stderr := invoke(t, args...)
		require.Equal(t, statusUserError, status, "%s: %q", name, stderr)
		require.Contains(t, stderr, "1b]0;PWNED", name)
		for _, r := range stdout + stderr {
			require.False(t, usererr.Hidden(r) || r == utf8.RuneError, "%s: %q in %q", name, r, stderr)
		}
		require.Equal(t, 1, strings.Count(stderr, "error: "), "%s: %q", name, stderr)
		require.LessOrEqual(t, strings.Count(stderr, "\n"), 2, "the device, and one line: %q", stderr)
	}
}
