package chat

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/testfiles"
)

func readJSON(t testing.TB, path string, v any) {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, v))
}

type messageJSON struct {
	Role      string         `json:"role"`
	Content   string         `json:"content"`
	Name      string         `json:"name"`
	ToolCalls jsontext.Value `json:"tool_calls"`
}

func messages(list []messageJSON) []Message {
	out := make([]Message, len(list))
	for i, m := range list {
		out[i] = Message{Role: m.Role, Content: m.Content}
		if m.ToolCalls != nil {
			out[i] = with(out[i], "tool_calls", string(m.ToolCalls))
		}
		if m.Name != "" {
			out[i] = with(out[i], "name", strconv.Quote(m.Name))
		}
	}
	return out
}

// renders.json holds, for every template, the text of every conversation without and with generation prompt.
type rendersJSON struct {
	Now           time.Time         `json:"now"`
	Tokens        map[string]string `json:"tokens"`
	Conversations []struct {
		Name     string         `json:"name"`
		Messages []messageJSON  `json:"messages"`
		Tools    jsontext.Value `json:"tools"`
	} `json:"conversations"`
	Renders map[string][]*string `json:"renders"`
}

// Every template renders byte for byte what Jinja2 gives, and fails where Jinja2 raises.
func checkRenders(t *testing.T, path string) {
	var fixture rendersJSON
	readJSON(t, "testdata/renders.json", &fixture)
	source, err := os.ReadFile(path)
	require.NoError(t, err)
	name := strings.TrimSuffix(filepath.Base(path), ".jinja")
	wanted := fixture.Renders[name]
	require.Len(t, wanted, 2*len(fixture.Conversations), "renders.json knows nothing of %s: run tools/make_chat_fixtures.py", name)
	template := parsed(string(source), fixture.Tokens).At(fixture.Now)
	for i, c := range fixture.Conversations {
		chat := turns(messages(c.Messages)...)
		if c.Tools.Kind() == '[' {
			chat.Tools = c.Tools
		}
		for k, prompt := range []bool{false, true} {
			got, err := template.Render(chat, prompt)
			want := wanted[2*i+k]
			if want == nil {
				require.Error(t, err, "%s, prompt %v", c.Name, prompt)
				continue
			}
			require.NoError(t, err, "%s, prompt %v", c.Name, prompt)
			require.Equal(t, *want, got, "%s, prompt %v", c.Name, prompt)
		}
	}
}

func TestRenders(t *testing.T) {
	own, err := filepath.Glob("testdata/templates/*.jinja")
	require.NoError(t, err)
	require.NotEmpty(t, own)
	for _, path := range own {
		t.Run(filepath.Base(path), func(t *testing.T) { checkRenders(t, path) })
	}
}

func TestRendersOfModelTemplates(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(testfiles.Reference(t, "chat_templates"), "*.jinja"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) { checkRenders(t, path) })
	}
}

func TestChatML(t *testing.T) {
	chatML := parsed(ChatML, map[string]string{"begin_of_text": "", "end_of_turn": "<|im_end|>"})
	var fixture rendersJSON
	readJSON(t, "testdata/renders.json", &fixture)
	for i, c := range fixture.Conversations {
		for k, prompt := range []bool{false, true} {
			got, err := chatML.Render(turns(messages(c.Messages)...), prompt)
			require.NoError(t, err)
			require.Equal(t, *fixture.Renders["chatml"][2*i+k], got)
		}
	}
}

func TestModelChat(t *testing.T) {
	tok, template := model(t)
	var cases []struct {
		Messages []messageJSON `json:"messages"`
		Prompt   bool          `json:"add_generation_prompt"`
		Text     string        `json:"text"`
		IDs      []int32       `json:"ids"`
	}
	readJSON(t, testfiles.Reference(t, "tokenizer", "smollm2_chat.json"), &cases)
	require.NotEmpty(t, cases)
	for _, c := range cases {
		text, err := template.Render(turns(messages(c.Messages)...), c.Prompt)
		require.NoError(t, err)
		require.Equal(t, c.Text, text)
		require.Equal(t, c.IDs, tok.Encode(text))
	}
}

// The samples that PyTorch was trained on in the parity case, ids and labels.
func TestParitySamples(t *testing.T) {
	tok, template := model(t)
	var parity struct {
		Steps [][]struct {
			Row    int     `json:"row"`
			IDs    []int32 `json:"input_ids"`
			Labels []int32 `json:"labels"`
		} `json:"steps"`
	}
	readJSON(t, testfiles.Reference(t, "parity", "smollm2", "case.json"), &parity)
	var rows []struct {
		Instruction string `json:"instruction"`
		Input       string `json:"input"`
		Output      string `json:"output"`
	}
	readJSON(t, testfiles.Data(t, "alpaca_en_demo.json"), &rows)
	compared := 0
	for _, window := range parity.Steps {
		for _, want := range window {
			row := rows[want.Row]
			user := row.Instruction
			if row.Input != "" {
				user += "\n" + row.Input
			}
			got, err := template.Encode(tok, turns(Message{Role: "user", Content: user}, assistant(row.Output)), TrainOnAssistant)
			require.NoError(t, err)
			require.Equal(t, want.IDs, got.IDs, "row %d", want.Row)
			labels := make([]int32, len(got.IDs))
			for i, id := range got.IDs {
				if labels[i] = -100; got.Target[i] {
					labels[i] = id
				}
			}
			require.Equal(t, want.Labels, labels, "row %d", want.Row)
			compared++
		}
	}
	require.NotZero(t, compared)
}
