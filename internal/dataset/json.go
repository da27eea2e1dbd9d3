package dataset

import (
	"bufio"
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// readLines reads JSON Lines. Empty lines are skipped.
func (b *builder) readLines(in *bufio.Reader, start []byte) error {
	b.source.Container, b.cutRow = "JSON Lines", cutRow(start)
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
	b.source.Container, b.nothing = "JSON array", "the list is empty"
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

// cutRow is the way out where a row of JSON Lines ends too soon, in a file that begins so.
func cutRow(start []byte) string {
	d := jsontext.NewDecoder(bytes.NewReader(start))
	if _, err := d.ReadToken(); err == nil {
		for d.PeekKind() == jsontext.KindString {
			name, _ := d.ReadToken()
			key := name.String()
			if d.PeekKind() != jsontext.KindBeginArray || slices.Contains(listsOfARow, key) {
				if d.SkipValue() != nil {
					break
				}
				continue
			}
			_, _ = d.ReadToken()
			if d.PeekKind() == jsontext.KindBeginObject {
				return alone(key)
			}
			break
		}
	}
	return "JSON Lines has one whole object on each line; objects that span lines belong into one array: [{…}, {…}]"
}

// listsOfARow are lists of objects that belong to one row.
var listsOfARow = []string{"messages", "conversations", "tools"}

func alone(list string) string {
	return fmt.Sprintf("the rows seem to be in the list %s: save that list alone, from [ to ]", quote(list))
}

// listIn names the only list of objects in what was read as a row, and may be the file.
func listIn(row fields) (name string) {
	for _, key := range slices.Sorted(maps.Keys(row)) {
		var list []struct{}
		if slices.Contains(listsOfARow, key) || row[key].Kind() != jsontext.KindBeginArray || json.Unmarshal(row[key], &list) != nil {
			continue
		}
		if name != "" {
			return ""
		}
		name = key
	}
	return name
}
