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
		{"empty text", "x.txt", "\n\n", "no rows: the file has nothing but spaces and line ends (a row is an example to learn"},
		{"nothing in a list", "x.json", "[]", "no rows: the list is empty"},
		{"header only", "x.csv", "text\n", "no rows: there is only a row with the names of the columns"},
		{"separator only", "x.csv", "sep=;\n", "no rows"},
		{
			"one column", "x.csv", "question\na\n",
			`x.csv: line 1: bad format: no known format: the only column begins with "question" (a table has`,
		},
		{
			"rows in a list", "x.json", "{\n \"version\": 1, \"data\": [\n" + good + "]}",
			`not valid JSON: it ends too soon (the rows seem to be in the list "data": save that list alone, from [ to ])`,
		},
		{
			"rows in a list of a line", "x.json", `{"version": 1, "train": [` + good + "]}",
			`no known format: the columns are "train", "version" (the rows seem to be in the list "train": save that list alone`,
		},
		{"a row over lines", "x.json", "{\"messages\": [\n{\"role\": \"user\"}]}", "(JSON Lines has one whole object on each line"},
		{
			"prose", "x.json", "Once upon a time",
			`x.json: line 1: bad format: neither JSON Lines nor a JSON array nor a table: it begins with 'O' (plain text needs a name`,
		},
		{
			"cut line", "x.jsonl", good + "\n\n" + good[:10] + "\n" + good,
			"x.jsonl: line 3: bad format: not valid JSON: it ends too soon (JSON Lines has one whole object on each line",
		},
		{
			"two on a line", "x.jsonl", good + good,
			"x.jsonl: line 1: bad format: not valid JSON: invalid character '{' after top-level value",
		},
		{"no object", "x.jsonl", good + "\n[1]\n", "x.jsonl: line 2: bad format: expected an object, found a list"},
		{"no JSON", "x.jsonl", good + "\nhello\n", "x.jsonl: line 2: bad format: not valid JSON"},
		{
			"mixed", "x.jsonl", good + "\n" + `{"text":"b"}`,
			`x.jsonl: line 2: bad format: mixed formats: line 1 is Alpaca, this row (columns "text") is of format text`,
		},
		{
			"mixed, with both columns", "x.jsonl", `{"text":"a"}` + "\n" + `{"text":"b","messages":[]}`,
			`x.jsonl: line 2: bad format: mixed formats: line 1 is text, this row (columns "messages", "text") is of format messages`,
		},
		{
			"lost column", "x.jsonl", good + "\n" + `{"instruction":"b","ouput":"c"}`,
			`line 2: bad format: mixed formats: line 1 is Alpaca, this row (columns "instruction", "ouput") is of no known format`,
		},
		{
			"unknown", "x.jsonl", `{"label":3,"tokens":null}`,
			`x.jsonl: line 1: bad format: no known format: the columns are "label", "tokens" (null) (known are messages, conversations, ` +
				`question + answer, instruction + output`,
		},
		{
			"wrong type", "x.jsonl", good + "\n" + `{"instruction":"b","output":7}`,
			`x.jsonl: line 2: bad format: column "output" is a number, not a string`,
		},
		{
			"duplicate key", "x.jsonl", `{"text":"b","text":"c"}`,
			`line 1: bad format: not valid JSON: duplicate object member name at "/text"`,
		},
		{"UTF-8", "x.jsonl", good + "\n{\"text\":\"\xff\"}", "line 2: bad format: not valid JSON: invalid UTF-8"},
		{"half a surrogate", "x.jsonl", `{"text":"\ud800"}`, "line 1: bad format: not valid JSON: invalid surrogate pair"},
		{"UTF-8 in text", "x.txt", "a\nb\xc3", "x.txt: line 2: bad format: invalid UTF-8"},
		{"UTF-8 in CSV", "x.csv", "text\na\n\xc3\n", `x.csv: line 3: bad format: column "text": invalid UTF-8`},
		{"half a UTF-16 character", "x.csv", "\xff\xfea\x00\n\x00\x00\xd8b\x00", "x.csv: line 2: bad format: damaged UTF-16"},
		{"UTF-16 without a mark", "x.csv", "q\x00,\x00a\x00\n\x00", "unsupported: no text: it has bytes that no text has"},
		{"Parquet", "x.parquet", "PAR1....", "unsupported: a Parquet file (the program reads it unpacked, from a path of its own; here "},
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
		{
			"long record", "x.csv", "text\n\"" + strings.Repeat("a\n", maxRowBytes/2) + `"`,
			"record 2: bad format: a row longer than 16 MiB",
		},
		{"array cut", "x.json", "[\n" + good + ",\n" + good[:12], "x.json: row 1 (line 3): bad format: not valid JSON: it ends too soon"},
		{"array not closed", "x.json", "[\n" + good + "\n", "bad format: not valid JSON: it ends too soon"},
		{
			"comma missing", "x.json", "[\n" + good + "\n" + good + "]",
			"x.json: row 1 (line 3): bad format: not valid JSON: invalid character '{' after array element",
		},
		{
			"comma at the end", "x.json", "[\n" + good + ",\n]",
			"x.json: row 1 (line 2): bad format: not valid JSON: invalid character ','",
		},
		{"more behind", "x.json", "[" + good + "]\n[]", "there is more behind the end of the array"},
		{"bad element", "x.json", "[" + good + ",\n\n 7]", "x.json: row 1 (line 3): bad format: expected an object, found a number"},
		{"CSV quote", "x.csv", "text\n\"a\"b\n", "x.csv: line 2: bad format: extraneous or missing \" in quoted-field"},
		{"CSV columns", "x.csv", "text,id\na\n", "x.csv: line 2: bad format: wrong number of fields: 1, the first row has 2"},
		{
			"open quote", "x.tsv", "question\tanswer\n\"a\tb\nc\td\n",
			"x.tsv: line 2: bad format: a cell begins with a quote that never ends it (a cell with quotes in it stands in quotes",
		},
		{
			"open quote in the next row", "x.tsv", "question\tanswer\n\"a\tb\n5\" pipe\td\n",
			"x.tsv: line 2: bad format: a cell begins with a quote",
		},
		{
			"long row of tabs", "x.tsv", "question\tanswer\na\t\"" + strings.Repeat("b\n", maxRowBytes/2),
			"line 2: bad format: a row longer than 16 MiB",
		},
		{
			"long cell behind tabs", "x.tsv", "question\tanswer\na\tb\t" + strings.Repeat("c", maxRowBytes),
			"line 2: bad format: a row longer than 16 MiB",
		},
		{
			"UTF-8 in a header", "x.csv", "question,answer,th\xe8me\na,b,c\n",
			`line 1: bad format: column 3: invalid UTF-8 (save the table as "CSV UTF-8")`,
		},
		{"CSV twice", "x.csv", "text,text\na,b\n", `x.csv: line 1: bad format: the column "text" is there twice`},
		{"turns", "x.jsonl", `{"messages":"hi"}`, `line 1: bad format: column "messages" is a string, not a list of turns`},
		{"turn", "x.jsonl", `{"messages":["hi"]}`, `line 1: bad format: turn 0: a string, not an object`},
		{
			"role", "x.jsonl", `{"messages":[{"role":"user","content":"a"},{"role":"asistant","content":"b"}]}`,
			`line 1: bad format: turn 1: unknown role "asistant"`,
		},
		{
			"bytes", "x.jsonl", `{"question":"a","answer":{"bytes":2}}`,
			`line 1: bad format: column "answer": no turn, which has a "role": an object of "bytes"`,
		},
		{"speaker", "x.jsonl", `{"conversations":[{"from":"narrator","value":"a"}]}`, `turn 0: unknown from "narrator"`},
		{"no content", "x.jsonl", `{"messages":[{"role":"user","text":"a"}]}`, `turn 0: no "content"`},
		{"calls", "x.jsonl", `{"messages":[{"role":"assistant","tool_calls":"go"}]}`, `turn 0: "tool_calls" is a string, not a list`},
		{
			"weight", "x.jsonl", `{"messages":[{"role":"assistant","content":"a","weight":0.5}]}`,
			`turn 0: "weight" is 0.5; it can be 0, 1, false or true`,
		},
		{
			"train", "x.jsonl", `{"messages":[{"role":"assistant","content":"a","train":"yes"}]}`,
			`turn 0: "train" is "yes"; it can be 0, 1`,
		},
		{
			"two marks", "x.jsonl", `{"messages":[{"role":"assistant","content":"a","train":true,"loss":0}]}`,
			`turn 0: "train" and "loss" of a turn do not agree`,
		},
		{"tools", "x.jsonl", `{"tools":"{}x","messages":[]}`, `column "tools" is a string that is not valid JSON`},
		{"tools object", "x.jsonl", `{"tools":{"a":1},"messages":[]}`, `column "tools" is an object, not a list`},
		{
			"deep tools", "x.jsonl", `{"messages":[],"tools":"` + strings.Repeat("[", 65) + `"}`,
			`column "tools" is nested deeper than 64 levels`,
		},
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

