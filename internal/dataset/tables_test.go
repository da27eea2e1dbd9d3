package dataset

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding/unicode"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/settings"
)

const firstIsAnExample = "the first row is an example, since it does not name the columns: column 1 is the question, column 2 the answer"

func TestTables(t *testing.T) {
	for _, c := range []struct {
		path, content     string // without content a file of testdata/tables
		format, container string
		pairs             [][2]string
		notes             []string
	}{
		{
			path: "semicolons.csv", format: "question/answer", container: "CSV with semicolons",
			pairs: [][2]string{{"How much is 1,5 + 1,5?", "3, of course."}, {"Two\nlines; and more?", "Yes."}},
			notes: []string{`not used: column "Topic" (1 rows)`},
		},
		{
			path: "tabs.tsv", format: "question/answer", container: "TSV",
			pairs: [][2]string{{`A 5" pipe?`, `He said "yes".`}, {"Two\nlines \"quoted\"", `"Hello" she said`}},
		},
		{
			path: "no-header.tsv", format: "question/answer", container: "TSV", notes: []string{firstIsAnExample},
			pairs: [][2]string{{"Who barks?", "A dog, and a seal."}, {"Who sings?", "A bird."}},
		},
		{
			path: "unicode-text.txt", format: "question/answer", container: "TSV", notes: []string{"UTF-16 was read as UTF-8"},
			pairs: [][2]string{{"Wie süß?", "Sehr."}},
		},
		{path: "sep.csv", format: "q/a", container: "CSV with '|'", pairs: [][2]string{{"One, or two?", "Two; or one."}}},
		{
			path: "context.jsonl", format: "question/response", container: "JSON Lines",
			pairs: [][2]string{{"How was it?\nIt rained.", "Wet."}, {"And now?", "Dry."}},
			notes: []string{`column "Context" is put below the question`, `not used: column "id" (2 rows)`},
		},
		// by content alone
		{path: "pasted", content: "Who?\tMe.", format: "question/answer", container: "TSV", pairs: [][2]string{{"Who?", "Me."}},
			notes: []string{firstIsAnExample}},
		{path: "pasted", content: "input,output\na,b\n", format: "input/output", container: "CSV", pairs: [][2]string{{"a", "b"}}},
		{path: "pasted", content: "Who?;Me.\nAnd who?;You.", format: "question/answer", container: "CSV with semicolons",
			pairs: [][2]string{{"Who?", "Me."}, {"And who?", "You."}}, notes: []string{firstIsAnExample}},
		{path: "pasted", content: ` {"user":"a","assistant":"b"}`, format: "user/assistant", container: "JSON Lines",
			pairs: [][2]string{{"a", "b"}}},
		{path: "pasted", content: "[\n" + `{"INPUT":"a","Output":"b"}]`, format: "input/output", container: "JSON array",
			pairs: [][2]string{{"a", "b"}}},
		// the name does not say what it is
		{path: "x.csv", content: "question\tanswer\na, b\tc\n", format: "question/answer", container: "TSV",
			pairs: [][2]string{{"a, b", "c"}}},
		{path: "x.tsv", content: "question,answer\na,b\tc\n", format: "question/answer", container: "CSV",
			pairs: [][2]string{{"a", "b\tc"}}},
		{path: "x.json", content: "question\tanswer\na\tb\n", format: "question/answer", container: "TSV",
			pairs: [][2]string{{"a", "b"}}},
		{path: "x.csv", content: `{"prompt":"a","response":"b"}`, format: "prompt/response", container: "JSON Lines",
			pairs: [][2]string{{"a", "b"}}},
		// header rows
		{path: "x.csv", content: "id;n,question,answer\n1;2,a,b\n", format: "question/answer", container: "CSV",
			pairs: [][2]string{{"a", "b"}},
			notes: []string{`not used: column "id;n" (1 rows)`}},
		{path: "x.csv", content: ",Instruction ,Input,Output\n0,a,b,c\n", format: "Alpaca", container: "CSV",
			pairs: [][2]string{{"a\nb", "c"}},
			notes: []string{`column "Input" is put below the question`, `not used: column "column 1" (1 rows)`}},
		{path: "x.csv", content: "Prompt;Completion;;\na;b;;\n", format: "prompt/completion", container: "CSV with semicolons",
			pairs: [][2]string{{"a", "b"}}},
		{path: "x.csv", content: "problem,solution,answer\na,b,c\n", format: "problem/solution", container: "CSV",
			pairs: [][2]string{{"a", "b"}},
			notes: []string{`not used: column "answer" (1 rows)`}},
		{path: "x.csv", content: "question,A,B,answer\na,b,c,d\n", format: "question/answer", container: "CSV",
			pairs: [][2]string{{"a", "d"}},
			notes: []string{`not used: column "A" (1 rows)`, `not used: column "B" (1 rows)`}},
		{path: "x.csv", content: "question,answer\ra,b\r", format: "question/answer", container: "CSV", pairs: [][2]string{{"a", "b"}}},
		{path: "x.tsv", content: "question\tanswer\r\n\r\n\"a\r\nb\"\tc\r\n\td\r\n", format: "question/answer", container: "TSV",
			pairs: [][2]string{{"a\nb", "c"}, {"", "d"}}},
	} {
		t.Run(c.path+" "+c.content, func(t *testing.T) {
			data := []byte(c.content)
			if c.content == "" {
				var err error
				data, err = os.ReadFile(filepath.Join("testdata", "tables", c.path))
				require.NoError(t, err)
			}
			s, err := Read(bytes.NewReader(data), c.path)
			require.NoError(t, err)
			pairs, ok := s.Pairs()
			require.True(t, ok)
			require.Equal(t, c.pairs, pairs)
			require.Equal(t, c.format, s.Format)
			require.Equal(t, c.container, s.Container)
			require.Equal(t, c.notes, s.Notes)
			again, err := Read(iotest.OneByteReader(bytes.NewReader(data)), c.path)
			require.NoError(t, err)
			require.Equal(t, s, again)
		})
	}
}

