package inspect

import (
	"encoding/json/jsontext"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"qlora-wgpu/internal/tokenizer"
)

// texts looks at the characters of all that a row says.
func (i *Inspector) texts(l *Look) {
	l.text(l.row.Text)
	for _, m := range l.row.Messages {
		l.text(m.Content)
		i.marked(l, m.Content)
		for _, f := range m.Fields {
			if f.Value.Kind() == jsontext.KindString {
				if text, err := jsontext.AppendUnquote(nil, f.Value); err == nil {
					l.text(string(text))
				}
			}
		}
	}
}

// marks are what chat templates write around turns.
var marks = regexp.MustCompile(`<\|[^\s<>|]{1,40}\|>|<｜[^\s<>｜]{1,40}｜>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|</?s>|` +
	`\[/?(?:AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|SYSTEM_PROMPT)\]`)

// placeholders are names that a program was to replace. Code and templates hold them too, in lists of others.
var placeholders = regexp.MustCompile(`\{\{\s?[A-Za-z][A-Za-z0-9_ ]{0,30}\}\}`)

// marked looks for the marks of chat templates in what somebody says. HTML has <s> too: it counts where the model has
// it.
func (i *Inspector) marked(l *Look, content string) {
	if strings.ContainsAny(content, "<[") {
		for _, mark := range marks.FindAllString(content, -1) {
			if mark != "<s>" && mark != "</s>" || i.o.Text != nil && i.special(mark) {
				l.hit(kindMarks, mark)
			}
		}
	}
	for _, mark := range i.marks {
		if strings.Contains(content, mark) {
			l.hit(kindMarks, mark)
		}
	}
	if strings.Contains(content, "{{") {
		for _, name := range placeholders.FindAllString(content, -1) {
			l.hit(kindUnfilled, name)
		}
	}
}

func (i *Inspector) special(token string) bool {
	id, known := i.o.Text.Tokenizer.ID(token)
	return known && i.o.Text.Tokenizer.IsSpecial(id)
}

// unusualMarks are the special tokens of a tokenizer that do not look like any. A vocabulary may have thousands that
// are reserved.
func unusualMarks(t *tokenizer.Tokenizer) (list []string) {
	const most, leastBytes = 64, 4
	for id := range int32(t.Size()) {
		if token, known := t.Token(id); known && t.IsSpecial(id) && len(token) >= leastBytes && !marks.MatchString(token) && len(list) < most {
			list = append(list, token)
		}
	}
	return list
}

// text looks at the characters of one text.
func (l *Look) text(text string) {
	if isPlain(text) {
		return
	}
	broken := mojibake(text)
	if broken {
		l.hit(kindMojibake, "")
	}
	before, tags := rune(0), 0 // tags that a flag may still have
	for at, r := range text {
		next := func() rune {
			r, _ := utf8.DecodeRuneInString(text[at+utf8.RuneLen(r):])
			return r
		}
		switch {
		case r == blackFlag:
			tags = mostTags
		case isTag(r) && tags > 0:
			tags--
		case r == utf8.RuneError:
			l.hit(kindReplacement, "")
		case r == '\r':
			l.hit(kindSpace, "a carriage return")
		case r < 0x20 && r != '\n' && r != '\t' || r == 0x7f:
			l.hit(kindControl, code(r))
		case broken && r >= 0x80 && r < 0x100: // what the broken text is made of
		case r >= 0x80 && r < 0xa0:
			l.hit(kindControl, code(r))
		case invisible(r) && !joins(before, r, next()):
			l.hit(kindInvisible, code(r))
		case unusualSpace(r) && !(r == wideSpace && (wide(before) || wide(next()))):
			l.hit(kindSpace, code(r))
		}
		if before = r; r != blackFlag && !isTag(r) {
			tags = 0
		}
	}
}

// Flags of parts of countries are a black flag and up to so many tags.
const (
	blackFlag = 0x1f3f4
	mostTags  = 7
)

func isTag(r rune) bool { return r >= 0xe0020 && r <= 0xe007f }

// isPlain tells texts of ASCII without control characters, which most are.
func isPlain(text string) bool {
	for k := range len(text) {
		if c := text[k]; c >= 0x7f || c < 0x20 && c != '\n' && c != '\t' {
			return false
		}
	}
	return true
}

func code(r rune) string { return fmt.Sprintf("U+%04X", r) }

// invisible tells characters without width, those that turn the direction of a text, and tags, with which a text can be
// hidden in another.
func invisible(r rune) bool {
	switch {
	case r == 0xad, r >= 0x200b && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2060 && r <= 0x206f, r == 0xfeff, r == 0x061c,
		r >= 0xe0000 && r <= 0xe007f:
		return true
	}
	return false
}

// joins tells whether what is invisible does what it is there for: it joins emoji or letters of scripts that join, or
// stands beside letters that run from right to left.
func joins(before, r, next rune) bool {
	switch r {
	case 0x200c, 0x200d: // between letters that join, or emoji with their variants
		return before >= 0x0590 && before != ' ' && (next >= 0x0590 || r == 0x200c || unicode.IsMark(before))
	case 0x200e, 0x200f, 0x061c:
		return rightToLeft(before) || rightToLeft(next)
	}
	return false
}

func rightToLeft(r rune) bool {
	return unicode.In(r, unicode.Hebrew, unicode.Arabic, unicode.Syriac, unicode.Thaana)
}

// wideSpace is a space of East Asian texts, as wide as their characters.
const wideSpace = 0x3000

func wide(r rune) bool {
	return r >= 0x2e80 && r <= 0x9fff && r != wideSpace || r >= 0xac00 && r <= 0xd7ff || r >= 0xff00 && r <= 0xffef
}

// unusualSpace tells white space that is neither a space, a tab nor a line break.
func unusualSpace(r rune) bool {
	return r >= 0xa0 && (unicode.IsSpace(r) || r == 0x180e)
}

// mojibake tells whether a text has UTF-8 that somebody read as Latin-1 or Windows-1252: characters that are bytes
// there, and as bytes are UTF-8 again. One character that comes out so can be by chance (a letter before a quotation
// mark), unless it is of those that are met most: letters with accents, punctuation and emoji.
func mojibake(text string) bool {
	var run []byte
	found := false
	for _, r := range text {
		if found {
			return true
		}
		if b, is := byteOf(r); is {
			run = append(run, b)
			continue
		}
		found, run = broken(run), run[:0]
	}
	return found || broken(run)
}

// windows are the characters that Windows-1252 has where Latin-1 has control characters, by their bytes from 0x80. Five
// bytes it leaves free.
var windows = []rune("€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ")

// byteOf is the byte beyond ASCII that a character is in Latin-1 or Windows-1252, if it is one.
func byteOf(r rune) (b byte, is bool) {
	switch {
	case r < 0x80, r > '™':
		return 0, false
	case r < 0x100:
		return byte(r), true
	}
	at := slices.Index(windows, r)
	return byte(0x80 + at), at >= 0
}

// broken tells whether bytes that were characters are UTF-8.
func broken(run []byte) bool {
	others := 0
	for len(run) > 0 {
		r, n := utf8.DecodeRune(run)
		if r == utf8.RuneError {
			run, others = run[1:], 0
			continue
		}
		switch {
		case r >= 0xa0 && r < 0x100, r >= 0x2010 && r < 0x2040, r == '€', r == '™', r >= 0x1f300 && r < 0x1fb00:
			return true
		}
		if others++; others >= 2 {
			return true
		}
		run = run[n:]
	}
	return false
}
