// Package settings holds every setting that a user can change, in groups. A command, a run and a benchmark are structs
// that embed the groups they need, so a setting has one name, one default, one help text and one check, whether it
// comes from a flag, a YAML file, JSON or Go.
//
// A setting is a field with tags:
//
//	json         its key, in YAML too; without this tag a field is no setting
//	name         the flag: the key with hyphens
//	aliases      names that other fine-tuning tools use for the same thing
//	default      as the command line would have it; without it: the zero value
//	help         what the user reads
//	numeric      the setting decides the numbers of a run, so that a checkpoint belongs to runs with its value alone
//	object       a JSON object as a text, which a YAML file may have as a mapping
//	lines        several values, each on a line of its own: the flag again, or a list in a YAML file
//	placeholder, sep, negatable, type: how the command line shows and reads it
//
// Each group, and each struct of groups, has a Check of its values. It is not named Validate: the parser of the command
// line would call each group's by itself, also where a command can do without what the group holds.
package settings

import (
	"fmt"
	"iter"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Default is a T with every setting at its default.
func Default[T any]() (c T) {
	for field, value := range fields(reflect.ValueOf(&c).Elem()) {
		if text, set := field.Tag.Lookup("default"); set {
			if err := parse(value, text); err != nil {
				panic(fmt.Sprintf("settings: the default of %s: %v", field.Name, err))
			}
		}
	}
	return c
}

// fields are the settings of a struct, those of its groups too, in the order of their declaration.
func fields(c reflect.Value) iter.Seq2[reflect.StructField, reflect.Value] {
	return func(yield func(reflect.StructField, reflect.Value) bool) {
		for _, field := range reflect.VisibleFields(c.Type()) {
			if key(field) != "" && !yield(field, c.FieldByIndex(field.Index)) {
				return
			}
		}
	}
}

// key is a setting's name in YAML and JSON; empty: the field is none.
func key(field reflect.StructField) string {
	key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	if key == "-" {
		return ""
	}
	return key
}

// parse sets a value from its text on the command line.
func parse(value reflect.Value, text string) error {
	switch target := value.Addr().Interface().(type) {
	case *string:
		*target = text
		return nil
	case *[]string:
		*target = strings.Split(text, ",")
		return nil
	case *bool:
		return assign(target)(strconv.ParseBool(text))
	case *int:
		return assign(target)(strconv.Atoi(text))
	case *uint64:
		return assign(target)(strconv.ParseUint(text, 10, 64))
	case *float64:
		return assign(target)(strconv.ParseFloat(text, 64))
	case *time.Duration:
		return assign(target)(time.ParseDuration(text))
	}
	return fmt.Errorf("a %s has no default", value.Type())
}

func assign[T any](target *T) func(T, error) error {
	return func(value T, err error) error {
		*target = value
		return err
	}
}

// Takes says in words what a setting of a kind can be.
func Takes(kind reflect.Kind) string {
	return map[reflect.Kind]string{
		reflect.Bool: "true or false", reflect.Int: "a whole number", reflect.Uint64: "a whole number from 0",
		reflect.Float64: "a number", reflect.String: "a text", reflect.Slice: "a list of names",
	}[kind]
}
