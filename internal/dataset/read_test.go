package dataset

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json/jsontext"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

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

// with is a message with fields, each a name and its JSON.
func with(m chat.Message, fields ...string) chat.Message {
	for i := 0; i < len(fields); i += 2 {
		m.Fields = append(m.Fields, chat.Field{Name: fields[i], Value: jsontext.Value(fields[i+1])})
	}
	return m
}

func TestReadCSV(t *testing.T) {
	s := read(t, "testdata/alpaca.csv")
	require.Equal(t, "Alpaca", s.Format)
	require.Equal(t, "CSV", s.Container)
	require.Equal(t, []Row{
		{Messages: []chat.Message{user("Name a colour."), assistant("Blue.")}, Where: "line 2"},
		{Messages: []chat.Message{user("Add the numbers.\nAnswer with a digit.\n2, 3"), assistant("5")}, Where: "line 3"},
		{Messages: []chat.Message{user(`Say "hi".`), assistant("hi")}, Where: "line 6"},
	}, s.rows)
	require.Equal(t, []string{`not used: column "topic" (2 rows)`}, s.Notes)
}

func TestReadMessages(t *testing.T) {
	s := read(t, "testdata/messages.jsonl")
	require.Equal(t, "messages", s.Format)
	require.Equal(t, "JSON Lines", s.Container)
	require.Equal(t, []Row{
		{Messages: []chat.Message{system("Be brief."), user("What is the weather in Rome?"),
			assistant(`{"name": "weather", "arguments": {"city": "Rome"}}`),
			with(chat.Message{Role: "tool", Content: `{"sky": "clear"}`}, "name", `"weather"`), assistant("Clear.")}, Where: "line 1"},
		{
			Messages: []chat.Message{
				user("Say yes."), with(chat.Message{Role: "assistant", Content: "Yes.", Train: new(true)}, "mood", `"glad"`),
			},
			Where: "line 3",
		},
		{Messages: []chat.Message{user("Nobody answers this.")}, Where: "line 4"},
	}, s.rows)
	require.Equal(t, []string{`not used: column "id" (3 rows)`}, s.Notes)
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
	}, s.rows)
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
			with(user("Go."), "train", "true"),
			with(chat.Message{Role: "assistant", NoContent: true, Train: new(false)}, "tool_calls", `[{"id": "c1", "function": {"name": "go"}}]`),
			with(chat.Message{Role: "tool", Content: "Gone."}, "tool_call_id", `"c1"`, "name", `"go"`),
			with(chat.Message{Role: "assistant", Content: "Done.", Train: new(true)}, "reasoning_content", `"Hm."`),
		},
		Tools: jsontext.Value(`[{"type": "function"}]`),
		Where: "row 0 (line 1)",
	}}, s.rows)
	require.Empty(t, s.Notes)
}

func TestOpenFolder(t *testing.T) {
	train, valid, err := Open("testdata/mlx")
	require.NoError(t, err)
	require.Equal(t, "prompt/completion", train.Format)
	require.Equal(t, []Row{
		{Messages: []chat.Message{user("1+1="), assistant("2")}, Where: "line 1"},
		{Messages: []chat.Message{user("1+2="), assistant("3")}, Where: "line 2"},
	}, train.rows)
	require.Equal(t, filepath.Join("testdata", "mlx", "train.jsonl"), train.Path)
	require.Equal(t, "text", valid.Format)
	require.Equal(t, []Row{{Text: "A page.", Where: "line 1"}, {Text: "Another page.", Where: "line 2"}}, valid.rows)

	_, _, err = Open(t.TempDir())
	require.ErrorContains(t, err, "there is no file with rows (name a file, or put train.jsonl (and valid.jsonl) into the folder")
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
	}, s.rows)
	require.Equal(t, []string{`not used: column "text" (1 rows)`}, s.Notes)
}

func TestReadTextFile(t *testing.T) {
	content := "\ufeffOne.\r\n\r\n{Two}.\r\n"
	s, err := Read(strings.NewReader(content), "a.TXT")
	require.NoError(t, err)
	require.Equal(t, []Row{{Text: "One.\n\n{Two}.\n", Where: "line 1"}}, s.rows)
	require.Equal(t, "text", s.Format)
	require.Equal(t, []string{"line ends CR LF were read as LF"}, s.Notes)
	sum := sha256.Sum256([]byte(content))
	require.Equal(t, hex.EncodeToString(sum[:]), s.Hash)
}

