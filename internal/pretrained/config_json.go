package pretrained

import (
	"bytes"
	"cmp"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"

	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/usererr"
)

// maxDepth is how deep configuration files may nest.
const maxDepth = 64

// decodeJSON decodes a whole file. Invalid UTF-8, duplicate keys, nesting beyond maxDepth and values of another type
// than the key's are Format errors with the line; unknown keys are ignored, as Hugging Face adds them with every
// release.
func decodeJSON(data []byte, path string, into any) error {
	data = quoteConstants(data)
	fail := func(offset int64, err error) error {
		line := 1 + bytes.Count(data[:min(int(offset), len(data))], []byte("\n"))
		return usererr.New(op, path, "%w", err).Of(usererr.Format).At("line %d", line)
	}
	d := jsontext.NewDecoder(bytes.NewReader(data))
	for {
		_, err := d.ReadToken()
		var syntax *jsontext.SyntacticError
		switch {
		case err == nil && d.StackDepth() > maxDepth:
			return fail(d.InputOffset(), fmt.Errorf("nested deeper than %d", maxDepth))
		case errors.As(err, &syntax) && syntax.JSONPointer != "":
			return fail(syntax.ByteOffset, fmt.Errorf("no valid JSON at %s: %w", syntax.JSONPointer, syntax.Err))
		case errors.As(err, &syntax):
			return fail(syntax.ByteOffset, fmt.Errorf("no valid JSON: %w", syntax.Err))
		case err != nil && err != io.EOF:
			return fail(d.InputOffset(), err)
		}
		if err == io.EOF {
			break
		}
	}
	err := json.Unmarshal(data, into)
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		wanted := usererr.Wanted(semantic.GoType)
		found := semantic.JSONKind.String()
		if found == "[" {
			found = "list"
		}
		reason := fmt.Errorf("%s is a %s, %s was wanted", cmp.Or(string(semantic.JSONPointer), "the file"), found, wanted)
		if semantic.Err != nil {
			reason = fmt.Errorf("%s: %w", semantic.JSONPointer, semantic.Err)
		}
		return fail(semantic.ByteOffset, reason)
	} else if err != nil {
		return fail(0, err)
	}
	return nil
}

// quoteConstants puts the numbers that JSON does not have and Python writes, NaN, Infinity and -Infinity, in quotes: a
// file may have them under keys that nobody reads, and whoever wants a number there gets a text. Lines stay.
func quoteConstants(data []byte) []byte {
	return replaceConstants(data, func(constant []byte) []byte { return slices.Concat([]byte{'"'}, constant, []byte{'"'}) })
}

// replaceConstants puts something else in the place of each of them.
func replaceConstants(data []byte, with func(constant []byte) []byte) []byte {
	if !bytes.Contains(data, []byte("NaN")) && !bytes.Contains(data, []byte("Infinity")) {
		return data
	}
	var out []byte
	for at, inText := 0, false; at < len(data); at++ {
		c := data[at]
		if !inText {
			if constant := pythonConstant.Find(data[at:]); constant != nil {
				out = append(out, with(constant)...)
				at += len(constant) - 1
				continue
			}
		}
		out = append(out, c)
		if inText && c == '\\' && at+1 < len(data) {
			at++
			out = append(out, data[at])
		} else if c == '"' {
			inText = !inText
		}
	}
	return out
}

var pythonConstant = regexp.MustCompile(`^(NaN|-?Infinity)\b`)

// keyError is an error about the value of a key of the outermost object.
func keyError(data []byte, path, key string, err error) error {
	if semantic, ok := errors.AsType[*json.SemanticError](err); ok && semantic.Err != nil {
		err = semantic.Err
	}
	return usererr.New(op, path, "%s: %w", key, err).Of(usererr.Format).At("%s", placeOf(data, key))
}

// readKeys reads a config.json.
func readKeys(data []byte, path string) (*spec.Keys, error) {
	data = quoteConstants(data)
	k := &spec.Keys{Path: path, Place: func(key string) string { return placeOf(data, key) }}
	if err := decodeJSON(data, path, &k.Values); err != nil {
		return nil, err
	}
	return k, nil
}

// placeOf is the line of a key of the outermost object; empty where it is not there.
func placeOf(data []byte, key string) string {
	d := jsontext.NewDecoder(bytes.NewReader(data))
	for {
		token, err := d.ReadToken()
		if err != nil {
			return ""
		}
		if d.StackDepth() != 1 {
			continue
		}
		if _, read := d.StackIndex(1); read%2 == 1 && token.String() == key {
			return fmt.Sprintf("line %d", 1+bytes.Count(data[:d.InputOffset()], []byte("\n")))
		}
	}
}
