package dataset

import (
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"qlora-wgpu/internal/chat/jinja"
	"qlora-wgpu/internal/usererr"
)

// rowTemplate makes rows of other rows: a Jinja template that sees a row's columns, and all of them as row. What it
// writes is a list of turns or a row, as JSON, or a text; the first one that is not empty decides for all.
type rowTemplate struct {
	template *jinja.Template
	decided  bool
	json     bool // it writes JSON
}

// beginsAsJSON tells turns or a row in JSON from texts, which may begin with [INST].
var beginsAsJSON = regexp.MustCompile(`^(\[\s*\{|\{\s*")`)

func newRowTemplate(source string) (*rowTemplate, error) {
	t, err := jinja.Parse(source)
	if err == nil && t.Mentions("strftime_now") {
		err = errors.New("it asks for the day, and a data set is the same on every day")
	}
	return &rowTemplate{template: t}, err
}

// row renders one, whose columns are in the order of names; nothing is a row without columns.
func (t *rowTemplate) row(row fields, names []string) (fields, error) {
	variables, all := map[string]jinja.Value{}, &jinja.Dict{}
	for _, name := range names {
		v, err := jinja.FromJSON(row[name])
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", quote(name), err)
		}
		variables[name] = v
		all.Set(name, v)
	}
	if _, is := row["row"]; !is {
		variables["row"] = all
	}
	out, err := t.template.Render(variables, time.Time{})
	if err != nil {
		return nil, fmt.Errorf("data_template: %w", err)
	}
	text := strings.TrimSpace(out.Text)
	if text == "" {
		return fields{}, nil
	}
	if len(text) > maxRowBytes {
		return nil, errRowTooLong
	}
	value := jsontext.Value(text)
	kind := value.Kind()
	isJSON := (kind == jsontext.KindBeginArray || kind == jsontext.KindBeginObject) && !deeper(value, maxDepth) && value.IsValid()
	if !t.decided {
		if !isJSON && beginsAsJSON.MatchString(text) {
			return nil, fmt.Errorf("data_template: what it writes begins as JSON does and is none: %s "+
				"({{ … | tojson }} writes texts in their quotes)", quote(text))
		}
		t.decided, t.json = true, isJSON
	}
	switch {
	case !t.json:
		quoted, err := jsontext.AppendQuote(nil, out.Text)
		return fields{"text": quoted}, err
	case !isJSON:
		return nil, fmt.Errorf("data_template: it writes no JSON here, as it did before, but %s", quote(text))
	case kind == jsontext.KindBeginArray:
		return fields{"messages": value}, nil
	}
	made, err := objectOf(value)
	if err != nil {
		return nil, fmt.Errorf("data_template: %w", err)
	}
	return made, nil
}

// renderRow puts what the template makes of a row in its place.
func (b *builder) renderRow(row fields, names []string, where string) (fields, []string, error) {
	if b.template == nil {
		var err error
		if b.template, err = newRowTemplate(b.columns.Template); err != nil {
			return nil, nil, usererr.New(readOp, b.source.Path, "data_template: %w", err).Of(usererr.Format)
		}
	}
	made, err := b.template.row(row, names)
	if err != nil {
		return nil, nil, b.fail(where, err)
	}
	return made, slices.Sorted(maps.Keys(made)), nil
}
