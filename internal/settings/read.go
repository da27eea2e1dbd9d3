package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"unicode/utf8"
)

// UnknownKey is a key that no setting has.
type UnknownKey struct{ Key string }

func (e *UnknownKey) Error() string { return "unknown key " + shortened(fmt.Appendf(nil, "%q", e.Key)) }

// Mistyped is a value of another kind than the setting's.
type Mistyped struct{ Key, Value, Wanted string }

func (e *Mistyped) Error() string {
	return fmt.Sprintf("%s is %s, wanted: %s", e.Key, e.Value, e.Wanted)
}

// Read lays a JSON object over the struct that `into` points to: what it does not name stays as it is, and is listed as
// missing. Errors are an *UnknownKey, a *Mistyped, or what is wrong with the JSON.
func Read(object []byte, into any) (missing []string, err error) {
	values, err := byKey(object)
	if err != nil {
		return nil, err
	}
	return overlay(values, into)
}

// byKey are the values of a JSON object. encoding/json alone lets the last of several values of a key win, and replaces
// what is not UTF-8.
func byKey(object []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(object) {
		return nil, errors.New("the text is not UTF-8")
	}
	var whole json.RawMessage
	if err := json.Unmarshal(object, &whole); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(whole))
	if begin, err := d.Token(); err != nil || begin != json.Delim('{') {
		return nil, fmt.Errorf("%s is no JSON object", shortened(whole))
	}
	values := map[string]json.RawMessage{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, _ := name.(string) // a key is nothing else
		if _, twice := values[key]; twice {
			return nil, fmt.Errorf("the key %s is there twice", shortened(fmt.Appendf(nil, "%q", key)))
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		values[key] = value
	}
	return values, nil
}

func overlay(values map[string]json.RawMessage, into any) (missing []string, err error) {
	known := map[string]bool{}
	for field, value := range fields(reflect.ValueOf(into).Elem()) {
		key := key(field)
		known[key] = true
		text, given := values[key]
		if !given {
			missing = append(missing, key)
			continue
		}
		if _, whole := value.Addr().Interface().(json.Unmarshaler); value.Kind() == reflect.Struct && !whole {
			if err := all(text, value); err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			continue
		}
		if err := decode(text, value); err != nil {
			wanted := Takes(field.Type.Kind())
			if wanted == "" || field.Type == reflect.TypeFor[json.RawMessage]() {
				wanted = err.Error()
			}
			return nil, &Mistyped{key, shortened(text), wanted}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if !known[key] {
			return nil, &UnknownKey{key}
		}
	}
	return missing, nil
}

// all reads an object that has to name all of a struct.
func all(text json.RawMessage, value reflect.Value) error {
	missing, err := Read(text, value.Addr().Interface())
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("there is no key %q", missing[0])
	}
	return err
}

// decode is stricter than encoding/json, for which null is any value.
func decode(text json.RawMessage, value reflect.Value) error {
	if string(text) == "null" {
		return fmt.Errorf("another value than null")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	fresh := reflect.New(value.Type()) // a list is not written into the one that is there
	if err := d.Decode(fresh.Interface()); err != nil {
		return err
	}
	value.Set(fresh.Elem())
	return nil
}

// shortened is enough of a value to know it by.
func shortened(text []byte) string {
	if len(text) > 80 {
		return string(text[:80]) + "…"
	}
	return string(text)
}
