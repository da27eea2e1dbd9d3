package settings

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/json/jsontext"
	"fmt"
	"reflect"
	"strings"
)

// numbers are the settings that decide a run's numbers, by key, as far as they do.
func numbers(c reflect.Value) map[string]any {
	values := map[string]any{}
	for field, value := range fields(c) {
		if _, numeric := field.Tag.Lookup("numeric"); numeric {
			values[key(field)] = value.Interface()
		}
	}
	if name, ok := values["optim"].(string); ok {
		values["optim"] = strings.TrimPrefix(name, Paged) // paging changes no bit
	}
	if text, ok := values["template_args"].(string); ok {
		values["template_args"] = canonical(text)
	}
	if values["activation_dtype"] == ActivationsF32 {
		// what is computed again are the same bits, unless it begins from rounded ones
		delete(values, "gradient_checkpointing")
	}
	return values
}

// canonical is the same for JSON that means the same; other texts stay as they are.
func canonical(text string) string {
	value := jsontext.Value(strings.TrimSpace(text))
	if value.Canonicalize() != nil {
		return text
	}
	return string(value)
}

// Identity is the same for two runs whose numeric settings agree, and whose chat templates, where they have one of
// their own. A setting at its default is left out: one that a later version adds, and whose default is what was done
// before, leaves the identities of earlier runs as they are.
func Identity[T any](c T, template string) string {
	defaults := numbers(reflect.ValueOf(Default[T]()))
	own := numbers(reflect.ValueOf(c))
	for key, value := range defaults {
		if reflect.DeepEqual(own[key], value) {
			delete(own, key)
		}
	}
	text, err := json.Marshal(own) // sorted by key
	if err != nil {
		panic("settings: " + err.Error()) // numbers, booleans, texts and lists of them; Check refuses NaN
	}
	sum := sha256.Sum256(append(text, template...))
	return hex.EncodeToString(sum[:])
}

// Differences names the numeric settings in which two runs differ: "learning_rate was 0.0002, is 0.001".
func Differences[T any](saved, now T) (names []string) {
	was, is := numbers(reflect.ValueOf(saved)), numbers(reflect.ValueOf(now))
	for field := range fields(reflect.ValueOf(now)) {
		before, counted := was[key(field)]
		here, counts := is[key(field)]
		if counted && counts && !reflect.DeepEqual(before, here) {
			names = append(names, fmt.Sprintf("%s was %v, is %v", key(field), before, here))
		}
	}
	return names
}
