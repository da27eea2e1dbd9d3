package dataset

import (
	"bytes"
	"encoding/json/jsontext"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/chat"
)

// written are rows as lines.
func written(t *testing.T, rows []Row) []byte {
	var lines []byte
	var err error
	for _, row := range rows {
		lines, err = AppendLine(lines, row)
		require.NoError(t, err)
	}
	require.Equal(t, len(rows), bytes.Count(lines, []byte("\n")))
	return lines
}

// said is a row without where it stood, its JSON in one form.
func said(t *testing.T, row Row) Row {
	compact := func(v jsontext.Value) jsontext.Value {
		if v == nil {
			return nil
		}
		v = v.Clone()
		require.NoError(t, v.Format(jsontext.PreserveRawStrings(false), jsontext.Multiline(false)))
		return v
	}
	row.Where, row.LeftOut = "", nil
	row.Tools, row.TemplateArgs = compact(row.Tools), compact(row.TemplateArgs)
	messages := make([]chat.Message, len(row.Messages))
	for i, m := range row.Messages {
		var fields []chat.Field
		for _, f := range m.Fields {
			fields = append(fields, chat.Field{Name: f.Name, Value: compact(f.Value)})
		}
		m.Fields = fields
		messages[i] = m
	}
	if row.Messages != nil {
		row.Messages = messages
	}
	return row
}

// sameRows wants what is written to be read as the same rows again.
func sameRows(t *testing.T, rows []Row) *Source {
	again, err := Read(bytes.NewReader(written(t, rows)), "again.jsonl")
	require.NoError(t, err)
	require.Len(t, again.rows, len(rows))
	for i := range rows {
		require.Equal(t, said(t, rows[i]), said(t, again.rows[i]), "%s", rows[i].Where)
	}
	return again
}

// Whatever format rows came from, they are written as rows that give the same samples.
func TestLinesGiveTheSameSamples(t *testing.T) {
	e := encoder(t, 200)
	e.EOS = 1
	sources := []string{
		`{"instruction":"i","input":"n","output":"o","history":[["a","b"]],"system":"s"}`,
		`{"messages":[{"role":"developer","content":"d"},{"role":"user","content":[{"type":"text","text":"q"},{"type":"image"}],"weight":1},` +
			`{"role":"assistant","content":null,"tool_calls":[{"type":"function","function":{"name":"f","arguments":"{\"a\":1.0,\"b\":[]}"}}]},` +
			`{"role":"tool","content":"r","tool_call_id":"1","name":"f"},{"role":"assistant","content":"x","weight":0},{"role":"user"},` +
			`{"role":"assistant","content":"","reasoning_content":"\u2028<&>\u0000","train":true}],"chat_template_kwargs":"{\"b\":[1,null]}",` +
			`"tools":"[{\"name\":\"f\"}]"}` + "\n" + `{"messages":[]}`,
		`{"conversations":[{"from":"human","value":"q","content":"other"},{"from":"gpt","value":"a","role":"other","loss":false},` +
			`{"from":"observation","value":"1"},{"from":"gpt","value":"b","value2":{"from":1}}],"tools":"[]"}`,
		`{"text":"a text \ud83c\udf45 \"quoted\""}` + "\n" + `{"text":""}`,
		"question,answer\n\"a, b\",c\n,d\n",
	}
	for _, name := range []string{"alpaca.csv", "messages.jsonl", "sharegpt.json", "tables/tabs.tsv", "tables/unicode-text.txt"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(t, err)
		sources = append(sources, string(data))
	}
	for _, content := range sources {
		first, err := Read(strings.NewReader(content), "pasted")
		require.NoError(t, err)
		again := sameRows(t, first.rows)
		want, _, wantErr := inMemory(e.Encode(first))
		got, _, gotErr := inMemory(e.Encode(again))
		require.Equal(t, wantErr == nil, gotErr == nil)
		require.Equal(t, want, got, content)
	}
}

// What would not be read again is not written.
func TestLinesThatWouldNotBeRead(t *testing.T) {
	lines, err := AppendLine([]byte("kept"), Row{Text: strings.Repeat("a", maxRowBytes), Where: "line 1"})
	require.ErrorContains(t, err, "write row: line 1: unsupported: a row longer than 16 MiB, which would not be read again")
	require.Equal(t, "kept", string(lines))
	deep := strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth)
	_, err = AppendLine(nil, Row{Messages: []chat.Message{user("q"), assistant("a")}, Tools: jsontext.Value(deep)})
	require.ErrorContains(t, err, "nested deeper than 64 levels as JSON")
}
