package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// probes are texts in which pre-tokenizations, normalizers and merges that differ at all in use show it: letters of
// many scripts with and without case and marks, contractions, digits, punctuation, white space of all kinds and in
// runs, symbols, what is not in its normal form, code.
var probes = append([]string{
	"Hello, world! It's a test; we'll see what they've done, I'd say, you're right, I'm, don't CAN'T WE'LL I'D",
	"o'clock 'tis rock'n'roll l'eau d'accord ’s don’t", " leading", "trailing ", "  two  spaces  ", "a b  c   d    e",
	"HelloWorld fooBar XMLHttpRequest iPhone McDonald ALLCAPS lowercase ÀÉÎ éàü ß ẞ ǅ ʰ",
	"1 12 123 1234 12345 123456 1234567 3.14 1,000,000 0x1F 1e-9 2024-12-01 ½ ² Ⅳ ٣٤٥ १२३ ４５６ abc123def 12ab",
	"!!! ... ??? --- === *** ### \"quoted\" (paren) [bracket] {brace} <tag> a/b\\c user@example.com http://x.y/z?q=1&r=2 $5 #1 50% C++",
	"word.\nnext line\n\nparagraph\r\nwindows\r\n\r\n\tindent\t\ttabs \n trailing space \n\n\n end\n",
	"foo.\n/* c */ bar;//\n!\n\n?\r\n:/\n/", "a\u00a0b\u2003c\u3000d\u2028e\u0085f\u200bg\ufeffh\x0bi\x0cj",
	"Привет, мир! Ёлка ёлка", "Γειά σου Κόσμε", "你好，世界。中文测试：一二三", "こんにちは世界カタカナひらがなー、。", "안녕하세요 세계", "สวัสดีชาวโลก",
	"नमस्ते दुनिया क्षत्रिय", "مرحبا بالعالم، كيف الحال؟", "שלום עולם", "Tiếng Việt đặc biệt", "ខ្មែរ", "தமிழ்",
	"e\u0301 a\u0308 n\u0303 \u1100\u1161\u11a8 \u212b \ufb01 \u2460 Å ﬁ", "\u0301start", "a\u0300\u0301\u0302b",
	"😀 👍🏽 👨‍👩‍👧‍👦 🇩🇪 ❤️ ✨🎉", "∑∫√∞≠≤ €£¥ ©®™ →⇒ ½¾ ←", "a_b __init__ snake_case kebab-case Ġ ġ",
	"def f(x):\n    return x**2  # square\n\n\nclass A(B):\n\tpass\n", "for (int i = 0; i < n; ++i) { a[i] += b[i]; }\n",
	"SELECT * FROM t WHERE a='b' AND c<>\"d\";", "<|nothing|> <s > </ s> [INST ] <0x0A> <unk >", "\x01\x02\x7f", strings.Repeat("a", 39),
	"a\n", "\n", " ", "\t", "\r\n", " \n ", "'", "''s", "'S 'T 'LL", "1a", "a1", "-1", " -1", " 1", "  1", "\n1", "..", " .", " ..", "  ..a",
	planes(),
}, runs()...)

// planes is a text of characters from all over Unicode, whose bytes are all that UTF-8 has.
func planes() string {
	var out strings.Builder
	for c := rune(0); c <= unicode.MaxRune; c += 0x3d5 {
		if utf8.ValidRune(c) {
			out.WriteRune(c)
		}
	}
	return out.String()
}

// runs are runs of white space and of signs, of all short lengths and of some long ones, with a word behind.
func runs() (list []string) {
	for _, n := range []int{2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 31, 32, 33, 40, 64} {
		for _, sign := range []string{" ", "\n", "\t", "=", "-"} {
			list = append(list, "x"+strings.Repeat(sign, n)+"word", strings.Repeat(sign, n))
		}
	}
	return list
}
