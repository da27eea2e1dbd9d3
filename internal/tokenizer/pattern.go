package tokenizer

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxPatternBytes  = 4 << 10
	maxPatternDepth  = 32
	maxPatternRepeat = 1000
)

// A node of a parsed pattern.
type node struct {
	kind     nodeKind
	set      ranges // of a character
	parts    []node // of a sequence or an alternation; the one part of a repetition or look-ahead
	min, max int    // of a repetition; max -1: no end
	lazy     bool
	// possessive: a repetition gives nothing back
	possessive bool
	negative   bool // of a look-ahead
	anchor     rune // ^ and $ of a line, \A and \z of the text, \b and \B of a word
}

type nodeKind uint8

const (
	setNode nodeKind = iota
	sequenceNode
	alternationNode
	repeatNode
	lookNode
	anchorNode
)

// parsePattern reads the part of Oniguruma's syntax that pre-tokenizers use: classes with Unicode's properties, nested
// and intersected; groups, (?i:…), look-ahead, anchors, and greedy, lazy or possessive repetition. \s, \d and \w are
// Unicode's.
// Everything else is an error that names it.
func parsePattern(pattern string) (node, error) {
	if len(pattern) > maxPatternBytes {
		return node{}, fmt.Errorf("%d bytes, more than %d", len(pattern), maxPatternBytes)
	}
	if !utf8.ValidString(pattern) {
		return node{}, errors.New("it is not UTF-8")
	}
	p := &patternParser{rest: pattern}
	n, err := p.alternation(0)
	if err == nil && p.rest != "" {
		err = errors.New("a closing parenthesis without an opening one")
	}
	return n, err
}

type patternParser struct {
	rest string
	fold bool // inside (?i:…)
}

func (p *patternParser) take(prefix string) bool {
	rest, ok := strings.CutPrefix(p.rest, prefix)
	p.rest = rest
	return ok
}

func (p *patternParser) char() rune {
	c, n := utf8.DecodeRuneInString(p.rest)
	p.rest = p.rest[n:]
	return c
}

func (p *patternParser) alternation(depth int) (node, error) {
	if depth > maxPatternDepth {
		return node{}, fmt.Errorf("groups nested deeper than %d", maxPatternDepth)
	}
	all := node{kind: alternationNode}
	for {
		sequence := node{kind: sequenceNode}
		for p.rest != "" && p.rest[0] != '|' && p.rest[0] != ')' {
			atom, err := p.atom(depth)
			if err != nil {
				return node{}, err
			}
			if atom, err = p.repeat(atom); err != nil {
				return node{}, err
			}
			sequence.parts = append(sequence.parts, atom)
		}
		all.parts = append(all.parts, sequence)
		if !p.take("|") {
			return all, nil
		}
	}
}

func (p *patternParser) atom(depth int) (node, error) {
	before := p.rest
	switch c := p.char(); c {
	case '(':
		return p.group(before, depth)
	case '[':
		set, err := p.class(0)
		return node{set: set}, err
	case '\\':
		if p.rest != "" && strings.IndexByte("AzbB", p.rest[0]) >= 0 {
			return node{kind: anchorNode, anchor: p.char()}, nil
		}
		set, err := p.escape(false)
		return node{set: p.caseless(set)}, err
	case '.':
		return node{set: ranges{{'\n', '\n'}}.negated()}, nil
	case '^', '$':
		return node{kind: anchorNode, anchor: c}, nil
	case '*', '+', '?':
		return node{}, fmt.Errorf("%q repeats nothing", c)
	default:
		return node{set: p.caseless(ranges{{c, c}})}, nil
	}
}

func (p *patternParser) caseless(set ranges) ranges {
	if p.fold {
		return set.folded()
	}
	return set
}

func (p *patternParser) group(before string, depth int) (n node, err error) {
	fold := p.fold
	look := node{kind: lookNode}
	switch {
	case p.take("?:"):
	case p.take("?i:"):
		p.fold = true
	case p.take("?="):
		look.min = 1
	case p.take("?!"):
		look.min, look.negative = 1, true
	case strings.HasPrefix(p.rest, "?"):
		return n, fmt.Errorf("a look-behind, an option or a special group, %q", before[:min(len(before), 4)])
	}
	if n, err = p.alternation(depth + 1); err != nil {
		return n, err
	}
	if !p.take(")") {
		return n, errors.New("a parenthesis is not closed")
	}
	p.fold = fold
	if look.min == 1 {
		look.parts = []node{n}
		return look, nil
	}
	return n, nil
}

