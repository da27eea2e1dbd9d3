package dataset

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"qlora-wgpu/internal/usererr"
)

const (
	readOp = "read data set"

	maxRowBytes  = 16 << 20  // one row: a line of JSON Lines, an element of a JSON array, a record of CSV
	maxTextBytes = 256 << 20 // a .txt file, which is held and tokenized as one document
	maxDepth     = 64        // nesting of a row; an ordinary row has 3, one with tool schemas about 10
)

var errRowTooLong = fmt.Errorf("a row longer than %d MiB", maxRowBytes>>20)

// Read reads a whole data set, row by row. The name in path decides only between text (.txt), CSV (.csv) and JSON
// (anything else, by its first character); path is named in errors.
//
// A .txt file is ONE document: it is not split at lines or blank lines, because paragraphs that belong together are
// what a language model should learn from; the Encoder cuts it into pieces of the sequence length.
func Read(r io.Reader, path string) (*Source, error) {
	hash := sha256.New()
	file := &fileReader{in: io.TeeReader(r, hash)}
	in := bufio.NewReaderSize(file, 64<<10)
	if err := checkStart(in, path); err != nil {
		return nil, err
	}
	b := &builder{source: &Source{Path: path}, unused: map[string]int{}}
	var err error
	switch extension := strings.ToLower(filepath.Ext(path)); {
	case extension == ".txt":
		err = b.readText(in)
	case extension == ".csv":
		err = b.readCSV(in)
	default:
		switch firstCharacter(in) {
		case '[':
			err = b.readArray(in)
		case '{', 0:
			err = b.readLines(in)
		default:
			err = usererr.New(readOp, path, "neither JSON Lines nor a JSON array: it begins with %q", firstCharacter(in)).Of(usererr.Format).
				At("line 1").
				Hinted("plain text needs a name that ends in .txt, comma-separated values one that ends in .csv")
		}
	}
	if file.err != nil {
		return nil, usererr.New(readOp, path, "%w", file.err)
	}
	if err != nil {
		return nil, err
	}
	if len(b.before) > 0 && len(b.source.Rows) == 0 {
		return nil, usererr.New(readOp, path, "no row has a value").Of(usererr.Format).At("%s", b.before[0])
	}
	if len(b.source.Rows) == 0 {
		return nil, usererr.New(readOp, path, "no rows: the file is empty").Of(usererr.Format)
	}
	b.source.Notes = append(b.source.Notes, b.notes()...)
	b.source.Hash = hex.EncodeToString(hash.Sum(nil))
	return b.source, nil
}

// checkStart skips a UTF-8 byte order mark and names the kinds of file that people pass by mistake.
func checkStart(in *bufio.Reader, path string) error {
	start, err := in.Peek(4)
	if err != nil && err != io.EOF {
		return usererr.New(readOp, path, "%w", err)
	}
	switch {
	case bytes.HasPrefix(start, []byte("\xef\xbb\xbf")):
		_, err := in.Discard(3)
		return err
	case bytes.HasPrefix(start, []byte("\xff\xfe")), bytes.HasPrefix(start, []byte("\xfe\xff")):
		return usererr.New(readOp, path, "the text is UTF-16").Of(usererr.Unsupported).Hinted("save the file as UTF-8")
	case bytes.HasPrefix(start, []byte("PAR1")):
		return usererr.New(readOp, path, "a Parquet file").Of(usererr.Unsupported).Hinted("convert it to JSON Lines")
	case bytes.HasPrefix(start, []byte("\x1f\x8b")), bytes.HasPrefix(start,
		[]byte("PK\x03\x04")), bytes.HasPrefix(start, []byte("\x28\xb5\x2f\xfd")):
		return usererr.New(readOp, path, "a compressed file").Of(usererr.Unsupported).Hinted("unpack it first")
	}
	return nil
}

// firstCharacter is the first byte that is not white space, or 0 where the first 4 KiB have none.
func firstCharacter(in *bufio.Reader) byte {
	start, _ := in.Peek(4 << 10)
	if start = bytes.TrimLeft(start, " \t\r\n"); len(start) > 0 {
		return start[0]
	}
	return 0
}

