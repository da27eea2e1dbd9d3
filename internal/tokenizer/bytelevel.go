package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// Byte-level vocabularies write each byte as one printable character: printable ASCII and Latin-1 stand for themselves,
// the other 68 bytes take U+0100 onwards in order (GPT-2's bytes_to_unicode).
var (
	charOfByte [256]rune
	byteOfChar [0x144]int16 // -1: no byte
)

func init() {
	for i := range byteOfChar {
		byteOfChar[i] = -1
	}
	next := rune(0x100)
	for b := range 256 {
		c := rune(b)
		if b < '!' || b > '~' && b < 0xA1 || b == 0xAD {
			c = next
			next++
		}
		charOfByte[b] = c
		byteOfChar[c] = int16(b)
	}
}

// tokenBytes gives the bytes that a token of a byte-level vocabulary stands for; false if a character stands for no
// byte.
func tokenBytes(token string) (string, bool) {
	out := make([]byte, 0, len(token))
	for _, c := range token {
		if int(c) >= len(byteOfChar) || byteOfChar[c] < 0 {
			return "", false
		}
		out = append(out, byte(byteOfChar[c]))
	}
	return string(out), true
}

// validText replaces what is not UTF-8 by U+FFFD, one for each longest prefix of a sequence (the WHATWG rule, as Rust's
// from_utf8_lossy; Go's conversions write one per byte, strings.ToValidUTF8 one per run).
func validText(b string) string {
	if utf8.ValidString(b) {
		return b
	}
	var out strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRuneInString(b)
		if r == utf8.RuneError && n == 1 {
			n = max(1, incompleteRune(b))
		}
		out.WriteRune(r)
		b = b[n:]
	}
	return out.String()
}

// incompleteRune is the length of the longest prefix of b that some valid UTF-8 sequence longer than it starts with;
// 0 where b starts with no such prefix or with a whole character.
func incompleteRune(b string) int {
	if b == "" {
		return 0
	}
	var size int
	low, high := byte(0x80), byte(0xBF)
	switch c := b[0]; {
	case c >= 0xC2 && c <= 0xDF:
		size = 2
	case c >= 0xE0 && c <= 0xEF:
		size = 3
		if c == 0xE0 {
			low = 0xA0
		} else if c == 0xED {
			high = 0x9F
		}
	case c >= 0xF0 && c <= 0xF4:
		size = 4
		if c == 0xF0 {
			low = 0x90
		} else if c == 0xF4 {
			high = 0x8F
		}
	default:
		return 0
	}
	n := 1
	for n < size && n < len(b) && b[n] >= low && b[n] <= high {
		low, high = 0x80, 0xBF
		n++
	}
	if n == size {
		return 0
	}
	return n
}