// repeat wraps what a repetition stands behind.
func (p *patternParser) repeat(atom node) (node, error) {
	for p.rest != "" {
		n := node{kind: repeatNode, parts: []node{atom}, max: -1}
		braces := false
		switch {
		case p.take("*"):
		case p.take("+"):
			n.min = 1
		case p.take("?"):
			n.max = 1
		case p.rest[0] == '{':
			ok, err := p.braces(&n)
			if err != nil {
				return n, err
			}
			if !ok {
				return atom, nil // an opening brace that is a character
			}
			braces = true
		default:
			return atom, nil
		}
		if atom.kind == lookNode || atom.kind == anchorNode {
			return n, errors.New("a repeated anchor or look-ahead")
		}
		if n.max != 1 && atom.mayBeEmpty() {
			return n, errors.New("a repetition of what may be empty")
		}
		n.lazy = p.take("?")
		// Behind {n,m} a plus repeats again in Oniguruma.
		if n.possessive = !n.lazy && !braces && p.take("+"); n.possessive && atom.kind != setNode {
			return n, errors.New("a possessive repetition of a group")
		}
		atom = n
	}
	return atom, nil
}

// braces reads {n}, {n,}, {,m} or {n,m}.
func (p *patternParser) braces(n *node) (bool, error) {
	inside, rest, ok := strings.Cut(p.rest[1:], "}")
	low, high, two := strings.Cut(inside, ",")
	if !ok || low == "" && high == "" || strings.Trim(low+high, "0123456789") != "" {
		return false, nil
	}
	var errLow, errHigh error
	if low != "" {
		n.min, errLow = strconv.Atoi(low)
	}
	switch {
	case !two:
		n.max = n.min
	case high != "":
		n.max, errHigh = strconv.Atoi(high)
	}
	if errLow != nil || errHigh != nil || n.min > maxPatternRepeat || n.max > maxPatternRepeat || n.max >= 0 && n.max < n.min {
		return false, fmt.Errorf("the repetition {%.20s}", inside)
	}
	p.rest = rest
	return true, nil
}

// class reads what stands in brackets, the opening one being gone.
func (p *patternParser) class(depth int) (ranges, error) {
	if depth > maxPatternDepth {
		return nil, fmt.Errorf("classes nested deeper than %d", maxPatternDepth)
	}
	negative := p.take("^")
	if strings.HasPrefix(p.rest, "]") {
		return nil, errors.New("an empty class")
	}
	var set, all ranges
	intersected := false
	for !p.take("]") {
		if p.rest == "" {
			return nil, errors.New("a class is not closed")
		}
		if p.take("&&") {
			if all = set; intersected {
				return nil, errors.New("two intersections in a class")
			}
			set, intersected = nil, true
			continue
		}
		part, single, err := p.member(depth)
		if err != nil {
			return nil, err
		}
		if len(p.rest) > 1 && p.rest[0] == '-' && p.rest[1] != ']' && single {
			p.rest = p.rest[1:]
			last, single, err := p.member(depth)
			if err != nil || !single || last[0][0] < part[0][0] {
				return nil, errors.Join(errors.New("a range of characters that is none"), err)
			}
			part = ranges{{part[0][0], last[0][0]}}
		}
		set = append(set, part...)
	}
	if set = p.caseless(set.normalize()); intersected {
		set = intersection(p.caseless(all.normalize()), set)
	}
	if negative {
		set = set.negated()
	}
	return set, nil
}

