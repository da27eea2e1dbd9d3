package chat

import (
	"encoding/json/jsontext"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"qlora-wgpu/internal/chat/jinja"
	"qlora-wgpu/internal/usererr"
)

// answer is what is learned of an assistant's turn.
type answer struct {
	turn   int
	size   int          // of the text of the conversation up to it, in bytes
	parts  []jinja.Span // of that text
	stays  int          // of that text: what turns that follow have to leave as it is
	closed bool         // nothing belongs behind it
	begin  int          // of the text: where the first part begins if a thought before it is learned too
}

// upToAnswer is the text of the conversation up to turn i, which is its last there.
func (c *conversation) upToAnswer(i int) (jinja.Output, error) {
	if i == len(c.Messages)-1 {
		return c.whole.Output, nil
	}
	return c.upTo(i+1, false)
}

// answer finds what is learned of a turn in the text up to it; without a part there is nothing.
func (c *conversation) answer(i int, text jinja.Output) (answer, error) {
	if text.Marked {
		return answer{turn: i, size: len(text.Text), parts: c.marked(i, text), closed: true, begin: len(text.Text)}, nil
	}
	if !c.seen.turn(i) && (i == len(c.Messages)-1 || !c.probe(c.of(c.Messages[:i+1]), text.Text).turn(i)) {
		return answer{turn: i}, nil
	}
	return c.turn(i, text)
}

// marked are the parts of a text that the template marks as the answer of its last turn: those that come to the marks
// of the text that asks for it.
func (c *conversation) marked(i int, text jinja.Output) []jinja.Span {
	parts := text.Generated
	if before, err := c.upTo(i, true); err == nil {
		parts = parts[min(len(parts), len(before.Generated)):]
	} else if len(parts) > 0 { // some templates take no conversation that ends before an answer
		parts = parts[len(parts)-1:]
	}
	return slices.DeleteFunc(slices.Clone(parts), func(p jinja.Span) bool { return p.Start == p.End || p.End > len(text.Text) })
}

// staysUpTo is the end of what the turns that follow have to leave as it is of an answer: its own end, without a final
// token within its mark that only stands where no other answer is asked for.
func (c *conversation) staysUpTo(a answer, text jinja.Output) int {
	last := a.parts[len(a.parts)-1]
	if !text.Marked || a.turn == len(c.Messages)-1 {
		return last.End
	}
	next, err := c.upTo(a.turn+1, true)
	if err != nil {
		return last.End
	}
	common := commonPrefix(text.Text, next.Text)
	if common < last.Start || common >= last.End {
		return last.End
	}
	for _, special := range c.specials(text.Text[last.Start:last.End]) {
		at, end := last.Start+special.Start, last.Start+special.End
		if at <= common && common < end && strings.TrimSpace(text.Text[end:last.End]) == "" &&
			!c.ends(a.turn, text.Text[at:end], next.Text[common:]) {
			return at
		}
	}
	return last.End
}

// turn finds the answer of a turn in the text up to it.
func (c *conversation) turn(i int, text jinja.Output) (answer, error) {
	start, begin, err := c.answerStart(i, text)
	if err != nil {
		return answer{}, err
	}
	end, closed := c.answerEnd(i, text.Text, start)
	return answer{i, len(text.Text), []jinja.Span{{Start: start, End: end}}, end, closed, begin}, nil
}

// answerEnd is the end of the answer that begins at start; closed: it ends with a special token.
func (c *conversation) answerEnd(i int, text string, start int) (end int, closed bool) {
	written := text[start:]
	// What follows the turn when another answer is asked for belongs to that, not to the turn; some templates write a
	// final token only where none is asked for.
	common, other := len(written), ""
	if next, err := c.upTo(i+1, true); err == nil && len(next.Text) >= start && next.Text[:start] == text[:start] {
		common = commonPrefix(written, next.Text[start:])
		other = next.Text[start+common:]
	}
	contentEnd := c.contentEnd(i, text, start)
	if contentEnd > common { // others write the turn itself differently then, without its thought
		common = len(written)
	}
	for _, special := range c.specials(written) {
		if special.End <= common {
			end, closed = special.End, special.End >= contentEnd
		} else if special.Start <= common && !closed && special.Start >= contentEnd && c.ends(i, written[special.Start:special.End], other) {
			return start + special.End, true
		}
	}
	if !closed {
		end = common
	}
	return start + end, closed
}

