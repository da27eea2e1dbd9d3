package dataset

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
)

// fields is one row as read: values by column, not interpreted yet.
type fields map[string]jsontext.Value

// A format is told by the columns it needs; the first one in formats whose columns are all there is taken.
type format struct {
	name string
	// the first may not be null (merged files have empty columns of other formats), the others may: an empty answer
	needs  []string
	beside []string // columns that it may have beyond those that every format may have
	named  bool     // its columns have the names of one file
	parse  func(*rowParser) (Row, error)
}

// Stanford's Alpaca file has a "text" column beside its three, so text comes last. Other questions and answers are
// found by pairsIn, where none of these is there.
var formats = []format{
	{name: "messages", needs: []string{"messages"}, parse: func(p *rowParser) (Row, error) { return p.conversation("messages") }},
	{name: "ShareGPT", needs: []string{"conversations"}, parse: func(p *rowParser) (Row, error) { return p.conversation("conversations") }},
	alpacaFormat: {name: "Alpaca", needs: []string{"instruction", "output"}, parse: (*rowParser).alpaca},
	{name: "prompt/completion", needs: []string{"prompt", "completion"}, parse: (*rowParser).promptCompletion},
	{name: "text", needs: []string{"text"}, parse: func(p *rowParser) (Row, error) { return p.textOf("text") }},
}

const alpacaFormat = 2

func detect(row fields) *format {
	for i := range formats {
		if formats[i].matches(row) {
			return &formats[i]
		}
	}
	return nil
}

func (f *format) matches(row fields) bool {
	for k, name := range f.needs {
		value, there := row[name]
		mayBeNull := k > 0
		if !there || !mayBeNull && value.Kind() == jsontext.KindNull {
			return false
		}
	}
	return true
}

// nothingIn tells rows that lack a column of the format, or have null in it, and so are of the format and empty: null
// is absent. A column of another name beside the gap may be the one that is meant, and makes the row a mistake.
func (f *format) nothingIn(row fields) bool {
	absent, other := false, false
	for _, name := range f.needs {
		_, there := row[name]
		absent = absent || !there
	}
	for name, value := range row {
		other = other || value.Kind() != jsontext.KindNull && !slices.Contains(f.needs, name) &&
			!slices.Contains(f.beside, name) && !slices.Contains(optional, name)
	}
	return !absent || !other
}

// optional are the columns that a format may have beside what it needs.
var optional = []string{"input", "history", "system", "tools", templateArgsColumn}

// builder passes rows on, holds them to the first one's format and counts what it leaves aside.
type builder struct {
	source  *Source
	row     func(Row) error  // takes them
	columns settings.Columns // as far as the user has named them
	format  *format
	first   string            // place of the first row
	unclear *AmbiguousColumns // set where the user has to say which columns are learned
	nothing string            // why there may be no rows
	cutRow  string            // the way out where a row of JSON Lines ends too soon
	table   bool              // rows of cells
	headed  bool              // whose first row names the columns
	// makes rows of what the file holds; nil: none does, or no row has been
	template *rowTemplate
	nested   []string       // columns within columns that are learned
	unused   map[string]int // rows by a description of what they held beyond the format
	before   []string       // places of rows without a value in front of the first one
	// rows with arguments of tool calls that were JSON texts
	parsedArguments int
}

func (b *builder) fail(where string, err error) *usererr.Error {
	var syntax *jsontext.SyntacticError
	hint := ""
	if errors.Is(err, errRowTooLong) {
		err = errRowTooLong // without what the decoder says around it
	} else if errors.As(err, &syntax) {
		err = fmt.Errorf("not valid JSON: %w", syntax.Err)
		if syntax.JSONPointer != "" {
			err = fmt.Errorf("%w at %s", err, quote(string(syntax.JSONPointer)))
		}
		if b.source.Container == "JSON Lines" && errors.Is(syntax.Err, io.ErrUnexpectedEOF) {
			hint = b.cutRow
		}
	}
	e := usererr.New(readOp, b.source.Path, "%w", err).Of(usererr.Format).At("%s", where)
	if hint != "" {
		e = e.Hinted("%s", hint)
	}
	return e
}

// addJSON adds one row that is, or should be, a JSON object.
func (b *builder) addJSON(value jsontext.Value, where string) error {
	if len(value) > maxRowBytes {
		return b.fail(where, errRowTooLong)
	}
	if deeper(value, maxDepth) {
		return b.fail(where, fmt.Errorf("nested deeper than %d levels", maxDepth))
	}
	if kind := value.Kind(); kind != jsontext.KindBeginObject {
		if !value.IsValid() {
			return b.fail(where, errors.New("not valid JSON"))
		}
		return b.fail(where, fmt.Errorf("expected an object, found %s", kindName(kind)))
	}
	row, err := objectOf(value)
	if err != nil {
		return b.fail(where, err)
	}
	return b.add(row, func() []string { return namesIn(value) }, where)
}

// objectOf are the members of an object.
func objectOf(value jsontext.Value) (row fields, err error) {
	err = json.Unmarshal(value, &row)
	return row, err
}

// namesIn are the names of an object in its order.
func namesIn(object jsontext.Value) (names []string) {
	d := jsontext.NewDecoder(bytes.NewReader(object))
	_, _ = d.ReadToken() // the object is valid
	for d.PeekKind() == jsontext.KindString {
		name, _ := d.ReadToken()
		names = append(names, name.String())
		_ = d.SkipValue()
	}
	return names
}

