package dataset

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
)

// Preferences are named for what they are, with columns that learn the better answers.
func TestPreferences(t *testing.T) {
	const turns = `[{"role":"user","content":"q"},{"role":"assistant","content":"%"}]`
	answer := func(text string) string { return `[{"role":"assistant","content":"` + text + `"}]` }
	for _, c := range []struct {
		row, columns string
		want         []chat.Message // nil: a text
	}{
		{`{"prompt":"q","chosen":"g","rejected":"b"}`, "prompt=prompt,completion=chosen", []chat.Message{user("q"), assistant("g")}},
		{`{"question":"q","Chosen":"g","Rejected":"b","id":1}`, "prompt=question,completion=Chosen", []chat.Message{user("q"), assistant("g")}},
		{`{"instruction":"q","input":"","accepted":"g","rejected":"b"}`, "prompt=instruction,completion=accepted",
			[]chat.Message{user("q"), assistant("g")}},
		{`{"chosen":"Human: q","rejected":"b"}`, "text=chosen", nil},
		{`{"prompt":"q","chosen":` + strings.ReplaceAll(turns, "%", "g") + `,"rejected":` + turns + `}`, "messages=chosen",
			[]chat.Message{user("q"), assistant("g")}},
		{`{"prompt":[{"role":"user","content":"q"}],"chosen":` + answer("g") + `,"rejected":` + answer("b") + `}`,
			"prompt=prompt,completion=chosen",
			[]chat.Message{user("q"), assistant("g")}},
		{`{"conversations":[{"from":"human","value":"q"}],"chosen":{"from":"gpt","value":"g"},"rejected":{"from":"gpt","value":"b"}}`,
			"prompt=conversations,completion=chosen", []chat.Message{user("q"), assistant("g")}},
		{`{"prompt":"q","completion":"g","label":true}`, "prompt=prompt,completion=completion", []chat.Message{user("q"), assistant("g")}},
	} {
		_, err := Read(strings.NewReader(c.row+"\n"+c.row), "x.jsonl")
		require.ErrorContains(t, err, "--data-columns '"+c.columns+"'", c.row)
		require.True(t, usererr.Is(err, usererr.Format))
		require.Regexp(t, "preference pairs, as DPO takes them: column|answers with a verdict, as KTO takes them: column \"label\"", err.Error())
		columns, err := settings.ParseColumns(c.columns)
		require.NoError(t, err)
		s, err := ReadColumns(strings.NewReader(c.row), "x.jsonl", columns)
		require.NoError(t, err, c.row)
		require.Equal(t, c.want, s.rows[0].Messages)
	}
	for _, row := range []string{
		`{"messages":` + turns + `,"chosen":"a","rejected":"b"}`, `{"prompt":"q","completion":"g","label":"cat"}`,
		`{"prompt":"q","completion":"g","label":1}`,
		`{"prompt":"q","completion":"g","rejected":null,"chosen":null}`,
	} {
		_, err := Read(strings.NewReader(row), "x.jsonl")
		require.NoError(t, err, row)
	}
}

// Texts within objects are offered, and learned under the names that lead to them.
func TestNestedColumns(t *testing.T) {
	const rows = `{"id":1,"translation":{"en":"dog","de":"Hund","more":{"fr":"chien"}}}` + "\n" +
		`{"id":2,"translation":{"en":"cat","de":null}}`
	_, err := Read(strings.NewReader(rows), "x.jsonl")
	require.ErrorContains(t, err,
		`which column is the question, and which the answer? The columns are "translation.en", "translation.de", "translation.more.fr"`)
	require.ErrorContains(t, err, "--data-columns 'prompt=translation.en,completion=translation.de'")
	read := func(columns string) (*Source, error) {
		c, err := settings.ParseColumns(columns)
		require.NoError(t, err)
		return ReadColumns(strings.NewReader(rows), "x.jsonl", c)
	}
	s, err := read("prompt=translation.en,completion=translation.de")
	require.NoError(t, err)
	require.Equal(t, []chat.Message{user("dog"), assistant("Hund")}, s.rows[0].Messages)
	require.Equal(t, []chat.Message{user("cat"), assistant("")}, s.rows[1].Messages)
	require.Equal(t, []string{`not used: column "id" (2 rows)`}, s.Notes)
	s, err = read("text=translation.more.fr")
	require.NoError(t, err)
	require.Equal(t, "chien", s.rows[0].Text)
	_, err = read("text=translation.es")
	require.ErrorContains(t, err, `there is no column "translation.es": the columns are "id", "translation"`)

	_, err = Read(strings.NewReader(`{"dialog":[{"speaker":"a","words":"b"}],"n":{"x":1}}`), "x.jsonl")
	require.ErrorContains(t, err, `no known format: the columns are "dialog", "n"`)
	_, err = Read(strings.NewReader(`{"a":1,"n":{"x":1}}`), "x.jsonl")
	require.ErrorContains(t, err, "(known are messages,")
	require.ErrorContains(t, err, "--data-columns says what others are")
}

// Prompt and completion may be turns.
func TestConversationalPrompts(t *testing.T) {
	s, err := Read(strings.NewReader(`{"prompt":[{"role":"system","content":"s"},{"role":"user","content":"q"}],`+
		`"completion":[{"role":"assistant","content":"a"}]}`+"\n"+`{"prompt":"p","completion":"c"}`+"\n"+
		`{"prompt":[],"completion":null}`), "x.jsonl")
	require.NoError(t, err)
	require.Equal(t, []Row{
		{Messages: []chat.Message{system("s"), user("q"), assistant("a")}, Where: "line 1"},
		{Messages: []chat.Message{user("p"), assistant("c")}, Where: "line 2"},
		{Messages: []chat.Message{user(""), assistant("")}, Where: "line 3"},
	}, s.rows)
}
