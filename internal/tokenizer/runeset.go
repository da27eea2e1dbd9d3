package tokenizer

import (
	"slices"
	"sync"
	"unicode"
	"unicode/utf8"
)

// ranges are sorted, disjoint pairs of first and last character.
type ranges [][2]rune

// normalize sorts the pairs and joins those that touch.
func (r ranges) normalize() ranges {
	slices.SortFunc(r, func(a, b [2]rune) int { return int(a[0]) - int(b[0]) })
	var out ranges
	for _, pair := range r {
		if n := len(out); n > 0 && pair[0] <= out[n-1][1]+1 {
			out[n-1][1] = max(out[n-1][1], pair[1])
			continue
		}
		out = append(out, pair)
	}
	return out
}

func union(a, b ranges) ranges { return slices.Concat(a, b).normalize() }

func (r ranges) negated() ranges {
	var out ranges
	next := rune(0)
	for _, pair := range r {
		if next < pair[0] {
			out = append(out, [2]rune{next, pair[0] - 1})
		}
		next = pair[1] + 1
	}
	if next <= unicode.MaxRune {
		out = append(out, [2]rune{next, unicode.MaxRune})
	}
	return out
}

func intersection(a, b ranges) ranges { return union(a.negated(), b.negated()).negated() }

func (r ranges) contains(c rune) bool {
	_, found := slices.BinarySearchFunc(r, c, func(pair [2]rune, c rune) int {
		switch {
		case pair[1] < c:
			return -1
		case pair[0] > c:
			return 1
		}
		return 0
	})
	return found
}

// cased are the characters that differ from others by case alone.
var cased = sync.OnceValue(func() (all []rune) {
	for c := range rune(unicode.MaxRune + 1) {
		if unicode.SimpleFold(c) != c {
			all = append(all, c)
		}
	}
	return all
})

// folded adds every character that differs from one of r by case alone.
func (r ranges) folded() ranges {
	out := slices.Clone(r)
	if len(r) == 1 && r[0][0] == r[0][1] {
		for f := unicode.SimpleFold(r[0][0]); f != r[0][0]; f = unicode.SimpleFold(f) {
			out = append(out, [2]rune{f, f})
		}
		return out.normalize()
	}
	for _, c := range cased() {
		for f := unicode.SimpleFold(c); f != c; f = unicode.SimpleFold(f) {
			if r.contains(f) {
				out = append(out, [2]rune{c, c})
				break
			}
		}
	}
	return out.normalize()
}

func fromTables(tables ...*unicode.RangeTable) ranges {
	var out ranges
	add := func(low, high, stride rune) {
		if stride == 1 {
			out = append(out, [2]rune{low, high})
			return
		}
		for c := low; c <= high; c += stride {
			out = append(out, [2]rune{c, c})
		}
	}
	for _, table := range tables {
		for _, r := range table.R16 {
			add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
		}
		for _, r := range table.R32 {
			add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
		}
	}
	return out.normalize()
}

// A runeSet answers membership fast: a bit for each character of ASCII, and where there are several ranges of the basic
// plane, a search for the others. Bytes that are not UTF-8 count as U+FFFD.
type runeSet struct {
	bits []uint64
	all  ranges
}

func newRuneSet(all ranges) *runeSet {
	bits := rune(utf8.RuneSelf)
	if len(all) > 4 {
		bits = 1 << 16
	}
	s := &runeSet{all: all, bits: make([]uint64, bits/64)}
	for _, pair := range all {
		for c := pair[0]; c <= min(pair[1], bits-1); c++ {
			s.bits[c/64] |= 1 << (c % 64)
		}
	}
	return s
}

func (s *runeSet) has(c rune) bool {
	if word := int(c / 64); word < len(s.bits) {
		return s.bits[word]&(1<<(c%64)) != 0
	}
	return s.all.contains(c)
}

// next is the length in bytes of the character at text[at:] if it is in the set, else 0.
func (s *runeSet) next(text string, at int) int {
	if at >= len(text) {
		return 0
	}
	if b := text[at]; b < utf8.RuneSelf {
		return int(s.bits[b/64] >> (b % 64) & 1)
	}
	c, n := utf8.DecodeRuneInString(text[at:])
	if s.has(c) {
		return n
	}
	return 0
}

// startsWith reports whether a character of r may begin with the byte b.
func (r ranges) startsWith(b byte) bool {
	if b < utf8.RuneSelf {
		return r.contains(rune(b))
	}
	low, high := rune(0), rune(-1) // the characters that begin with b
	switch {
	case b >= 0xC2 && b <= 0xDF:
		low = rune(b&0x1F) << 6
		high = low | 0x3F
	case b >= 0xE0 && b <= 0xEF:
		low = rune(b&0x0F) << 12
		high = low | 0xFFF
	case b >= 0xF0 && b <= 0xF4:
		low = rune(b&0x07) << 18
		high = low | 0x3FFFF
	}
	return r.contains(utf8.RuneError) || slices.ContainsFunc(r, func(pair [2]rune) bool { return pair[0] <= high && pair[1] >= low })
}
