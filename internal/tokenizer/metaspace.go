package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// metaspace stands for a space in the vocabularies of SentencePiece.
const metaspace = "▁"

// A prependScheme says which pieces get a space in front: all, the first one of a text, or none.
type prependScheme string

const (
	prependAlways prependScheme = "always"
	prependFirst  prependScheme = "first"
	prependNever  prependScheme = "never"
)

// scheme is a Metaspace's prepend_scheme, which older files say by add_prefix_space.
func (d *definition) scheme(c component, where string) (prependScheme, error) {
	scheme := prependAlways
	if c.PrependScheme != nil {
		scheme = prependScheme(*c.PrependScheme)
	}
	switch {
	case scheme != prependAlways && scheme != prependFirst && scheme != prependNever:
		return "", unsupported(d.path, "Metaspace with prepend_scheme %.40q", string(scheme)).At("%s", where)
	case c.AddPrefixSpace == nil || *c.AddPrefixSpace:
		return scheme, nil
	case c.PrependScheme != nil && scheme != prependNever:
		return "", fail(d.path, "add_prefix_space is false, prepend_scheme is %q", string(scheme)).At("%s", where)
	}
	return prependNever, nil
}

// metaspaces writes replacement for spaces and in front, and cuts before each.
func metaspaces(replacement string, scheme prependScheme, cut bool) preTokenizer {
	cutter := split(literal(replacement), behaviors["MergedWithNext"], false)
	return func(parts []piece, p piece) []piece {
		p.text = strings.ReplaceAll(p.text, " ", replacement)
		if (scheme == prependAlways || scheme == prependFirst && p.first) && !strings.HasPrefix(p.text, replacement) {
			p.text = replacement + p.text
		}
		if !cut {
			return append(parts, p)
		}
		return cutter(parts, p)
	}
}

// metaspaceOf is the character that stands for a space.
func (d *definition) metaspaceOf(c component, where string) (string, error) {
	if c.Replacement == nil || utf8.RuneCountInString(*c.Replacement) != 1 {
		return "", fail(d.path, "the replacement of Metaspace is not one character").At("%s", where)
	}
	return *c.Replacement, nil
}