// ends tells whether a special token that stands behind an answer only where no other one is asked for is its end:
// where another token stands in its place otherwise, and of the last answer where it is the End token.
func (c *conversation) ends(i int, token, other string) bool {
	if token == c.t.End && i == len(c.Messages)-1 {
		return true
	}
	bare, err := c.upTo(i, false)
	prompt, promptErr := c.upTo(i, true)
	if err != nil || promptErr != nil {
		return false
	}
	return other != "" && !strings.HasSuffix(prompt.Text[commonPrefix(bare.Text, prompt.Text):], other)
}

// contentEnd is the end of a turn's content in the answer that begins at start; 0 where it has none, or does not show
// as it is.
func (c *conversation) contentEnd(i int, text string, start int) int {
	content := c.Messages[i].Content
	if at := strings.LastIndex(content, endOfThought); at >= 0 {
		content = content[at+len(endOfThought):]
	}
	content = strings.TrimSpace(content)
	if content == "" {
		return 0
	}
	at := strings.Index(text[start:], content)
	if at >= 0 && strings.Count(text[start:], content) > 1 { // a short one, which the template has words like
		copied, mark := c.Messages[i], fmt.Sprint(newBase(c.whole.Text))
		copied.Content = strings.TrimSuffix(strings.TrimRightFunc(copied.Content, unicode.IsSpace), content) + mark
		if place, found := c.shown(i, copied, mark, text); found && place >= start && strings.HasPrefix(text[place:], content) {
			at = place - start
		}
	}
	if at < 0 {
		return 0
	}
	return at + len(content)
}

// shown is where a mark shows that a copy of turn i holds, if the text is the same up to there.
func (c *conversation) shown(i int, copied Message, mark, text string) (at int, found bool) {
	probe := slices.Clone(c.Messages[:i+1])
	probe[i] = copied
	out, err := c.t.render(c.of(probe), false)
	if err != nil {
		return 0, false
	}
	at = strings.Index(out.Text, mark)
	return at, at >= 0 && commonPrefix(out.Text, text) >= at
}

// answerStart is where the answer of turn i begins: after the generation prompt, or, where the template has none that
// the turn begins with, where it writes the content. begin is where a thought begins that stands before that.
func (c *conversation) answerStart(i int, turn jinja.Output) (start, begin int, err error) {
	prompt, promptErr := c.upTo(i, true)
	if promptErr == nil && strings.HasPrefix(turn.Text, prompt.Text) {
		if bare, err := c.upTo(i, false); err == nil && bare.Text != prompt.Text {
			return len(prompt.Text), len(prompt.Text), nil
		}
	}
	mark := fmt.Sprint(newBase(c.whole.Text))
	answered, thought := c.Messages[i], c.Messages[i]
	answered.Content, answered.NoContent = mark, false
	start, found := c.shown(i, answered, mark, turn.Text)
	begin = start
	if thought.replaceThought(mark) {
		if at, shows := c.shown(i, thought, mark, turn.Text); shows && (!found || at < start) {
			begin = at
			if !found {
				start, found = at, true
			}
		}
	}
	switch {
	case found:
		return start, begin, nil
	case promptErr != nil:
		return 0, 0, promptErr
	}
	return 0, 0, usererr.New("apply chat template", "", "assistant turn %d does not begin with the text that asks for it", i).
		Of(usererr.Unsupported).At("template line %d", turn.Line(commonPrefix(prompt.Text, turn.Text))).Hinted("choose another chat_template")
}

// replaceThought puts a text in the place of what was thought, in the content or in a field; false where there is none.
func (m *Message) replaceThought(by string) (replaced bool) {
	if at := strings.LastIndex(m.Content, endOfThought); at >= 0 {
		const start = "<think>"
		begin := strings.Index(m.Content[:at], start)
		if begin >= 0 {
			begin += len(start)
		}
		begin = max(begin, 0)
		inner := m.Content[begin:at]
		if strings.TrimSpace(inner) != "" {
			left := len(inner) - len(strings.TrimLeft(inner, " \t\r\n"))
			right := len(strings.TrimRight(inner, " \t\r\n"))
			m.Content, replaced = m.Content[:begin+left]+by+m.Content[begin+right:], true
		}
	}
	m.Fields = slices.Clone(m.Fields)
	for k, f := range m.Fields {
		if slices.Contains(reasoningFields, f.Name) && f.Value.Kind() == jsontext.KindString && !isEmpty(f.Value) {
			m.Fields[k].Value, replaced = jsontext.Value(strconv.Quote(by)), true
		}
	}
	return replaced
}
