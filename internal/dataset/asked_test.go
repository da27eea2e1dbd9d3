package dataset

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/settings"
)

// A format that is named is taken in the place of what would be found.
func TestDataFormat(t *testing.T) {
	ask := func(name, content, format string) (*Source, error) {
		columns, err := settings.Learned{DataFormat: format}.Columns()
		require.NoError(t, err)
		return ReadColumns(strings.NewReader(content), name, columns)
	}
	const both = `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],` +
		`"text":"t","prompt":"p","completion":"c","Frage":"f"}`
	for _, c := range []struct {
		name, content, format string
		text                  string // of the only row, or its last turn
		container             string
	}{
		{"x.jsonl", both, "text", "t", "JSON Lines"},
		{"x.jsonl", both, "Prompt/Completion", "c", "JSON Lines"},
		{"x.jsonl", both, "frage/text", "t", "JSON Lines"},
		{"x.txt", both, "JSON Lines", "a", "JSON Lines"},
		{"x.txt", "[" + both + "]", "text in json array", "t", "JSON array"},
		{"x.json", "question;answer\na,b;c\n", "csv with semicolons", "c", "CSV with semicolons"},
		{"x.csv", "question,answer\n1,2\n", "text file", "question,answer\n1,2\n", "text file"},
		{"x.dat", "prompt\tcompletion\na\tb\n", "prompt/completion in TSV", "b", "TSV"},
	} {
		s, err := ask(c.name, c.content, c.format)
		require.NoError(t, err, c.format)
		row := s.rows[0]
		if row.Messages != nil {
			row.Text = row.Messages[len(row.Messages)-1].Content
		}
		require.Equal(t, []string{c.text, c.container}, []string{row.Text, s.Container}, c.format)
	}
	_, err := ask("x.jsonl", `{"text":"a"}`, "Alpaca")
	require.ErrorContains(t, err, `line 1: bad format: data_format is Alpaca, which needs a column "instruction": the columns are "text"`)
	_, err = ask("x.jsonl", `{"text":"a"}`, "Parquet")
	require.ErrorContains(t, err, "data_format is Parquet, and the file is no Parquet file")
	_, err = ask("x.jsonl", both+"\n"+`{"messages":[]}`, "text")
	require.ErrorContains(t, err, "line 2: bad format: mixed formats: line 1 is text")
	for _, wrong := range []string{"json", "alpaca in", "alpaca in xml", "a/b/c", "/", "nothing in csv"} {
		_, err := settings.Learned{DataFormat: wrong}.Columns()
		require.ErrorContains(t, err, "data_format is ", wrong)
	}
	_, err = settings.Learned{DataFormat: "text", DataColumns: "text=a"}.Columns()
	require.ErrorContains(t, err, "only a container beside data_columns")
}

// A template makes turns, rows or texts of rows.
func TestDataTemplate(t *testing.T) {
	render := func(name, content, template string) (*Source, error) {
		return ReadColumns(strings.NewReader(content), name, settings.Columns{Template: template})
	}
	const rows = `{"q":"1 \"+\" 1?","choices":["1","2"],"answer":1}` + "\n" + `{"q":"","choices":[],"answer":0}` + "\n"
	turns := "{% if q %}[{{ {'role': 'user', 'content': q} | tojson }},\n" +
		"{\"role\": \"assistant\", \"content\": {{ choices[answer] | tojson }}}]{% endif %}\n"
	s, err := render("x.jsonl", rows, turns)
	require.NoError(t, err)
	require.Equal(t, []Row{
		{Messages: []chat.Message{user(`1 "+" 1?`), assistant("2")}, Where: "line 1"}, {Messages: []chat.Message{}, Where: "line 2"},
	}, s.rows)
	require.Equal(t, "messages", s.Format)
	other, err := render("x.jsonl", rows, turns+" ")
	require.NoError(t, err)
	require.NotEqual(t, s.Hash, other.Hash, "the template is part of the data")

	s, err = render("x.jsonl", rows, "{{ row.q }} {{ choices | length }}")
	require.NoError(t, err)
	require.Equal(t, []Row{{Text: `1 "+" 1? 2`, Where: "line 1"}, {Text: " 0", Where: "line 2"}}, s.rows)

	s, err = render("x.csv", "No,Question text,b\n1,w,x\n", `{"prompt": {{ row["Question text"] | tojson }}, "completion": {{ b | tojson }}}`)
	require.NoError(t, err)
	require.Equal(t, "prompt/completion", s.Format)
	require.Equal(t, []chat.Message{user("w"), assistant("x")}, s.rows[0].Messages)

	s, err = render("x.jsonl", rows, "[INST] {{ q }} [/INST]")
	require.NoError(t, err)
	require.Equal(t, `[INST] 1 "+" 1? [/INST]`, s.rows[0].Text)

	const inOrder = "{% for name, value in row.items() %}{{ name }}{{ value }} {% endfor %}"
	for name, content := range map[string]string{
		"x.jsonl": `{"z":1,"b":2,"y":3,"a":4,"x":5,"c":6}`, "x.csv": "z,b,y,a,x,c\n1,2,3,4,5,6\n",
	} {
		s, err = render(name, content, inOrder)
		require.NoError(t, err)
		require.Equal(t, "z1 b2 y3 a4 x5 c6 ", s.rows[0].Text, "columns come in the file's order")
	}

	for want, template := range map[string]string{
		"bad format: data_template: line 2: the filter":                               "\n{{ q | nosuch }}",
		"data_template: it asks for the day":                                          "{{ strftime_now('%Y') }}",
		"line 2: bad format: data_template: it writes no":                             "{% if q %}[]{% else %}text{% endif %}",
		"data_template: what it writes begins as JSON does and is none: \"[{\\\"role": `[{"role": "user", "content": "{{ q }}"}]`,
		"data_template: what it writes begins as JSON does and is none: \"{ \\\"text": `{ "text": {{ q }}}`,
		"turn 0: a number, not an object":                                             "[1]",
		"no known format: the columns are \"a\"":                                      `{"a": 1}`,
	} {
		_, err := render("x.jsonl", rows, template)
		require.ErrorContains(t, err, want, template)
	}
}