// member reads one part of a class; single: it is one character.
func (p *patternParser) member(depth int) (set ranges, single bool, err error) {
	if strings.HasPrefix(p.rest, "[:") {
		return nil, false, errors.New("a POSIX class, \"[:\"")
	}
	switch c := p.char(); c {
	case '[':
		set, err = p.class(depth + 1)
		return set, false, err
	case '\\':
		set, err = p.escape(true)
		return set, err == nil && len(set) == 1 && set[0][0] == set[0][1], err
	case utf8.RuneError:
		if p.rest == "" {
			return nil, false, errors.New("a class is not closed")
		}
		fallthrough
	default:
		return ranges{{c, c}}, true, nil
	}
}

var (
	spaceRanges = fromTables(unicode.White_Space)
	digitRanges = fromTables(unicode.Nd)
	// Oniguruma's words: \w and \b take the numbers of Latin-1 for parts of words, [\w] does not.
	wordClass  = fromTables(unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic)
	wordRanges = union(wordClass, ranges{{'²', '³'}, {'¹', '¹'}, {'¼', '¾'}})
)

// escape reads what stands behind a backslash.
func (p *patternParser) escape(inClass bool) (ranges, error) {
	if p.rest == "" {
		return nil, errors.New("a backslash at the end")
	}
	c := p.char()
	classes := map[rune]ranges{'s': spaceRanges, 'd': digitRanges, 'w': wordRanges}
	if inClass {
		classes['w'] = wordClass
	}
	if set, ok := classes[c]; ok {
		return set, nil
	}
	if set, ok := classes[unicode.ToLower(c)]; ok {
		return set.negated(), nil
	}
	if special, ok := map[rune]rune{'n': '\n', 'r': '\r', 't': '\t', 'f': '\f', 'v': '\v'}[c]; ok {
		return ranges{{special, special}}, nil
	}
	switch {
	case c == 'p' || c == 'P':
		return p.property(c == 'P')
	case c == 'x':
		return p.hexadecimal()
	case c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= utf8.RuneSelf:
		return nil, fmt.Errorf(`\%c`, c)
	}
	return ranges{{c, c}}, nil
}

// property reads the name behind \p or \P.
func (p *patternParser) property(negative bool) (ranges, error) {
	inside, rest, ok := strings.Cut(p.rest, "}")
	if !ok || inside == "" || inside[0] != '{' {
		return nil, errors.New(`\p without a name in braces`)
	}
	p.rest = rest
	name := inside[1:]
	if strings.HasPrefix(name, "^") {
		name, negative = name[1:], !negative
	}
	table, ok := unicode.Categories[name]
	if !ok {
		table, ok = unicode.Scripts[name]
	}
	if !ok {
		return nil, fmt.Errorf(`\p{%.40s}`, name)
	}
	set := fromTables(table)
	if negative {
		set = set.negated()
	}
	return set, nil
}

// hexadecimal reads the digits behind \x.
func (p *patternParser) hexadecimal() (ranges, error) {
	digits, rest, ok := p.rest, "", true
	if p.take("{") {
		digits, rest, ok = strings.Cut(p.rest, "}")
	} else if len(digits) >= 2 {
		digits, rest = digits[:2], digits[2:]
	}
	c, err := strconv.ParseUint(digits, 16, 32)
	if !ok || err != nil || c > unicode.MaxRune {
		return nil, errors.New(`\x without a character's number`)
	}
	p.rest = rest
	return ranges{{rune(c), rune(c)}}, nil
}

// mayBeEmpty reports whether the node matches the empty text.
func (n node) mayBeEmpty() bool {
	switch n.kind {
	case setNode:
		return false
	case sequenceNode:
		for _, part := range n.parts {
			if !part.mayBeEmpty() {
				return false
			}
		}
		return true
	case alternationNode:
		for _, part := range n.parts {
			if part.mayBeEmpty() {
				return true
			}
		}
		return false
	case repeatNode:
		return n.min == 0 || n.parts[0].mayBeEmpty()
	}
	return true
}

// first are the characters that a match which is not empty may begin with.
func (n node) first() ranges {
	switch n.kind {
	case setNode:
		return n.set
	case repeatNode:
		return n.parts[0].first()
	case lookNode, anchorNode:
		return nil
	}
	var set ranges
	for _, part := range n.parts {
		set = union(set, part.first())
		if n.kind == sequenceNode && !part.mayBeEmpty() {
			break
		}
	}
	return set
}
