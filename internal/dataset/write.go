package dataset

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"slices"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/usererr"
)

// AppendLine appends a row as a line of JSON Lines, which is read as the same row again: messages, whatever format it
// came from, or a text. What LeftOut names is not there to be written.
func AppendLine(to []byte, row Row) ([]byte, error) {
	out := bytes.NewBuffer(to)
	e := jsontext.NewEncoder(out)
	w := lineWriter{e: e}
	w.token(jsontext.BeginObject)
	if row.Messages == nil {
		w.text("text", row.Text)
	} else {
		w.token(jsontext.String("messages"), jsontext.BeginArray)
		for _, m := range row.Messages {
			w.message(m)
		}
		w.token(jsontext.EndArray)
		w.value("tools", row.Tools)
		w.value(templateArgsColumn, row.TemplateArgs)
	}
	w.token(jsontext.EndObject) // the encoder ends the line
	if w.err != nil {
		return to, usererr.New("write row", "", "%w", w.err).At("%s", row.Where)
	}
	refuse := func(reason, hint string) ([]byte, error) {
		return to, usererr.New("write row", "", "%s", reason).At("%s", row.Where).Of(usererr.Unsupported).Hinted("%s", hint)
	}
	switch line := out.Bytes()[len(to):]; {
	case len(line) > maxRowBytes:
		return refuse(errRowTooLong.Error()+", which would not be read again", "cut its text into several rows before")
	case deeper(line, maxDepth): // as JSON in a string it was not
		return refuse(fmt.Sprintf("nested deeper than %d levels as JSON, which would not be read again", maxDepth), "take the row out before")
	}
	return out.Bytes(), nil
}

// lineWriter keeps the first error.
type lineWriter struct {
	e   *jsontext.Encoder
	err error
}

func (w *lineWriter) token(tokens ...jsontext.Token) {
	for _, t := range tokens {
		if w.err == nil {
			w.err = w.e.WriteToken(t)
		}
	}
}

func (w *lineWriter) text(name, text string) { w.token(jsontext.String(name), jsontext.String(text)) }

// value writes a member that is there.
func (w *lineWriter) value(name string, value jsontext.Value) {
	if value == nil {
		return
	}
	w.token(jsontext.String(name))
	if w.err == nil {
		w.err = json.MarshalEncode(w.e, value)
	}
}

// message writes a turn under role and content, or where it has other things under those names, as ShareGPT's may,
// under from and value.
func (w *lineWriter) message(m chat.Message) {
	speaker, text := "role", "content"
	if slices.ContainsFunc(m.Fields, func(f chat.Field) bool { return f.Name == speaker || f.Name == text }) {
		speaker, text = "from", "value"
	}
	w.token(jsontext.BeginObject)
	w.text(speaker, m.Role)
	if !m.NoContent {
		w.text(text, m.Content)
	}
	for _, f := range m.Fields {
		w.value(f.Name, f.Value)
	}
	if m.Train != nil {
		w.token(jsontext.String("train"), jsontext.Bool(*m.Train))
	}
	w.token(jsontext.EndObject)
}
