package jinja

import (
	"encoding/json/jsontext"
	"strings"
	"unicode"
	"unicode/utf8"
)

// markup is a text that counts as escaped: what is joined to it with + is escaped first, as with markupsafe. It is a
// string for everything else.
type markup string

// plain is a value without the mark.
func plain(v Value) Value {
	if marked, ok := v.(markup); ok {
		return string(marked)
	}
	return v
}

func isText(v Value) bool {
	_, ok := plain(v).(string)
	return ok
}

var htmlEscapes = strings.NewReplacer("&", "&amp;", ">", "&gt;", "<", "&lt;", "'", "&#39;", `"`, "&#34;")

// escape is markupsafe's.
func (m *machine) escapeHTML(v Value) markup {
	if marked, ok := v.(markup); ok {
		return marked
	}
	text := m.str(v)
	m.reads(text)
	if !strings.ContainsAny(text, `&<>'"`) {
		return markup(text)
	}
	m.built(5 * len(text))
	return markup(htmlEscapes.Replace(text))
}

func escaped(m *machine, v Value, a args) Value { return m.escapeHTML(v) }

func forceEscaped(m *machine, v Value, a args) Value { return m.escapeHTML(m.str(v)) }

// fromJSON is json.loads.
func fromJSON(m *machine, v Value, a args) Value {
	text, ok := v.(string)
	if !ok {
		m.fail("the JSON object must be str, not %s", typeName(v))
	}
	m.built(len(text))
	m.work(len(text)) // a value may be as short as two bytes
	m.built(memberBytes * len(text))
	out, err := FromJSON(jsontext.Value(text))
	if err != nil {
		m.fail("from_json: %s", err)
	}
	return out
}

func center(m *machine, v Value, a args) Value {
	text, width := m.str(v), a.takeInt(m, "center", 0, "width", 80)
	missing := width - int64(utf8.RuneCountInString(text))
	if missing <= 0 {
		return text
	}
	left := missing/2 + missing&width&1
	m.built(len(text))
	return m.repeat(" ", left).(string) + text + m.repeat(" ", missing-left).(string)
}

// wordCount counts runs of letters, digits and underscores.
func wordCount(m *machine, v Value, a args) Value {
	count, inWord := int64(0), false
	for _, r := range m.str(v) {
		is := isWord(r)
		if is && !inWord {
			count++
		}
		inWord = is
	}
	return count
}

// attribute is x.name, never an element.
func attribute(m *machine, v Value, a args) Value {
	name := a.takeString(m, "attr", 0, "name", "")
	if d, isDict := v.(*Dict); isDict {
		if method, ok := m.method(d, name); ok {
			return method
		}
		return undefined{name}
	}
	return m.index(v, name, true)
}

func isWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) }