func (b *builder) readText(in io.Reader) error {
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
		b.source.Rows = []Row{{Text: string(data), Where: "line 1"}}
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

// readLines reads JSON Lines. Empty lines are skipped.
func (b *builder) readLines(in *bufio.Reader) error {
	b.source.Container = "JSON Lines"
	var line []byte
	for number := 1; ; number++ {
		var err error
		where := fmt.Sprintf("line %d", number)
		line, err = readLine(in, line[:0])
		if err != nil && err != io.EOF {
			return b.fail(where, err)
		}
		if row := bytes.TrimSpace(line); len(row) > 0 {
			if addErr := b.addJSON(row, where); addErr != nil {
				return addErr
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

// readLine appends the next line to buffer; io.EOF comes with the last one.
func readLine(in *bufio.Reader, buffer []byte) ([]byte, error) {
	for {
		part, err := in.ReadSlice('\n')
		if len(buffer)+len(part) > maxRowBytes {
			return buffer, errRowTooLong
		}
		buffer = append(buffer, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return buffer, err
		}
	}
}

// readArray reads the elements of one JSON array, each of which may span lines.
func (b *builder) readArray(in io.Reader) error {
	b.source.Container = "JSON array"
	lines := &lineReader{rowLimiter: rowLimiter{in: in, limit: maxRowBytes}}
	decoder := jsontext.NewDecoder(lines)
	row := 0
	fail := func(err error) error {
		at := decoder.InputOffset()
		var syntax *jsontext.SyntacticError
		if errors.As(err, &syntax) {
			at = syntax.ByteOffset
		}
		return b.fail(fmt.Sprintf("row %d (line %d)", row, lines.lineAt(at)), err)
	}
	if _, err := decoder.ReadToken(); err != nil {
		return fail(err)
	}
	for ; ; row++ {
		lines.limit = decoder.InputOffset() + maxRowBytes
		if decoder.PeekKind() == ']' {
			break
		}
		value, err := decoder.ReadValue()
		if err != nil {
			return fail(err)
		}
		line := lines.lineAt(decoder.InputOffset() - int64(len(value)))
		if err := b.addJSON(value, fmt.Sprintf("row %d (line %d)", row, line)); err != nil {
			return err
		}
	}
	if _, err := decoder.ReadToken(); err != nil {
		return fail(err)
	}
	if _, err := decoder.ReadToken(); err == nil {
		return fail(errors.New("there is more behind the end of the array"))
	} else if err != io.EOF {
		return fail(err)
	}
	return nil
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

// rowLimiter passes bytes on up to an offset that the consumer moves from row to row, because the decoders behind it
// would hold a row of any length.
type rowLimiter struct {
	in    io.Reader
	read  int64 // bytes passed on
	limit int64 // bytes that may be passed on
}

func (l *rowLimiter) Read(p []byte) (int, error) {
	if l.read >= l.limit {
		return 0, errRowTooLong
	}
	n, err := l.in.Read(p[:min(int64(len(p)), l.limit-l.read)])
	l.read += int64(n)
	return n, err
}

// lineReader is a rowLimiter that knows on which line an offset lies.
type lineReader struct {
	rowLimiter
	newlines []int64 // offsets of newlines that lineAt has not passed yet
	passed   int     // newlines that it has
}

func (l *lineReader) Read(p []byte) (int, error) {
	start := l.read
	n, err := l.rowLimiter.Read(p)
	for i, c := range p[:n] {
		if c == '\n' {
			l.newlines = append(l.newlines, start+int64(i))
		}
	}
	return n, err
}

// lineAt counts lines from 1; offsets must not decrease from call to call.
func (l *lineReader) lineAt(offset int64) int {
	k := 0
	for k < len(l.newlines) && l.newlines[k] < offset {
		k++
	}
	l.newlines = l.newlines[k:]
	l.passed += k
	return l.passed + 1
}
