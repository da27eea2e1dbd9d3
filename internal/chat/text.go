package chat

import (
	"strings"

	"qlora-wgpu/internal/chat/jinja"
	"qlora-wgpu/internal/tokenizer"
)

// text is what a template writes, as tokens.
type text struct {
	jinja.Output
	ids []int32
	tok *tokenizer.Tokenizer
}

func (c *conversation) text(out jinja.Output) *text { return &text{out, c.tok.Encode(out.Text), c.tok} }

// sample is the text without a target; turns are those that it shows.
func (t *text) sample(turns int) Sample {
	return Sample{IDs: t.ids, Target: make([]bool, len(t.ids)), Turns: turns}
}

// learn makes targets of the tokens within parts of the text. A token that reaches into a part from before it is one;
// one that reaches beyond it is one only where the template marks the parts, as in transformers.
func (t *text) learn(one *Sample, parts []jinja.Span) {
	for _, part := range parts {
		if part.Start == part.End {
			continue
		}
		end, reaches := t.tokensBefore(part.End) // which takes as long as the text is
		if reaches && t.Marked {
			end++
		}
		for k, _ := t.tokensBefore(part.Start); k < end; k++ {
			one.Target[k] = true
		}
	}
}

// tokensBefore counts the tokens that end before a byte of the text, and tells whether the next one begins before it.
func (t *text) tokensBefore(offset int) (n int, reaches bool) {
	before := t.tok.Encode(t.Text[:min(offset, len(t.Text))])
	for n < len(before) && n < len(t.ids) && before[n] == t.ids[n] {
		n++
	}
	// Near the cut the tokens differ: count their bytes instead.
	left := 0
	for _, id := range before[n:] {
		left += len(t.tok.Bytes(id))
	}
	for ; n < len(t.ids) && left > 0; n++ {
		if left -= len(t.tok.Bytes(t.ids[n])); left < 0 {
			return n, true
		}
	}
	return n, false
}

// specials are the special tokens of a text, and the End token, by where they begin and end.
func (c *conversation) specials(of string) (list []jinja.Span) {
	at := 0
	for _, id := range c.tok.Encode(of) {
		token, _ := c.tok.Token(id)
		if !c.tok.IsSpecial(id) && token != c.t.End {
			continue
		}
		if i := strings.Index(of[at:], token); i >= 0 {
			list = append(list, jinja.Span{Start: at + i, End: at + i + len(token)})
			at += i + len(token)
		}
	}
	return list
}

func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
