package dataset

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/usererr"
)

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
			"x.jsonl: line 3: bad format: not valid JSON: it ends too soon (JSON Lines has one whole object on each line",
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
		{"array cut", "x.json", "[\n" + good + ",\n" + good[:12], "x.json: row 1 (line 3): bad format: not valid JSON: it ends too soon"},
		{"array not closed", "x.json", "[\n" + good + "\n", "bad format: not valid JSON: it ends too soon"},
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
		{
			"weight", "x.jsonl", `{"messages":[{"role":"assistant","content":"a","weight":0.5}]}`,
			`turn 0: "weight" is 0.5; it can be 0, 1, false or true`,
		},
		{"train", "x.jsonl", `{"messages":[{"role":"assistant","content":"a","train":"yes"}]}`, `turn 0: "train" is "yes"; it can be 0, 1`},
		{
			"two marks", "x.jsonl", `{"messages":[{"role":"assistant","content":"a","train":true,"loss":0}]}`,
			`turn 0: "train" and "loss" of a turn do not agree`,
		},
		{"tools", "x.jsonl", `{"tools":"{}x","messages":[]}`, `column "tools" is a string that is not valid JSON`},
		{"tools object", "x.jsonl", `{"tools":{"a":1},"messages":[]}`, `column "tools" is an object, not a list`},
		{"deep tools", "x.jsonl", `{"messages":[],"tools":"` + strings.Repeat("[", 65) + `"}`, `column "tools" is nested deeper than 64 levels`},
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