// What is no text is named for what it is, by its content, and where that says nothing by its name.
func TestReadRefusesOtherKindsOfFile(t *testing.T) {
	zip := func(names string) string { return "PK\x03\x04\x14\x00\x06\x00" + names }
	old := "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00\x00"
	for _, c := range []struct{ path, content, want string }{
		{"x.xlsx", zip("[Content_Types].xml...xl/workbook.xml"), `an Excel workbook (save the table as "CSV UTF-8"`},
		{"pasted", zip("[Content_Types].xml...xl/workbook.xml"), "an Excel workbook (save the table"},
		{"x.csv", zip("[Content_Types].xml...xl/workbook.xml"), "an Excel workbook (save the table"},
		{"x.xlsx", zip("[Content_Types].xml"), "an Excel workbook (save the table"},
		{"x.docx", zip("[Content_Types].xml...word/document.xml"), "a Word document (save its text as a .txt file"},
		{"x.ods", zip("mimetypeapplication/vnd.oasis.opendocument.spreadsheet"), "an OpenDocument table (save the table"},
		{"x.numbers", zip("Index/Document.iwa"), "an Apple document (save the table"},
		{"x.zip", zip("a.csv"), "a compressed file (unpack it and take the file within)"},
		{"x.xls", old, "an old Excel workbook (save the table"},
		{"x", old + "W\x00o\x00r\x00k\x00b\x00o\x00o\x00k\x00", "an old Excel workbook (save the table"},
		{"x.doc", old, "an old Office document (save its text"},
		{"x.xls", "question\tanswer\na\tb\n", "an old Excel workbook (save the table"},
		{"x.pdf", "%PDF-1.7\n", "a PDF file (save its text"},
		{"x.jsonl", "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n",
			"a pointer of Git LFS (fetch the file itself: git lfs pull"},
		{"x.txt", "%PDF-1.7\n", "a PDF file (save its text"},
		{"x.json", `{\rtf1 a}`, "a document in RTF (save its text"},
		{"x.gguf", "\x89PNG\r\n\x1a\n", "a picture (a data set is JSON"},
		{"x", "\xff\xd8\xff\xe0", "a picture (a data set is JSON"},
		{"x", "GGUF\x03\x00\x00\x00", "a model (it belongs to the model"},
		{"x.safetensors", "\x10\x00\x00\x00\x00\x00\x00\x00{}", "a model (it belongs to the model"},
		{"x.parquet", "PAR1", "a Parquet file (the program reads it unpacked, from a path of its own; here convert it to JSON Lines)"},
		{"x.jsonl", "\x28\xb5\x2f\xfd", "a compressed file (unpack it"},
		{"x.bz2", "BZh91AY&SY", "a compressed file (unpack it"},
		{"x.jsonl", "<!DOCTYPE html>\n<html>", "a web page (download the file itself"},
		{"x", "\x00\x01\x02\x03", "no text: it has bytes that no text has"},
		{"x.txt", "abc\x00\xff" + strings.Repeat("a", 100), "no text: it has bytes that no text has"},
	} {
		_, err := Read(strings.NewReader(c.content), c.path)
		require.ErrorContains(t, err, "read data set "+c.path+": unsupported: "+c.want)
		require.True(t, usererr.Is(err, usererr.Unsupported))
	}
	// what only begins like another kind is what it is
	for path, content := range map[string]string{
		"a.txt": "GGUF is a format.", "b.txt": "RIFF-raff", "c.txt": "BZh, he said.", "d.txt": "<html> is a tag.", "e.db": `{"text":"a"}`,
	} {
		_, err := Read(strings.NewReader(content), path)
		require.NoError(t, err, path)
	}
	_, err := Read(strings.NewReader(""), "x.xlsx")
	require.ErrorContains(t, err, "no rows: the file is empty")
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

// addTables adds seeds with each separator, character encoding and kind of header, and files of other kinds.
func addTables(f *testing.F, add func(data []byte, extension string)) {
	paths, err := filepath.Glob(filepath.Join("testdata", "tables", "*"))
	require.NoError(f, err)
	require.NotEmpty(f, paths)
	for _, path := range paths {
		data, err := os.ReadFile(path)
		require.NoError(f, err)
		add(data, strings.TrimPrefix(filepath.Ext(path), "."))
		add(data, "")
	}
	for _, content := range []string{
		"dog\tHund\ncat\tKatze\n", "a;b;c\nd;e;f\n", "\ufeffsep=;\r\nQ;A\r\n1,5;\"x\"\"y\"\r\n", "question,answer\ra,b\r", "\"a\"b\t\"c\nd",
		"PK\x03\x04xl/", "\xfe\xff\x00a\x00\t\xd8\x00", `{"q":"a","A":null,"context":["x"]}`, `{"a":"b","c":"d"}`, "{\n\"data\": [{",
	} {
		add([]byte(content), "csv")
		add([]byte(content), "")
	}
}

func FuzzRead(f *testing.F) {
	for _, name := range []string{"alpaca.csv", "messages.jsonl", "sharegpt.json", "mlx/train.jsonl", "mlx/valid.jsonl"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(f, err)
		f.Add(data, strings.TrimPrefix(filepath.Ext(name), "."))
	}
	addTables(f, func(data []byte, extension string) { f.Add(data, extension) })
	f.Add([]byte("A text.\r\n"), "txt")
	f.Add([]byte(`{"text":"\ud83d\ude00","x":[[{}]]}`), "json")
	f.Fuzz(func(t *testing.T, data []byte, extension string) {
		s, err := Read(strings.NewReader(string(data)), "x."+extension)
		if err != nil {
			var e *usererr.Error
			require.ErrorAs(t, err, &e)
			return
		}
		require.NotEmpty(t, s.rows)
		require.NotEmpty(t, s.Format)
		sum := sha256.Sum256(data)
		require.Equal(t, hex.EncodeToString(sum[:]), s.Hash)
		for _, row := range s.rows {
			require.NotEmpty(t, row.Where)
			require.False(t, row.Messages != nil && row.Text != "")
		}
	})
}
