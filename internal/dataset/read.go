package dataset

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
)

const (
	readOp = "read data set"

	maxRowBytes  = 16 << 20  // one row: a line of JSON Lines, an element of a JSON array, a record of CSV
	maxTextBytes = 256 << 20 // a .txt file, which is held and tokenized as one document
	maxDepth     = 64        // nesting of a row; an ordinary row has 3, one with tool schemas about 10
)

var errRowTooLong = fmt.Errorf("a row longer than %d MiB", maxRowBytes>>20)

// Read reads a whole data set, row by row. The content decides what it is, with a look at the name in path: .txt
// and .md are text, .csv, .tsv and .tab are tables, a name without an extension ("pasted") can be anything, and any
// other is JSON or a table that is unmistakable. path is named in errors.
//
// A text is ONE document: it is not split at lines or blank lines, because paragraphs that belong together are what a
// language model should learn from; the Encoder cuts it into pieces of the sequence length.
//
// Where it is not clear which column is the question, the error holds an *AmbiguousColumns.
func Read(r io.Reader, path string) (*Source, error) { return ReadColumns(r, path, settings.Columns{}) }

// ReadColumns is Read, told which columns are learned.
func ReadColumns(r io.Reader, path string, columns settings.Columns) (*Source, error) {
	var rows []Row
	s, err := scan(r, path, columns, func(row Row) error {
		rows = append(rows, row)
		return nil
	})
	if err == nil {
		s.rows = rows
	}
	return s, err
}

// scan passes the rows on, and gives all else that is known of them at the end. An error of row ends it.
func scan(r io.Reader, path string, columns settings.Columns, row func(Row) error) (*Source, error) {
	hash := sha256.New()
	file := &fileReader{in: io.TeeReader(r, hash)}
	b := newBuilder(path, columns, row)
	err := b.read(file)
	if file.err != nil {
		return nil, usererr.New(readOp, path, "%w", file.err)
	}
	return b.finish(hash.Sum(nil), err)
}

func newBuilder(path string, columns settings.Columns, row func(Row) error) *builder {
	return &builder{source: &Source{Path: path, columns: columns}, columns: columns, row: row, unused: map[string]int{}}
}

// finish gives the data set that was read from a file with this hash; err is what reading it ended with.
func (b *builder) finish(hash []byte, err error) (*Source, error) {
	path := b.source.Path
	switch {
	case b.unclear != nil:
		return nil, b.unclear.mistake(path)
	case err != nil:
		return nil, err
	case len(b.before) > 0 && b.source.count == 0:
		return nil, usererr.New(readOp, path, "no row has a value").Of(usererr.Format).At("%s", b.before[0])
	case b.source.count == 0:
		return nil, usererr.New(readOp, path, "%w", &noRows{b.nothing}).Of(usererr.Format).
			Hinted("a row is an example to learn: a question and its answer, a conversation or a text")
	}
	b.source.Notes = append(b.source.Notes, b.notes()...)
	if b.columns.Template != "" { // which decides what is learned as much as the file does
		sum := sha256.Sum256(append(hash, b.columns.Template...))
		hash = sum[:]
	}
	b.source.Hash = hex.EncodeToString(hash)
	return b.source, nil
}

// noRows is what a file is that has none.
type noRows struct{ why string }

func (n *noRows) Error() string { return "no rows: " + n.why }

// read finds out what a file is and reads its rows.
func (b *builder) read(file io.Reader) error {
	in, start, whole, err := b.openText(file)
	if err != nil {
		return err
	}
	b.nothing = "the file is empty"
	if len(start) > 0 {
		b.nothing = "the file has nothing but spaces and line ends"
	}
	extension := extensionOf(b.source.Path)
	table := extension == ".csv" || extension == ".tsv" || extension == ".tab"
	utf16 := len(b.source.Notes) > 0 // as Excel saves a table under a name that ends in .txt
	text := isText(extension) && !utf16
	anything := extension == "" || isText(extension)
	first := firstCharacter(start)
	if bytes.IndexByte(start, '\n') < 0 && bytes.IndexByte(start, '\r') >= 0 && !text { // lines as an old Macintosh ends them
		in = bufio.NewReaderSize(&returnsAsLines{in}, sampleBytes)
		if start, err = in.Peek(sampleBytes); err != nil && err != io.EOF {
			return err
		}
	}
	switch b.columns.Container {
	case "":
	case "JSON Lines":
		return b.readLines(in, start)
	case "JSON array":
		return b.readArray(in)
	case "text file":
		return b.readText(in, start, whole)
	case "Parquet":
		return b.otherContainer("no Parquet file")
	default:
		for _, s := range []separator{comma, semicolon, tab} {
			if s.container() == b.columns.Container {
				return b.readTable(in, s)
			}
		}
	}
	switch {
	case text:
		return b.readText(in, start, whole)
	case first == '{' && (looksLikeJSON(start) || !table && !anything), first == 0 && !table:
		return b.readLines(in, start)
	case first == '[' && (looksLikeJSON(start) || !table && !anything):
		return b.readArray(in)
	}
	if separator, certain := separatorOf(start, whole, extension); table || certain {
		return b.readTable(in, separator)
	}
	if anything {
		return b.readText(in, start, whole)
	}
	return usererr.New(readOp, b.source.Path, "neither JSON Lines nor a JSON array nor a table: it begins with %q", first).Of(usererr.Format).
		At("line 1").
		Hinted("plain text needs a name that ends in .txt, comma-separated values one that ends in .csv")
}

