package dataset

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// separator is what stands between the cells of a table.
type separator rune

const (
	comma     separator = ','
	semicolon separator = ';' // Excel's, where numbers have a comma
	tab       separator = '\t'
)

func (s separator) words() string {
	switch s {
	case comma:
		return "with commas"
	case semicolon:
		return "with semicolons"
	case tab:
		return "with tabs"
	}
	return fmt.Sprintf("with %q", rune(s))
}

func (s separator) container() string {
	switch s {
	case comma:
		return "CSV"
	case tab:
		return "TSV"
	}
	return "CSV " + s.words()
}

// sampleRecords decide the separator.
const sampleRecords = 20

// separatorOf finds a table's separator in its first bytes, which are all of it where whole is true: one that gives the
// first row names of a known format, else the one that cuts most rows into as many cells as the first. It is certain
// where a text would hardly look so.
func separatorOf(start []byte, whole bool, extension string) (best separator, certain bool) {
	if s, _ := declared(start); s != 0 {
		return s, true
	}
	order := []separator{comma, semicolon, tab}
	if extension == ".tsv" || extension == ".tab" {
		order = []separator{tab, comma, semicolon}
	}
	best = order[0]
	most := 0
	samples := map[separator][][]string{}
	for _, s := range order {
		samples[s] = sample(start, whole, s)
		if rows := samples[s]; len(rows) > 0 && isHeader(rows[0]) {
			return s, len(rows[0]) > 1 && agreeing(rows) == len(rows)
		}
	}
	for _, s := range []separator{tab, semicolon, comma} {
		rows := samples[s]
		agree := agreeing(rows)
		if len(rows) == 0 || len(rows[0]) < 2 || agree <= most {
			continue
		}
		best, most = s, agree
		certain = agree == len(rows) && !spaced(rows) && (s == tab || agree > 1)
		if agree == len(rows) {
			break
		}
	}
	return best, certain
}

// sample are the first rows of a table with this separator, as far as they can be read.
func sample(start []byte, whole bool, s separator) (rows [][]string) {
	records := newRecords(bufio.NewReader(bytes.NewReader(start)), s)
	for len(rows) < sampleRecords {
		cells, _, err := records.read()
		if err != nil {
			if !whole && len(rows) > 1 {
				rows = rows[:len(rows)-1] // it may go on behind the sample
			}
			return rows
		}
		rows = append(rows, slices.Clone(cells))
	}
	return rows
}

// agreeing counts the rows that have as many cells as the first.
func agreeing(rows [][]string) (n int) {
	for _, row := range rows {
		if len(row) == len(rows[0]) {
			n++
		}
	}
	return n
}

// spaced tells prose, which has a space behind a comma, and lines that are indented by tabs.
func spaced(rows [][]string) bool {
	indented := true
	for _, row := range rows {
		indented = indented && strings.TrimSpace(row[0]) == ""
		if slices.ContainsFunc(row[1:], func(cell string) bool { return strings.HasPrefix(cell, " ") }) {
			return true
		}
	}
	return indented
}

// declared is the separator that Excel's line "sep=;" names, and the length of that line; 0 without one.
func declared(start []byte) (s separator, length int) {
	line, _, found := bytes.Cut(start, []byte("\n"))
	text := strings.Trim(strings.TrimRight(string(line), "\r"), `"`)
	name, is := strings.CutPrefix(text, "sep=")
	r, size := utf8.DecodeRuneInString(name)
	if !found || !is || size != len(name) || size == 0 || r == utf8.RuneError || r == '"' || r == '\r' {
		return 0, 0
	}
	return separator(r), len(line) + 1
}
