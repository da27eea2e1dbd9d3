package main

import (
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"

	"qlora-wgpu/internal/usererr"
)

// maxNesting is far more than settings have: a mapping, and lists in it. The YAML library takes time and memory that
// grow with the square of the nesting: 1.3 GB and 8 s for 25,000 levels in 100 KB.
const maxNesting = 16

// maxKeys is far more than there are settings. The library compares each key with all before it: 50,000 of them in
// 500 KB take half a minute.
const maxKeys = 1000

// checkNesting counts levels and keys in the tokens of a YAML text, which take no more than the text does. A node is as
// deep as there are brackets open around it, and nodes begun further to the left above it.
func checkNesting(path, text string) error {
	brackets, keys := 0, 0
	var columns []int // where the nodes around a token begin
	tokens := lexer.Tokenize(text)
	for i, t := range tokens {
		if t.Type == token.MappingValueType {
			keys++
		}
		if keys > maxKeys {
			return usererr.New(opConfig, path, "more than %d keys", maxKeys).Of(usererr.Format).
				At("line %d, column %d", t.Position.Line, t.Position.Column)
		}
		begins := false
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			brackets++
		case token.MappingEndType, token.SequenceEndType:
			brackets--
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
			begins = true
		default:
			begins = i+1 < len(tokens) && tokens[i+1].Type == token.MappingValueType
		}
		if begins && brackets == 0 {
			column := t.Position.Column
			for len(columns) > 0 && columns[len(columns)-1] >= column {
				columns = columns[:len(columns)-1]
			}
			columns = append(columns, column)
		}
		if brackets+len(columns) > maxNesting {
			return usererr.New(opConfig, path, "nested too deep: more than %d levels", maxNesting).Of(usererr.Format).
				At("line %d, column %d", t.Position.Line, t.Position.Column)
		}
	}
	return nil
}
