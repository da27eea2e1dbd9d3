package dataset

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
)

// records gives the rows of a table: cells, which are valid until the next call, and the line that they begin on. At
// the end the error is io.EOF.
type records interface {
	read() (cells []string, line int, err error)
}

func newRecords(in *bufio.Reader, s separator) records {
	if s == tab {
		return &tabRecords{in: in}
	}
	bounded := &rowLimiter{in: in, limit: maxRowBytes}
	reader := csv.NewReader(bounded)
	reader.ReuseRecord, reader.Comma, reader.FieldsPerRecord = true, rune(s), -1
	return &csvRecords{reader: reader, bounded: bounded}
}

// csvRecords are rows by RFC 4180.
type csvRecords struct {
	reader  *csv.Reader
	bounded *rowLimiter
}

func (c *csvRecords) read() ([]string, int, error) {
	c.bounded.limit = c.reader.InputOffset() + maxRowBytes
	cells, err := c.reader.Read()
	if err != nil {
		var parse *csv.ParseError
		if errors.As(err, &parse) {
			return nil, parse.Line, parse.Err
		}
		return nil, 0, err
	}
	line, _ := c.reader.FieldPos(0)
	return cells, line, nil
}

// tabRecords are rows whose cells are separated by tabs, as programs and the clipboard of a spreadsheet write them.
// encoding/csv does not do: a quote within a cell is a character like any other, also in front of a cell that it does
// not end; a cell over several lines stands in quotes, those within it doubled.
type tabRecords struct {
	in    *bufio.Reader
	lines int
	ended bool
	line  []byte
}

var errOpenQuote = errors.New("a cell begins with a quote that never ends it")

func (t *tabRecords) read() (cells []string, line int, err error) {
	for rest := ""; ; {
		if rest, err = t.nextLine(0); err != nil {
			return nil, t.lines, err
		}
		if rest == "" {
			continue
		}
		line = t.lines
		for size := len(rest); ; {
			cell, behind, state := cutCell(rest)
			if state == cellGoesOn {
				if cell, behind, state, err = t.goOn(cell, &size); err != nil {
					return nil, line, err
				}
			}
			cells = append(cells, cell)
			if state == cellLast {
				return cells, line, nil
			}
			rest = behind
		}
	}
}

// goOn reads a cell to its end; size counts the bytes of its row.
func (t *tabRecords) goOn(begun string, size *int) (cell, behind string, state cellState, err error) {
	var whole strings.Builder
	whole.WriteString(begun)
	for state = cellGoesOn; state == cellGoesOn; {
		line, err := t.nextLine(*size)
		if err != nil && err != io.EOF {
			return "", "", 0, err
		}
		*size += len(line) + 1
		if cell, behind, state = closingQuote(line); state == cellLiteral || err == io.EOF {
			return "", "", 0, errOpenQuote
		}
		whole.WriteByte('\n')
		whole.WriteString(cell)
	}
	return whole.String(), behind, state, nil
}

// nextLine is the next line without its end; taken bytes of its row come before it.
func (t *tabRecords) nextLine(taken int) (string, error) {
	if t.ended {
		return "", io.EOF
	}
	t.lines++
	var err error
	t.line, err = readLine(t.in, t.line[:0])
	if t.ended = err == io.EOF; err != nil && !t.ended {
		return "", err
	}
	if t.ended && len(t.line) == 0 {
		return "", io.EOF
	}
	if taken+len(t.line) > maxRowBytes {
		return "", errRowTooLong
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(t.line), "\n"), "\r"), nil
}

type cellState uint8

const (
	cellEnds    cellState = iota // a tab stands behind it
	cellLast                     // the line ends behind it
	cellGoesOn                   // it goes on in the next line
	cellLiteral                  // its quote does not enclose it
)

// cutCell takes the first cell off a line.
func cutCell(line string) (cell, behind string, state cellState) {
	if quoted, is := strings.CutPrefix(line, `"`); is {
		if cell, behind, state = closingQuote(quoted); state != cellLiteral {
			return cell, behind, state
		}
	}
	cell, behind, more := strings.Cut(line, "\t")
	if !more {
		return cell, "", cellLast
	}
	return cell, behind, cellEnds
}

// closingQuote reads the inside of a cell in quotes, up to the quote that ends it.
func closingQuote(line string) (cell, behind string, state cellState) {
	var inside strings.Builder
	for {
		at := strings.IndexByte(line, '"')
		if at < 0 {
			return inside.String() + line, "", cellGoesOn
		}
		inside.WriteString(line[:at])
		line = line[at+1:]
		switch {
		case line == "":
			return inside.String(), "", cellLast
		case line[0] == '\t':
			return inside.String(), line[1:], cellEnds
		case line[0] != '"':
			return "", "", cellLiteral
		}
		inside.WriteByte('"')
		line = line[1:]
	}
}

// wrongCells says of a row that it has not as many cells as the first.
func wrongCells(found, wanted int) error {
	return fmt.Errorf("wrong number of fields: %d, the first row has %d", found, wanted)
}