// A row says on which line of the file it begins, whatever stands before it.
func TestTablePlaces(t *testing.T) {
	for content, want := range map[string][]string{
		"sep=;\nquestion;answer\na;b\n\"c\nd\";e\nf;g\n":              {"line 3", "line 4", "line 6"},
		"question\tanswer\n\na\tb\n\"c\nd\"\t\"e\nf\"\ng\th\n":        {"line 3", "line 4", "line 7"},
		"Is this a question?\tIt is.\n\"Or\nthis?\"\tNo.\nWho?\tI.\n": {"line 1", "line 2", "line 4"},
	} {
		s, err := Read(strings.NewReader(content), "x.csv")
		require.NoError(t, err)
		var places []string
		for _, row := range s.rows {
			places = append(places, row.Where)
		}
		require.Equal(t, want, places, content)
	}
}

// What was one text stays one text, and is said to look like something else.
func TestTextsThatAreNoTables(t *testing.T) {
	for _, content := range []string{
		"Roses are red, violets are blue.\nSugar is sweet, and so are you.\n", "\tindented\n\tlines\n", "One line; of prose.",
		"[1] A footnote, with a comma.\n", "{braces} and text",
	} {
		for _, path := range []string{"pasted", "x.txt"} {
			s, err := Read(strings.NewReader(content), path)
			require.NoError(t, err, content)
			require.Equal(t, []Row{{Text: content, Where: "line 1"}}, s.rows)
			require.Empty(t, s.Notes)
		}
	}
	for content, note := range map[string]string{
		"question\tanswer\na\tb\n":         "it looks like a table with tabs, and is read as one text: a name that ends in .csv makes rows of it",
		`{"question": "a", "answer": "b"}`: "it looks like JSON, and is read as one text: a name that ends in .json makes rows of it",
	} {
		s, err := Read(strings.NewReader(content), "x.txt")
		require.NoError(t, err)
		require.Equal(t, []Row{{Text: content, Where: "line 1"}}, s.rows)
		require.Equal(t, []string{note}, s.Notes)
	}
}

