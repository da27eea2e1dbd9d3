package chat

import (
	"bytes"
	"encoding/json/jsontext"
	"regexp"
	"slices"
	"strings"
)

// argumentsPlace is where calls hold their arguments: OpenAI's tool_calls, with "function" or without, and its earlier
// function_call.
var argumentsPlace = regexp.MustCompile(`^(/\d+)?(/function)?/arguments$`)

// callFields are the fields of a turn that hold calls.
var callFields = []string{"tool_calls", "function_call"}

// ArgumentsAsObjects gives calls whose arguments are objects. OpenAI's API has them as JSON texts, which templates that
// write JSON would quote once more. Texts that are no objects stay as they are.
func ArgumentsAsObjects(calls jsontext.Value) (_ jsontext.Value, changed bool) {
	return rewriteJSON(calls, func(at string, value jsontext.Value) (jsontext.Value, bool) {
		if value.Kind() != jsontext.KindString || !argumentsPlace.MatchString(at) {
			return nil, false
		}
		text, err := jsontext.AppendUnquote(nil, value)
		object := jsontext.Value(bytes.TrimSpace(text))
		return object, err == nil && object.Kind() == jsontext.KindBeginObject && object.IsValid()
	})
}

// argumentsAsText is the conversation with the arguments of its calls as JSON texts, spaced as Python writes them.
func (c Conversation) argumentsAsText() (_ Conversation, changed bool) {
	c.Messages = slices.Clone(c.Messages)
	for i, m := range c.Messages {
		c.Messages[i].Fields = slices.Clone(m.Fields)
		for k, f := range m.Fields {
			if !slices.Contains(callFields, f.Name) {
				continue
			}
			texts, any := rewriteJSON(f.Value, func(at string, value jsontext.Value) (jsontext.Value, bool) {
				if value.Kind() != jsontext.KindBeginObject || !argumentsPlace.MatchString(at) {
					return nil, false
				}
				spaced := value.Clone()
				if err := spaced.Format(jsontext.SpaceAfterColon(true), jsontext.SpaceAfterComma(true), jsontext.Multiline(false)); err != nil {
					return nil, false
				}
				text, err := jsontext.AppendQuote(nil, spaced)
				return text, err == nil
			})
			if any {
				c.Messages[i].Fields[k].Value, changed = texts, true
			}
		}
	}
	return c, changed
}

// rewriteJSON asks for another value at each place, named by its JSON pointer; what is not replaced is looked into. A
// value that is not valid stays as it is.
func rewriteJSON(value jsontext.Value, replace func(at string, value jsontext.Value) (jsontext.Value, bool)) (jsontext.Value, bool) {
	var out bytes.Buffer
	changed := false
	if err := writeReplaced(jsontext.NewEncoder(&out), value, "", replace, &changed); err != nil || !changed {
		return value, false
	}
	return jsontext.Value(bytes.TrimSpace(out.Bytes())), true
}

func writeReplaced(
	to *jsontext.Encoder, value jsontext.Value, at string, replace func(string, jsontext.Value) (jsontext.Value, bool), changed *bool,
) error {
	if other, yes := replace(at, value); yes {
		*changed = true
		return to.WriteValue(other)
	}
	kind := value.Kind()
	if kind != jsontext.KindBeginObject && kind != jsontext.KindBeginArray {
		return to.WriteValue(value)
	}
	from := jsontext.NewDecoder(bytes.NewReader(value))
	open, err := from.ReadToken()
	if err != nil {
		return err
	}
	if err := to.WriteToken(open); err != nil {
		return err
	}
	for n := 0; ; n++ {
		if end := from.PeekKind(); end == jsontext.KindEndObject || end == jsontext.KindEndArray || end == jsontext.KindInvalid {
			break
		}
		if kind == jsontext.KindBeginObject {
			name, err := from.ReadToken()
			if err != nil {
				return err
			}
			if err := to.WriteToken(name); err != nil {
				return err
			}
		}
		inner, err := from.ReadValue()
		if err != nil {
			return err
		}
		if err := writeReplaced(to, inner, at+"/"+lastOf(from), replace, changed); err != nil {
			return err
		}
	}
	end, err := from.ReadToken()
	if err != nil {
		return err
	}
	return to.WriteToken(end)
}

// lastOf is the name or the index of the value that was read last.
func lastOf(d *jsontext.Decoder) string {
	pointer := string(d.StackPointer())
	return pointer[strings.LastIndexByte(pointer, '/')+1:]
}
