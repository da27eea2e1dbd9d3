package usererr

import (
	jsonv1 "encoding/json"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
)

// plain is an error of a library, said in words of the input instead of in Go's.
type plain struct {
	err  error
	text string
}

func (p *plain) Error() string { return p.text }
func (p *plain) Unwrap() error { return p.err }

// Plain says what was found and what was wanted where err is, or wraps, an error of encoding/json (either version) or
// strconv; it names no type, function or struct of the program. Any other error stays as it is. New does it to its
// arguments.
func Plain(err error) error {
	text := err.Error()
	said, words := inWords(err)
	at := strings.LastIndex(text, said)
	if said == "" || at < 0 {
		return err
	}
	return &plain{err, text[:at] + words + text[at+len(said):]}
}

// inWords finds the part of an error that a library has made, and other words for it.
func inWords(err error) (said, words string) {
	if e, ok := errors.AsType[*json.SemanticError](err); ok {
		place := Pointer(e.JSONPointer)
		if e.Err != nil {
			return e.Error(), place + ": " + Plain(e.Err).Error()
		}
		return e.Error(), fmt.Sprintf("%s is %s, %s was wanted", place, kinds[e.JSONKind.String()], Wanted(e.GoType))
	}
	if e, ok := errors.AsType[*jsonv1.UnmarshalTypeError](err); ok {
		kind, number, _ := strings.Cut(e.Value, " ")
		found := kinds[kind]
		if number != "" {
			found = "the number " + number
		}
		place := "the value"
		if e.Field != "" {
			place = e.Field
		}
		return e.Error(), fmt.Sprintf("%s is %s, %s was wanted", place, found, Wanted(e.Type))
	}
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		place := fmt.Sprintf("after %d bytes", e.ByteOffset)
		if e.JSONPointer != "" {
			place += " (" + string(e.JSONPointer) + ")"
		}
		return e.Error(), fmt.Sprintf("no valid JSON %s: %s", place, cutOff(e.Err))
	}
	if e, ok := errors.AsType[*jsonv1.SyntaxError](err); ok {
		return e.Error(), fmt.Sprintf("no valid JSON after %d bytes: %s", e.Offset, cutOff(e))
	}
	if e, ok := errors.AsType[*strconv.NumError](err); ok {
		if errors.Is(e.Err, strconv.ErrRange) {
			return e.Error(), fmt.Sprintf("%.40q is out of range", e.Num)
		}
		return e.Error(), fmt.Sprintf("%.40q is no number", e.Num)
	}
	for _, end := range []error{io.ErrUnexpectedEOF, io.EOF} {
		if errors.Is(err, end) {
			return end.Error(), endsTooSoon
		}
	}
	return "", ""
}

const endsTooSoon = "it ends too soon"

// cutOff says of a text that ends too soon that it does.
func cutOff(err error) string {
	if errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "unexpected end of JSON input") {
		return endsTooSoon
	}
	return strings.TrimPrefix(err.Error(), "jsontext: ")
}

// kinds names values by how both versions of encoding/json call their kinds.
var kinds = map[string]string{
	"null": "null", "true": "true", "false": "false", "bool": "true or false", "string": "a string", "number": "a number",
	"{": "an object", "object": "an object", "[": "a list", "array": "a list",
}

// Wanted says in words what a value of a Go type is in JSON.
func Wanted(t reflect.Type) string {
	if t == nil {
		return "another value"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return Wanted(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number from 0"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.String:
		return "a string"
	case reflect.Slice, reflect.Array:
		return "a list"
	}
	return "an object"
}

// Pointer is a place in a JSON value as people write it: rope_scaling.factor, tokens.3.
func Pointer(p jsontext.Pointer) string {
	var parts []string
	for token := range p.Tokens() {
		parts = append(parts, token)
	}
	if parts == nil {
		return "the value"
	}
	return strings.Join(parts, ".")
}
