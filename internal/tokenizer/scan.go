package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// The regular expressions of the byte-level tokenizers in use contain a look-ahead, which Go's regexp refuses and
// backtracking engines pay for. They are scanned by hand: one pass, no backtracking.
const (
	gpt2Pattern   = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	llama3Pattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	qwen2Pattern  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// A scanner returns the length in bytes of the first match of its pattern at the start of s, which is not empty. Every
// character belongs to a match of these patterns, so that there are no gaps.
type scanner func(s string) int

var scanners = map[string]scanner{
	gpt2Pattern:   scanGPT2,
	llama3Pattern: func(s string) int { return scanLlama3(s, 3) },
	qwen2Pattern:  func(s string) int { return scanLlama3(s, 1) },
}

type class uint8

const (
	other class = iota // neither letter, number nor space; bytes that are not UTF-8 too
	letter
	number
	space
)

var asciiClass = func() (c [utf8.RuneSelf]class) {
	for r := range rune(utf8.RuneSelf) {
		c[r] = unicodeClass(r)
	}
	return c
}()

func unicodeClass(r rune) class {
	switch {
	case unicode.IsLetter(r):
		return letter
	case unicode.IsNumber(r):
		return number
	case unicode.IsSpace(r):
		return space
	}
	return other
}

// classify gives the class and the length in bytes of the first character of s; length 0 at the end.
func classify(s string) (class, int) {
	if s == "" {
		return space, 0
	}
	if s[0] < utf8.RuneSelf {
		return asciiClass[s[0]], 1
	}
	r, n := utf8.DecodeRuneInString(s)
	return unicodeClass(r), n
}

// run is the length in bytes of the longest prefix of s whose characters are all of class c.
func run(s string, c class) int {
	i := 0
	for {
		got, n := classify(s[i:])
		if n == 0 || got != c {
			return i
		}
		i += n
	}
}

func scanGPT2(s string) int {
	if n := contraction(s, false); n > 0 {
		return n
	}
	start := 0
	if s[0] == ' ' {
		start = 1
	}
	if c, _ := classify(s[start:]); c != space {
		return start + run(s[start:], c)
	}
	return scanSpaces(s)
}

func scanLlama3(s string, digits int) int {
	if n := contraction(s, true); n > 0 {
		return n
	}
	first, n := classify(s)
	if first == letter {
		return run(s, letter)
	}
	if first == number {
		end := n
		for range digits - 1 {
			c, n := classify(s[end:])
			if c != number {
				break
			}
			end += n
		}
		return end
	}
	if s[0] != '\r' && s[0] != '\n' {
		if c, _ := classify(s[n:]); c == letter {
			return n + run(s[n:], letter)
		}
	}
	start := 0
	if s[0] == ' ' {
		start = 1
	}
	if c, _ := classify(s[start:]); c == other {
		end := start + run(s[start:], other)
		for end < len(s) && (s[end] == '\r' || s[end] == '\n') {
			end++
		}
		return end
	}
	for i := run(s, space); i > 0; i-- {
		if s[i-1] == '\r' || s[i-1] == '\n' {
			return i
		}
	}
	return scanSpaces(s)
}

// scanSpaces is \s+(?!\S)|\s+: all white space at the end of the text, else all but the last character, which goes with
// what follows, unless it is the only one.
func scanSpaces(s string) int {
	end := run(s, space)
	if end == len(s) {
		return end
	}
	if _, last := utf8.DecodeLastRuneInString(s[:end]); last < end {
		return end - last
	}
	return end
}

// contraction is the length of 's|'t|'re|'ve|'m|'ll|'d at the start of s, or 0. The long s folds to s.
func contraction(s string, ignoreCase bool) int {
	if len(s) < 2 || s[0] != '\'' {
		return 0
	}
	fold := func(b byte) byte {
		if ignoreCase && b >= 'A' && b <= 'Z' {
			b += 'a' - 'A'
		}
		return b
	}
	switch fold(s[1]) {
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v':
		if len(s) > 2 && fold(s[2]) == 'e' {
			return 3
		}
	case 'l':
		if len(s) > 2 && fold(s[2]) == 'l' {
			return 3
		}
	}
	if ignoreCase && len(s) >= 3 && s[1:3] == "ſ" {
		return 3
	}
	return 0
}
