package dataset

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json/jsontext"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/testfiles"
	"qlora-wgpu/internal/usererr"
)

func read(t *testing.T, path string) *Source {
	t.Helper()
	source, valid, err := Open(path)
	require.NoError(t, err)
	require.Nil(t, valid)
	return source
}

func system(s string) chat.Message    { return chat.Message{Role: "system", Content: s} }
func user(s string) chat.Message      { return chat.Message{Role: "user", Content: s} }
func assistant(s string) chat.Message { return chat.Message{Role: "assistant", Content: s} }

func TestReadCSV(t *testing.T) {
	s := read(t, "testdata/alpaca.csv")
	require.Equal(t, "Alpaca", s.Format)
	require.Equal(t, "CSV", s.Container)
	require.Equal(t, []Row{
		{Messages: []chat.Message{user("Name a colour."), assistant("Blue.")}, Where: "line 2"},
		{Messages: []chat.Message{user("Add the numbers.\nAnswer with a digit.\n2, 3"), assistant("5")}, Where: "line 3"},
		{Messages: []chat.Message{user(`Say "hi".`), assistant("hi")}, Where: "line 6"},
	}, s.Rows)
	require.Equal(t, []string{`not used: column "topic" (2 rows)`}, s.Notes)
}

func TestReadMessages(t *testing.T) {
	s := read(t, "testdata/messages.jsonl")
	require.Equal(t, "messages", s.Format)
	require.Equal(t, "JSON Lines", s.Container)
	require.Equal(t, []Row{
		{Messages: []chat.Message{system("Be brief."), user("What is the weather in Rome?"),
			assistant(`{"name": "weather", "arguments": {"city": "Rome"}}`),
			{Role: "tool", Name: "weather", Content: `{"sky": "clear"}`}, assistant("Clear.")}, Where: "line 1"},
		{Messages: []chat.Message{user("Say yes."), {Role: "assistant", Content: "Yes.", Train: new(true)}}, Where: "line 3"},
		{Messages: []chat.Message{user("Nobody answers this.")}, Where: "line 4"},
	}, s.Rows)
	require.Equal(t, []string{`not used: column "id" (3 rows)`, `not used: field "mood" of a turn (1 rows)`}, s.Notes)
}

func TestReadShareGPT(t *testing.T) {
	s := read(t, "testdata/sharegpt.json")
	require.Equal(t, "ShareGPT", s.Format)
	require.Equal(t, "JSON array", s.Container)
	require.Equal(t, []Row{
		{Messages: []chat.Message{
			system("You fetch."), user("Fetch."), assistant(`{"name": "fetch"}`), {Role: "tool", Content: "a stick"}, assistant("Here is a stick."),
		},
			Where: "row 0 (line 2)"},
		{
			Messages: []chat.Message{system("You count."), user("One?"), assistant("Two.")}, Tools: jsontext.Value(`[{"name": "count"}]`),
			Where: "row 1 (line 6)",
		},
	}, s.Rows)
	require.Empty(t, s.Notes)
}

func TestReadToolCalls(t *testing.T) {
	s, err := Read(strings.NewReader(`{"tools": [{"type": "function"}], "messages": [{"role": "user", "content": "Go.", "train": true},
		{"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "function": {"name": "go"}}], "train": false},
		{"role": "tool", "tool_call_id": "c1", "name": "go", "content": "Gone."},
		{"role": "assistant", "reasoning_content": "Hm.", "content": "Done.", "weight": 1.0}]}`), "x.json")
	require.Error(t, err, "an object over several lines is no JSON Lines")
	require.Nil(t, s)
	s, err = Read(strings.NewReader(`[{"tools": [{"type": "function"}], "messages": [{"role": "user", "content": "Go.", "train": true},
		{"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "function": {"name": "go"}}], "train": false},
		{"role": "tool", "tool_call_id": "c1", "name": "go", "content": "Gone."},
		{"role": "assistant", "reasoning_content": "Hm.", "content": "Done.", "weight": 1.0}]}]`), "x.json")
	require.NoError(t, err)
	require.Equal(t, []Row{{
		Messages: []chat.Message{
			user("Go."),
			{Role: "assistant", ToolCalls: jsontext.Value(`[{"id": "c1", "function": {"name": "go"}}]`), Train: new(false)},
			{Role: "tool", ToolCallID: "c1", Name: "go", Content: "Gone."},
			{Role: "assistant", ReasoningContent: "Hm.", Content: "Done.", Train: new(true)},
		},
		Tools: jsontext.Value(`[{"type": "function"}]`),
		Where: "row 0 (line 1)",
	}}, s.Rows)
	require.Equal(t, []string{`not used: field "train" of a turn (1 rows)`}, s.Notes)
}

