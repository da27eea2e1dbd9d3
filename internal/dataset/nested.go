package dataset

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"strings"
)

const (
	maxNested     = 24 // columns within columns that are offered
	nestedOffered = 3  // levels of them
)

// nest adds what names such as "translation.en" lead to within a row's objects, null where they lead nowhere.
func nest(row fields, names []string) {
	for _, name := range names {
		if value := within(row, name); value != nil {
			row[name] = value
		} else {
			row[name] = jsontext.Value("null")
		}
	}
}

// within is the value that a name leads to, nil where it leads nowhere.
func within(row fields, name string) jsontext.Value {
	column, rest, more := strings.Cut(name, ".")
	value := row[column]
	if !more || value.Kind() != jsontext.KindBeginObject {
		if more {
			return nil
		}
		return value
	}
	var object fields
	if json.Unmarshal(value, &object) != nil {
		return nil
	}
	return within(object, rest)
}

func isNested(row fields, name string) bool {
	return strings.Contains(name, ".") && within(row, name) != nil
}

// nestedTexts are the names of texts within objects.
func nestedTexts(row fields, names []string) (found []string) {
	var add func(row fields, names []string, before string, depth int)
	add = func(row fields, names []string, before string, depth int) {
		for _, name := range names {
			value := row[name]
			switch kind := value.Kind(); {
			case len(found) == maxNested || strings.Contains(name, "."):
			case kind == jsontext.KindString && depth > 0:
				found = append(found, before+name)
			case kind == jsontext.KindBeginObject && depth < nestedOffered:
				var object fields
				if json.Unmarshal(value, &object) == nil {
					add(object, namesIn(value), before+name+".", depth+1)
				}
			}
		}
	}
	add(row, names, "", 0)
	return found
}
