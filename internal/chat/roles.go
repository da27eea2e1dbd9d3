package chat

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"qlora-wgpu/internal/tokenizer"
)

// Roles are those of a conversation's tokens, as Encode gives them: the role of the turn in whose content a token
// stands, empty for what the template writes around it. A content that the template does not write as it is, but in
// parts or changed, has no role.
func (t *Template) Roles(tok *tokenizer.Tokenizer, chat Conversation) ([]string, error) {
	chat, whole, err := t.renderWhole(chat)
	if err != nil {
		return nil, err
	}
	c := &conversation{t: t, tok: tok, Conversation: chat}
	c.whole = c.text(whole)
	roles := make([]string, len(c.whole.ids))
	for _, at := range c.contents() {
		end, _ := c.whole.tokensBefore(at.end)
		for k, _ := c.whole.tokensBefore(at.start); k < end; k++ {
			roles[k] = c.Messages[at.turn].Role
		}
	}
	return roles, nil
}

// content is where a turn's stands in the whole text, in bytes.
type content struct{ turn, start, end int }

// contents finds the turns' contents in the whole text. A copy of the conversation in which each is a mark shows what
// the template writes before every one of them: a content begins behind that. Where the template fails on the copy,
// none is found.
func (c *conversation) contents() (all []content) {
	marked := c.of(slices.Clone(c.Messages))
	base := newBase(c.whole.Text)
	for i, m := range c.Messages {
		if strings.TrimSpace(m.Content) != "" {
			marked.Messages[i].Content = fmt.Sprint(base + uint64(i))
		}
	}
	out, err := c.t.render(marked, false)
	if err != nil {
		return nil
	}
	rest, at := out.Text, 0
	for {
		before, turn, found := c.nextMark(&rest, base)
		if !found {
			return all
		}
		place := strings.Index(c.whole.Text[at:], before)
		if place < 0 { // what is written before it depends on the content
			continue
		}
		at += place + len(before)
		for _, shown := range asShown(c.Messages[turn].Content) {
			if strings.HasPrefix(c.whole.Text[at:], shown) {
				all = append(all, content{turn, at, at + len(shown)})
				at += len(shown)
				break
			}
		}
	}
}

// nextMark finds the next mark in a text, which becomes what follows it.
func (c *conversation) nextMark(rest *string, base uint64) (before string, turn int, found bool) {
	shared := fmt.Sprint(base / mostMarks)
	at := strings.Index(*rest, shared)
	if at < 0 {
		return "", 0, false
	}
	before = (*rest)[:at]
	end := at + len(fmt.Sprint(base))
	number, err := strconv.ParseUint((*rest)[at:min(end, len(*rest))], 10, 64)
	if turn = int(number - base); err != nil || turn < 0 || turn >= len(c.Messages) {
		return "", 0, false // the template has changed it
	}
	*rest = (*rest)[end:]
	return before, turn, true
}

// asShown are the ways in which templates write a content: as it is, or without white space around it.
func asShown(content string) []string {
	return []string{
		content, strings.TrimSpace(content), strings.TrimLeft(content, " \t\r\n"), strings.TrimRight(content, " \t\r\n"),
	}
}
