package tokenizer

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func matches(t *testing.T, pattern, text string) (all []string) {
	p, err := compilePattern(pattern)
	require.NoError(t, err)
	p.find(text, func(start, end int) { all = append(all, text[start:end]) })
	return all
}

// What each construct matches, as Oniguruma does.
func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          []string
	}{
		{`a|ab`, "abab", []string{"a", "a"}},
		{`ab|a`, "aba", []string{"ab", "a"}},
		{`a*b|a`, "aaabaa", []string{"aaab", "a", "a"}},
		{`(?:ab|a)(?:c|bd)`, "abcabd", []string{"abc", "abd"}},
		{`a++ab|b`, "aaab", []string{"b"}},
		{`[ab]*?b`, "aabb", []string{"aab", "b"}},
		{`(?:ab)+?c?`, "ababc", []string{"ab", "abc"}},
		{`(?:ab){2}|a`, "ababab", []string{"abab", "a"}},
		{`(?:ab){1,2}?b|b`, "ababb", []string{"ababb"}},
		{`a{2,3}`, "aaaaaaa", []string{"aaa", "aaa"}},
		{`a{,2}b`, "aaab", []string{"aab"}},
		{`a{2,}`, "a aa aaa", []string{"aa", "aaa"}},
		{`a{x}`, "a{x}", []string{"a{x}"}},
		{`\s+(?!\S)|\s+`, "a   b  ", []string{"  ", " ", "  "}},
		{`\d{1,3}(?=(?:\d{3})*(?!\d))`, "1234567", []string{"1", "234", "567"}},
		{`a(?=b)`, "abac", []string{"a"}},
		{`a(?!b).`, "ab ac", []string{"ac"}},
		{`(?i:'S|ss)`, "'s 'ſ 'S SS", []string{"'s", "'ſ", "'S", "SS"}},
		{`(?i:[k-l])`, "kK\u212Aml", []string{"k", "K", "\u212A", "l"}},
		{`[^a-c]`, "abcdé", []string{"d", "é"}},
		{`[\p{L}&&[^a-c\p{Han}]]+`, "abcd水é1", []string{"d", "é"}},
		{`[a[bc]]+`, "abcd", []string{"abc"}},
		{`[\[\]\\\-a]+`, `[]\-ab`, []string{`[]\-a`}},
		{`[!-/:-]+`, "a!:-b", []string{"!:-"}},
		{`\p{^N}\P{L}`, "a1b2", []string{"a1", "b2"}},
		{`[\S\n]+`, "a\nb c", []string{"a\nb", "c"}},
		{`\x41\x{1F30A}`, "A🌊", []string{"A🌊"}},
		{`\w+`, "héé_2 a\u0301-x", []string{"héé_2", "a\u0301", "x"}},
		{`.+`, "ab\ncd", []string{"ab", "cd"}},
		{`(?:a|b)*c`, "ababcab", []string{"ababc"}},
		{`\s+$`, " a \n\t b\n ", []string{" ", "\n "}},
		{`^a|\Ab|c\z`, "ba\naba\nca\nc", []string{"b", "a", "c"}},
		{`\A▁`, "▁▁", []string{"▁"}},
		{`\ba|b\B`, "ab a bé", []string{"a", "a", "b"}},
		{`\w`, "½\u200d", []string{"½"}},
		{`[\w]`, "½_\u200d", []string{"_"}},
		{`[一-龥]+`, "a川水b", []string{"川水"}},
	} {
		require.Equal(t, c.want, matches(t, c.pattern, c.text), "%s", c.pattern)
	}
}

// A pattern whose plain backtracking takes exponential or quadratic time takes time in proportion to the text.
func TestHostilePatterns(t *testing.T) {
	for pattern, unit := range map[string]string{
		`(?:a|a)*b|a`: "a", `(?:a+)+b|a`: "a", `a*b|a`: "a", `a*a*a*b|a`: "a", `(?=(?:a|a)*b)a|c`: "a",
		`(?:a|ab)(?:c|bcd)*d|[ab]`: "ab", `(?:[ab]{1,3})+c|b`: "ab", `\s*[\r\n]+|\s+(?!\S)|\s`: " ", `a{2,}b|a`: "a",
		`(?:\s*x|\s+?)`: " ",
	} {
		text := strings.Repeat(unit, 200_000/len(unit))
		start := time.Now()
		matches(t, pattern, text)
		require.Less(t, time.Since(start), 5*time.Second, "%s", pattern)
	}
}

// What was passed on the way to a match has not failed: later attempts pass it again.
func TestMemoryKeepsWhatMatched(t *testing.T) {
	text := strings.Repeat("ab", 1000) + "c"
	require.Len(t, matches(t, `(?:a|b)(?=(?:a|b)*c)|c`, text), 2001)
	require.Len(t, matches(t, `(?:a|b)(?=[ab]*c)|c`, text), 2001)
	require.Equal(t, []string{text}, matches(t, `(?:a|b)*d|(?:a|b)*c`, text))
}

func TestRefusedPatterns(t *testing.T) {
	for pattern, message := range map[string]string{
		`a(?<=b)`: "look-behind", `(?>a)`: "special group", `(?i)a`: "option", `a\G`: `\G`, `^`: "empty text", `\b+a`: "anchor", `(a)\1`: `\1`,
		`a*`: "empty text", `(?=a)`: "empty text", `(?:a*)*b`: "may be empty", `(?:a|b)++`: "possessive", `(?=a)+b`: "look-ahead",
		`[a`: "not closed", `(a`: "not closed", `a)`: "without an opening", `[]a]`: "empty class", `[z-a]`: "range", `[a-\d]`: "range",
		`[[:alpha:]]`: "POSIX", `\p{Nonsense}`: "Nonsense", `\pL`: "braces", `a{2000}`: "repetition", `a{3,2}`: "repetition",
		`*a`: "repeats nothing",
		`\`:  "backslash", `\x{110000}`: `\x`, `(?:(?:(?:abc){1000}){1000})`: "too long", `[\`: "backslash",
	} {
		_, err := compilePattern(pattern)
		require.ErrorContains(t, err, message, "%s", pattern)
	}
	_, err := compilePattern(strings.Repeat("(", 100) + "a" + strings.Repeat(")", 100))
	require.ErrorContains(t, err, "nested")
	_, err = compilePattern(strings.Repeat("a", maxPatternBytes+1))
	require.ErrorContains(t, err, "bytes")
}