func TestOpenFolder(t *testing.T) {
	train, valid, err := Open("testdata/mlx")
	require.NoError(t, err)
	require.Equal(t, "prompt/completion", train.Format)
	require.Equal(t, []Row{
		{Messages: []chat.Message{user("1+1="), assistant("2")}, Where: "line 1"},
		{Messages: []chat.Message{user("1+2="), assistant("3")}, Where: "line 2"},
	}, train.Rows)
	require.Equal(t, filepath.Join("testdata", "mlx", "train.jsonl"), train.Path)
	require.Equal(t, "text", valid.Format)
	require.Equal(t, []Row{{Text: "A page.", Where: "line 1"}, {Text: "Another page.", Where: "line 2"}}, valid.Rows)

	_, _, err = Open(t.TempDir())
	require.ErrorContains(t, err, "the folder has no train.jsonl")
	_, _, err = Open("testdata/absent.jsonl")
	require.ErrorContains(t, err, "read data set testdata/absent.jsonl: ")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.True(t, usererr.Is(err, usererr.Invalid))
	_, _, err = Open(os.DevNull)
	require.ErrorContains(t, err, "not a regular file")
}

func TestReadAlpacaWithSystemAndHistory(t *testing.T) {
	s, err := Read(strings.NewReader("\ufeff\n"+
		`{"instruction":"c","output":"d","text":"as in Stanford's file","system":"s","history":[["a","b"]]}`+"\n"+
		`{"instruction":"e","input":null,"output":null,"history":[],"system":""}`), "x.jsonl")
	require.NoError(t, err)
	require.Equal(t, "Alpaca", s.Format)
	require.Equal(t, []Row{
		{Messages: []chat.Message{system("s"), user("a"), assistant("b"), user("c"), assistant("d")}, Where: "line 2"},
		{Messages: []chat.Message{user("e"), assistant("")}, Where: "line 3"},
	}, s.Rows)
	require.Equal(t, []string{`not used: column "text" (1 rows)`}, s.Notes)
}

func TestReadTextFile(t *testing.T) {
	content := "\ufeffOne.\r\n\r\n{Two}.\r\n"
	s, err := Read(strings.NewReader(content), "a.TXT")
	require.NoError(t, err)
	require.Equal(t, []Row{{Text: "One.\n\n{Two}.\n", Where: "line 1"}}, s.Rows)
	require.Equal(t, "text", s.Format)
	require.Equal(t, []string{"line ends CR LF were read as LF"}, s.Notes)
	sum := sha256.Sum256([]byte(content))
	require.Equal(t, hex.EncodeToString(sum[:]), s.Hash)
}