// otherContainer says that a file is another one than data_format has it.
func (b *builder) otherContainer(is string) error {
	return usererr.New(readOp, b.source.Path, "data_format is %s, and the file is %s", b.columns.Container, is).Of(usererr.Format).
		Hinted("leave data_format away, and what it is will be found out")
}

// isText tells names of texts, Markdown among them, from those of rows.
func isText(extension string) bool {
	return extension == ".txt" || extension == ".md" || extension == ".markdown"
}

// extensionOf is how a file's name ends, in small letters and without what says that it is compressed.
func extensionOf(path string) string { return filepath.Ext(unpackedName(path)) }

// unpackedName is a name in small letters, without what says that the file is compressed.
func unpackedName(path string) string {
	path = strings.ToLower(path)
	for _, packed := range []string{".gz", ".zst", ".bz2"} {
		path = strings.TrimSuffix(path, packed)
	}
	return path
}

// firstCharacter is the first byte that is not white space, or 0 where there is none.
func firstCharacter(start []byte) byte {
	if start = bytes.TrimLeft(start, " \t\r\n"); len(start) > 0 {
		return start[0]
	}
	return 0
}

// looksLikeJSON tells JSON Lines and arrays of rows from other texts that begin with a bracket.
func looksLikeJSON(start []byte) bool {
	start = bytes.TrimLeft(start, " \t\r\n")
	if len(start) == 0 {
		return false
	}
	next := firstCharacter(start[1:])
	switch start[0] {
	case '{':
		return next == 0 || next == '"' || next == '}'
	case '[':
		return next == 0 || next == '{' || next == '[' || next == '"' || next == ']'
	}
	return false
}

// readText says where a text looks like something else.
func (b *builder) readText(in io.Reader, start []byte, whole bool) error {
	is := ""
	if separator, certain := separatorOf(start, whole, ""); looksLikeJSON(start) {
		is = "JSON, and is read as one text: a name that ends in .json"
	} else if certain {
		is = "a table " + separator.words() + ", and is read as one text: a name that ends in .csv"
	}
	if is != "" {
		b.source.Notes = append(b.source.Notes, "it looks like "+is+" makes rows of it")
	}
	b.source.Format, b.source.Container = "text", "text file"
	path := b.source.Path
	data, err := io.ReadAll(io.LimitReader(in, maxTextBytes+1))
	if err != nil {
		return err
	}
	if len(data) > maxTextBytes {
		return usererr.New(readOp, path, "a text file longer than %d MiB", maxTextBytes>>20).Of(usererr.Unsupported).
			Hinted(`split it into the rows of a JSON Lines file: {"text": "…"}`)
	}
	if at := invalidUTF8(data); at >= 0 {
		return usererr.New(readOp, path, "invalid UTF-8").Of(usererr.Format).At("line %d", 1+bytes.Count(data[:at], []byte("\n")))
	}
	if bytes.Contains(data, []byte("\r\n")) {
		data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
		b.source.Notes = append(b.source.Notes, "line ends CR LF were read as LF")
	}
	if len(bytes.TrimSpace(data)) > 0 {
		return b.keep(Row{Text: string(data), Where: "line 1"})
	}
	return nil
}

// invalidUTF8 is the offset of the first byte that is not UTF-8, or -1.
func invalidUTF8(data []byte) int {
	if utf8.Valid(data) {
		return -1
	}
	for at := 0; ; {
		r, size := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && size <= 1 {
			return at
		}
		at += size
	}
}

// fileReader keeps the error of a reader, so that a broken disk is not reported as a bad row.
type fileReader struct {
	in  io.Reader
	err error
}

func (f *fileReader) Read(p []byte) (int, error) {
	n, err := f.in.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

// returnsAsLines passes bytes on with each CR as LF.
type returnsAsLines struct{ in io.Reader }

func (r *returnsAsLines) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	for i, c := range p[:n] {
		if c == '\r' {
			p[i] = '\n'
		}
	}
	return n, err
}
