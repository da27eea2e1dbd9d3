package settings

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// UnknownKey is a key that no setting has.
type UnknownKey struct{ Key string }

func (e *UnknownKey) Error() string { return fmt.Sprintf("unknown key %q", e.Key) }

// Mistyped is a value of another kind than the setting's.
type Mistyped struct{ Key, Value, Wanted string }

func (e *Mistyped) Error() string {
	return fmt.Sprintf("%s is %s, wanted: %s", e.Key, e.Value, e.Wanted)
}

// Read lays a JSON object over the struct that `into` points to: what it does not name stays as it is, and is listed as
// missing. Errors are an *UnknownKey, a *Mistyped, or what is wrong with the JSON.
func Read(object []byte, into any) (missing []string, err error) {
	var values map[string]json.RawMessage
	if err := json.Unmarshal(object, &values); err != nil {
		return nil, err
	}
	return overlay(values, into)
}

func overlay(values map[string]json.RawMessage, into any) (missing []string, err error) {
	known := map[string]bool{}
	for field, value := range fields(reflect.ValueOf(into).Elem()) {
		key := key(field)
		known[key] = true
		text, given := values[key]
		if !given {
			missing = append(missing, key)
		} else if err := decode(text, value); err != nil {
			wanted := Takes(field.Type.Kind())
			if wanted == "" {
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

// decode is stricter than encoding/json, for which null is any value and for which a struct may have any keys.
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
func shortened(text json.RawMessage) string {
	if len(text) > 80 {
		return string(text[:80]) + "…"
	}
	return string(text)
}
