//go:build !js

package processor

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/testfiles"
)

// Real models whose file is at hand: the ids of lines of every script, and whole chats, are those of transformers.
func TestRealModelsTokensAndChatsAreTheirTokenizers(t *testing.T) {
	types, err := filepath.Glob(filepath.Join(testfiles.Reference(t, "real"), "*.types.json"))
	require.NoError(t, err)
	require.NotEmpty(t, types)
	for _, path := range types {
		stem := strings.TrimSuffix(path, ".types.json")
		t.Run(filepath.Base(stem), func(t *testing.T) {
			model, err := pretrained.Open(testfiles.RealModel(t, filepath.Base(stem)+".gguf"))
			require.NoError(t, err)
			defer model.Close()
			p, err := New(model, "the model", Options{})
			require.NoError(t, err)
			checkLines(t, p, stem+".jsonl")
			checkChats(t, p, stem+"_chat.json")
		})
	}
}

func checkLines(t *testing.T, p *Processor, path string) {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	require.Len(t, lines, 200)
	for _, line := range lines {
		var c struct {
			Text, Decoded string
			IDs           []int32
		}
		require.NoError(t, json.Unmarshal(line, &c))
		got := p.Tokenizer.Encode(c.Text)
		require.Equal(t, len(c.IDs), len(got), "%q", c.Text)
		if len(c.IDs) > 0 {
			require.Equal(t, c.IDs, got, "%q", c.Text)
		}
		require.Equal(t, c.Decoded, p.Tokenizer.Decode(got))
	}
}

func checkChats(t *testing.T, p *Processor, path string) {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	var cases []struct {
		Messages []struct{ Role, Content string }
		Prompt   bool `json:"add_generation_prompt"`
		Text     string
		IDs      []int32
	}
	require.NoError(t, json.Unmarshal(data, &cases))
	require.Len(t, cases, 8)
	for _, c := range cases {
		var list []chat.Message
		for _, m := range c.Messages {
			list = append(list, chat.Message{Role: m.Role, Content: m.Content})
		}
		text, err := p.Template.Render(chat.Conversation{Messages: list}, c.Prompt)
		require.NoError(t, err)
		require.Equal(t, c.Text, text)
		require.Equal(t, c.IDs, p.Tokenizer.Encode(text))
	}
}
