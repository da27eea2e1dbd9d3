package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/processor"
	"qlora-wgpu/lora"
)

// insides are words of the program's language and libraries, which tell a user nothing.
var insides = regexp.MustCompile(`Go struct|Go value|unmarshal|strconv|\bnil\b|reflect|\bmain\.|runtime|jsontext|(^|[^.a-z])(json|yaml):|` +
	`interface|\*string|\*bool|map\[|\[\](string|int|any)|float64|int64|int32|uint|\bstruct\b|%!|EOF|ParseInt|ParseFloat|ParseBool`)

// wrong are values of every kind; a key takes some of them, and the others are mistakes.
var wrong = []any{"text", 1.5, -3, 1e300, true, []any{"a", 1}, map[string]any{"a": 1}, []any{}, ""}

// said collects what is said of mistakes, none of which may show the program's insides.
type said struct {
	*testing.T
	mistakes int
}

func (s *said) check(what string, err error) {
	if err == nil {
		return
	}
	s.mistakes++
	text := err.Error()
	for _, path := range []string{os.TempDir(), s.Name()} { // of the test itself
		text = strings.ReplaceAll(text, path, "")
	}
	require.NotRegexp(s, insides, text, what)
}

// edited is every version of a JSON object in which a key, also of an object in it, has another value.
func edited(t *testing.T, object []byte, each func(what string, changed []byte)) {
	var values map[string]any
	require.NoError(t, json.Unmarshal(object, &values))
	marshal := func() []byte {
		text, err := json.Marshal(values)
		require.NoError(t, err)
		return text
	}
	var walk func(prefix string, in map[string]any, depth int)
	walk = func(prefix string, in map[string]any, depth int) {
		for key, before := range in {
			for _, value := range wrong {
				in[key] = value
				each(fmt.Sprintf("%s%s = %v", prefix, key, value), marshal())
			}
			in[key] = before
			if inner, ok := before.(map[string]any); ok && depth > 0 && len(inner) < 30 {
				walk(prefix+key+".", inner, depth-1)
			}
		}
	}
	walk("", values, 1)
}

// cut is a file's beginnings: all short ones, and some dozens of longer ones.
func cut(text []byte, each func(what string, beginning []byte)) {
	for n := 0; n < len(text); n += 1 + n/6 {
		each(fmt.Sprintf("cut off after %d bytes", n), text[:n])
	}
}

func TestNoMessageShowsTheProgramsInsides(t *testing.T) {
	model := demotest.Model(t, 1, nil)
	read := func(name string) []byte {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		return text
	}
	for _, name := range []string{
		"config.json", "tokenizer_config.json", "tokenizer.json", "model.safetensors", "model.safetensors.index.json",
	} {
		t.Run(name, func(t *testing.T) {
			s := &said{T: t}
			folder := filepath.Join(t.TempDir(), "model")
			require.NoError(t, os.CopyFS(folder, os.DirFS(model)))
			path := filepath.Join(folder, name)
			text := []byte(`{"metadata":{"total_size":1},"weight_map":{"lm_head.weight":"model-1.safetensors"}}`)
			if name == "model.safetensors.index.json" {
				require.NoError(t, os.Remove(filepath.Join(folder, "model.safetensors")))
			} else {
				text = read(path)
			}
			try := func(what string, content []byte) {
				require.NoError(t, os.WriteFile(path, content, 0o666))
				m, err := pretrained.Open(folder)
				if err == nil {
					_, err = processor.New(m, folder, processor.Options{Now: time.Now()})
					m.Close()
				}
				s.check(what, err)
			}
			cut(text, try)
			if strings.HasSuffix(name, ".json") {
				edited(t, text, try)
			}
			require.Positive(t, s.mistakes)
		})
	}
	t.Run("adapter", func(t *testing.T) {
		s := &said{T: t}
		folder := t.TempDir()
		config := `{"peft_type":"LORA","r":4,"lora_alpha":8,"lora_dropout":0,"bias":"none","target_modules":["q_proj"],"use_rslora":false,` +
			`"use_dora":false,"fan_in_fan_out":false,"rank_pattern":{},"alpha_pattern":{},"layers_to_transform":null,"modules_to_save":null}`
		try := func(what string, content []byte) {
			require.NoError(t, os.WriteFile(filepath.Join(folder, lora.ConfigFile), content, 0o666))
			_, err := lora.Open(checkpoint.Files{}, folder)
			s.check(what, err)
		}
		cut([]byte(config), try)
		edited(t, []byte(config), try)
		require.Positive(t, s.mistakes)
	})
	t.Run("data", func(t *testing.T) {
		s := &said{T: t}
		for _, row := range []string{
			`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","train":true,"weight":1,"tool_calls":[]}],"tools":[]}`,
			`{"conversations":[{"from":"human","value":"a"},{"from":"gpt","value":"b"}],"system":"c"}`,
			`{"instruction":"a","input":"b","output":"c","history":[["a","b"]]}`, `{"prompt":"a","completion":"b"}`, `{"text":"a"}`,
		} {
			try := func(what string, content []byte) {
				for _, file := range []string{"%s\n", "[%s]", row + "\n%s\n"} {
					_, err := dataset.Read(strings.NewReader(fmt.Sprintf(file, content)), "x.jsonl")
					s.check(what, err)
				}
			}
			cut([]byte(row), try)
			edited(t, []byte(row), try)
		}
		require.Positive(t, s.mistakes)
	})
	t.Run("settings", func(t *testing.T) {
		s := &said{T: t}
		file := filepath.Join(t.TempDir(), "a.yaml")
		for line := range strings.Lines(resolve(t)) {
			key, _, found := strings.Cut(line, ":")
			if !found || strings.HasPrefix(key, " ") {
				continue
			}
			for _, value := range append([]any{nil}, wrong...) {
				text, err := json.Marshal(map[string]any{key: value})
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(file, text, 0o666))
				_, _, stderr := invoke(t, "train", "--dry-run", "--config", file)
				s.check(string(text), errorOf(stderr))
			}
			for _, value := range []string{"text", "1.5", "-3", "1e300", "99999999999999999999", ""} {
				flag := "--" + strings.ReplaceAll(key, "_", "-") + "=" + value
				_, _, stderr := invoke(t, "train", "--dry-run", flag)
				s.check(flag, errorOf(stderr))
			}
		}
		require.Positive(t, s.mistakes)
	})
	t.Run("texts", func(t *testing.T) {
		s := &said{T: t}
		for _, line := range []string{`{"text":1}`, `{"text":`, `[]`, `{"text":[1]}`, `x`, "{\"text\":\"\xff\"}"} {
			file := filepath.Join(t.TempDir(), "a.jsonl")
			require.NoError(t, os.WriteFile(file, []byte(line), 0o666))
			_, _, stderr := invoke(t, "tokenize", "--model", model, file)
			require.NotEmpty(t, stderr)
			s.check(line, errorOf(stderr))
		}
	})
	t.Run("GGUF", func(t *testing.T) {
		s := &said{T: t}
		file := filepath.Join(t.TempDir(), "a.gguf")
		cut([]byte(ggufFile(0)), func(what string, content []byte) {
			require.NoError(t, os.WriteFile(file, content, 0o666))
			m, err := pretrained.Open(file)
			if err == nil {
				m.Close()
			}
			s.check(what, err)
		})
		require.Positive(t, s.mistakes)
	})
}

// errorOf is what a command said, where it is an error.
func errorOf(stderr string) error {
	if stderr == "" {
		return nil
	}
	return fmt.Errorf("%s", strings.TrimSpace(stderr))
}
