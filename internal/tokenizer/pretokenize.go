package tokenizer

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A preTokenizer cuts one piece of text further and appends the parts, none of them empty.
type preTokenizer func(parts []string, piece string) []string

func scanAll(next scanner) preTokenizer {
	return func(parts []string, piece string) []string {
		for len(piece) > 0 {
			n := next(piece)
			parts = append(parts, piece[:n])
			piece = piece[n:]
		}
		return parts
	}
}

// cut splits at the matches of re. Matches are kept unless removeMatches, what lies between them unless removeGaps.
func cut(re *regexp.Regexp, removeMatches, removeGaps bool) preTokenizer {
	return func(parts []string, piece string) []string {
		last := 0
		for _, m := range re.FindAllStringIndex(piece, -1) {
			if m[0] == m[1] {
				continue
			}
			if m[0] > last && !removeGaps {
				parts = append(parts, piece[last:m[0]])
			}
			if !removeMatches {
				parts = append(parts, piece[m[0]:m[1]])
			}
			last = m[1]
		}
		if last < len(piece) && !removeGaps {
			parts = append(parts, piece[last:])
		}
		return parts
	}
}

// digits isolates numbers (Unicode category N): each one, or each run of them.
func digits(individual bool) preTokenizer {
	return func(parts []string, piece string) []string {
		start := 0
		for i := 0; i < len(piece); {
			r, n := utf8.DecodeRuneInString(piece[i:])
			if !unicode.IsNumber(r) {
				i += n
				continue
			}
			if start < i {
				parts = append(parts, piece[start:i])
			}
			if !individual {
				n = run(piece[i:], number)
			}
			parts = append(parts, piece[i:i+n])
			i += n
			start = i
		}
		if start < len(piece) {
			parts = append(parts, piece[start:])
		}
		return parts
	}
}

// prefixSpace puts a space before a piece that does not start with one.
func prefixSpace(parts []string, piece string) []string {
	if !strings.HasPrefix(piece, " ") {
		piece = " " + piece
	}
	return append(parts, piece)
}