// Markdown is a text, whatever it begins with.
func TestReadMarkdown(t *testing.T) {
	for _, content := range []string{"# A title\n\n| a | b |\n|---|---|\n", "{a} list\n", "<html> in it\n",
		"---\nfront: matter\n---\n", "a,b\nc,d\n"} {
		for _, name := range []string{"a.md", "A.Markdown", "a.md.gz"} {
			s, err := Read(strings.NewReader(content), name)
			require.NoError(t, err, content)
			require.Equal(t, []Row{{Text: content, Where: "line 1"}}, s.rows)
		}
	}
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
			require.Len(t, s.rows, c.rows)
			require.Empty(t, s.Notes)
			turns, tools := 0, 0
			for _, row := range s.rows {
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
				require.Equal(t, string(data), s.rows[0].Text)
			}
			// The place of a row is where its text starts in the file.
			lines := strings.Split(string(data), "\n")
			for i, row := range s.rows {
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

func TestSlice(t *testing.T) {
	s := &Source{Path: "x.jsonl", Hash: "h"}
	for i := range 10 {
		s.rows = append(s.rows, Row{Text: fmt.Sprint(i)})
	}
	for spec, want := range map[string]string{
		"2:4": "23", ":3": "012", "-2:": "89", ":": "0123456789", "8:10": "89", "-3:-1": "78", " 0:1 ": "0",
	} {
		cut, err := s.Slice(spec)
		require.NoError(t, err, spec)
		got := ""
		for _, row := range cut.rows {
			got += row.Text
		}
		require.Equal(t, want, got, spec)
		require.Equal(t, "h", cut.Hash)
	}
	require.Len(t, s.rows, 10)
	for _, spec := range []string{"", "3", "3:3", "4:2", "9:11", "-11:", "10:", "a:b", "1:2:3", "1.0:2", "99999999999999999999:"} {
		_, err := s.Slice(spec)
		require.ErrorContains(t, err, fmt.Sprintf("select rows x.jsonl: rows %q: ", spec))
		require.ErrorContains(t, err, "the data set has 10 rows")
	}
}

// null is absent, and what is absent is empty: such rows are read, and left out when they are encoded.
func TestNullIsAbsent(t *testing.T) {
	read := func(lines ...string) *Source {
		s, err := Read(strings.NewReader(strings.Join(lines, "\n")), "x.jsonl")
		require.NoError(t, err)
		return s
	}
	texts := func(s *Source) (list []string) {
		for _, row := range s.rows {
			list = append(list, row.Text)
		}
		return list
	}
	require.Equal(t, []string{"", "", "a", "", "", "b"},
		texts(read(`{"text":null}`, `{}`, `{"text":"a"}`, `{"text":null,"id":7}`, `{"id":null}`, `{"text":"b"}`)))
	s := read(`{"instruction":null,"output":null}`, `{"instruction":"a","output":"b"}`, `{"instruction":null,"input":"q","output":"b"}`,
		`{"instruction":"c"}`, `{"output":"d","system":"s"}`)
	require.Equal(t, "line 1", s.rows[0].Where)
	require.Equal(t, []chat.Message{user("q"), assistant("b")}, s.rows[2].Messages)
	require.Equal(t, []chat.Message{user("c"), assistant("")}, s.rows[3].Messages)
	require.Equal(t, []chat.Message{system("s"), user(""), assistant("d")}, s.rows[4].Messages)

	s = read(`{"messages":[{"role":"user","content":"a"}]}`, `{"messages":null}`,
		`{"messages":[{"role":"user","content":null,"from":null,"value":null},{"role":"assistant","name":null}]}`,
		`{"messages":[{"from":"human","value":"a","role":null},{"from":"gpt","value":"b","weight":null,"train":null}]}`)
	require.Empty(t, s.rows[1].Messages)
	require.NotNil(t, s.rows[1].Messages, "a conversation, not a text")
	require.Equal(t, []chat.Message{{Role: "user", NoContent: true}, {Role: "assistant", NoContent: true}}, s.rows[2].Messages)
	require.Equal(t, []chat.Message{user("a"), assistant("b")}, s.rows[3].Messages)

	_, err := Read(strings.NewReader(`{"text":null}`+"\n{}"), "x.jsonl")
	require.ErrorContains(t, err, "x.jsonl: line 1: bad format: no row has a value")
}

func TestReadMarksAndParts(t *testing.T) {
	s, err := Read(strings.NewReader(`{"messages":[`+
		`{"role":"user","content":[{"type":"image"},{"type":"text","text":"What?"},{"type":"image"}]},`+
		`{"role":"assistant","content":"a","loss":false},{"role":"assistant","content":"b","loss":1,"train":true},`+
		`{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{\"a\": 1}"}}]}]}`), "x.jsonl")
	require.NoError(t, err)
	require.Equal(t, []Row{{
		Messages: []chat.Message{
			user("What?"), {Role: "assistant", Content: "a", Train: new(false)}, {Role: "assistant", Content: "b", Train: new(true)},
			with(chat.Message{Role: "assistant", NoContent: true}, "tool_calls", `[{"function":{"name":"f","arguments":{"a":1}}}]`),
		},
		LeftOut: []string{`parts of type "image"`}, Where: "line 1",
	}}, s.rows)
	require.Equal(t, []string{"arguments of tool calls that are JSON texts are read as objects (1 rows)"}, s.Notes)
}

// Rows are found by their index, of a part of the data set too, and what is not there is not given.
func TestSomeRows(t *testing.T) {
	whole := source(t, "x.jsonl", strings.Repeat(`{"text":"a"}`+"\n", 2)+`{"text":"b"}`+"\n"+`{"text":"c"}`)
	part, err := whole.Slice("1:")
	require.NoError(t, err)
	some, err := part.Some(2, 0, 2, -1, 3)
	require.NoError(t, err)
	require.Equal(t, map[int]Row{0: {Text: "a", Where: "line 2"}, 2: {Text: "c", Where: "line 4"}}, some)
	none, err := part.Some()
	require.NoError(t, err)
	require.Empty(t, none)
}