func TestReadSharedFiles(t *testing.T) {
	for _, c := range []struct {
		file, format, container string
		rows, turns, tools      int
	}{
		{"alpaca_en_demo.json", "Alpaca", "JSON array", 999, 2 * 999, 0},
		{"identity.json", "Alpaca", "JSON array", 91, 2 * 91, 0},
		{"glaive_toolcall_en_demo.json", "ShareGPT", "JSON array", 300, 2*746 + 2*211, 191},
		{"wiki_demo.txt", "text", "text file", 1, 0, 0},
	} {
		t.Run(c.file, func(t *testing.T) {
			path := testfiles.Data(t, c.file)
			s := read(t, path)
			require.Equal(t, c.format, s.Format)
			require.Equal(t, c.container, s.Container)
			require.Len(t, s.Rows, c.rows)
			require.Empty(t, s.Notes)
			turns, tools := 0, 0
			for _, row := range s.Rows {
				if row.Tools != nil {
					tools++
				}
				turns += len(row.Messages)
			}
			require.Equal(t, c.turns, turns)
			require.Equal(t, c.tools, tools)
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			sum := sha256.Sum256(data)
			require.Equal(t, hex.EncodeToString(sum[:]), s.Hash)
			if c.format == "text" {
				require.Equal(t, string(data), s.Rows[0].Text)
			}
			// The place of a row is where its text starts in the file.
			lines := strings.Split(string(data), "\n")
			for i, row := range s.Rows {
				if c.container != "JSON array" {
					continue
				}
				var line int
				_, err := fmt.Sscanf(row.Where, fmt.Sprintf("row %d (line %%d)", i), &line)
				require.NoError(t, err, row.Where)
				require.Equal(t, "  {", strings.TrimRight(lines[line-1], "\r"), row.Where)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	const good = `{"instruction":"a","output":"b"}`
	for _, c := range []struct {
		name, path, content, want string
	}{
		{"empty", "x.jsonl", "", "read data set x.jsonl: bad format: no rows: the file is empty"},
		{"only blanks", "x.json", "\n \r\n", "no rows"},
		{"empty array", "x.json", " [ ]\n", "no rows"},
		{"empty text", "x.txt", "\n\n", "no rows"},
		{"header only", "x.csv", "text\n", "no rows"},
		{
			"prose", "x.json", "Once upon a time",
			`x.json: line 1: bad format: neither JSON Lines nor a JSON array: it begins with 'O' (plain text needs a name that ends in .txt`,
		},
		{
			"cut line", "x.jsonl", good + "\n\n" + good[:10] + "\n" + good,
			"x.jsonl: line 3: bad format: not valid JSON: unexpected EOF (JSON Lines has one whole object on each line",
		},
		{"two on a line", "x.jsonl", good + good, "x.jsonl: line 1: bad format: not valid JSON: invalid character '{' after top-level value"},
		{"no object", "x.jsonl", good + "\n[1]\n", "x.jsonl: line 2: bad format: expected an object, found a list"},
		{"no JSON", "x.jsonl", good + "\nhello\n", "x.jsonl: line 2: bad format: not valid JSON"},
		{
			"mixed", "x.jsonl", good + "\n" + `{"text":"b"}`,
			`x.jsonl: line 2: bad format: mixed formats: line 1 is Alpaca, this row (columns "text") is of format text`,
		},
		{
			"lost column", "x.jsonl", good + "\n" + `{"instruction":"b","ouput":"c"}`,
			`line 2: bad format: mixed formats: line 1 is Alpaca, this row (columns "instruction", "ouput") is of no known format`,
		},
		{
			"unknown", "x.jsonl", `{"question":"b","answer":null}`,
			`x.jsonl: line 1: bad format: no known format: the columns are "answer" (null), "question" (known are messages, conversations, ` +
				`instruction + output`,
		},
		{
			"wrong type", "x.jsonl", good + "\n" + `{"instruction":"b","output":7}`,
			`x.jsonl: line 2: bad format: column "output" is a number, not a string`,
		},
		{"duplicate key", "x.jsonl", `{"text":"b","text":"c"}`, `line 1: bad format: not valid JSON: duplicate object member name at "/text"`},
		{"UTF-8", "x.jsonl", good + "\n{\"text\":\"\xff\"}", "line 2: bad format: not valid JSON: invalid UTF-8"},
		{"half a surrogate", "x.jsonl", `{"text":"\ud800"}`, "line 1: bad format: not valid JSON: invalid surrogate pair"},
		{"UTF-8 in text", "x.txt", "a\nb\xc3", "x.txt: line 2: bad format: invalid UTF-8"},
		{"UTF-8 in CSV", "x.csv", "text\na\n\xc3\n", `x.csv: line 3: bad format: column "text": invalid UTF-8`},
		{"UTF-16", "x.jsonl", "\xff\xfe{\x00", "unsupported: the text is UTF-16"},
		{"Parquet", "x.parquet", "PAR1....", "unsupported: a Parquet file (convert it to JSON Lines)"},
		{"gzip", "x.jsonl.gz", "\x1f\x8b\x08\x00", "unsupported: a compressed file"},
		{
			"deep", "x.jsonl", `{"text":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + "}",
			"line 1: bad format: nested deeper than 64 levels",
		},
		{
			"deep array", "x.json", "[\n" + `{"text":` + strings.Repeat("[", 20000) + "}]",
			"row 0 (line 2): bad format: not valid JSON: exceeded max depth",
		},
		{
			"long line", "x.jsonl", good + "\n" + `{"text":"` + strings.Repeat("a", maxRowBytes) + `"}`,
			"line 2: bad format: a row longer than 16 MiB",
		},
		{
			"long element", "x.json", "[" + good + ",\n" + `{"text":"` + strings.Repeat("a", maxRowBytes) + `"}]`,
			"row 1 (line 2): bad format: a row longer than 16 MiB",
		},
		{"long record", "x.csv", "text\n\"" + strings.Repeat("a\n", maxRowBytes/2) + `"`, "record 2: bad format: a row longer than 16 MiB"},
		{"array cut", "x.json", "[\n" + good + ",\n" + good[:12], "x.json: row 1 (line 3): bad format: not valid JSON: unexpected EOF"},
		{"array not closed", "x.json", "[\n" + good + "\n", "bad format: not valid JSON: unexpected EOF"},
		{
			"comma missing", "x.json", "[\n" + good + "\n" + good + "]",
			"x.json: row 1 (line 3): bad format: not valid JSON: invalid character '{' after array element",
		},
		{"comma at the end", "x.json", "[\n" + good + ",\n]", "x.json: row 1 (line 2): bad format: not valid JSON: invalid character ','"},
		{"more behind", "x.json", "[" + good + "]\n[]", "there is more behind the end of the array"},
		{"bad element", "x.json", "[" + good + ",\n\n 7]", "x.json: row 1 (line 3): bad format: expected an object, found a number"},
		{"CSV quote", "x.csv", "text\n\"a\"b\n", "x.csv: line 2: bad format: extraneous or missing \" in quoted-field"},
		{"CSV columns", "x.csv", "text,id\na\n", "x.csv: line 2: bad format: wrong number of fields"},
		{"CSV twice", "x.csv", "text,text\na,b\n", `x.csv: line 1: bad format: the column "text" is there twice`},
		{"turns", "x.jsonl", `{"messages":"hi"}`, `line 1: bad format: column "messages" is a string, not a list of turns`},
		{"turn", "x.jsonl", `{"messages":["hi"]}`, `line 1: bad format: turn 0: a string, not an object`},
		{
			"role", "x.jsonl", `{"messages":[{"role":"user","content":"a"},{"role":"asistant","content":"b"}]}`,
			`line 1: bad format: turn 1: unknown role "asistant"`,
		},
		{"speaker", "x.jsonl", `{"conversations":[{"from":"narrator","value":"a"}]}`, `turn 0: unknown from "narrator"`},
		{"no content", "x.jsonl", `{"messages":[{"role":"user","text":"a"}]}`, `turn 0: no "content"`},
		{"calls", "x.jsonl", `{"messages":[{"role":"assistant","tool_calls":"go"}]}`, `turn 0: "tool_calls" is a string, not a list`},
		{"weight", "x.jsonl", `{"messages":[{"role":"assistant","content":"a","weight":0.5}]}`, `turn 0: "weight" is "0.5"; it can be 0 or 1`},
		{"train", "x.jsonl", `{"messages":[{"role":"assistant","content":"a","train":1}]}`, `turn 0: "train" is a number, not a boolean`},
		{"tools", "x.jsonl", `{"tools":"{}x","messages":[]}`, `column "tools" is a string that is not valid JSON`},
		{"tools object", "x.jsonl", `{"tools":{"a":1},"messages":[]}`, `column "tools" is an object, not a list`},
		{"deep tools", "x.jsonl", `{"messages":[],"tools":"` + strings.Repeat("[", 65) + `"}`, `column "tools" is nested deeper than 64 levels`},
		{"image", "x.jsonl", `{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}`, `"content" has a part of type "image_url"`},
		{"two systems", "x.jsonl", `{"system":"a","messages":[{"role":"system","content":"b"}]}`, `a system turn and a column "system"`},
		{
			"history", "x.jsonl", `{"instruction":"a","output":"b","history":[["c"]]}`,
			`column "history" is not a list of [user, assistant] pairs: one has 1 texts`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Read(strings.NewReader(c.content), c.path)
			require.ErrorContains(t, err, c.want)
			var e *usererr.Error
			require.ErrorAs(t, err, &e)
			require.NotEqual(t, usererr.Invalid, e.Kind)
			_, err = Read(iotest.OneByteReader(io.LimitReader(strings.NewReader(c.content), 1<<16)), c.path)
			require.Error(t, err)
		})
	}
}

func TestReadPassesOnDeviceErrors(t *testing.T) {
	for _, path := range []string{"x.jsonl", "x.json", "x.csv", "x.txt"} {
		start := "text\na\n"
		if path == "x.json" {
			start = "[\n" + `{"text":"a"},`
		} else if path == "x.jsonl" {
			start = `{"text":"a"}` + "\n"
		}
		_, err := Read(io.MultiReader(strings.NewReader(start), iotest.ErrReader(io.ErrClosedPipe)), path)
		require.ErrorIs(t, err, io.ErrClosedPipe, path)
		require.True(t, usererr.Is(err, usererr.Invalid), path)
		require.EqualError(t, err, "read data set "+path+": io: read/write on closed pipe")
	}
}

func TestSlice(t *testing.T) {
	s := &Source{Path: "x.jsonl", Hash: "h"}
	for i := range 10 {
		s.Rows = append(s.Rows, Row{Text: fmt.Sprint(i)})
	}
	for spec, want := range map[string]string{
		"2:4": "23", ":3": "012", "-2:": "89", ":": "0123456789", "8:10": "89", "-3:-1": "78", " 0:1 ": "0",
	} {
		cut, err := s.Slice(spec)
		require.NoError(t, err, spec)
		got := ""
		for _, row := range cut.Rows {
			got += row.Text
		}
		require.Equal(t, want, got, spec)
		require.Equal(t, "h", cut.Hash)
	}
	require.Len(t, s.Rows, 10)
	for _, spec := range []string{"", "3", "3:3", "4:2", "9:11", "-11:", "10:", "a:b", "1:2:3", "1.0:2", "99999999999999999999:"} {
		_, err := s.Slice(spec)
		require.ErrorContains(t, err, fmt.Sprintf("select rows x.jsonl: rows %q: ", spec))
		require.ErrorContains(t, err, "the data set has 10 rows")
	}
}

func FuzzRead(f *testing.F) {
	for _, name := range []string{"alpaca.csv", "messages.jsonl", "sharegpt.json", "mlx/train.jsonl", "mlx/valid.jsonl"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(f, err)
		f.Add(data, strings.TrimPrefix(filepath.Ext(name), "."))
	}
	f.Add([]byte("A text.\r\n"), "txt")
	f.Add([]byte(`{"text":"\ud83d\ude00","x":[[{}]]}`), "json")
	f.Fuzz(func(t *testing.T, data []byte, extension string) {
		s, err := Read(strings.NewReader(string(data)), "x."+extension)
		if err != nil {
			var e *usererr.Error
			require.ErrorAs(t, err, &e)
			return
		}
		require.NotEmpty(t, s.Rows)
		require.NotEmpty(t, s.Format)
		sum := sha256.Sum256(data)
		require.Equal(t, hex.EncodeToString(sum[:]), s.Hash)
		for _, row := range s.Rows {
			require.NotEmpty(t, row.Where)
			require.False(t, row.Messages != nil && row.Text != "")
		}
	})
}