// The separator is found in a part of a large file, the rows behind it are read all the same.
func TestLargeTable(t *testing.T) {
	var content strings.Builder
	content.WriteString("Question;Answer\n")
	cell := strings.Repeat("x, ", 500)
	for range 200 {
		content.WriteString("\"" + cell + "\ny\";\"" + cell + "\"\n")
	}
	s, err := Read(strings.NewReader(content.String()), "x.csv")
	require.NoError(t, err)
	require.Len(t, s.rows, 200)
	require.Equal(t, "line 400", s.rows[199].Where)

	utf16, err := unicode.UTF16(unicode.BigEndian, unicode.UseBOM).NewEncoder().String(content.String())
	require.NoError(t, err)
	wide, err := Read(strings.NewReader(utf16), "x.csv")
	require.NoError(t, err)
	require.Equal(t, s.rows, wide.rows)
	require.NotEqual(t, s.Hash, wide.Hash)
}

// Names that a data set has for questions and answers; those of the formats that there were before go first.
func TestNamesOfPairs(t *testing.T) {
	read := func(names ...string) (*Source, error) {
		cells := []string{"one", "two", "three", "four"}
		return Read(strings.NewReader(strings.Join(names, ",")+"\n"+strings.Join(cells[:len(names)], ",")+"\n"), "x.csv")
	}
	for names, format := range map[string]string{
		"question,answer": "question/answer", "Query,Response": "query/response", "PROMPT,response": "prompt/response",
		"input,output":         "input/output",
		"instruction,response": "instruction/response", "Human,Assistant": "human/assistant", "Inputs,Targets": "inputs/targets", "Q,A": "q/a",
		"Instruction,Output": "Alpaca", "prompt,completion": "prompt/completion", "input,target": "input/target",
	} {
		s, err := read(strings.Split(names, ",")...)
		require.NoError(t, err, names)
		require.Equal(t, format, s.Format)
		require.Equal(t, []chat.Message{user("one"), assistant("two")}, s.rows[0].Messages)
	}
	s, err := read("question", "answer", "system_prompt")
	require.NoError(t, err)
	require.Equal(t, []chat.Message{system("three"), user("one"), assistant("two")}, s.rows[0].Messages)
	_, ok := s.Pairs()
	require.False(t, ok, "a system turn")
	for names, format := range map[string]string{"question,answer,text": "text", "prompt,completion,question,answer": "prompt/completion"} {
		s, err := read(strings.Split(names, ",")...)
		require.NoError(t, err)
		require.Equal(t, format, s.Format)
		require.Len(t, s.Notes, 2)
	}

	// a first row without an instruction is Alpaca's all the same, and an answer may be missing
	s, err = Read(strings.NewReader(
		`{"instruction":null,"input":"a","output":"b"}`+"\n"+`{"instruction":"c","input":"","output":"d"}`), "x.jsonl")
	require.NoError(t, err)
	require.Equal(t, "Alpaca", s.Format)
	s, err = Read(strings.NewReader(
		`{"question":"a","answer":null}`+"\n"+`{"answer":"b"}`+"\n"+`{}`+"\n"+`{"question":null,"answer":"d"}`), "x.jsonl")
	require.NoError(t, err)
	pairs, ok := s.Pairs()
	require.True(t, ok)
	require.Equal(t, [][2]string{{"a", ""}, {"", "b"}, {"", ""}, {"", "d"}}, pairs)
	_, err = Read(strings.NewReader(`{"question":"a","answer":"b"}`+"\n"+`{"question":"a","response":"b"}`), "x.jsonl")
	require.ErrorContains(t, err, `line 2: bad format: mixed formats: line 1 is question/answer, this row (columns "question", "response")`)
}

func TestPairs(t *testing.T) {
	for content, want := range map[string][][2]string{
		`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}`: {{"a", "b"}},
		`{"instruction":"a","input":"c","output":"b"}`:                                    {{"a\nc", "b"}},
		`{"text":"a"}`: nil,
		`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","weight":0}]}`:     nil,
		`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","name":"c"}]}`:     nil,
		`{"messages":[{"role":"user","content":"a","name":"c"},{"role":"assistant","content":"b"}]}`:     nil,
		`{"messages":[{"role":"user","content":"a"}]}`:                                                   nil,
		`{"tools":[{}],"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}`:   nil,
		`{"messages":[{"role":"user","content":[{"type":"image"}]},{"role":"assistant","content":"b"}]}`: nil,
	} {
		s, err := Read(strings.NewReader(content), "x.jsonl")
		require.NoError(t, err, content)
		pairs, ok := s.Pairs()
		require.Equal(t, want, pairs, content)
		require.Equal(t, want != nil, ok)
	}
}

