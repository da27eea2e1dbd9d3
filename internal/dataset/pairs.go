package dataset

import (
	"encoding/json/jsontext"
	"fmt"
	"maps"
	"slices"
	"strings"

	"qlora-wgpu/internal/chat"
)

// Names of columns, in small letters, as data sets of questions and answers have them: any of the first with any of the
// second, and pairs whose names mean that only together.
var (
	questionNames = []string{"question", "query", "prompt", "instruction", "input"}
	answerNames   = []string{"answer", "response", "completion", "output"}
	pairNames     = [][2]string{
		{"user", "assistant"}, {"human", "assistant"}, {"human", "bot"}, {"q", "a"}, {"problem", "solution"}, {"inputs", "targets"},
		{"input", "target"},
	}
)

// pairColumns are columns of single questions and answers, as the file names them; below and system may be empty.
type pairColumns struct {
	question, answer string
	below            string // stands under the question, as Alpaca's input
	system           string
}

func (c pairColumns) format(name string) *format {
	f := &format{name: name, named: true, needs: []string{c.question, c.answer}, parse: func(p *rowParser) (Row, error) { return p.pair(c) }}
	for _, column := range []string{c.below, c.system} {
		if column != "" {
			f.beside = append(f.beside, column)
		}
	}
	return f
}

func (p *rowParser) pair(c pairColumns) (Row, error) {
	turns, err := p.turnsIn(c.question, "user")
	if err != nil {
		return Row{}, err
	}
	if c.below != "" && p.row[c.below].Kind() == jsontext.KindString { // a column of another kind is none that is known
		below, err := p.stringField(c.below)
		if err != nil {
			return Row{}, err
		}
		last := &turns[len(turns)-1]
		if last.Content != "" && below != "" {
			last.Content += "\n"
		}
		last.Content += below
	}
	answer, err := p.turnsIn(c.answer, "assistant")
	if err != nil {
		return Row{}, err
	}
	turns = append(turns, answer...)
	if c.system != "" {
		turns, err = p.withSystem(c.system, turns)
	}
	return Row{Messages: turns, LeftOut: p.leftOut}, err
}

// turnsIn are the turns of a column: one of that role where it is a text, its own where it is a turn or a list of them.
func (p *rowParser) turnsIn(column, role string) ([]chat.Message, error) {
	switch value := p.row[column]; value.Kind() {
	case jsontext.KindBeginObject:
		p.used[column] = true
		turn, err := p.turn(value)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", quote(column), err)
		}
		return []chat.Message{turn}, nil
	case jsontext.KindBeginArray:
		row, err := p.turns(column)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", quote(column), err)
		}
		if len(row) == 0 { // absent, as null is
			row = []chat.Message{{Role: role}}
		}
		return row, nil
	}
	text, err := p.stringField(column)
	return []chat.Message{{Role: role, Content: text}}, err
}

// pairsIn finds the columns that may be questions and answers by names in any case.
func pairsIn(row fields) (found []pairColumns) {
	columns := map[string]string{} // by name in small letters
	for _, name := range slices.Sorted(maps.Keys(row)) {
		small := strings.ToLower(strings.TrimSpace(name))
		if _, twice := columns[small]; !twice {
			columns[small] = name
		}
	}
	filled := func(name string) bool {
		column, there := columns[name]
		return there && row[column].Kind() != jsontext.KindNull
	}
	below := ""
	_, instructed := columns["instruction"]
	for _, name := range []string{"input", "context"} {
		if filled(name) && below == "" && (name == "context" || instructed) {
			below = columns[name]
		}
	}
	system := ""
	for _, name := range []string{"system", "system_prompt"} {
		if system == "" {
			system = columns[name]
		}
	}
	add := func(question, answer string) {
		if column, there := columns[answer]; there && filled(question) && columns[question] != below {
			found = append(found, pairColumns{columns[question], column, below, system})
		}
	}
	for _, question := range questionNames {
		for _, answer := range answerNames {
			add(question, answer)
		}
	}
	for _, pair := range pairNames {
		add(pair[0], pair[1])
	}
	return found
}

// isHeader tells the names of columns of a known format.
func isHeader(cells []string) bool {
	row := fields{}
	for _, cell := range cells {
		row[cell] = jsontext.Value(`""`)
	}
	return detect(row) != nil || len(pairsIn(row)) > 0 || textIn(row) != ""
}

// textIn is a column "text" in any case.
func textIn(row fields) string {
	for _, name := range slices.Sorted(maps.Keys(row)) {
		if strings.EqualFold(strings.TrimSpace(name), "text") && row[name].Kind() != jsontext.KindNull {
			return name
		}
	}
	return ""
}

