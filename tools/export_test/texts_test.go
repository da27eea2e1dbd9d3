package export_test

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"

	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/testfiles"
	"qlora-wgpu/internal/tokenizer"
)

// atoms are what texts are mixed of.
var atoms = []string{
	"Hello", "world", "the", "don't", "I'll", "they're", "WE'VE", "Über", "naïve", "café", "cafe\u0301", "Straße", "łódź", "ПРИВЕТ", "мир",
	"γειά", "שלום", "مرحبا", "السَّلَامُ", "नमस्ते", "ไทย", "漢字", "かな", "カタカナ", "한국어", "你好，世界", "🙂", "👩‍👩‍👧", "🇩🇪", "❤️", "𝔘𝔫𝔦", "𒀀",
	"1", "42", "2026", "1234567890", "3.14159", "1,000,000", "0x1F", "½", "①", "٣", "x₂", "...", "!?", "--", "—",
	"“quoted”", "'single'", "#!/bin/sh",
	"func main() {", "return a[i]*b[j];", "if (x != null) {", "</div>", "&amp;", "\\n", "\\", "```go", "{\"a\": [1, 2]}", "e^{i\\pi}", "@user", "a_b_c",
	"CamelCaseWord", "https://example.org/a?b=c&d=%20", "\u00a0", "\u200b", "\ufeff", "\u3000", "\u2028", "\x00", "\x07", "\x7f", "�", "e\u0301\u0323",
}

// spaces stand between them.
var spaces = []string{"", "", " ", " ", " ", "  ", "   ", "\n", "\n\n", "\t", " \n", "\r\n", "\n    ", "        ", " \t "}

// texts are 200 of a model, with its special tokens among them.
func texts(special []string) (all []string) {
	r := rand.New(rand.NewPCG(7, 7))
	all = []string{"", " ", "   ", "\n", "a", " a", "a ", "\t\tb"}
	for len(all) < 200 {
		var text strings.Builder
		for range 1 + r.IntN(9) {
			text.WriteString(spaces[r.IntN(len(spaces))])
			if n := len(special); n > 0 && r.IntN(6) == 0 {
				text.WriteString(special[r.IntN(n)])
			} else {
				text.WriteString(atoms[r.IntN(len(atoms))])
			}
		}
		if r.IntN(3) == 0 {
			text.WriteString(spaces[r.IntN(len(spaces))])
		}
		all = append(all, text.String())
	}
	return all
}

// inexpressible are the tokenizers that GGUF cannot say: others than byte-level and SentencePiece's, or than llama.cpp
// cuts.
var inexpressible = []string{
	"behaviors", "converted", "digit_runs", "fused", "gemma", "linear_pattern", "llama2", "mistral", "no_prefix", "old_metaspace",
	"prefix_space", "rarer", "scores", "words",
}

// llama.cpp cuts texts into the tokens that the model's own tokenizer gives, from files of every kind of tokenizer, or
// export refuses that by name.
func TestTokens(t *testing.T) {
	tools(t)
	all := map[string]string{
		"demo": filepath.Join("..", "..", "internal", "demo", "model"), "SmolLM2-135M": testfiles.Models(t, "SmolLM2-135M-Instruct.Q4_1.gguf"),
	}
	files, err := filepath.Glob(filepath.Join("..", "..", "internal", "tokenizer", "testdata", "*.tokenizer.json"))
	require.NoError(t, err)
	files = append(files, testfiles.Reference(t, "tokenizer", "llama3_style.tokenizer.json"))
	for _, file := range files {
		all[strings.TrimSuffix(filepath.Base(file), ".tokenizer.json")] = around(t, file, "tokenizer.json", tokensOf)
	}
	for name, prefix := range map[string]bool{"pieces": false, "pieces behind a space": true} {
		all[name] = around(t, pieces(t, prefix), "tokenizer.json", tokensOf)
	}
	all["scores"] = around(t, filepath.Join("..", "..", "internal", "tokenizer", "testdata", "scores.model"), "tokenizer.model", piecesOf)
	_, _, program := tools(t)
	for name, model := range all {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "model.gguf")
			_, said, failed := output(t, nil, program, "export", "--model", model, "--output", file, "--type", "f16")
			if slices.Contains(inexpressible, name) {
				require.Error(t, failed)
				require.Contains(t, said, "unsupported: the tokenizer ")
				return
			}
			require.NoError(t, failed, said)
			if said != "" {
				t.Log(said)
			}
			m, err := pretrained.Open(model)
			require.NoError(t, err)
			defer m.Close()
			var special []string
			for _, token := range m.Tokenizer().Named {
				special = append(special, token)
			}
			special = append(special, added(t, m.Tokenizer().JSON)...)
			mixed := texts(special)
			want, got := tokenized(t, model, mixed), ask(t, mixed, nil, file).Tokens
			require.Len(t, got, len(mixed))
			differ := 0
			for i := range mixed {
				if strings.Contains(said, "(NFC)") && !norm.NFC.IsNormalString(mixed[i]) {
					continue
				}
				if !slices.Equal(want[i], got[i]) {
					if differ++; differ <= 5 {
						t.Logf("%q: %v, llama.cpp has %v", mixed[i], want[i], got[i])
					}
				}
			}
			require.Zero(t, differ, "texts of %d", len(mixed))
		})
	}
}

// pieces is a file with the tokenizer.json of a SentencePiece model, as Gemma's (no space goes in front of a text) and
// Llama 2's.
func pieces(t *testing.T, prefix bool) (file string) {
	data, err := os.ReadFile(filepath.Join("..", "..", "internal", "tokenizer", "testdata", "scores.model"))
	require.NoError(t, err)
	v, err := tokenizer.SentencePiece(data, "")
	require.NoError(t, err)
	v.AddSpacePrefix, v.CollapseSpaces, v.Normalized = prefix, false, false
	v.Tokens[slices.Index(v.Tokens, "▁▁")] = "<two>" // no tokenizer.json finds it as SentencePiece does
	text, err := v.JSON("")
	require.NoError(t, err)
	file = filepath.Join(t.TempDir(), "tokenizer.json")
	require.NoError(t, os.WriteFile(file, text, 0o666))
	return file
}

// added are the special tokens of a tokenizer.json, without those beside which spaces are taken away: GGUF cannot say
// that, and export warns of it.
func added(t *testing.T, data []byte) (list []string) {
	if data == nil {
		return nil
	}
	var j struct {
		Added []struct {
			Content string `json:"content"`
			Special bool   `json:"special"`
			LStrip  bool   `json:"lstrip"`
			RStrip  bool   `json:"rstrip"`
			Single  bool   `json:"single_word"`
		} `json:"added_tokens"`
	}
	require.NoError(t, json.Unmarshal(data, &j))
	for _, token := range j.Added {
		if token.Special && !token.LStrip && !token.RStrip && !token.Single {
			list = append(list, token.Content)
		}
	}
	return list
}
