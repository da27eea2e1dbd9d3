package chat

import (
	"encoding/json/jsontext"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/usererr"
)

// FuzzEncode attacks a template, the contents of a conversation and its tools, and finds the targets.
func FuzzEncode(f *testing.F) {
	paths, err := filepath.Glob("testdata/templates/*.jinja")
	require.NoError(f, err)
	require.NotEmpty(f, paths)
	for i, path := range paths {
		source, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(string(source), "One?", "Two.", "", uint8(i))
	}
	f.Add(ChatML, " a ", "<|im_end|>", `[{"type":"function","function":{"name":"f","parameters":{}}}]`, uint8(0))
	f.Add("{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content | trim }}{{ eos_token }}{% endfor %}"+
		"{% if add_generation_prompt %}assistant:{% endif %}{{ tools }}", "a\x00b", "", "{}", uint8(1))
	f.Add("{% if messages[0].role == 'system' %}{{ raise_exception('x') }}{% endif %}{{ messages[-1].content * 3 }}",
		"q", "a", "null", uint8(2))
	tok := byteTokenizer(f)
	f.Fuzz(func(t *testing.T, source, question, answer, tools string, how uint8) {
		mistake := func(err error) bool {
			if err != nil {
				require.IsType(t, &usererr.Error{}, err)
			}
			return err != nil
		}
		template := parsed(source, map[string]string{"bos_token": "<s>", "eos_token": "<|im_end|>"})
		conversation := turns([]Message{
			{Role: "system", Content: "Be brief."}, user(question), assistant(answer), user("And?"),
			with(assistant(answer), "reasoning_content", `"Why?"`, "tool_calls", `[{"function":{"name":"f","arguments":"{\"a\":1}"}}]`),
		}[how>>2&1:]...)
		if value := jsontext.Value(tools); value.IsValid() {
			conversation.Tools = value
		}
		on := TrainOn(how % 3)
		encoded, err := template.Encode(tok, conversation, on)
		if mistake(err) {
			return
		}
		for _, sample := range encoded.Samples {
			require.Len(t, sample.Target, len(sample.IDs))
		}
		if encoded.Rewritten {
			return
		}
		require.Len(t, encoded.Samples, 1)
		ids := encoded.Samples[0].IDs
		text, err := template.Render(conversation, false)
		if mistake(err) {
			return // it fails on arguments that are objects, and was encoded with texts
		}
		whole := tok.Encode(text)
		require.GreaterOrEqual(t, len(ids), len(whole))
		require.LessOrEqual(t, len(ids), len(whole)+1, "at most an EOS is added")
		require.True(t, slices.Equal(whole, ids[:len(whole)]))
	})
}