// add adds a row; names are its columns in the order of the file.
func (b *builder) add(row fields, names func() []string, where string) error {
	if b.columns.Template != "" && len(row) > 0 {
		made, its, err := b.renderRow(row, names(), where)
		if err != nil {
			return err
		}
		row, names = made, func() []string { return its }
	}
	nest(row, b.nested)
	if b.unclear == nil && b.format == nil {
		if allNull(row) {
			b.before = append(b.before, where)
			return nil
		}
		if err := b.begin(row, names(), where); err != nil {
			return err
		}
	}
	if b.unclear != nil {
		if !b.unclear.showRow(row) {
			return b.unclear
		}
		return nil
	}
	if found := b.formatOf(row); found != b.format {
		is := "of no known format"
		if found != nil {
			is = "of format " + found.name
		}
		return b.fail(where, fmt.Errorf("mixed formats: %s is %s, this row (columns %s) is %s", b.first, b.format.name, columns(row), is))
	}
	p := &rowParser{row: row, used: map[string]bool{}}
	parsed, err := b.format.parse(p)
	if err != nil {
		return b.fail(where, err)
	}
	if parsed.Messages != nil {
		if parsed.TemplateArgs, err = p.templateArgs(); err != nil {
			return b.fail(where, err)
		}
	}
	for _, name := range b.nested {
		p.used[strings.SplitN(name, ".", 2)[0]], p.used[name] = true, true
	}
	for name, value := range row {
		if !p.used[name] && !empty(value) {
			b.unused["column "+quote(name)]++
		}
	}
	if p.parsedArguments {
		b.parsedArguments++
	}
	parsed.Where = where
	return b.keep(parsed)
}

func (b *builder) keep(row Row) error {
	b.source.count++
	return b.row(row)
}

// begin takes the format of the first row that has a value; rows before it are empty rows of that.
func (b *builder) begin(row fields, names []string, where string) error {
	found, err := b.choose(row, names, where)
	if err != nil || b.unclear != nil {
		return err
	}
	if found == nil {
		e := usererr.New(readOp, b.source.Path, "no known format: the columns are %s", columns(row)).Of(usererr.Format).At("%s", where)
		if list := listIn(row); list != "" {
			return e.Hinted("%s", alone(list))
		}
		return e.Hinted("known are messages, conversations, question + answer, instruction + output, prompt + completion, and text; " +
			"--data-columns says what others are: prompt=NAME,completion=NAME, messages=NAME or text=NAME, and column.name within objects")
	}
	b.format, b.first, b.source.Format = found, where, found.name
	for _, earlier := range b.before {
		if err := b.add(fields{}, nil, earlier); err != nil {
			return err
		}
	}
	return nil
}

// formatOf is the format of a row behind the first, nil where it is of none that is known.
func (b *builder) formatOf(row fields) *format {
	if b.format.named && b.format.matches(row) {
		return b.format
	}
	found := detect(row)
	if found == nil && b.format.nothingIn(row) {
		return b.format
	}
	return found
}

func allNull(row fields) bool {
	for _, value := range row {
		if value.Kind() != jsontext.KindNull {
			return false
		}
	}
	return true
}

func (b *builder) notes() []string {
	const most = 12
	var notes []string
	if n := b.parsedArguments; n > 0 {
		notes = append(notes, fmt.Sprintf("arguments of tool calls that are JSON texts are read as objects (%d rows)", n))
	}
	for _, name := range slices.Sorted(maps.Keys(b.unused)) {
		if len(notes) == most {
			return append(notes, fmt.Sprintf("not used: %d more", len(b.unused)-most))
		}
		notes = append(notes, fmt.Sprintf("not used: %s (%d rows)", name, b.unused[name]))
	}
	return notes
}

func quote(name string) string { return fmt.Sprintf("%q", shortened(name)) }

func shortened(text string) string {
	if r := []rune(text); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return text
}

func columns(row fields) string {
	names := slices.Sorted(maps.Keys(row))
	shown := names[:min(len(names), 8)]
	quoted := make([]string, len(shown))
	for i, name := range shown {
		quoted[i] = quote(name)
		if row[name].Kind() == jsontext.KindNull {
			quoted[i] += " (null)"
		}
	}
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > len(shown):
		quoted = append(quoted, fmt.Sprintf("%d more", len(names)-len(shown)))
	}
	return strings.Join(quoted, ", ")
}

// empty values are no loss: null, "", [] and {}, and a list that was written as the string "[]".
func empty(value jsontext.Value) bool {
	switch string(value) {
	case "null", `""`, "[]", "{}", `"[]"`:
		return true
	}
	return false
}

func kindName(kind jsontext.Kind) string {
	switch kind {
	case jsontext.KindNull:
		return "null"
	case jsontext.KindTrue, jsontext.KindFalse:
		return "a boolean"
	case jsontext.KindString:
		return "a string"
	case jsontext.KindNumber:
		return "a number"
	case jsontext.KindBeginArray:
		return "a list"
	case jsontext.KindBeginObject:
		return "an object"
	}
	return "no JSON value"
}

// deeper tells whether brackets nest deeper than limit. The text need not be valid JSON.
func deeper(value []byte, limit int) bool {
	depth, inString := 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\' && inString:
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' || c == '{':
			if depth++; depth > limit {
				return true
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return false
}