func TestReadColumns(t *testing.T) {
	yes, no := new(true), new(false)
	for _, c := range []struct {
		path, content string
		columns       settings.Columns
		want          []chat.Message // of the first row
		rows          int
		note          string
	}{
		{"x.csv", "Frage;Antwort;Rolle\na;b;c\n",
			settings.Columns{Question: "Frage", Answer: "antwort"}, []chat.Message{user("a"), assistant("b")}, 1,
			"the first row names the columns"},
		{"x.csv", "Frage;Antwort;Rolle\na;b;c\n", settings.Columns{Question: "3", Answer: "1", System: "2", Header: yes},
			[]chat.Message{system("b"), user("c"), assistant("a")}, 1, ""},
		{"x.tsv", "dog\tHund\ncat\tKatze\n",
			settings.Columns{Header: no}, []chat.Message{user("dog"), assistant("Hund")}, 2, firstIsAnExample},
		{"x.tsv", "dog\tHund\ncat\tKatze\n", settings.Columns{Question: "2", Answer: "1", Header: no},
			[]chat.Message{user("Hund"), assistant("dog")}, 2, ""},
		{"x.tsv", "question\tanswer\ncat\tKatze\n",
			settings.Columns{Header: no}, []chat.Message{user("question"), assistant("answer")}, 2,
			firstIsAnExample},
		{"x.tsv", "1\tWho?\tA cat.\t0.5\n",
			settings.Columns{Question: "2", Answer: "3"}, []chat.Message{user("Who?"), assistant("A cat.")}, 1,
			"the first row is an example"},
		{"x.csv", "prompt,completion,text\na,b,c\n",
			settings.Columns{Question: "text", Answer: "prompt"}, []chat.Message{user("c"), assistant("a")}, 1,
			"the first row names the columns"},
		{"x.jsonl", `{"prompt":"a","chosen":"b","rejected":"c"}`, settings.Columns{Question: "prompt", Answer: "chosen"},
			[]chat.Message{user("a"), assistant("b")}, 1, `not used: column "rejected" (1 rows)`},
		{"x.jsonl", `{"text":"a","label":"b"}`,
			settings.Columns{Question: "text", Answer: "label"}, []chat.Message{user("a"), assistant("b")}, 1, ""},
	} {
		s, err := ReadColumns(strings.NewReader(c.content), c.path, c.columns)
		require.NoError(t, err, c.content)
		require.Equal(t, c.want, s.rows[0].Messages, c.content)
		require.Len(t, s.rows, c.rows)
		if c.note != "" {
			require.Contains(t, s.Notes, c.note, c.content)
		}
	}
	for _, c := range []struct {
		path, content string
		columns       settings.Columns
		want          string
	}{
		{"x.csv", "Frage;Antwort\na;b\n", settings.Columns{Question: "Frage", Answer: "Reply"},
			`line 2: bad format: there is no column "Reply": the columns are "Frage", "Antwort" (data_columns names columns of the file)`},
		{"x.csv", "Frage;Antwort\na;b\n", settings.Columns{Question: "1", Answer: "3"}, `there is no column "3": the columns are`},
		{"x.jsonl", `{"a":"b","c":["d"]}`, settings.Columns{Question: "a", Answer: "c"}, `column "c": turn 0: a string, not an object`},
		{"x.jsonl", `{"a":"b","c":"d"}` + "\n" + `{"a":"b","e":"d"}`, settings.Columns{Question: "a", Answer: "c"},
			`line 2: bad format: mixed formats: line 1 is question/answer`},
	} {
		_, err := ReadColumns(strings.NewReader(c.content), c.path, c.columns)
		require.ErrorContains(t, err, c.want)
	}
}

// A table of very many columns takes time by their number, not by its square.
func TestTableOfManyColumns(t *testing.T) {
	const columns = 200_000
	var text strings.Builder
	text.WriteString("question,answer")
	for i := range columns {
		fmt.Fprintf(&text, ",c%d", i)
	}
	text.WriteString("\na,b" + strings.Repeat(",", columns) + "\n")
	began := time.Now()
	s := source(t, "x.csv", text.String())
	require.Less(t, time.Since(began), 15*time.Second)
	require.Equal(t, []chat.Message{user("a"), assistant("b")}, s.rows[0].Messages)
}
