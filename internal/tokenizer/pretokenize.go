package tokenizer

import "strings"

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

// addPreTokenizer enters a component of `pre_tokenizer`.
func (d *definition) addPreTokenizer(c component, where string) error {
	if d.byteLevel {
		return unsupported(d.path, "the pre-tokenizer %q after ByteLevel", c.Type).At("%s", where)
	}
	add := func(p ...preTokenizer) { d.preTokenizers = append(d.preTokenizers, p...) }
	switch c.Type {
	case "ByteLevel":
		d.byteLevel = true
		if c.AddPrefixSpace == nil || *c.AddPrefixSpace {
			add(prefixSpace)
			if err := d.grow(2, where); err != nil {
				return err
			}
		}
		if c.UseRegex == nil || *c.UseRegex {
			add(isolated(gpt2Pattern))
		}
	case "Digits":
		add(digits(c.IndividualDigits))
	case "Whitespace":
		add(isolatedOnly(`[\w\x{200C}\x{200D}]+|[^\w\x{200C}\x{200D}\s]+`)) // Rust's words have the joiners
	case "WhitespaceSplit":
		add(isolatedOnly(`\S+`))
	case "Metaspace":
		replacement, err := d.metaspaceOf(c, where)
		if err != nil {
			return err
		}
		scheme, err := d.scheme(c, where)
		if err != nil {
			return err
		}
		add(metaspaces(replacement, scheme, c.Split == nil || *c.Split))
		return d.grow(1+len(replacement), where)
	case "Punctuation", "Split":
		b, ok := behaviors[c.Behavior]
		if c.Type == "Punctuation" {
			if c.Behavior == "" {
				b, ok = behaviors["Isolated"], true
			}
			c.Pattern.Regex, c.Pattern.String, c.Invert = new(punctuationPattern), nil, false
		}
		if !ok {
			return unsupported(d.path, "%s with behavior %.40q", c.Type, c.Behavior).At("%s", where)
		}
		find, err := d.finder(c, where)
		if err != nil {
			return err
		}
		add(split(find, b, c.Invert))
	}
	return nil
}

// finder finds what a component's pattern matches.
func (d *definition) finder(c component, where string) (finder, error) {
	switch {
	case c.Pattern.String != nil && *c.Pattern.String == "":
		return nil, fail(d.path, "the pattern of %s is the empty text", c.Type).At("%s", where)
	case c.Pattern.String != nil:
		return literal(*c.Pattern.String), nil
	case c.Pattern.Regex == nil:
		return nil, fail(d.path, "%s has no pattern", c.Type).At("%s", where)
	}
	p, err := compilePattern(*c.Pattern.Regex)
	if err != nil {
		return nil, unsupported(d.path, "the pattern %.200q (%v)", *c.Pattern.Regex, err).At("%s", where).
			Hinted("patterns of classes, groups, look-aheads and repetitions are supported")
	}
	return p.find, nil
}
