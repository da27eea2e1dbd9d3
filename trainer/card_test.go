//go:build !js

package trainer

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/lora"
)

// awkward are names with signs of YAML, Markdown and HTML, and what readers of YAML take for no string.
var awkward = []string{
	"a: b #c", "null", "~", "yes", "1e3", "12:30:45", ".inf", "0x10", "2024-01-01", "-", "- a", "? b", "[a]", "{a}", "*a", "&a", "!a", "%a",
	"@a",
	"a\nb", "a\n---\nb", "| a |", "'a'", `"a"`, `a\b`, `a\|b`, "`a`", "<b>x</b>", "&amp;", "a_b_", "_a_", "**a**", "$x$",
	"a\x00b", "a\x7f\u0085b",
	"a\u2028b", "\xff\xfea", "ü", "日本 😀", " a ", "=", "<<", "[x](http://y.z)", "a\u202eb", "\ufeffa", "#", "---",
}

func TestYAMLStringsAreStrings(t *testing.T) {
	for _, name := range awkward {
		var card struct {
			Base any `yaml:"base_model"`
		}
		text := "base_model: " + yamlString(name) + "\n"
		require.Equal(t, 1, strings.Count(text, "\n"))
		require.NoError(t, yaml.Unmarshal([]byte(text), &card), text)
		require.Equal(t, strings.ToValidUTF8(name, "\ufffd"), card.Base, text)
	}
}

func TestMarkdownTextIsText(t *testing.T) {
	for name, want := range map[string]string{
		"train_data-2.jsonl": "train_data-2.jsonl", "_a_": `\_a\_`, "a__b": `a\_\_b`, "**a**": `\*\*a\*\*`, "[x](y)": `\[x\](y)`,
		"<b>": `\<b\>`, "&amp;": `\&amp;`, "`a`": "\\`a\\`", "a|b": "a&#124;b", `a\|b`: `a\\&#124;b`, "a\nb": `a\\nb`,
		"\xffa": `\\xffa`, "\ufffd": "\ufffd", "a\u202eb": `a\\u202eb`, "\x1b[0m": `\\x1b\[0m`, "http://x.y": `http\://x.y`,
		"ü日😀": "ü日😀",
	} {
		require.Equal(t, want, markdownText(name))
	}
	for _, name := range awkward {
		text := markdownText(name)
		require.True(t, utf8.ValidString(text))
		require.NotRegexp(t, `[\x00-\x1f|]`, text)
		require.NotRegexp(t, "(^|[^\\\\])(\\\\\\\\)*[<`*\\[]", text)
	}
}

func TestARunTellsWhichClassItsAdapterIsFor(t *testing.T) {
	const wrapper = "Gemma3ForConditionalGeneration"
	for want, c := range map[string]struct{ wrapper, within string }{
		"": {},
		"PEFT loads the adapter into Gemma3ForConditionalGeneration as it is, and into Gemma3ForCausalLM with " +
			`key_mapping={r"^model\.language_model\.": "model."}.`: {wrapper, lora.Wrapped},
		"PEFT loads the adapter into Gemma3ForCausalLM as it is, and into Gemma3ForConditionalGeneration with " +
			`key_mapping={r"^model\.": "model.language_model."}.`: {wrapper, ""},
		"PEFT loads the adapter into a class that reads images too as it is, and into Gemma3ForCausalLM with " +
			`key_mapping={r"^language_model\.model\.": "model."}.`: {"", "language_model.model."},
	} {
		r := &run{
			in:     Inputs{Model: &pretrained.Model{Spec: spec.Spec{Family: "Gemma3ForCausalLM", Wrapper: c.wrapper}}},
			engine: &engine.Engine{Adapter: &lora.Adapter{Config: lora.Config{Within: c.within}}},
		}
		require.Equal(t, want, r.classes("%s"))
	}
}

// The card of a run over files with such names.
func TestCardOfAwkwardNames(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows allows no such names")
	}
	model, data := demotest.Model(t, 1, nil), demotest.Rows(t, 4)
	dir := t.TempDir()
	named := filepath.Join(dir, "a: b #c | `d` <e>")
	require.NoError(t, os.Symlink(model, named))
	rows := filepath.Join(dir, "r|_w_.jsonl")
	require.NoError(t, os.Symlink(data, rows))
	c := small(t, named, rows)
	c.MaxSteps = 1
	train(t, c)
	card, err := os.ReadFile(filepath.Join(c.OutputDir, cardFile))
	require.NoError(t, err)
	_, text, _ := strings.Cut(string(card), "---\n")
	front, text, _ := strings.Cut(text, "\n---\n")
	var values map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(front), &values))
	require.Equal(t, map[string]any{"library_name": "peft", "base_model": "a: b #c | `d` <e>", "tags": []any{"qlora", "lora"}}, values)
	require.Contains(t, text, " over a\\: b \\#c &#124; \\`d\\` \\<e\\> in 4-bit NormalFloat")
	require.Contains(t, text, "\n| data | r&#124;\\_w\\_.jsonl (messages, 4 samples) |\n")
	own, err := isCard(Folder{}, filepath.Join(c.OutputDir, cardFile))
	require.NoError(t, err)
	require.True(t, own)
}

// The card names data sets of the hub as the hub finds them, and files without their folders.
func TestCardNamesDataSets(t *testing.T) {
	const data = "/home/me/a.jsonl:2\norg/set@main::100\n" + `C:\rows\b.csv` + "\nother/folder"
	require.Equal(t, "a.jsonl:2, org/set@main::100, b.csv, folder", dataNames(data, []string{"org/set"}))
	require.Empty(t, datasetsOf(nil))
	var values map[string][]string
	require.NoError(t, yaml.Unmarshal([]byte(datasetsOf([]string{"org/set", "on/off"})), &values))
	require.Equal(t, map[string][]string{"datasets": {"org/set", "on/off"}}, values)
}
