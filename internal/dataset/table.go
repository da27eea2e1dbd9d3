package dataset

import (
	"bufio"
	"encoding/csv"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"qlora-wgpu/internal/usererr"
)

// readTable reads rows of cells. The first one names the columns, or is an example like the others.
func (b *builder) readTable(in *bufio.Reader, s separator) error {
	b.source.Container = s.container()
	start, _ := in.Peek(16)
	skipped := 0
	if declares, length := declared(start); declares != 0 {
		_, _ = in.Discard(length) // they have been looked at
		skipped = 1
	}
	rows := newRecords(in, s)
	var names []string
	for row := 1; ; row++ {
		cells, line, err := rows.read()
		if err == io.EOF {
			return nil
		}
		where := fmt.Sprintf("line %d", line+skipped)
		if line == 0 {
			where = fmt.Sprintf("record %d", row)
		}
		if err == nil && names != nil && len(cells) != len(names) {
			err = wrongCells(len(cells), len(names))
		}
		if err != nil {
			return b.failCell(where, err)
		}
		if names == nil {
			b.nothing = "there is only a row with the names of the columns"
			var header bool
			if names, header, err = b.header(slices.Clone(cells), where); err != nil {
				return err
			}
			b.table, b.headed = true, header
			if header {
				continue
			}
		}
		if b.unclear != nil { // its first row is among those that are shown
			if !b.unclear.show(cells) {
				return b.unclear
			}
			continue
		}
		fields := make(map[string]jsontext.Value, len(names))
		for i, name := range names {
			value, err := jsontext.AppendQuote(nil, cells[i])
			if err != nil {
				return b.failCell(where, fmt.Errorf("column %s: %w", quote(name), errNoUTF8))
			}
			fields[name] = value
		}
		if err := b.add(fields, func() []string { return names }, where); err != nil {
			return err
		}
	}
}

var errNoUTF8 = errors.New("invalid UTF-8")

func (b *builder) failCell(where string, err error) *usererr.Error {
	e := b.fail(where, err)
	switch {
	case errors.Is(err, errNoUTF8):
		e = e.Hinted(`save the table as "CSV UTF-8"`)
	case errors.Is(err, csv.ErrQuote), errors.Is(err, csv.ErrBareQuote), errors.Is(err, errOpenQuote):
		e = e.Hinted("a cell with quotes in it stands in quotes, with those within it doubled")
	}
	return e
}

// header gives the columns' names, which are the cells of the first row or numbers, and says which of the two. Where
// neither is clear, the builder knows it afterwards.
func (b *builder) header(first []string, where string) (names []string, header bool, err error) {
	for i, cell := range first {
		if !utf8.ValidString(cell) {
			return nil, false, b.failCell(where, fmt.Errorf("column %d: %w", i+1, errNoUTF8))
		}
	}
	given := b.columns.Header
	likeNames := !slices.ContainsFunc(first, func(cell string) bool { return !likeAName(cell) })
	switch {
	case given != nil:
		header = *given
	case isHeader(first):
		header = true
	case b.columns.Template != "":
		header = likeNames
	case b.columns.Given():
		header = likeNames || !slices.ContainsFunc(b.named(), func(name string) bool { return indexFold(first, name) < 0 })
	case len(first) == 1:
		return nil, false, b.fail(where, fmt.Errorf("no known format: the only column begins with %s", quote(first[0]))).
			Hinted("a table has a column of questions and one of answers, or one of texts whose first cell is: text")
	case len(first) > 2 || likeNames:
		b.unclear = &AmbiguousColumns{Columns: columnNames(first, likeNames), Header: likeNames, Undecided: true, Table: true, where: where}
		return b.unclear.Columns, false, nil
	}
	names = columnNames(first, header)
	there := make(map[string]bool, len(names))
	for _, name := range names {
		if there[name] {
			return nil, false, b.fail(where, fmt.Errorf("the column %s is there twice", quote(name)))
		}
		there[name] = true
	}
	if !header && !b.columns.Given() && len(names) == 2 {
		b.columns.Question, b.columns.Answer = names[0], names[1]
		b.source.Notes = append(b.source.Notes, "the first row is an example, since it does not name the columns: "+
			"column 1 is the question, column 2 the answer")
	} else if given == nil && b.columns.Given() {
		is := "names the columns"
		if !header {
			is = "is an example"
		}
		b.source.Notes = append(b.source.Notes, "the first row "+is)
	}
	if b.columns.Given() {
		b.columns.Question, b.columns.Answer = numbered(names, b.columns.Question), numbered(names, b.columns.Answer)
		b.columns.System, b.columns.Text = numbered(names, b.columns.System), numbered(names, b.columns.Text)
	}
	return names, header, nil
}

// named are the names that were given for columns.
func (b *builder) named() []string {
	all := []string{b.columns.Question, b.columns.Answer, b.columns.System, b.columns.Messages, b.columns.Text}
	return slices.DeleteFunc(all, func(name string) bool { return name == "" })
}

// numbered is the name of a column that is given by its number.
func numbered(names []string, given string) string {
	if at, err := strconv.Atoi(given); err == nil && at > 0 && at <= len(names) && indexFold(names, given) < 0 {
		return names[at-1]
	}
	return given
}

func columnNames(first []string, header bool) []string {
	names := make([]string, len(first))
	for i, cell := range first {
		if names[i] = cell; !header || strings.TrimSpace(cell) == "" {
			names[i] = fmt.Sprintf("column %d", i+1)
		}
	}
	return names
}

// likeAName tells cells that could name a column: a few words without a full stop.
func likeAName(cell string) bool {
	const longest, words = 30, 3
	cell = strings.TrimSpace(cell)
	return cell != "" && utf8.RuneCountInString(cell) <= longest && len(strings.Fields(cell)) <= words &&
		strings.ContainsFunc(cell, unicode.IsLetter) && !strings.ContainsAny(cell, ".?!,;\n。？！؟¿¡…")
}
