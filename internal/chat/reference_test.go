package chat

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"maps"
	"os"
	"path/filepath"
	"slices"
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

// messageJSON is a message with all that it holds beside its role.
type messageJSON struct {
	Role, Content string
	Fields        map[string]jsontext.Value
}

func (m *messageJSON) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, &m.Fields); err != nil {
		return err
	}
	for name, into := range map[string]*string{"role": &m.Role, "content": &m.Content} {
		if err := json.Unmarshal(m.Fields[name], into); err != nil {
			return err
		}
		delete(m.Fields, name)
	}
	return nil
}

func messages(list []messageJSON) []Message {
	out := make([]Message, len(list))
	for i, m := range list {
		out[i] = Message{Role: m.Role, Content: m.Content}
		for _, name := range slices.Sorted(maps.Keys(m.Fields)) {
			out[i] = with(out[i], name, string(m.Fields[name]))
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
		Args     jsontext.Value `json:"template_args"`
	} `json:"conversations"`
	Renders map[string][]*string  `json:"renders"`
	Marks   map[string][][][2]int `json:"marks"` // of templates that have any, in bytes
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
		chat.TemplateArgs = c.Args
		if c.Tools.Kind() == '[' {
			chat.Tools = c.Tools
		}
		for k, prompt := range []bool{false, true} {
			got, err := template.render(chat, prompt)
			want := wanted[2*i+k]
			if want == nil {
				require.Error(t, err, "%s, prompt %v", c.Name, prompt)
				continue
			}
			require.NoError(t, err, "%s, prompt %v", c.Name, prompt)
			require.Equal(t, *want, got.Text, "%s, prompt %v", c.Name, prompt)
			var marks [][2]int
			for _, span := range got.Generated {
				marks = append(marks, [2]int{span.Start, span.End})
			}
			if of := fixture.Marks[name]; of != nil {
				require.ElementsMatch(t, of[2*i+k], marks, "%s, prompt %v", c.Name, prompt)
			} else {
				require.Empty(t, marks)
			}
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
			require.Len(t, got.Samples, 1)
			require.Equal(t, want.IDs, got.Samples[0].IDs, "row %d", want.Row)
			labels := make([]int32, len(got.Samples[0].IDs))
			for i, id := range got.Samples[0].IDs {
				if labels[i] = -100; got.Samples[0].Target[i] {
					labels[i] = id
				}
			}
			require.Equal(t, want.Labels, labels, "row %d", want.Row)
			compared++
		}
	}
	require.NotZero(t, compared)
}
