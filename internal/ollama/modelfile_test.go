//go:build !js

package ollama

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/processor"
)

// instruction is a line of a Modelfile, or several in quotation marks.
type instruction struct{ name, value string }

// parse reads a Modelfile by Ollama's grammar: a value that begins with one or three quotation marks ends with as many
// before the end of a line; characters that cannot be printed are left out; # begins a comment where an instruction
// could.
func parse(t *testing.T, text string) (all []instruction) {
	for text = strings.TrimLeft(text, " \t\r\n"); text != ""; text = strings.TrimLeft(text, " \t\r\n") {
		if text[0] == '#' {
			_, text, _ = strings.Cut(text, "\n")
			continue
		}
		name, rest, found := strings.Cut(text, " ")
		require.True(t, found, text)
		require.Contains(t, []string{"FROM", "ADAPTER", "TEMPLATE", "SYSTEM", "PARAMETER"}, name)
		parameter := ""
		if name == "PARAMETER" {
			parameter, rest, found = strings.Cut(rest, " ")
			require.True(t, found, text)
			parameter = " " + parameter
		}
		value, ended := "", false
		for !ended {
			line, after, more := strings.Cut(rest, "\n")
			value, rest = value+line, after
			trimmed := strings.TrimSpace(value)
			mark := ""
			for _, m := range []string{`"`, `"""`} {
				if strings.HasPrefix(trimmed, m) {
					mark = m
				}
			}
			if ended = len(trimmed) >= 2*len(mark) && strings.HasSuffix(trimmed, mark); ended {
				value = trimmed[len(mark) : len(trimmed)-len(mark)]
			} else {
				require.True(t, more, "no end of %q", value)
				value += "\n"
			}
		}
		printed := strings.Map(func(r rune) rune {
			if unicode.IsPrint(r) || r == '\n' || r == '\t' {
				return r
			}
			return -1
		}, value)
		all, text = append(all, instruction{name + parameter, printed}), rest
	}
	return all
}

// written is the Modelfile of the demo's model with other files.
func written(t *testing.T, files map[string]any, o Options) (all []instruction, text string, warnings []string) {
	dir := demotest.Model(t, 1, nil)
	for name, content := range files {
		data, err := json.Marshal(content)
		require.NoError(t, err)
		if text, is := content.(string); is {
			data = []byte(text)
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o666))
	}
	source, err := pretrained.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { source.Close() })
	p, err := processor.New(source, dir, processor.Options{Now: today})
	require.NoError(t, err)
	file, warnings, err := Modelfile(source, p, o)
	require.NoError(t, err)
	return parse(t, string(file)), string(file), warnings
}

func values(all []instruction, name string) (list []string) {
	for _, i := range all {
		if i.name == name {
			list = append(list, i.value)
		}
	}
	return list
}

func TestModelfile(t *testing.T) {
	all, text, warnings := written(t, nil, Options{From: "my model.gguf", Now: today})
	require.Equal(t, instruction{"FROM", "./my model.gguf"}, all[0])
	require.Len(t, values(all, "TEMPLATE"), 1, text)
	require.NotContains(t, text, "safetensors")
	require.Equal(t, []string{"<|end|>"}, values(all, "PARAMETER stop"), text)
	require.Empty(t, warnings)
	require.Empty(t, values(all, "PARAMETER temperature"))
	require.Len(t, values(all, "PARAMETER num_ctx"), 1)

	// of an adapter, with a system message of the template's and its characters that a Modelfile cannot hold
	all, text, warnings = written(t, map[string]any{
		"chat_template.jinja":    strings.ReplaceAll(known[1].source, "Be kind", "Be kind\u00a0") + "{# tools #}",
		"generation_config.json": map[string]any{"do_sample": true, "temperature": 0.7, "top_k": 20, "top_p": 0.8, "repetition_penalty": 1.05},
	}, Options{From: "/models/base ", Adapter: "adapter.gguf", Now: today})
	require.Equal(t, []string{"/models/base "}, values(all, "FROM"))
	require.Contains(t, text, "# Ollama converts a folder of safetensors itself")
	require.Equal(t, []string{"./adapter.gguf"}, values(all, "ADAPTER"))
	require.Empty(t, values(all, "SYSTEM"))
	got, err := render(values(all, "TEMPLATE")[0], talk("U"))
	require.NoError(t, err)
	require.Equal(t, strings.ReplaceAll(known[1].alone, "Be kind", "Be kind\u00a0"), got)
	require.Contains(t, strings.ReplaceAll(text, "\n# ", " "), "since that one knows tools as well")
	for name, want := range map[string]string{
		"temperature": "0.7", "top_k": "20", "top_p": "0.8", "repeat_penalty": "1.05", "repeat_last_n": "-1",
	} {
		require.Equal(t, []string{want}, values(all, "PARAMETER "+name), text)
	}
	require.Empty(t, warnings)

	all, _, _ = written(t, map[string]any{
		"chat_template.jinja":    known[1].source,
		"generation_config.json": map[string]any{"do_sample": false, "temperature": 0.7},
	}, Options{From: "model.gguf", Now: today})
	require.Equal(t, []string{`Be kind: "yes".`}, values(all, "SYSTEM"))
	require.Equal(t, []string{"0"}, values(all, "PARAMETER temperature"))
}

// What Ollama will do otherwise is said in the file and by the program.
func TestUnknownTemplate(t *testing.T) {
	all, text, warnings := written(t, map[string]any{
		"chat_template.jinja": "{% for m in messages %}{{ m.content|upper }}{% endfor %}",
	}, Options{From: "model.gguf", Now: today})
	require.Empty(t, values(all, "TEMPLATE"))
	require.Contains(t, strings.ReplaceAll(text, "\n# ", " "), "older versions send the last message alone")
	require.Len(t, warnings, 1)
	require.Contains(t, warnings[0], "The Modelfile has no TEMPLATE, since its template does not show every message once")
}

func TestFirstToken(t *testing.T) {
	require.True(t, of(known[3].source).writesBOS())
	require.False(t, of(chatML).writesBOS())
}

func TestPathThatNoModelfileHolds(t *testing.T) {
	for _, path := range []string{"a\nb.gguf", "a\u200bb.gguf"} {
		_, _, err := Modelfile(nil, nil, Options{From: path})
		require.ErrorContains(t, err, "rename the file or its folder")
	}
}
