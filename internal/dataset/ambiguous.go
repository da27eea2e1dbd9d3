package dataset

import (
	"encoding/json/jsontext"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"qlora-wgpu/internal/usererr"
)

// AmbiguousColumns is in the error of Read where it is not clear which column is the question and which the answer, or
// whether a table's first row names them. ReadColumns is told.
type AmbiguousColumns struct {
	Columns []string // as the file names them; "column 1" and so on where it does not
	// of a table: the first row looks like names, which Columns are; else it looks like an example
	Header bool
	// the first rows, at most five, cells in the order of Columns and at most 200 characters of each; of a table all
	// rows, also a first one that looks like names
	Preview [][]string

	Table     bool // a column can be given by its number too
	Undecided bool // whether the first row of a table has names
	where     string
	// what the columns are, where they are no questions and answers but preferences; nil: they may be
	preference *preference
}

const (
	previewRows = 5
	previewCell = 200
)

func (a *AmbiguousColumns) Error() string {
	if a.preference != nil {
		return a.preference.String()
	}
	if a.Undecided && len(a.Columns) == 2 {
		return fmt.Sprintf("does the first row (%s) name the columns, or is it an example?", quotedList(a.Columns))
	}
	return fmt.Sprintf("which column is the question, and which the answer? The columns are %s", quotedList(a.Columns))
}

func (a *AmbiguousColumns) mistake(path string) error {
	e := usererr.New(readOp, path, "%w", a).Of(usererr.Format).At("%s", a.where)
	if a.Undecided && len(a.Columns) == 2 {
		return e.Hinted("name the columns question and answer in a row in front, or say what it is: " +
			"--data-columns prompt=1,completion=2,header=no, or header=yes")
	}
	if a.preference != nil {
		return e.Hinted("%s", a.preference.wayOut())
	}
	question, answer := a.guess()
	example := fmt.Sprintf("prompt=%s,completion=%s", a.said(question), a.said(answer))
	if a.Undecided && a.Header {
		example += ",header=yes"
	} else if a.Undecided {
		example += ",header=no"
	}
	return e.Hinted("name the two question and answer in the file, or say which they are, such as --data-columns '%s'", example)
}

// guess is the example of a choice: columns of known names, as far as there are any.
func (a *AmbiguousColumns) guess() (question, answer string) {
	first := func(names []string, but string) string {
		for _, column := range a.Columns {
			if column != but && slices.Contains(names, strings.ToLower(strings.TrimSpace(column[strings.LastIndexByte(column, '.')+1:]))) {
				return column
			}
		}
		return a.Columns[slices.IndexFunc(a.Columns, func(column string) bool { return column != but })]
	}
	question = first(questionNames, "")
	return question, first(append(slices.Clone(answerNames), "answers", "chosen"), question)
}

// said is a column as data_columns takes it.
func (a *AmbiguousColumns) said(name string) string {
	for i, column := range a.Columns {
		if a.Table && column == name && (strings.ContainsAny(name, `,'"`) || shortened(name) != name || !a.Header) {
			return strconv.Itoa(i + 1)
		}
	}
	return shortened(name)
}

// show adds a row to the preview and tells whether there is room for more.
func (a *AmbiguousColumns) show(cells []string) bool {
	row := make([]string, len(a.Columns))
	for i := range min(len(row), len(cells)) {
		row[i] = cells[i]
		if r := []rune(cells[i]); len(r) > previewCell {
			row[i] = string(r[:previewCell]) + "…"
		}
	}
	a.Preview = append(a.Preview, row)
	return len(a.Preview) < previewRows
}

// showRow shows a row of named values.
func (a *AmbiguousColumns) showRow(row fields) bool {
	cells := make([]string, len(a.Columns))
	for i, name := range a.Columns {
		value := row[name]
		text, err := stringOf(value, name)
		if err != nil {
			text = string(value)
		}
		cells[i] = text
	}
	return a.show(cells)
}

func quotedList(names []string) string {
	const most = 8
	shown := make([]string, min(len(names), most))
	for i := range shown {
		shown[i] = quote(names[i])
	}
	if more := len(names) - len(shown); more > 0 {
		shown = append(shown, fmt.Sprintf("%d more", more))
	}
	return strings.Join(shown, ", ")
}

// texts counts the columns that could be a question or an answer.
func texts(row fields) (n int) {
	for _, value := range row {
		if value.Kind() == jsontext.KindString {
			n++
		}
	}
	return n
}