// choose finds the format of the first row that has a value, nil where there is none; names are its columns in the
// order of the file.
func (b *builder) choose(row fields, names []string, where string) (*format, error) {
	if b.columns.Given() {
		return b.given(row, names, where)
	}
	if b.columns.Format != "" {
		return b.asked(row, names, where)
	}
	if preference := preferenceIn(row); preference != nil {
		b.unclear = &AmbiguousColumns{Columns: names, Header: b.headed, Table: b.table, where: where, preference: preference}
		if b.headed {
			b.unclear.show(names)
		}
		return nil, nil
	}
	if f := detect(row); f != nil {
		return f, nil
	}
	if row["instruction"].Kind() == jsontext.KindNull && row["input"].Kind() == jsontext.KindString && row["output"] != nil {
		return &formats[alpacaFormat], nil // its first instruction is empty
	}
	switch pairs := pairsIn(row); {
	case len(pairs) == 1:
		pair := pairs[0]
		if pair.below != "" {
			b.source.Notes = append(b.source.Notes, fmt.Sprintf("column %s is put below the question", quote(pair.below)))
		}
		return pair.format(pair.name()), nil
	case len(pairs) == 0 && textIn(row) != "":
		name := textIn(row)
		return &format{name: "text", named: true, needs: []string{name}, parse: func(p *rowParser) (Row, error) { return p.textOf(name) }}, nil
	case len(pairs) == 0 && texts(row) < 2:
		if b.nested = nestedTexts(row, names); texts(row)+len(b.nested) < 2 {
			b.nested = nil
			return nil, nil
		}
		names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return row[name].Kind() != jsontext.KindString })
		names = append(names, b.nested...)
		nest(row, b.nested)
	}
	b.unclear = &AmbiguousColumns{Columns: names, Header: b.headed, Table: b.table, where: where}
	if b.headed {
		b.unclear.show(names)
	}
	return nil, nil
}

func (c pairColumns) name() string {
	name := strings.ToLower(strings.TrimSpace(c.question) + "/" + strings.TrimSpace(c.answer))
	if name == "instruction/output" {
		return formats[alpacaFormat].name
	}
	return name
}

// asked is the format that the user has named.
func (b *builder) asked(row fields, names []string, where string) (*format, error) {
	f := format{}
	if at := slices.IndexFunc(formats, func(f format) bool { return f.name == b.columns.Format }); at >= 0 {
		f = formats[at]
		f.named = true
	} else {
		c := pairColumns{}
		c.question, c.answer, _ = strings.Cut(b.columns.Format, "/")
		for _, name := range []*string{&c.question, &c.answer} {
			if at := indexFold(names, *name); at >= 0 {
				*name = names[at]
			}
		}
		f = *c.format(b.columns.Format)
	}
	for _, need := range f.needs {
		if _, there := row[need]; !there {
			return nil, b.fail(where, fmt.Errorf("data_format is %s, which needs a column %s: the columns are %s", b.columns.Format, quote(need),
				quotedList(names))).Hinted("--data-columns says which columns are learned")
		}
	}
	return &f, nil
}

// given is the format of the columns that the user has named.
func (b *builder) given(row fields, names []string, where string) (*format, error) {
	c := pairColumns{}
	var turns, text string
	for _, one := range []struct {
		name string
		into *string
	}{{b.columns.Question, &c.question}, {b.columns.Answer, &c.answer}, {b.columns.System, &c.system}, {b.columns.Messages, &turns},
		{b.columns.Text, &text}} {
		if one.name == "" {
			continue
		}
		at := indexFold(names, one.name)
		switch {
		case at >= 0:
			*one.into = names[at]
		case isNested(row, one.name):
			*one.into, b.nested = one.name, append(b.nested, one.name)
		default:
			return nil, b.fail(where, fmt.Errorf("there is no column %s: the columns are %s", quote(one.name), quotedList(names))).
				Hinted("data_columns names columns of the file")
		}
	}
	nest(row, b.nested)
	switch {
	case turns != "":
		return &format{name: "messages", named: true, needs: []string{turns}, parse: func(p *rowParser) (Row,
			error) {
			return p.conversation(turns)
		}}, nil
	case text != "":
		return &format{name: "text", named: true, needs: []string{text}, parse: func(p *rowParser) (Row, error) { return p.textOf(text) }}, nil
	}
	return c.format("question/answer"), nil
}

// indexFold finds a name, in any case where none is the same.
func indexFold(names []string, name string) int {
	if at := slices.Index(names, name); at >= 0 {
		return at
	}
	return slices.IndexFunc(names, func(other string) bool { return strings.EqualFold(strings.TrimSpace(other), strings.TrimSpace(name)) })
}

// Pairs are the rows as questions and answers; false where a row is something else: a text, several turns, one with
// fields, tools or variables of the template beside its content.
func (s *Source) Pairs() ([][2]string, bool) {
	list := make([][2]string, 0, s.Len())
	err := s.Each(func(_ int, row Row) error {
		m := row.Messages
		if len(m) != 2 || m[0].Role != "user" || m[1].Role != "assistant" || len(m[0].Fields)+len(m[1].Fields) > 0 || m[1].Train != nil ||
			row.Tools != nil || row.TemplateArgs != nil || len(row.LeftOut) > 0 {
			return errEnough
		}
		list = append(list, [2]string{m[0].Content, m[1].Content})
		return nil
	})
	if err != nil {
		return nil, false
	}
	return list, true
}
