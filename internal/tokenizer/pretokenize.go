package tokenizer

import (
	"strings"
)

// A piece of text that is not empty. first: the text begins with it.
type piece struct {
	text  string
	first bool
}

// A preTokenizer cuts one piece further and appends the parts.
type preTokenizer func(parts []piece, p piece) []piece

// A finder calls found with the place of each match of a text, in order; matches are not empty and do not overlap.
type finder func(text string, found func(start, end int))

// A behavior says what becomes of the matches and of what lies between them. Each is a piece, or joined to the one
// before it.
type behavior struct {
	remove bool                      // matches are left out
	joins  func(before, m bool) bool // whether a match (or not) is joined to a match (or not)
}

var behaviors = map[string]behavior{
	"Removed":            {remove: true, joins: func(bool, bool) bool { return false }},
	"Isolated":           {joins: func(bool, bool) bool { return false }},
	"Contiguous":         {joins: func(before, m bool) bool { return before == m }},
	"MergedWithPrevious": {joins: func(before, m bool) bool { return m && !before }},
	"MergedWithNext":     {joins: func(before, m bool) bool { return before && !m }},
}

// split cuts at matches; with invert, what lies between them counts as the matches.
func split(find finder, b behavior, invert bool) preTokenizer {
	return func(parts []piece, p piece) []piece {
		from, before := 0, false // of the piece that is still open
		done := 0
		cut := func(to int) {
			if to > from && !(b.remove && before) {
				parts = append(parts, piece{p.text[from:to], p.first && from == 0})
			}
			from = to
		}
		segment := func(start, end int, match bool) {
			if start == end {
				return
			}
			match = match != invert
			if start > 0 && !b.joins(before, match) {
				cut(start)
			}
			before, done = match, end
		}
		find(p.text, func(start, end int) {
			segment(done, start, false)
			segment(start, end, true)
		})
		segment(done, len(p.text), false)
		cut(len(p.text))
		return parts
	}
}

// literal finds a text that is not empty.
func literal(wanted string) finder {
	return func(text string, found func(start, end int)) {
		for at := 0; ; at += len(wanted) {
			i := strings.Index(text[at:], wanted)
			if i < 0 {
				return
			}
			at += i
			found(at, at+len(wanted))
		}
	}
}

// prefixSpace puts a space before a piece that does not start with one.
func prefixSpace(parts []piece, p piece) []piece {
	if !strings.HasPrefix(p.text, " ") {
		p.text = " " + p.text
	}
	return append(parts, p)
}

// digits isolates numbers (Unicode's category N): each one, or each run of them.
func digits(individual bool) preTokenizer {
	b := behaviors["Contiguous"]
	if individual {
		b = behaviors["Isolated"]
	}
	return split(mustCompile(`\p{N}`).find, b, false)
}
